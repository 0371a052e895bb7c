//! The runs of the chapter "Beyond the paper", from `data/beyond.toml`.

use std::collections::BTreeMap;

use clap::{Args, Command, FromArgMatches};
use klayer_dataset::{Dimensions, Normalize};
use klayer_train::{RunConfig, ScheduleKind};
use serde::{Deserialize, de};
use toml::{Table, Value};

use super::evaluated::Evaluated;
use crate::error::Error;

/// The settings of the recipes of `klayer train` that are run.
const RECIPES: [(&str, &str); 3] = [
    ("minute", include_str!("../../../crates/klayer/recipes/minute.toml")),
    ("quarter", include_str!("../../../crates/klayer/recipes/quarter.toml")),
    ("hour", include_str!("../../../crates/klayer/recipes/hour.toml")),
];
/// The settings of the recipe that is not run.
const DAY: &str = include_str!("../../../crates/klayer/recipes/day.toml");
/// Number of training images for the training loss of the whitening runs.
const SAMPLE: usize = 5_000;

/// Images that the quick form evaluates over views.
const QUICK_IMAGES: usize = 200;

/// `data/beyond.toml`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct File {
    seed: u64,
    ingredients: List,
    left_out: List,
    paper: List,
    smaller: Vec<Smaller>,
    whitening: List,
    /// Number of seeds of each recipe.
    recipes: BTreeMap<String, u64>,
}

/// Runs whose settings add up.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct List {
    /// Seeds of each run.
    seeds: u64,
    /// Operations of each run that does not name another number; 0 for the number that its settings give.
    #[serde(default)]
    operations: f64,
    runs: Vec<Entry>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: String,
    /// Options of `klayer train`.
    set: Table,
    operations: Option<f64>,
}

/// A recipe with narrower layers.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Smaller {
    name: String,
    recipe: String,
    /// Options of `klayer train` that differ from the recipe.
    set: Table,
    operations: f64,
}

/// Runs that differ only in their seed.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) name: String,
    pub(crate) runs: Vec<Evaluated>,
}

/// The runs of each section.
#[derive(Debug)]
pub(crate) struct Study {
    /// From the paper's network to the best, one ingredient at a time.
    pub(crate) ingredients: Vec<Group>,
    /// The best without one ingredient.
    pub(crate) left_out: Vec<Group>,
    /// The paper's settings with more operations.
    pub(crate) paper: Vec<Group>,
    /// Whitening with and without flips and shifts.
    pub(crate) whitening: Vec<Group>,
    /// The recipes of `klayer train`, on all training images.
    pub(crate) recipes: Vec<Group>,
    /// Recipes with narrower layers and fewer operations, on all training images.
    pub(crate) smaller: Vec<Group>,
    /// Operations of the recipe `day`, which is not run.
    pub(crate) day: f64,
}

impl Study {
    /// The runs on `data`, and the recipes on `all`, where all training images are used for training. `quick` gives
    /// each run a small network and few update steps.
    ///
    /// # Errors
    /// Those of invalid settings.
    pub(crate) fn new(data: &Dimensions, all: &Dimensions, quick: bool) -> Result<Self, Error> {
        let file: File = toml::from_str(include_str!("../../../data/beyond.toml")).map_err(Error::Beyond)?;
        let study = Maker { data, seed: file.seed, quick };
        let mut settings = Table::new();
        let ingredients = study.list(&file.ingredients, &mut settings)?;
        let left_out = file.left_out.runs.iter().map(|entry| study.group(entry, &file.left_out, &mut settings.clone()));
        let left_out = left_out.collect::<Result<_, _>>()?;
        let on_all = Maker { data: all, ..study };
        let mut recipes = Vec::new();
        for (name, text) in RECIPES {
            let seeds = file.recipes.get(name).copied().unwrap_or(0);
            recipes.push(study.seeds(name, on_all.recipe(text, &Table::new(), 0.0)?, seeds, name == "hour"));
        }
        let smaller = file.smaller.iter().map(|entry| {
            let recipe = RECIPES.iter().find(|recipe| recipe.0 == entry.recipe);
            let (_, text) = recipe.ok_or_else(|| {
                Error::Beyond(<toml::de::Error as de::Error>::custom(format!("no recipe {:?}", entry.recipe)))
            })?;
            Ok(study.seeds(&entry.name, on_all.recipe(text, &entry.set, entry.operations)?, 1, false))
        });
        let smaller = smaller.collect::<Result<_, Error>>()?;
        let whitening = study.list(&file.whitening, &mut Table::new())?.into_iter().map(|group| {
            let runs = group.runs.into_iter().map(|evaluated| Evaluated {
                run: RunConfig { training_sample: Some(SAMPLE), ..evaluated.run },
                details: true,
                ..evaluated
            });
            Group { runs: runs.collect(), ..group }
        });
        Ok(Self {
            ingredients,
            left_out,
            paper: study.list(&file.paper, &mut Table::new())?,
            whitening: whitening.collect(),
            recipes,
            smaller,
            day: on_all.recipe(DAY, &Table::new(), 0.0)?.operations(all)?,
        })
    }
}

#[derive(Clone, Copy)]
struct Maker<'a> {
    data: &'a Dimensions,
    seed: u64,
    quick: bool,
}

