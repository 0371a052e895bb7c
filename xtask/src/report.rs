//! `cargo xtask report`: trains the missing runs, and renders tables, figures and pages from the records.

use std::collections::BTreeMap;
use std::io::{Write, stdout};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};
use klayer_cli::{DataArgs, Interrupt, Progress, Terminal, WatchArgs, parse_seconds};
use klayer_dataset::Options;
use klayer_experiments::runs::{Job, run_all};
use klayer_experiments::search::best;
use klayer_store::{Store, key};
use klayer_train::{Data, Init, RunConfig, checkpoint};

use crate::assemble::{Manifest, assemble};
use crate::chapter::{self, Chapter, Part};
use crate::error::Error;
use crate::paper::Paper;
use crate::publish;
use crate::render;
use crate::results::{DatasetInfo, Environment};
use crate::root::root;
use crate::study::Study;

/// The options of `cargo xtask report`.
#[derive(Debug, Args)]
pub(crate) struct ReportArgs {
    /// Folder for the report [default: report/ in the checkout]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Root seed of all runs
    #[arg(long, default_value_t = 42)]
    seed: u64,
    /// Run a short form of every experiment to test the pipeline; its figures are not results
    #[arg(long)]
    quick: bool,
    /// Run only this section; the page also shows the sections of earlier runs
    #[arg(long, value_enum, value_name = "SECTION")]
    only: Option<Section>,
    /// Make the chapter "Beyond the paper" instead, in report/beyond/; takes hours
    ///
    /// Trains the recipes of klayer train --recipe, and compares their ingredients. With PART, only this part is run; the
    /// page also shows the parts of earlier runs.
    #[arg(long, value_enum, value_name = "PART", num_args = 0..=1, require_equals = true,
        conflicts_with_all = ["only", "seed"])]
    beyond: Option<Option<Part>>,
    /// Number of threads to train on [default: all cores]
    #[arg(long)]
    threads: Option<usize>,
    /// Interval between checkpoints, in addition to one per cycle [default: 30]
    #[arg(long, value_name = "SECONDS", value_parser = parse_seconds)]
    checkpoint_every: Option<Duration>,
    /// Train nothing; render from the records and fail if a file would change
    #[arg(
        long,
        conflicts_with_all = ["quick", "only", "seed", "threads", "checkpoint_every", "data", "synthetic", "offline"]
    )]
    check: bool,
    #[command(flatten)]
    data: DataArgs,
    #[command(flatten)]
    watch: WatchArgs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Section {
    /// 3.1: analytic against numerical gradients
    Gradients,
    /// 3.2: loss with and without batch norm
    Loss,
    /// 3.3: coarse search for lambda
    Coarse,
    /// 3.4: fine search for lambda
    Fine,
    /// 3.5: final evaluation; runs the fine search first if its records are missing
    Final,
    /// 3.6: sensitivity to the initial weights
    Sensitivity,
}

/// Work to check one parameter's gradient, in update steps.
const STEPS_PER_PARAMETER: f64 = 0.1;

