//! The tables as CSV with every digit.
//!
//! Every row begins with the columns `form` ("full" or the stamp of the quick form) and `dataset` (its name, or the
//! stamp of the synthetic stand-in), so that each row states where it comes from. The quick form leaves `holds` empty.

use super::finals::classes;
use super::format::{csv, csv_number};
use crate::results::{Finding, LossRun, Noise, Point, Results, Search};

/// A field: a number with all its digits, or text.
trait Field {
    fn field(&self) -> String;
}

impl Field for f64 {
    fn field(&self) -> String {
        csv_number(*self)
    }
}

impl Field for str {
    fn field(&self) -> String {
        csv(self)
    }
}

impl Field for String {
    fn field(&self) -> String {
        csv(self)
    }
}

impl<T: Field + ?Sized> Field for &T {
    fn field(&self) -> String {
        (*self).field()
    }
}

impl<T: Field> Field for Option<T> {
    fn field(&self) -> String {
        self.as_ref().map(Field::field).unwrap_or_default()
    }
}

macro_rules! whole {
    ($($number:ty),*) => {
        $(impl Field for $number { fn field(&self) -> String { self.to_string() } })*
    };
}
whole!(u64, usize, bool);

type Fields = Vec<String>;

macro_rules! fields {
    ($($value:expr),* $(,)?) => { vec![$($value.field()),*] };
}

/// The path and the contents of every table that has rows.
pub(super) fn tables(results: &Results) -> Vec<(String, String)> {
    let tables = [
        ("findings", FINDINGS, findings(results)),
        ("gradients", GRADIENTS, gradients(results)),
        ("loss", LOSS, loss(results)),
        ("coarse", TRIALS, results.coarse.as_ref().map(trials).unwrap_or_default()),
        ("fine", TRIALS, results.fine.as_ref().map(trials).unwrap_or_default()),
        ("noise", NOISE, noise(results)),
        ("final", FINAL, finals(results)),
        ("confusion", CONFUSION, confusion(results)),
        ("per_class", PER_CLASS, per_class(results)),
        ("sensitivity", SENSITIVITY, sensitivity(results)),
        ("sensitivity_curves", CURVES, curves(results)),
    ];
    let form = if results.quick { super::QUICK } else { "full" };
    let dataset = if results.dataset.synthetic { super::SYNTHETIC } else { &results.dataset.name };
    let mark = format!("{},{}", csv(form), csv(dataset));
    let write = |(name, header, rows): (&str, &str, Vec<Fields>)| {
        let mut text = format!("form,dataset,{header}\n");
        for row in &rows {
            text += &format!("{mark},{}\n", row.join(","));
        }
        (!rows.is_empty()).then(|| (format!("tables/{name}.csv"), text))
    };
    tables.into_iter().filter_map(write).collect()
}

const FINDINGS: &str = "id,claim,measure,value,holds";
fn findings(results: &Results) -> Vec<Fields> {
    let holds = |f: &Finding| f.holds.filter(|_| !results.quick);
    results.findings.iter().map(|f| fields![f.id, f.claim, f.measure, f.value, holds(f)]).collect()
}

const GRADIENTS: &str = "network,batch_norm,lambda,layer,parameter,checked,kinks,sum_numerical,sum_analytic,sum_error,\
                         max_relative_error,max_absolute_error,images,step,floor";
fn gradients(results: &Results) -> Vec<Fields> {
    let check = results.gradient_check.as_ref();
    let row = |r: &crate::results::GradientRow| {
        fields![
            r.network,
            r.batch_norm,
            r.lambda,
            r.layer,
            r.parameter,
            r.checked,
            r.kinks,
            r.sum_numerical,
            r.sum_analytic,
            r.sum_error,
            r.max_relative_error,
            r.max_absolute_error,
            check.map(|c| c.images),
            check.map(|c| c.step),
            check.map(|c| c.floor),
        ]
    };
    results.gradients.iter().map(row).collect()
}

fn point(p: &Point) -> Fields {
    fields![p.step, p.training_loss, p.training_cost, p.validation_loss, p.validation_cost, p.validation_accuracy]
}

