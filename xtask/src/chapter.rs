//! `cargo xtask report --beyond`: the chapter "Beyond the paper".

use clap::ValueEnum;
use klayer_cli::{DataArgs, Interrupt, Progress, Terminal, Watchers};
use klayer_dataset::{Dataset, Dimensions, Options, Shape};
use klayer_experiments::runs::{run_all, run_one_by_one};
use klayer_store::{Store, key};
use klayer_train::Data;

use crate::beyond::evaluated::Evaluated;
use crate::beyond::results::{Manifest, Results};
use crate::beyond::study::{Group, Study, normalizations};
use crate::error::Error;
use crate::publish;
use crate::render;
use crate::results::{DatasetInfo, Environment};
use crate::root::root;

/// A part of the chapter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Part {
    /// The recipes of klayer train --recipe, over several seeds
    Recipes,
    /// The recipes with narrower layers and fewer operations
    Smaller,
    /// From the paper's network to the best, one ingredient at a time
    Ingredients,
    /// The best without each of its ingredients
    LeftOut,
    /// The paper's settings with more operations
    Paper,
    /// Whitening with and without flips and shifts
    Whitening,
}

/// The chapter, before it is run.
pub(crate) struct Chapter {
    /// The images with validation images.
    part: Dataset,
    /// The same images, all for training.
    all: Dataset,
    manifest: Manifest,
}

impl Part {
    fn title(self) -> &'static str {
        match self {
            Self::Recipes => "recipes",
            Self::Smaller => "smaller recipes",
            Self::Ingredients => "ingredients",
            Self::LeftOut => "left out",
            Self::Paper => "the paper's settings",
            Self::Whitening => "whitening",
        }
    }

    fn groups(self, study: &Study) -> &[Group] {
        match self {
            Self::Recipes => &study.recipes,
            Self::Smaller => &study.smaller,
            Self::Ingredients => &study.ingredients,
            Self::LeftOut => &study.left_out,
            Self::Paper => &study.paper,
            Self::Whitening => &study.whitening,
        }
    }

    /// Whether its runs train one after the other, each on all threads: they are few and long, or timed.
    fn one_by_one(self) -> bool {
        matches!(self, Self::Recipes | Self::Smaller | Self::Paper)
    }

    /// Whether its runs train on all training images.
    fn on_all(self) -> bool {
        matches!(self, Self::Recipes | Self::Smaller)
    }
}

impl Chapter {
    /// Loads the images, or generates them if CIFAR-10 is not found.
    pub(crate) fn new(
        data: &DataArgs,
        quick: bool,
        threads: usize,
        terminal: &Terminal,
        interrupt: &Interrupt,
    ) -> Result<Self, Error> {
        let load = |validation| {
            let options = Options { validation, ..Options::default() };
            data.load_or_generate(&root(), options, terminal, interrupt)
        };
        let (part, all) = (load(None)?, load(Some(0))?);
        let manifest = Manifest {
            quick,
            dataset: DatasetInfo::of(&part),
            all: DatasetInfo::of(&all),
            classes: part.class_names().to_vec(),
            environment: Environment::here(threads),
        };
        Ok(Self { part, all, manifest })
    }

    /// Trains the missing runs, or those of one part. Returns the name of the manifest's record, and the files.
    pub(crate) fn run(
        self,
        only: Option<Part>,
        store: &Store,
        terminal: &Terminal,
        interrupt: &Interrupt,
        watchers: &Watchers,
    ) -> Result<(String, Vec<render::File>), Error> {
        let Self { part, all, manifest } = self;
        let study = study_of(&manifest)?;
        let name = format!("beyond-{}", key("beyond", &manifest.quick, &manifest.dataset.sha256)?);
        store.put(&name, &manifest)?;

        let parts = Part::value_variants().iter().copied().filter(|part| only.is_none_or(|only| only == *part));
        let (on_all, others): (Vec<Part>, Vec<Part>) = parts.partition(|part| part.on_all());
        let images = |part: Part| if part.on_all() { &manifest.all } else { &manifest.dataset }.training;
        let runs = |part: &Part| {
            let groups = part.groups(&study).iter();
            let steps = groups.flat_map(|group| &group.runs).map(|evaluated| evaluated.run.steps(images(*part)));
            steps.sum::<u64>()
        };
        let work = on_all.iter().chain(&others).map(runs).sum();
        let progress = Progress::new(terminal, interrupt, watchers, work);
        for (parts, dataset) in [(on_all, all), (others, part)] {
            if parts.is_empty() {
                continue;
            }
            let mut data = Data::new(dataset);
            for part in parts {
                train(part.groups(&study), part, &mut data, store, &progress, manifest.environment.threads)?;
            }
        }
        drop(progress);
        let files = files(&name, store)?;
        Ok((name, files))
    }
}

