use std::ffi::OsString;
use std::fmt::Write as _;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use clap::Args;
use klayer_cli::{Interrupt, Progress, Terminal, WatchArgs, parse_seconds};
use klayer_experiments::runs::run_all;
use klayer_experiments::search::{log_uniform, ranks};
use klayer_store::{Recorded, Store, files};
use klayer_train::record::RunRecord;
use klayer_train::{Data, RunConfig, checkpoint, parse_count};
use serde_json::json;

use crate::Error;
use crate::config::ConfigArgs;
use crate::dataset_args::DatasetArgs;
use crate::run_args::{Settings, ThreadArgs};
use crate::slurm::{self, SlurmArgs};

/// Options of `klayer search`.
#[derive(Debug, Args)]
#[command(mut_arg("seed", |seed| seed.help("Seed of the lambdas, the initial weights and the order of the images")))]
#[command(after_help = "Examples:\n  \
    klayer search --store trials --cycles 2              run 20 trials and print the table\n  \
    klayer search --store trials --cycles 2 --shard 1/4  run the first of four shards\n  \
    klayer search --store trials --cycles 2 --collect    print the table of all shards\n  \
    klayer search --store trials --cycles 2 --slurm --shards 4 --wait\n\n\
    Any number of processes can share a store, with or without --shard; each trial runs once.")]
pub(crate) struct SearchArgs {
    #[command(flatten)]
    pub(crate) trials: TrialArgs,
    /// Folder of the records, which processes and machines can share
    ///
    /// Finished trials in it do not run again. The metrics of each trial are written to KEY.metrics.jsonl, a line of
    /// JSON for each validation.
    #[arg(long, value_name = "DIR")]
    pub(crate) store: PathBuf,
    /// Run only shard I of N, counted from 1
    #[arg(long, value_name = "I/N", conflicts_with = "collect")]
    shard: Option<Shard>,
    /// Run no trials; print the table, or list the missing trials and fail
    #[arg(long, conflicts_with_all = ["watch", "tensorboard"])]
    collect: bool,
    #[command(flatten)]
    threads: ThreadArgs,
    /// Seconds between checkpoints of a running trial [default: 30]
    ///
    /// A checkpoint is also written after each cycle.
    #[arg(long, value_name = "SECONDS", value_parser = parse_seconds)]
    checkpoint_every: Option<Duration>,
    #[command(flatten)]
    _config: ConfigArgs,
    /// Print the result as one line of JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    data: DatasetArgs,
    #[command(flatten)]
    slurm: SlurmArgs,
    #[command(flatten)]
    watch: WatchArgs,
}

/// Options that determine the trials.
#[derive(Debug, Clone, Args)]
pub(crate) struct TrialArgs {
    /// Smallest lambda
    #[arg(long, value_name = "LAMBDA", default_value_t = 1e-5)]
    from: f64,
    /// Largest lambda
    #[arg(long, value_name = "LAMBDA", default_value_t = 1e-1)]
    to: f64,
    /// Number of lambdas to draw, log-uniformly
    ///
    /// With a larger number, the first lambdas stay the same.
    #[arg(long, default_value_t = 20, value_parser = parse_count::<usize>)]
    trials: usize,
    #[command(flatten)]
    run: Settings<RunConfig>,
}

/// Shard `index` of `of`, counted from 1.
#[derive(Debug, Clone, Copy)]
struct Shard {
    index: usize,
    of: usize,
}

impl FromStr for Shard {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let numbers = text.split_once('/').and_then(|(index, of)| Some((index.parse().ok()?, of.parse().ok()?)));
        match numbers {
            Some((index, of)) if (1..=of).contains(&index) => Ok(Self { index, of }),
            _ => Err("expected I/N with I from 1 to N, as in 1/4".to_owned()),
        }
    }
}

impl TrialArgs {
    /// The configurations of all trials in order; an error if the settings are invalid.
    fn configs(&self) -> Result<Vec<RunConfig>, klayer_experiments::Error> {
        let setting = |name, value: String, needed: &str| {
            Err(klayer_train::Error::Setting { name, value, needed: needed.to_owned() }.into())
        };
        if !(self.from.is_normal() && self.from > 0.0) {
            return setting("the smallest lambda", self.from.to_string(), "it must be greater than 0");
        }
        if !(self.to.is_finite() && self.to >= self.from) {
            return setting("the largest lambda", self.to.to_string(), "it must be finite and not below the smallest");
        }
        if self.trials == 0 {
            return setting("the number of trials", "0".to_owned(), "it must be at least 1");
        }
        let lambdas = log_uniform(self.run.config.seed, "search", self.from, self.to, self.trials)?;
        self.run.config.check()?;
        Ok(lambdas.into_iter().map(|lambda| RunConfig { lambda, ..self.run.config.clone() }).collect())
    }

    /// The options as command-line arguments that give the same trials.
    fn arguments(&self) -> Vec<String> {
        let own =
            [("--from", self.from.to_string()), ("--to", self.to.to_string()), ("--trials", self.trials.to_string())];
        let own = own.into_iter().flat_map(|(switch, value)| [switch.to_owned(), value]);
        own.chain(self.run.arguments()).collect()
    }
}