const LOSS: &str = "network,batch_norm,lambda,step,training_loss,training_cost,validation_loss,validation_cost,\
                    validation_accuracy";
fn loss(results: &Results) -> Vec<Fields> {
    let row = |r: &LossRun, p| [fields![r.network, r.batch_norm, r.lambda], point(p)].concat();
    results.loss.iter().flat_map(|r| r.curve.iter().map(move |p| row(r, p))).collect()
}

const TRIALS: &str = "trial,lambda,seed,cycles,validation_accuracy";
fn trials(search: &Search) -> Vec<Fields> {
    let row = |(i, t): (usize, &crate::results::Trial)| {
        fields![i + 1, t.lambda, t.seed, search.cycles, t.validation_accuracy]
    };
    search.trials.iter().enumerate().map(row).collect()
}

const NOISE: &str = "search,lambda,seed,validation_accuracy,mean,std";
fn noise(results: &Results) -> Vec<Fields> {
    let rows = |name: &'static str, n: &Noise| -> Vec<Fields> {
        let run = |(seed, a): (&u64, &f64)| fields![name, n.lambda, seed, a, n.mean, n.std];
        n.seeds.iter().zip(&n.validation_accuracy).map(run).collect()
    };
    let searches = [("coarse", &results.coarse), ("fine", &results.fine)];
    searches.into_iter().filter_map(|(name, s)| Some(rows(name, s.as_ref()?.noise.as_ref()?))).flatten().collect()
}

const FINAL: &str = "lambda,origin,cycles,seed,test_accuracy,mean,std";
fn finals(results: &Results) -> Vec<Fields> {
    let runs = results.finals.iter().flat_map(|f| f.seeds.iter().zip(&f.test_accuracy).map(move |run| (f, run)));
    runs.map(|(f, (seed, a))| fields![f.lambda, f.origin, f.cycles, seed, a, f.mean, f.std]).collect()
}

const CONFUSION: &str = "lambda,origin,seed,true_class,predicted_class,images";
fn confusion(results: &Results) -> Vec<Fields> {
    let mut rows = Vec::new();
    for (f, c) in results.finals.iter().filter_map(|f| Some((f, f.confusion.as_ref()?))) {
        for (class, counts) in c.classes.iter().zip(&c.counts) {
            let cell = |(guess, n): (&String, &u64)| fields![f.lambda, f.origin, c.seed, class, guess, n];
            rows.extend(c.classes.iter().zip(counts).map(cell));
        }
    }
    rows
}

const PER_CLASS: &str = "lambda,origin,seed,class,images,correct,accuracy";
fn per_class(results: &Results) -> Vec<Fields> {
    let all = results.finals.iter().filter_map(|f| Some((f, f.confusion.as_ref()?)));
    all.flat_map(|(f, c)| {
        classes(c).map(move |k| fields![f.lambda, f.origin, c.seed, k.class, k.images, k.correct, k.accuracy])
    })
    .collect()
}

const SENSITIVITY: &str = "sigma,batch_norm,lambda,seed,final_training_loss,final_validation_loss,\
                           final_validation_accuracy";
fn sensitivity(results: &Results) -> Vec<Fields> {
    let mut rows = Vec::new();
    for r in &results.sensitivity {
        for (i, seed) in r.seeds.iter().enumerate() {
            let (training, validation) = (r.final_training_loss[i], r.final_validation_loss[i]);
            let accuracy = r.final_validation_accuracy[i];
            rows.push(fields![r.sigma, r.batch_norm, r.lambda, seed, training, validation, accuracy]);
        }
    }
    rows
}

const CURVES: &str = "sigma,batch_norm,lambda,seed,step,training_loss,training_cost,validation_loss,validation_cost,\
                      validation_accuracy";
fn curves(results: &Results) -> Vec<Fields> {
    let mut rows = Vec::new();
    for r in &results.sensitivity {
        for (seed, curve) in r.seeds.iter().zip(&r.curves) {
            rows.extend(curve.iter().map(|p| [fields![r.sigma, r.batch_norm, r.lambda, seed], point(p)].concat()));
        }
    }
    rows
}
