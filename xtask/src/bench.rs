//! `cargo xtask bench`: the speed of training against the processor's peak rate of multiply-adds.

use std::env::temp_dir;
use std::fmt::Write as _;
use std::fs;
use std::io::{Write as _, stdout};
use std::path::PathBuf;
use std::thread;
use std::time::Instant;

use clap::Args;
use klayer_cli::{DataArgs, Interrupt, Terminal};
use klayer_dataset::Dimensions;
use klayer_experiments::RunsObserver;
use klayer_experiments::runs::{run_all, train};
use klayer_experiments::search::log_uniform;
use klayer_linalg::peak::multiply_adds;
use klayer_store::{Store, files};
use klayer_train::{BatchConfig, Data, Environment, NetworkConfig, Observer, Par, Run, RunConfig, ScheduleConfig};

use crate::error::Error;
use crate::measurements::{Bench, Row};
use crate::render;
use crate::root::root;

/// The options of `cargo xtask bench`.
#[derive(Debug, Args)]
pub(crate) struct BenchArgs {
    /// Folder for bench.json and the figures [default: bench/ in the checkout]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Number of times to repeat each measurement; the table shows medians
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..))]
    rounds: u64,
    /// Run a short form to test the benchmark; its figures are not results
    #[arg(long)]
    quick: bool,
    #[command(flatten)]
    data: DataArgs,
}

/// Cancels a run when the user interrupts the task.
struct Watch<'a>(&'a Interrupt);

impl Observer for Watch<'_> {
    fn cancelled(&self) -> bool {
        self.0.requested()
    }
}

impl RunsObserver for Watch<'_> {
    fn started(&self, _: usize, _: u64) -> Box<dyn Observer + '_> {
        Box::new(Watch(self.0))
    }
}

impl BenchArgs {
    pub(crate) fn run(self, interrupt: &Interrupt) -> Result<(), Error> {
        let terminal = Terminal::default();
        let out = self.out.clone().unwrap_or_else(|| root().join("bench"));
        let data = Data::new(self.data.load(&root(), 42, &terminal, interrupt)?);
        let cores = thread::available_parallelism().map_or(1, usize::from);
        let mut bench = Bench {
            environment: Environment::here(cores),
            synthetic: data.dataset.synthetic(),
            quick: self.quick,
            rows: rows(cores, self.quick, &data.dataset.dimensions(), data.dataset.validation().len())
                .map_err(Error::from)?,
        };
        for round in 1..=self.rounds {
            for i in 0..bench.rows.len() {
                let row = &bench.rows[i];
                terminal.now_and_then(|| format!("round {round} of {}: {} {}", self.rounds, row.group, row.value));
                // Measured next to each run, because the machine's speed varies over minutes.
                let peak = peak();
                let seconds = row.measure(&data, interrupt).map_err(Error::of_bench)?;
                bench.rows[i].peak.push(peak);
                bench.rows[i].seconds.push(seconds);
            }
        }
        for row in &mut bench.rows {
            let part = |(seconds, peak): (&f64, &f64)| row.operations / seconds / (peak * row.threads as f64);
            row.of_peak = median(row.seconds.iter().zip(&row.peak).map(part).collect());
            row.steps_per_second = (row.steps * row.trials as u64) as f64 / median(row.seconds.clone());
        }
        fs::create_dir_all(&out).map_err(|error| Error::Folder { path: out.clone(), error })?;
        let mut json = serde_json::to_string_pretty(&bench).map_err(Error::Json)?;
        json.push('\n');
        files::write(&out.join("bench.json"), json.as_bytes())?;
        for file in render::bench_figures(&bench) {
            files::write(&out.join(file.path), file.contents.as_bytes())?;
        }
        stdout().write_all(table(&bench).as_bytes()).map_err(Error::Output)
    }
}

