//! The runs of the chapter "Beyond the paper", from `data/beyond.toml`.

use std::collections::BTreeMap;

use clap::{Args, Command, FromArgMatches};
use klayer_dataset::{Dimensions, Normalize};
use klayer_train::{RunConfig, ScheduleKind};
use serde::{Deserialize, Serialize, de};
use toml::{Table, Value};

use super::evaluated::Evaluated;
use crate::error::Error;

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
    published: Vec<Published>,
    whitening: List,
    /// Number of seeds of each recipe.
    recipes: BTreeMap<Recipe, u64>,
}

/// A recipe of `klayer train` that is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Recipe {
    Minute,
    Quarter,
    Hour,
}

impl Recipe {
    /// Its name and its settings.
    fn text(self) -> (&'static str, &'static str) {
        match self {
            Self::Minute => ("minute", include_str!("../../../crates/klayer/recipes/minute.toml")),
            Self::Quarter => ("quarter", include_str!("../../../crates/klayer/recipes/quarter.toml")),
            Self::Hour => ("hour", include_str!("../../../crates/klayer/recipes/hour.toml")),
        }
    }
}

/// A published test accuracy of a fully connected network.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Published {
    pub(crate) accuracy: f64,
    pub(crate) source: String,
    /// Its name in a figure.
    pub(crate) label: String,
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
    recipe: Recipe,
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
    pub(crate) published: Vec<Published>,
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
        for (recipe, seeds) in file.recipes {
            let (name, text) = recipe.text();
            let run = on_all.recipe(text, &Table::new(), 0.0)?;
            recipes.push(study.seeds(name, run, seeds, recipe == Recipe::Hour));
        }
        let smaller = file.smaller.iter().map(|entry| {
            let (_, text) = entry.recipe.text();
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
            published: file.published,
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
        // All images are used for training here.
        if settings.remove("validation") != Some(Value::Integer(0)) {
            return Err(Error::Beyond(<toml::de::Error as de::Error>::custom("validation must be 0")));
        }
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
            None => run.lambda,
            Some(Value::Float(lambda)) => lambda,
            Some(Value::Integer(lambda)) => lambda as f64,
            Some(other) => {
                let text = format!("lambda must be a number, not {other}");
                return Err(Error::Beyond(<toml::de::Error as de::Error>::custom(text)));
            }
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
    use std::collections::BTreeSet;

    use klayer_dataset::Shape;

    use super::*;

    fn study(quick: bool) -> Study {
        let data = |training| Dimensions { shape: Shape::CIFAR, classes: 10, training };
        Study::new(&data(45_000), &data(50_000), quick).expect("valid settings")
    }

    /// Names of the settings in which two runs differ, besides their length.
    fn differing(a: &RunConfig, b: &RunConfig) -> Vec<String> {
        let settings = |run: &RunConfig| {
            let run = RunConfig { validate_every: None, ..run.clone() };
            let mut settings: BTreeMap<String, serde_json::Value> =
                serde_json::from_value(serde_json::to_value(run).expect("JSON")).expect("a table");
            for length in ["epochs", "cycles"] {
                settings.remove(length);
            }
            settings
        };
        let (a, b) = (settings(a), settings(b));
        let names: BTreeSet<_> = a.keys().chain(b.keys()).collect();
        names.into_iter().filter(|name| a.get(*name) != b.get(*name)).cloned().collect()
    }

    #[test]
    fn ablations_change_one_ingredient_at_equal_operations() {
        let study = study(false);
        let data = Dimensions { shape: Shape::CIFAR, classes: 10, training: 45_000 };
        let full = &study.ingredients.last().expect("a group").runs[0].run;
        assert_eq!(differing(full, &study.recipes[1].runs[0].run), [""; 0], "the settings of quarter");
        let added = study.ingredients.windows(2).map(|pair| differing(&pair[0].runs[0].run, &pair[1].runs[0].run));
        let added: Vec<_> = added.map(|names| names.join(" ")).collect();
        let expected = [
            "",
            "hidden",
            "batch",
            "normalize",
            "init",
            "lambda",
            "schedule",
            "momentum nesterov",
            "flip shift",
            "label_smoothing",
            "normalize",
            "activation",
            "activation",
        ];
        assert_eq!(added, expected);
        let changed: Vec<_> =
            study.left_out.iter().map(|group| differing(full, &group.runs[0].run).join(" ")).collect();
        let expected = [
            "eta_max schedule",
            "momentum nesterov",
            "flip shift",
            "label_smoothing",
            "normalize",
            "activation",
            "activation",
            "batch_norm",
            "lambda",
            "hidden",
            "",
        ];
        assert_eq!(changed, expected);
        let (short, others) = study.left_out.split_last().expect("groups");
        assert_eq!(short.runs[0].run.schedule.epochs, Some(6.0));
        for group in study.ingredients[1..].iter().chain(others) {
            let operations = group.runs[0].run.operations(&data).expect("a network") / 4e13;
            assert!((operations - 1.0).abs() < 0.1, "{}: {operations}", group.name);
            assert_eq!(group.runs.len(), 2, "{}", group.name);
        }
    }

    #[test]
    fn only_the_first_run_of_hour_has_details() {
        let recipes = study(false).recipes;
        let details: Vec<_> = recipes.iter().flat_map(|group| &group.runs).map(|run| run.details).collect();
        assert_eq!(details.iter().filter(|details| **details).count(), 1);
        assert!(recipes[2].runs[0].details && recipes[2].runs[0].run.seed == 42);
        assert!(study(true).recipes.iter().all(|group| group.runs.len() == 1));
    }
}