impl SearchArgs {
    /// Validates the settings as far as possible without the images.
    pub(crate) fn check(&self) -> Result<(), Error> {
        self.threads.check()?;
        files::probe_folder(&self.store)?;
        self.trials.configs()?;
        if let Some(dimensions) = self.data.dimensions() {
            self.trials.run.config.check_for(&dimensions)?;
        }
        Ok(())
    }

    pub(crate) fn run(self, terminal: &Terminal, interrupt: &Interrupt) -> Result<(), Error> {
        self.check()?;
        if self.collect && !self.store.is_dir() {
            return Err(Error::NoStore { path: self.store });
        }
        if self.slurm.requested() {
            slurm::check()?;
        }
        let data = match self.data.load(self.trials.run.config.seed, terminal, interrupt) {
            Err(Error::Dataset(klayer_dataset::Error::Cancelled)) => {
                return Err(Error::SearchStopped { store: self.store });
            }
            data => Data::normalized(data?, self.trials.run.config.batch.normalize)?,
        };
        if data.dataset.validation().is_empty() {
            return Err(Error::NoValidation);
        }
        let configs = self.trials.configs()?;
        self.trials.run.config.check_for(&data.dataset.dimensions())?;
        let every = self.checkpoint_every.unwrap_or(checkpoint::EVERY);
        let store = Store::open(&self.store)?.checkpoint_every(every);
        let records = if self.slurm.requested() && missing(&configs, &data, &store)? > 0 {
            let search = self.arguments(&data, &store)?;
            let array = self.slurm.submit(store.folder(), &search, &self.own_arguments())?;
            if !self.slurm.wait() {
                return io::stdout().write_all(array.submitted(self.json).as_bytes()).map_err(Error::Output);
            }
            let finished = || Ok(configs.len() - missing(&configs, &data, &store)?);
            array.wait(configs.len(), finished, terminal, interrupt)?;
            collect(&configs, &data, &store)?
        } else if self.collect || self.slurm.requested() {
            collect(&configs, &data, &store)?
        } else {
            self.make(&configs, &data, &store, terminal, interrupt)?
        };
        let report = match (self.shard, self.json) {
            (Some(Shard { index, of }), false) => format!(
                "shard {index} of {of}: {} of {} trials finished; use --collect in place of --shard to print the table\n",
                records.len(),
                configs.len()
            ),
            (None, false) => table(&records, data.dataset.synthetic()),
            (shard, true) => json_line(&records, shard, data.dataset.synthetic()),
        };
        io::stdout().write_all(report.as_bytes()).map_err(Error::Output)
    }

    /// Arguments that give the same trials, images and store in any working directory.
    fn arguments(&self, data: &Data, store: &Store) -> Result<Vec<OsString>, Error> {
        let absolute = |path: &Path| fs::canonicalize(path).map_err(|error| Error::Path { path: path.into(), error });
        let mut arguments = vec!["search".into(), "--store".into(), absolute(store.folder())?.into()];
        if data.dataset.synthetic() {
            arguments.push("--synthetic".into());
        } else {
            let place = self.data.place().or(data.dataset.folder()).expect("real images lie in a folder");
            arguments.extend(["--data".into(), absolute(place)?.into()]);
        }
        arguments.extend(self.data.arguments(&data.dataset).into_iter().map(OsString::from));
        arguments.extend(self.trials.arguments().into_iter().map(OsString::from));
        Ok(arguments)
    }

    /// Arguments that affect how trials run but not their results.
    fn own_arguments(&self) -> Vec<OsString> {
        let seconds = self.checkpoint_every.map(|every| every.as_secs_f64().to_string());
        let threads = self.threads.threads.map(|threads| threads.to_string());
        let given = [("--threads", threads), ("--checkpoint-every", seconds)];
        given.into_iter().filter_map(|(switch, value)| Some([switch.into(), value?.into()])).flatten().collect()
    }

    /// Runs the trials of the shard, or all trials.
    fn make(
        &self,
        configs: &[RunConfig],
        data: &Data,
        store: &Store,
        terminal: &Terminal,
        interrupt: &Interrupt,
    ) -> Result<Vec<RunRecord>, Error> {
        let Shard { index, of } = self.shard.unwrap_or(Shard { index: 1, of: 1 });
        let mine: Vec<_> = configs.iter().skip(index - 1).step_by(of).cloned().collect();
        let watchers = self.watch.open("klayer search", terminal)?;
        let progress = Progress::new(
            terminal,
            interrupt,
            &watchers,
            mine.iter().map(|config| config.steps(data.dataset.training().len())).sum(),
        );
        // Numbered as in the table, since two lambdas may be printed with the same digits.
        let name = |(i, config): (usize, &RunConfig)| format!("trial {} lambda {:.2e}", index + i * of, config.lambda);
        let names = mine.iter().enumerate().map(name).collect();
        let section = progress.section("search for lambda", names, 1.0);
        match run_all(&mine, data, store, self.threads.count(), &section) {
            Err(klayer_experiments::Error::Cancelled) => Err(Error::SearchStopped { store: self.store.clone() }),
            records => Ok(records?),
        }
    }
}