/// The rows to measure: a short form of the reference job for each number of threads, the 9-layer network, and the
/// reference job with one setting varied at a time.
fn rows(cores: usize, quick: bool, data: &Dimensions, validation: usize) -> Result<Vec<Row>, klayer_train::Error> {
    let reference = |group, value| Row {
        group,
        value,
        hidden: vec![50, 50],
        batch: 100,
        threads: 1,
        trials: 1,
        steps: 0,
        validate_every: if quick { 20 } else { 450 },
        operations: 0.0,
        seconds: Vec::new(),
        peak: Vec::new(),
        steps_per_second: 0.0,
        of_peak: 0.0,
    };
    let mut threads: Vec<usize> = (0..).map(|i| 1 << i).take_while(|&threads| threads < cores).collect();
    threads.push(cores);
    let mut rows: Vec<Row> =
        threads.into_iter().map(|threads| Row { threads, ..reference("threads", threads) }).collect();
    let nine = vec![50, 30, 20, 20, 10, 10, 10, 10];
    rows.push(Row { hidden: nine, ..reference("9-layer network", 9) });
    rows.extend(
        [10, 20, 50, 100, 200, 500, 1000].map(|width| Row { hidden: vec![width; 2], ..reference("width", width) }),
    );
    rows.extend([2, 3, 5, 9, 18].map(|depth| Row { hidden: vec![50; depth - 1], ..reference("depth", depth) }));
    rows.extend([10, 32, 100, 320, 500, 1000].map(|batch| Row { batch, ..reference("batch", batch) }));
    rows.extend([1, 2, 4, 8, 16, 20].map(|trials| Row { threads: cores, trials, ..reference("trials", trials) }));
    let epoch = if quick { 4 } else { 90 };
    let wide = |threads| Row {
        hidden: vec![2048, 1024, 512],
        batch: 500,
        threads,
        validate_every: epoch,
        ..reference("wide layers, threads", threads)
    };
    rows.extend([1, cores].map(wide));
    for row in &mut rows {
        // Wide layers and large mini-batches need fewer steps for a reliable measurement. Rows of the trials axis all
        // have the same number of steps, so that the fixed cost of a trial has the same weight in each.
        let most = if row.group == "trials" { 2 } else { 5 };
        let size = row.hidden[0].max(50) * row.batch.max(100);
        let validations = if quick { 1 } else { (5 * 5000 / size).clamp(1, most) };
        row.steps = row.validate_every * validations as u64;
        row.operations = row.trials as f64 * operations(&row.config(0.005), data, validation)?;
    }
    Ok(rows)
}

/// Operations of the matrix products of a run: its update steps, and its validations on `validation` images.
fn operations(run: &RunConfig, data: &Dimensions, validation: usize) -> Result<f64, klayer_train::Error> {
    let architecture = run.network.architecture(data.shape.features(), data.classes)?;
    let forward: usize = architecture.layers().map(|(inputs, outputs)| inputs * outputs).sum();
    let validations = run.steps(data.training).div_ceil(run.validate_every.unwrap_or(run.epoch(data.training)));
    Ok(run.operations(data)? + 2.0 * (forward * validation) as f64 * validations as f64)
}

impl Row {
    /// The settings of a trial.
    fn config(&self, lambda: f64) -> RunConfig {
        RunConfig {
            network: NetworkConfig { hidden: self.hidden.clone().into(), ..NetworkConfig::default() },
            lambda,
            schedule: ScheduleConfig { n_s: self.steps / 2, cycles: 1, ..ScheduleConfig::default() },
            batch: BatchConfig { size: self.batch, ..BatchConfig::default() },
            validate_every: Some(self.validate_every),
            ..RunConfig::default()
        }
    }

    /// Seconds of the training loop with its validations; in the trials group, of a whole search with its store.
    fn measure(&self, data: &Data, interrupt: &Interrupt) -> Result<f64, Error> {
        if self.group == "trials" {
            let lambdas = log_uniform(42, "bench", 1e-5, 1e-1, self.trials)?;
            let configs: Vec<_> = lambdas.into_iter().map(|lambda| self.config(lambda)).collect();
            let folder = tempfile::tempdir().map_err(|error| Error::Folder { path: temp_dir(), error })?;
            let store = Store::open(folder.path())?;
            let start = Instant::now();
            let records = run_all(&configs, data, &store, self.threads, &Watch(interrupt))?;
            let seconds = start.elapsed().as_secs_f64();
            return self.of_whole_runs(records.iter().all(|record| record.diverged.is_none()), seconds);
        }
        let par = Par::threads(self.threads).map_err(klayer_train::Error::from)?;
        let (config, observer) = (&self.config(0.005), &Watch(interrupt));
        let trained = train(&Run { config, observer, checkpoints: None, metrics: None }, data, &par)?;
        self.of_whole_runs(trained.diverged.is_none(), trained.seconds)
    }

