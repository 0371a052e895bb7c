//! `cargo xtask report --beyond`: the chapter "Beyond the paper".

use std::collections::BTreeMap;
use std::time::Instant;

use klayer_cli::{DataArgs, Interrupt, Progress, Terminal, Watchers};
use klayer_dataset::{Dataset, Dimensions, Options, Shape};
use klayer_experiments::runs::{Job as _, run_all};
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

/// The chapter, before it is run.
pub(crate) struct Chapter<'a> {
    pub(crate) quick: bool,
    pub(crate) threads: usize,
    pub(crate) data: &'a DataArgs,
    pub(crate) store: &'a Store,
}

/// A section: its key and title, its groups, and whether each of its runs uses all threads.
type Section<'a> = (&'static str, &'static str, &'a [Group], bool);

impl Chapter<'_> {
    /// Trains the missing runs. Returns the name of the manifest's record, and the files.
    pub(crate) fn run(
        &self,
        terminal: &Terminal,
        interrupt: &Interrupt,
        watchers: &Watchers,
    ) -> Result<(String, Vec<render::File>), Error> {
        let load = |validation: Option<usize>| -> Result<Dataset, Error> {
            let options = Options { validation, seed: 42, ..Options::default() };
            Ok(self.data.load_or_generate(&root(), options, terminal, interrupt)?)
        };
        let part = load(None)?;
        let manifest = Manifest {
            quick: self.quick,
            dataset: DatasetInfo::of(&part),
            all: DatasetInfo::of(&load(Some(0))?),
            classes: part.class_names().to_vec(),
            environment: Environment::here(self.threads),
            seconds: BTreeMap::new(),
        };
        let study = study_of(&manifest)?;
        let name = format!("beyond-{}", key("beyond", &self.quick, &manifest.dataset.sha256)?);
        let old = self.store.get::<Manifest>(&name)?.map_or(BTreeMap::new(), |old| old.seconds);
        let mut manifest = Manifest { seconds: old, ..manifest };

        let mut data = Data::new(part);
        let sections: [Section<'_>; 4] = [
            ("ingredients", "Ingredients", &study.ingredients, false),
            ("left out", "Ingredients left out", &study.left_out, false),
            ("paper", "The paper's settings", &study.paper, true),
            ("whitening", "Whitening", &study.whitening, false),
        ];
        let recipes: [Section<'_>; 1] = [("recipes", "Recipes", &study.recipes, true)];
        let work = |sections: &[Section<'_>], data: &Data| -> Result<u64, Error> {
            let runs = sections.iter().flat_map(|section| section.2).flat_map(|group| &group.runs);
            Ok(runs.map(|run| run.work(data)).sum::<Result<u64, _>>()?)
        };
        let whole = work(&sections, &data)? + work(&recipes, &data)?;
        let progress = Progress::new(terminal, interrupt, watchers, whole);
        for section in sections {
            self.section(section, &mut data, &progress, (&name, &mut manifest))?;
        }
        drop(data);
        let mut data = Data::new(load(Some(0))?);
        self.section(recipes[0], &mut data, &progress, (&name, &mut manifest))?;
        drop(progress);
        Ok((name.clone(), files(&name, self.store)?))
    }

    /// Trains the runs of a section, and adds its seconds to the manifest with this name.
    fn section(
        &self,
        (id, title, groups, alone): Section<'_>,
        data: &mut Data,
        progress: &Progress<'_>,
        (name, manifest): (&str, &mut Manifest),
    ) -> Result<(), Error> {
        let runs: Vec<(&str, &Evaluated)> =
            groups.iter().flat_map(|group| group.runs.iter().map(|run| (group.name.as_str(), run))).collect();
        for normalize in normalizations(runs.iter().map(|run| run.1)) {
            let chosen: Vec<_> = runs.iter().filter(|run| run.1.run.batch.normalize == normalize).collect();
            data.normalize(normalize).map_err(klayer_experiments::Error::from)?;
            // One job at a time uses all threads.
            for chosen in chosen.chunks(if alone { 1 } else { chosen.len() }) {
                let names = chosen.iter().map(|(name, run)| format!("{name}, seed {}", run.run.seed));
                let section = progress.section(title, names.collect(), 1.0);
                let jobs: Vec<Evaluated> = chosen.iter().map(|run| run.1.clone()).collect();
                let start = Instant::now();
                let records = run_all(&jobs, data, self.store, self.threads, &section);
                if section.made() {
                    *manifest.seconds.entry(id.to_owned()).or_default() += start.elapsed().as_secs_f64();
                }
                self.store.put(name, manifest)?;
                records?;
            }
        }
        Ok(())
    }
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