impl ReportArgs {
    pub(crate) fn run(self, interrupt: &Interrupt) -> Result<(), Error> {
        let paper = Paper::embedded().map_err(Error::Paper)?;
        let folder = root().join(if self.beyond.is_some() { "report/beyond" } else { "report" });
        let out = self.out.clone().unwrap_or(folder);
        let last = publish::last(&out, if self.beyond.is_some() { "beyond-" } else { "study-" });
        if self.check {
            if let Some(Some(_)) = self.beyond {
                return Err(Error::CheckedPart);
            }
            let (store, study) = last?;
            let files =
                if self.beyond.is_some() { chapter::files(&study, &store)? } else { rendered(&study, &paper, &store)? };
            publish::check(&files, &out)?;
            return writeln!(stdout(), "{} files match the records", files.len()).map_err(Error::Output);
        }
        match last {
            Ok(_) | Err(Error::NoReport { .. }) => {}
            Err(error) => return Err(error),
        }
        let terminal = Terminal::default();
        let watchers = self.watch.open("klayer report", &terminal)?;
        let every = self.checkpoint_every.unwrap_or(checkpoint::EVERY);
        let store = || Store::open(out.join("records")).map(|store| store.checkpoint_every(every));
        let threads = self.threads.unwrap_or_else(|| thread::available_parallelism().map_or(1, usize::from)).max(1);
        let start = Instant::now();
        if let Some(only) = self.beyond {
            let chapter = Chapter::new(&self.data, self.quick, threads, &terminal, interrupt)?;
            let store = store()?;
            let (study, files) = chapter.run(only, &store, &terminal, interrupt, &watchers)?;
            return self.publish(study, files, &store, &out, start);
        }
        let options = Options { seed: self.seed, ..Options::default() };
        let data = Data::new(self.data.load_or_generate(&root(), options, &terminal, interrupt)?);
        let store = store()?;
        let study_key = format!("study-{}", key("study", &(self.quick, self.seed), data.dataset.sha256())?);
        let manifest = manifest(&study_key, self.quick, self.seed, threads, &data, &store)?;
        let study = Study::new(&paper, self.seed, self.quick);
        let sections: Vec<Section> = match self.only {
            Some(Section::Final) => vec![Section::Fine, Section::Final],
            Some(section) => vec![section],
            None => Section::value_variants().to_vec(),
        };
        let mut pipeline = Pipeline {
            progress: Progress::new(&terminal, interrupt, &watchers, work(&study, &sections, &data, &paper)?),
            study,
            paper: &paper,
            data: &data,
            store: &store,
            threads,
            study_key: study_key.clone(),
            manifest,
            chosen: None,
        };
        for section in sections {
            pipeline.section(section, self.only)?;
        }
        drop(pipeline);
        let files = rendered(&study_key, &paper, &store)?;
        self.publish(study_key, files, &store, &out, start)
    }

    /// Writes the files, and prints where they are.
    fn publish(
        &self,
        study: String,
        files: Vec<render::File>,
        store: &Store,
        out: &Path,
        start: Instant,
    ) -> Result<(), Error> {
        let written = publish::write(study, files, store, out)?;
        let page = out.join("index.html");
        let note = if self.quick { "the pipeline ran, but its figures are not the study's results; " } else { "" };
        let seconds = start.elapsed().as_secs_f64();
        let line = format!("{note}wrote {written} files in {seconds:.0} s; the report is {}", page.display());
        writeln!(stdout(), "{line}").map_err(Error::Output)
    }
}

/// The manifest of this report, with the seconds of earlier starts.
fn manifest(key: &str, quick: bool, seed: u64, threads: usize, data: &Data, store: &Store) -> Result<Manifest, Error> {
    let new = Manifest {
        quick,
        seed,
        dataset: DatasetInfo::of(&data.dataset),
        classes: data.dataset.class_names().to_vec(),
        environment: Environment::here(threads),
        seconds: BTreeMap::new(),
    };
    let old = store.get::<Manifest>(key)?;
    Ok(Manifest { seconds: old.map_or(BTreeMap::new(), |old| old.seconds), ..new })
}

/// Work of `sections`, in update steps.
fn work(study: &Study<'_>, sections: &[Section], data: &Data, paper: &Paper) -> Result<u64, Error> {
    let images = data.dataset.training().len();
    let steps = |runs: &[RunConfig]| runs.iter().map(|run| run.steps(images)).sum::<u64>();
    let lambda = paper.final_.lambda;
    let mut work = 0;
    for section in sections {
        work += match section {
            Section::Gradients => {
                let parameters =
                    study.gradients().iter().map(|(_, config)| config.work(data)).sum::<Result<u64, _>>()?;
                (parameters as f64 * STEPS_PER_PARAMETER) as u64
            }
            Section::Loss => study.loss()?.iter().map(|(_, run)| run.steps(images)).sum(),
            Section::Coarse => steps(&study.coarse()?),
            Section::Fine => steps(&study.fine()?) + steps(&study.noise(lambda)?),
            Section::Final => 2 * steps(&study.finals(lambda)?),
            Section::Sensitivity => study.sensitivity()?.iter().map(|(_, _, runs)| steps(runs)).sum(),
        };
    }
    Ok(work)
}

/// Runs the sections in order.
struct Pipeline<'a> {
    study: Study<'a>,
    paper: &'a Paper,
    data: &'a Data,
    store: &'a Store,
    threads: usize,
    progress: Progress<'a>,
    /// Name of the record of the manifest.
    study_key: String,
    manifest: Manifest,
    /// The best lambda of the fine search; `None` before the search, or if all its runs diverged.
    chosen: Option<f64>,
}