    /// `seconds`, or an error if a run diverged before its last step.
    fn of_whole_runs(&self, whole: bool, seconds: f64) -> Result<f64, Error> {
        if whole { Ok(seconds) } else { Err(Error::BenchDiverged { group: self.group, value: self.value }) }
    }
}

/// Peak operations per second of one core, measured with multiply-adds for some milliseconds.
fn peak() -> f64 {
    let rounds = || {
        let start = Instant::now();
        let operations = multiply_adds::<f32>(500_000);
        operations as f64 / start.elapsed().as_secs_f64()
    };
    median((0..9).map(|_| rounds()).collect())
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len() % 2 == 1 { values[middle] } else { (values[middle - 1] + values[middle]) / 2.0 }
}

/// The table, as Markdown.
fn table(bench: &Bench) -> String {
    let mut text = format!(
        "{}, {} cores; peak of one core in f32: {:.0} GFLOP/s\n\n",
        bench.environment.processor,
        bench.environment.cores,
        median(bench.rows.iter().flat_map(|row| &row.peak).copied().collect()) / 1e9
    );
    for stamp in render::stamps(bench.quick, bench.synthetic) {
        let _ = writeln!(text, "{stamp}\n");
    }
    text.push_str("|  | hidden | batch | threads | trials | steps/s | ms/step | GFLOP/s | of the peak |\n");
    text.push_str("| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n");
    for row in &bench.rows {
        let hidden = match row.hidden.as_slice() {
            [width, .., last] if row.hidden.len() > 4 && width == last => format!("{width} x {}", row.hidden.len()),
            widths => widths.iter().map(usize::to_string).collect::<Vec<_>>().join("-"),
        };
        let _ = writeln!(
            text,
            "| {} {} | {hidden} | {} | {} | {} | {:.0} | {:.3} | {:.0} | {:.0}% |",
            row.group,
            row.value,
            row.batch,
            row.threads,
            row.trials,
            row.steps_per_second,
            1e3 / row.steps_per_second,
            row.operations / median(row.seconds.clone()) / 1e9,
            100.0 * row.of_peak
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use klayer_dataset::Shape;

    use super::*;
    use crate::measurements::AXES;

    #[test]
    fn operations_count_all_products_and_runs_have_the_counted_steps() {
        let data = Dimensions { shape: Shape::CIFAR, classes: 10, training: 45_000 };
        let rows = rows(2, false, &data, 5_000).expect("valid settings");
        // A step: forward and weight gradient of 3072 x 50, and three products each of 50 x 50 and 50 x 10.
        let step = 200.0 * (2.0 * 153_600.0 + 3.0 * 2_500.0 + 3.0 * 500.0);
        let validation = 10_000.0 * (153_600.0 + 2_500.0 + 500.0);
        assert_eq!(rows[0].operations, 2250.0 * step + 5.0 * validation);
        let twenty = rows.iter().rfind(|row| row.trials > 1).expect("a row");
        assert_eq!((twenty.trials, twenty.operations), (20, 20.0 * (900.0 * step + 2.0 * validation)));
        for row in &rows {
            let run = row.config(0.005);
            assert_eq!((run.steps(45_000), row.steps % row.validate_every), (row.steps, 0), "{row:?}");
        }
        let of = |group| rows.iter().filter(|row| row.group == group).map(|row| row.value).collect::<Vec<_>>();
        assert_eq!(AXES.map(|(axis, _)| of(axis).len()), [2, 7, 5, 6, 6]);
    }
}