impl Maker<'_> {
    /// The groups of a list; leaves the settings of the last one in `settings`.
    fn list(&self, list: &List, settings: &mut Table) -> Result<Vec<Group>, Error> {
        list.runs.iter().map(|entry| self.group(entry, list, settings)).collect()
    }

    fn group(&self, entry: &Entry, list: &List, settings: &mut Table) -> Result<Group, Error> {
        settings.extend(entry.set.clone());
        let run = self.config(settings, entry.operations.unwrap_or(list.operations))?;
        Ok(self.seeds(&entry.name, run, list.seeds, false))
    }

    /// The group of `run` with several seeds. The first one has details if `details`.
    fn seeds(&self, name: &str, run: RunConfig, seeds: u64, details: bool) -> Group {
        let runs = (0..if self.quick { 1 } else { seeds }).map(|i| Evaluated {
            run: RunConfig { seed: self.seed.wrapping_add(i), ..run.clone() },
            details: details && i == 0,
            images: self.quick.then_some(QUICK_IMAGES),
        });
        Group { name: name.to_owned(), runs: runs.collect() }
    }

    /// The run of the recipe `text` with the options `set`, of about `operations` operations unless this is 0.
    fn recipe(&self, text: &str, set: &Table, operations: f64) -> Result<RunConfig, Error> {
        let mut settings: Table = text.parse().map_err(Error::Beyond)?;
        settings.remove("validation");
        settings.extend(set.clone());
        self.config(&settings, operations)
    }

    /// The run with these options of `klayer train`, of about `operations` operations unless this is 0.
    fn config(&self, settings: &Table, operations: f64) -> Result<RunConfig, Error> {
        let mut settings = settings.clone();
        let lambda = settings.remove("lambda");
        let arguments = settings.iter().filter(|(_, value)| **value != Value::Boolean(false));
        let arguments = arguments.map(|(key, value)| match value {
            Value::Boolean(_) => format!("--{key}"),
            Value::String(text) => format!("--{key}={text}"),
            Value::Array(items) => {
                format!("--{key}={}", items.iter().map(Value::to_string).collect::<Vec<_>>().join(","))
            }
            value => format!("--{key}={value}"),
        });
        let command = RunConfig::augment_args(Command::new("run").no_binary_name(true));
        let matches = command.try_get_matches_from(arguments).map_err(Error::Options)?;
        let mut run = RunConfig::from_arg_matches(&matches).map_err(Error::Options)?;
        run.test = true;
        run.lambda = match lambda {
            Some(Value::Float(lambda)) => lambda,
            Some(Value::Integer(0)) => 0.0,
            _ => run.lambda,
        };
        if self.quick {
            run.network.hidden = vec![16; run.network.hidden.0.len()].into();
            run.schedule.epochs = Some(0.05);
        } else if operations > 0.0 {
            run = self.lasting(run, operations)?;
        }
        let points = run.steps(self.data.training) / 20;
        run.validate_every = Some(points.max(1));
        run.check_for(self.data).map_err(Error::from)?;
        Ok(run)
    }

    /// `run` with the whole number of epochs, or of cycles, whose operations are closest to `operations`.
    fn lasting(&self, mut run: RunConfig, operations: f64) -> Result<RunConfig, Error> {
        let times = |run: &RunConfig| Ok::<_, Error>((operations / run.operations(self.data)?).round().max(1.0));
        if run.schedule.kind == ScheduleKind::Cyclical {
            (run.schedule.epochs, run.schedule.cycles) = (None, 1);
            run.schedule.cycles = times(&run)? as u64;
        } else {
            run.schedule.epochs = Some(1.0);
            run.schedule.epochs = Some(times(&run)?);
        }
        Ok(run)
    }
}

/// The normalizations of `runs`, each once.
pub(crate) fn normalizations<'a>(runs: impl IntoIterator<Item = &'a Evaluated>) -> Vec<Normalize> {
    let mut kinds: Vec<Normalize> = Vec::new();
    for kind in runs.into_iter().map(|evaluated| evaluated.run.batch.normalize) {
        if !kinds.contains(&kind) {
            kinds.push(kind);
        }
    }
    kinds
}

#[cfg(test)]
mod tests {
    use klayer_dataset::Shape;

    use super::*;

    fn study(quick: bool) -> Study {
        let data = |training| Dimensions { shape: Shape::CIFAR, classes: 10, training };
        Study::new(&data(45_000), &data(50_000), quick).expect("valid settings")
    }

    #[test]
    fn ablations_differ_in_one_ingredient_and_have_equal_operations() {
        let study = study(false);
        let data = Dimensions { shape: Shape::CIFAR, classes: 10, training: 45_000 };
        for group in study.ingredients[1..].iter().chain(&study.left_out) {
            let operations = group.runs[0].run.operations(&data).expect("a network") / 4e13;
            assert!((operations - 1.0).abs() < 0.1, "{}: {operations}", group.name);
            assert_eq!(group.runs.len(), 2, "{}", group.name);
        }
        let full = &study.ingredients.last().expect("a group").runs[0].run;
        let changed = |name: &str| {
            let group = study.left_out.iter().find(|group| group.name == name).expect("a group");
            group.runs[0].run.clone()
        };
        let gelu = RunConfig { network: changed("GELU instead of the modulus").network, ..full.clone() };
        assert_eq!(gelu.network.activation.to_string(), "gelu");
        assert_eq!(RunConfig { network: full.network.clone(), ..gelu }, *full);
        assert_eq!(RunConfig { lambda: full.lambda, ..changed("no L2 penalty") }, *full);
        assert!(!changed("no flips and shifts").augment.flip && full.augment.flip);
    }

    #[test]
    fn recipes_have_their_own_settings_and_seeds() {
        let recipes = study(false).recipes;
        assert_eq!(recipes.iter().map(|group| group.runs.len()).collect::<Vec<_>>(), [5, 5, 2]);
        assert!(recipes[2].runs[0].details && !recipes[2].runs[1].details);
        assert_eq!(recipes[2].runs[0].run.seed, 42);
        assert!(study(true).recipes.iter().all(|group| group.runs.len() == 1));
    }
}