/// Trains the missing runs of a part.
fn train(
    groups: &[Group],
    part: Part,
    data: &mut Data,
    store: &Store,
    progress: &Progress<'_>,
    threads: usize,
) -> Result<(), Error> {
    let runs: Vec<(&str, &Evaluated)> =
        groups.iter().flat_map(|group| group.runs.iter().map(|run| (group.name.as_str(), run))).collect();
    for normalize in normalizations(runs.iter().map(|run| run.1)) {
        let chosen: Vec<_> = runs.iter().filter(|run| run.1.run.batch.normalize == normalize).collect();
        data.normalize(normalize).map_err(klayer_experiments::Error::from)?;
        let names = chosen.iter().map(|(name, run)| format!("{name}, seed {}", run.run.seed));
        let section = progress.section(part.title(), names.collect(), 1.0);
        let jobs: Vec<Evaluated> = chosen.iter().map(|run| run.1.clone()).collect();
        if part.one_by_one() {
            run_one_by_one(&jobs, data, store, threads, &section)?;
        } else {
            run_all(&jobs, data, store, threads, &section)?;
        }
    }
    Ok(())
}

fn study_of(manifest: &Manifest) -> Result<Study, Error> {
    let dimensions = |data: &DatasetInfo| Dimensions {
        shape: Shape::CIFAR,
        classes: manifest.classes.len(),
        training: data.training,
    };
    Study::new(&dimensions(&manifest.dataset), &dimensions(&manifest.all), manifest.quick)
}

/// The files of the chapter with the manifest `name`, from its records.
pub(crate) fn files(name: &str, store: &Store) -> Result<Vec<render::File>, Error> {
    let manifest: Manifest = store.get(name)?.ok_or_else(|| Error::NoReport { path: store.folder().into() })?;
    let study = study_of(&manifest)?;
    let results = Results::new(manifest, &study, store)?;
    let mut files = render::beyond(&results).map_err(Error::Render)?;
    files.push(publish::results(&results)?);
    Ok(files)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;

    use klayer_store::Recorded as _;

    use super::*;
    use crate::render::tests::assert_committed;

    /// The committed page is made from the committed results.
    #[test]
    fn the_committed_chapter_is_up_to_date() {
        let folder = root().join("docs/beyond");
        let results = fs::read(folder.join("results.json")).expect("results");
        let results: Results = serde_json::from_slice(&results).expect("results");
        assert_committed(&render::beyond(&results).expect("a page"), &folder);
    }

    /// The committed results are those of the committed records, and each record is used.
    #[test]
    fn the_committed_results_are_those_of_the_records() {
        let folder = root().join("docs/beyond");
        let (store, name) = publish::last(&folder, "beyond-").expect("records");
        let manifest: Manifest = store.get(&name).expect("a readable record").expect("a manifest");
        if manifest.environment.version != env!("CARGO_PKG_VERSION") {
            // The names of records contain the version, so this version finds none.
            return;
        }
        let study = study_of(&manifest).expect("valid settings");
        let results = Results::new(manifest.clone(), &study, &store).expect("results");
        let results = publish::results(&results).expect("JSON");
        publish::check(&[results], &folder).expect("run `cargo xtask report --beyond --out docs/beyond`");
        let mut used = BTreeSet::from([name, "rendered".to_owned()]);
        for part in Part::value_variants() {
            let data = if part.on_all() { &manifest.all } else { &manifest.dataset };
            let runs = part.groups(&study).iter().flat_map(|group| &group.runs);
            used.extend(runs.map(|run| run.key(&data.sha256).expect("a key")));
        }
        for entry in fs::read_dir(store.folder()).expect("a folder") {
            let path = entry.expect("an entry").path();
            let key = path.file_stem().expect("a name").to_string_lossy();
            let record = path.extension().is_some_and(|extension| extension == "json");
            assert!(!record || used.contains(&*key), "{} is no longer used: delete it", path.display());
        }
    }
}