/// Number of trials without a record.
fn missing(configs: &[RunConfig], data: &Data, store: &Store) -> Result<usize, Error> {
    let mut missing = 0;
    for config in configs {
        missing += usize::from(!store.path(&config.key(data.dataset.sha256())?).exists());
    }
    Ok(missing)
}

/// The records of all trials; an error if any is missing.
fn collect(configs: &[RunConfig], data: &Data, store: &Store) -> Result<Vec<RunRecord>, Error> {
    let (mut records, mut missing) = (Vec::new(), Vec::new());
    for (index, config) in configs.iter().enumerate() {
        let key = config.key(data.dataset.sha256())?;
        match store.record::<RunConfig>(&key)? {
            Some(record) => records.push(record),
            None => missing.push(format!("trial {} (lambda {:.3e}, {key}.json)", index + 1, config.lambda)),
        }
    }
    if missing.is_empty() { Ok(records) } else { Err(Error::Unfinished { missing, trials: configs.len() }) }
}

/// The trials sorted by rank; diverged trials have no rank and come last.
fn table(records: &[RunRecord], synthetic: bool) -> String {
    let ranks = ranks(records);
    let mut order: Vec<_> = (0..records.len()).collect();
    order.sort_by_key(|&i| (ranks[i].is_none(), ranks[i], i));
    let mut text = "rank  trial    lambda     validation\n".to_owned();
    for i in order {
        let RunRecord { config, diverged, .. } = &records[i];
        let (rank, lambda) = (ranks[i].map_or("-".to_owned(), |rank| rank.to_string()), config.lambda);
        let result = match (records[i].last(), diverged) {
            (Some(point), _) => {
                point.validation_accuracy.map_or("-".to_owned(), |accuracy| format!("{:.2}%", 100.0 * accuracy))
            }
            (None, Some(diverged)) => format!("diverged at step {}", diverged.step),
            (None, None) => "-".to_owned(),
        };
        let _ = writeln!(text, "{rank:>4}  {:>5}  {lambda:>9.3e}  {result:>10}", i + 1);
    }
    if synthetic {
        text.push_str("on generated images, not CIFAR-10\n");
    }
    text
}

/// The trials in order. With a shard they have no rank, which is relative to all trials.
fn json_line(records: &[RunRecord], shard: Option<Shard>, synthetic: bool) -> String {
    let ranks = if shard.is_some() { vec![None; records.len()] } else { ranks(records) };
    let Shard { index, of } = shard.unwrap_or(Shard { index: 1, of: 1 });
    let trials: Vec<_> = records
        .iter()
        .zip(ranks)
        .enumerate()
        .map(|(i, (record, rank))| {
            json!({
                "trial": index + i * of,
                "lambda": record.config.lambda,
                "rank": rank,
                "val_acc": record.last().and_then(|point| point.validation_accuracy),
                "val_loss": record.last().and_then(|point| point.validation_loss),
                "diverged": record.diverged,
            })
        })
        .collect();
    format!("{}\n", json!({ "synthetic": synthetic, "trials": trials }))
}

#[cfg(test)]
mod tests {
    use clap::{ArgMatches, Command, FromArgMatches};

    use super::*;
    use crate::config::settable;

    #[test]
    fn generated_arguments_parse_to_the_same_options() {
        let parse = |options: &[String]| {
            let search = TrialArgs::augment_args(Command::new("search"));
            let words = ["klayer", "search"].map(str::to_owned).into_iter().chain(options.iter().cloned());
            let matches = settable(Command::new("klayer").subcommand(search)).get_matches_from(words);
            let search = matches.subcommand().map(|(_, matches): (_, &ArgMatches)| matches).expect("it is given");
            TrialArgs::from_arg_matches(search).expect("valid options")
        };
        let one = "--from 3e-7 --to 0.1 --trials 7 --hidden none --no-bn --sigma 0.001 --cycles 3 --n-s 9 \
                   --eta-min 1e-9 --eta-max 0.30000000000000004 --batch 11 --validate-every 13 --seed 17";
        let other = "--hidden 30,20 --activation modulus,gelu --dropout 0.1 --sigma he-lecun --schedule cosine \
                     --epochs 2.5 --warmup 0.2 --normalize whiten=0.5 --label-smoothing 0.1 --flip --shift 2 \
                     --momentum 0.9 --nesterov";
        for options in ["", one, other] {
            let options: Vec<_> = options.split_whitespace().map(str::to_owned).collect();
            let once = parse(&options);
            assert_eq!(format!("{:?}", parse(&once.arguments())), format!("{once:?}"));
            let names = options.iter().filter(|option| option.starts_with("--"));
            assert!(names.into_iter().all(|name| once.arguments().contains(name)), "{options:?}");
        }
    }

    #[test]
    fn shards_are_numbered_from_one() {
        assert!(matches!("2/3".parse(), Ok(Shard { index: 2, of: 3 })));
        for text in ["0/3", "4/3", "1", "1/", "/1", "a/b", "-1/3", "1/0", ""] {
            assert!(text.parse::<Shard>().is_err(), "{text}");
        }
    }
}