impl Pipeline<'_> {
    fn section(&mut self, section: Section, only: Option<Section>) -> Result<(), Error> {
        let lambda_names = |runs: &[RunConfig]| runs.iter().map(|run| format!("lambda {:.2e}", run.lambda)).collect();
        let seed_names = |runs: &[RunConfig]| runs.iter().map(|run| format!("seed {}", run.seed)).collect();
        let with = |batch_norm| if batch_norm { "with" } else { "without" };
        match section {
            Section::Gradients => {
                let (networks, configs): (Vec<_>, Vec<_>) = self.study.gradients().into_iter().unzip();
                let names = networks
                    .iter()
                    .zip(&configs)
                    .map(|((name, _), config)| format!("{name} {} BN", with(config.network.batch_norm)));
                self.runs("gradients", "3.1 Gradients", names.collect(), STEPS_PER_PARAMETER, &configs)?;
            }
            Section::Loss => {
                let (networks, runs): (Vec<_>, Vec<_>) = self.study.loss()?.into_iter().unzip();
                let names = networks
                    .iter()
                    .zip(&runs)
                    .map(|((name, _), run)| format!("{name} {} BN", with(run.network.batch_norm)));
                self.runs("loss", "3.2 Loss", names.collect(), 1.0, &runs)?;
            }
            Section::Coarse => {
                let runs = self.study.coarse()?;
                self.runs("coarse", "3.3 Coarse search", lambda_names(&runs), 1.0, &runs)?;
            }
            Section::Fine => {
                let runs = self.study.fine()?;
                let records = self.runs("fine", "3.4 Fine search", lambda_names(&runs), 1.0, &runs)?;
                self.chosen = best(&records).map(|record| record.config.lambda);
                if let Some(lambda) = self.chosen.filter(|_| only != Some(Section::Final)) {
                    let runs = self.study.noise(lambda)?;
                    self.runs("fine", "3.4 Fine search, noise", seed_names(&runs), 1.0, &runs)?;
                }
            }
            Section::Final => {
                let lambdas = self.chosen.into_iter().chain([self.paper.final_.lambda]);
                let runs: Vec<_> = lambdas.map(|lambda| self.study.finals(lambda)).collect::<Result<_, _>>()?;
                let runs = runs.concat();
                let names = runs.iter().map(|run| format!("lambda {:.2e} seed {}", run.lambda, run.seed));
                self.runs("final", "3.5 Final evaluation", names.collect(), 1.0, &runs)?;
            }
            Section::Sensitivity => {
                let groups = self.study.sensitivity()?;
                let runs: Vec<_> = groups.into_iter().flat_map(|(_, _, runs)| runs).collect();
                let name = |run: &RunConfig| match run.network.init {
                    Init::Normal { sigma } => format!("sigma {sigma} {} BN", with(run.network.batch_norm)),
                    _ => with(run.network.batch_norm).to_owned(),
                };
                self.runs("sensitivity", "3.6 Sensitivity", runs.iter().map(name).collect(), 1.0, &runs)?;
            }
        }
        Ok(())
    }

    /// Runs `jobs` and adds the elapsed seconds to the manifest.
    fn runs<J: Job>(
        &mut self,
        id: &str,
        title: &str,
        names: Vec<String>,
        weight: f64,
        jobs: &[J],
    ) -> Result<Vec<J::Record>, Error> {
        let section = self.progress.section(title, names, weight);
        let start = Instant::now();
        let records = run_all(jobs, self.data, self.store, self.threads, &section);
        if section.made() {
            *self.manifest.seconds.entry(id.to_owned()).or_default() += start.elapsed().as_secs_f64();
        }
        self.store.put(&self.study_key, &self.manifest)?;
        Ok(records?)
    }
}

/// Renders every file of the report from its records.
fn rendered(study: &str, paper: &Paper, store: &Store) -> Result<Vec<render::File>, Error> {
    let manifest: Manifest = store.get(study)?.ok_or_else(|| Error::NoReport { path: store.folder().into() })?;
    let results = assemble(&manifest, paper, store)?;
    let mut files = render::render(&results, paper).map_err(Error::Render)?;
    files.push(publish::results(&results)?);
    Ok(files)
}
