//! The page of the chapter "Beyond the paper".

use std::collections::BTreeSet;

use super::bars::{self, Bar, CLASSES};
use super::document::{Block, Document, Figure, Kind, Row as Cells, Table, Text};
use super::format::{fixed, plural, seconds, significant};
use super::{File, files, heatmap, stamps, tiles};
use crate::beyond::results::{Results, Row, Trained};
use crate::beyond::study::Published;
use crate::results::Confusion;
use klayer_chart::{Mark, Panel, Scale, Swatch};
use klayer_experiments::statistics::{deviation, mean};

/// An accuracy of a run.
type Accuracy = fn(&Trained) -> Option<f64>;

/// Renders the files of the chapter.
pub(crate) fn beyond(results: &Results) -> Result<Vec<File>, super::Error> {
    let mut figures = Figures(0);
    let blocks = [
        opening(results),
        recipes(results),
        ingredients(results, &mut figures),
        operations(results, &mut figures),
        whitening(results, &mut figures),
        mistakes(results, &mut figures),
        provenance(results),
    ];
    let document = Document {
        title: "Beyond the paper".into(),
        stamps: stamps(results.manifest.quick, results.manifest.dataset.synthetic),
        blocks: blocks.into_iter().flatten().collect(),
    };
    files(&document)
}

/// Numbers the figures.
struct Figures(u32);

impl Figures {
    fn block(
        &mut self,
        name: &str,
        caption: &str,
        legend: Vec<(Swatch, String)>,
        panels: Vec<klayer_chart::Drawing>,
    ) -> Block {
        self.0 += 1;
        let label = format!("Figure {}", self.0);
        Block::Figure(Figure { name: name.into(), label, caption: caption.into(), legend, panels })
    }
}

fn values(row: &Row, accuracy: Accuracy) -> Vec<f64> {
    row.runs.iter().filter_map(accuracy).collect()
}

fn percent(value: f64) -> String {
    fixed(100.0 * value, 2)
}

/// The values of all runs; `None` if one of them has none, for example because it diverged.
fn all_values(row: &Row, accuracy: Accuracy) -> Option<Vec<f64>> {
    row.runs.iter().map(accuracy).collect::<Option<Vec<_>>>().filter(|values| !values.is_empty())
}

/// The mean with the sample standard deviation over the runs, in percent, unless a run diverged.
fn average(row: &Row, accuracy: Accuracy) -> Option<String> {
    let values = all_values(row, accuracy)?;
    match values[..] {
        [one] => Some(percent(one)),
        _ => Some(format!("{} ± {}", percent(mean(&values)), percent(deviation(&values)))),
    }
}

/// All values, in percent.
fn every(row: &Row, accuracy: Accuracy) -> Text {
    let value = |run: &Trained| match accuracy(run) {
        None if run.diverged => Some("diverged".to_owned()),
        value => value.map(percent),
    };
    let values: Vec<_> = row.runs.iter().filter_map(value).collect();
    if values.is_empty() { "–".into() } else { values.join(", ").into() }
}

/// The shortest and the longest training time.
fn times(row: &Row) -> String {
    let mut times: Vec<f64> = row.runs.iter().map(|run| run.seconds).collect();
    times.sort_by(f64::total_cmp);
    match times[..] {
        [] => "–".into(),
        [one] => seconds(one),
        [least, .., most] => format!("{} to {}", seconds(least), seconds(most)),
    }
}

/// The number of threads of the runs, in words.
fn threads(rows: &[Row]) -> String {
    let threads: BTreeSet<usize> = rows.iter().flat_map(|row| &row.runs).map(|run| run.threads).collect();
    match Vec::from_iter(threads)[..] {
        [one] => plural(one, "thread"),
        ref several => format!("{} threads", several.iter().map(usize::to_string).collect::<Vec<_>>().join(" or ")),
    }
}

fn joined<'a>(names: impl Iterator<Item = &'a String>) -> String {
    names.map(String::as_str).collect::<Vec<_>>().join(", ")
}

const TEST: Accuracy = |run| run.test;
const TEST_VIEWS: Accuracy = |run| run.test_views;

fn opening(results: &Results) -> Vec<Block> {
    let mut blocks = vec![Block::text(
        "How far does a fully connected network get on CIFAR-10 with the methods that came after the paper? This \
         chapter trains the recipes of klayer train --recipe, adds their ingredients to the paper’s network one at a \
         time, and leaves them out one at a time. Settings were chosen by validation accuracy, as docs/methods.md \
         describes; the test images were not used to choose any setting. “18 views” is the mean of the probabilities \
         over 18 views of an image: mirrored or not, and shifted by -2, 0 and 2 pixels in both directions.",
    )];
    let best = results.recipes.last().filter(|_| !results.manifest.quick);
    if let Some((best, one, views)) = best.and_then(|row| Some((row, average(row, TEST)?, average(row, TEST_VIEWS)?))) {
        blocks.push(Block::Text(
            Text::from(format!("The recipe {} classifies ", best.name))
                .strong(format!("{one}%"))
                .plain(" of the test images correctly, and ")
                .strong(format!("{views}%"))
                .plain(format!(" over 18 views ({}).", plural(best.runs.len(), "run"))),
        ));
    }
    blocks
}

/// A section whose rows are missing.
fn not_run(title: &str) -> Vec<Block> {
    vec![Block::Heading(2, title.into()), Block::NotRun]
}

fn recipes(results: &Results) -> Vec<Block> {
    let title = "Recipes";
    if results.recipes.is_empty() {
        return not_run(title);
    }
    let row = |row: &Row| {
        Cells::cells([
            Text::new().code(&row.name),
            row.hidden.as_str().into(),
            row.steps.to_string().into(),
            significant(row.operations, 2).into(),
            times(row).into(),
            joined(row.processors.iter()).into(),
            every(row, TEST),
            Text::new().strong(average(row, TEST).unwrap_or_default()),
            every(row, TEST_VIEWS),
            Text::new().strong(average(row, TEST_VIEWS).unwrap_or_default()),
        ])
    };
    let columns = [
        ("Recipe", Kind::Words),
        ("Hidden layers", Kind::Words),
        ("Steps", Kind::Number),
        ("Operations", Kind::Number),
        ("Training time", Kind::Number),
        ("Processor", Kind::Words),
        ("Test, every run", Kind::Number),
        ("Test, mean", Kind::Number),
        ("18 views, every run", Kind::Number),
        ("18 views, mean", Kind::Number),
    ];
    let caption = format!(
        "Test accuracy of the recipes in percent, one run per seed: mean ± sample standard deviation. All training \
         images are used for training. The time is that of the training loop on {}, from the fastest run to the \
         slowest; the runs may be from different machines.",
        threads(&results.recipes)
    );
    let mut blocks = vec![
        Block::Heading(2, title.into()),
        Table::block(caption, columns, results.recipes.iter().map(row).collect()),
    ];
    blocks.extend(forecast(results).filter(|_| !results.manifest.quick));
    blocks
}

/// The accuracy to expect from the recipe `day`, in words, once the others have been run.
fn forecast(results: &Results) -> Option<Block> {
    let [first, a, b] = &results.recipes[..] else { return None };
    let of = |row: &Row| Some((row.operations, 1.0 - mean_of_views(row)?));
    let (before, _) = extrapolate(of(first)?, of(a)?, results.day);
    let (power, error) = extrapolate(of(a)?, of(b)?, results.day);
    let speeds = b.runs.iter().map(|run| b.operations / run.seconds);
    let (slowest, fastest) = speeds.fold((f64::MAX, 0.0), |(least, most), speed| (speed.min(least), speed.max(most)));
    Some(Block::Text(Text::from("The recipe ").code("day").plain(format!(
        " takes {} operations and was not run; at the speed of the runs of {}, it takes {} to {}. From {} to {}, the \
         error over 18 views changes as operations^{}, from {} to {} as operations^{}. If it continues with the second \
         power, day reaches {}%; if the curve flattens further, less.",
        significant(results.day, 2),
        b.name,
        seconds(results.day / fastest),
        seconds(results.day / slowest),
        first.name,
        a.name,
        fixed(before, 3),
        a.name,
        b.name,
        fixed(power, 3),
        fixed(100.0 * (1.0 - error), 1),
    ))))
}

/// The power of the power law through two points, and its value at `x`.
fn extrapolate(a: (f64, f64), b: (f64, f64), x: f64) -> (f64, f64) {
    let power = (b.1 / a.1).ln() / (b.0 / a.0).ln();
    (power, b.1 * (x / b.0).powf(power))
}

fn ingredients(results: &Results, figures: &mut Figures) -> Vec<Block> {
    fn named(row: &Row) -> (&str, &Row) {
        (&row.name, row)
    }
    let (added, without) = (&results.ingredients, &results.left_out);
    let mut blocks = comparison(
        "Ingredients",
        "ingredients",
        "From the paper’s network to the settings of the recipe quarter, with fewer operations: each row adds its \
         ingredient to those above it.",
        added.iter().map(named).collect(),
        figures,
    );
    blocks.extend(largest_gain(added).filter(|_| !results.manifest.quick));
    let full = added.last().filter(|_| !without.is_empty());
    blocks.extend(comparison(
        "Ingredients left out",
        "left-out",
        "The last row of the table above, and the same settings without one ingredient.",
        full.into_iter().map(|row| ("all ingredients", row)).chain(without.iter().map(named)).collect(),
        figures,
    ));
    blocks.extend(full.and_then(|full| largest_loss(full, without)).filter(|_| !results.manifest.quick));
    blocks
}

/// A section that compares rows: a figure and a table.
fn comparison(title: &str, name: &str, caption: &str, rows: Vec<(&str, &Row)>, figures: &mut Figures) -> Vec<Block> {
    if rows.is_empty() {
        return not_run(title);
    }
    let bar =
        |&(name, row): &(&str, &Row)| Bar { name: name.into(), values: [values(row, TEST), values(row, TEST_VIEWS)] };
    let bars: Vec<Bar> = rows.iter().map(bar).collect();
    let least = bars.iter().flat_map(|bar| bar.values.iter().flatten()).fold(1.0, |least: f64, &v| least.min(v));
    let from = (10.0 * least - 0.5).floor().max(0.0) / 10.0;
    let heading = format!("Test accuracy, from {}%", fixed(100.0 * from, 0));
    let drawing = bars::draw(&heading, caption.to_owned(), from, &bars);
    let cells = rows.iter().map(|&(name, row)| {
        Cells::cells([
            name.into(),
            significant(row.operations, 2).into(),
            every(row, |run| run.validation),
            every(row, |run| run.validation_views),
            every(row, TEST),
            every(row, TEST_VIEWS),
        ])
    });
    let columns = [
        ("Ingredient", Kind::Words),
        ("Operations", Kind::Number),
        ("Validation", Kind::Number),
        ("Validation, 18 views", Kind::Number),
        ("Test", Kind::Number),
        ("Test, 18 views", Kind::Number),
    ];
    vec![
        Block::Heading(2, title.into()),
        figures.block(name, caption, legend(), vec![drawing]),
        Table::block("Accuracy of every run, in percent.", columns, cells.collect()),
    ]
}

/// The mean accuracy over 18 views, unless a run diverged.
fn mean_of_views(row: &Row) -> Option<f64> {
    all_values(row, TEST_VIEWS).map(|values| mean(&values))
}

/// The ingredient that adds most, in words.
fn largest_gain(rows: &[Row]) -> Option<Block> {
    let pairs = rows.windows(2);
    let gains = pairs.filter_map(|pair| Some((mean_of_views(&pair[1])? - mean_of_views(&pair[0])?, &pair[1])));
    let (most, row) = gains.max_by(|a, b| a.0.total_cmp(&b.0))?;
    Some(Block::text(format!(
        "Over 18 views, the accuracy rises from {}% to {}%; the largest step is “{}”, with {} percentage points.",
        percent(mean_of_views(rows.first()?)?),
        percent(mean_of_views(rows.last()?)?),
        row.name,
        percent(most)
    )))
}

/// The ingredient whose absence costs most, in words.
fn largest_loss(full: &Row, without: &[Row]) -> Option<Block> {
    let full = mean_of_views(full)?;
    let losses = without.iter().filter_map(|row| Some((full - mean_of_views(row)?, row)));
    let (most, row) = losses.max_by(|a, b| a.0.total_cmp(&b.0))?;
    Some(Block::text(format!(
        "Over 18 views, the accuracy falls most with “{}”: by {} percentage points.",
        row.name,
        percent(most)
    )))
}

fn legend() -> Vec<(Swatch, String)> {
    vec![(Swatch::Band(CLASSES[0]), "one view".into()), (Swatch::Band(CLASSES[1]), "18 views".into())]
}

fn operations(results: &Results, figures: &mut Figures) -> Vec<Block> {
    let title = "Accuracy against operations";
    if results.paper.is_empty() && results.smaller.is_empty() {
        return not_run(title);
    }
    let published = &results.published;
    let paper: Vec<&Row> = results.paper.iter().collect();
    let recipes: Vec<&Row> = results.recipes.iter().chain(&results.smaller).collect();
    let points = |rows: &[&Row], accuracy: Accuracy| -> Vec<(f64, f64)> {
        let points = rows.iter().map(|row| (row.operations, values(row, accuracy)));
        let mut points: Vec<_> = points.filter(|(_, values)| !values.is_empty()).collect();
        points.sort_by(|a, b| a.0.total_cmp(&b.0));
        points.into_iter().map(|(operations, values)| (operations, mean(&values))).collect()
    };
    let lines = [
        (points(&paper, TEST), "validation dashed", "seed"),
        (points(&paper, TEST_VIEWS), "validation", "seed"),
        (points(&recipes, TEST), "training dashed", "ours"),
        (points(&recipes, TEST_VIEWS), "training", "ours"),
    ];
    let all = || lines.iter().flat_map(|line| line.0.iter().copied());
    let mut marks = Vec::new();
    let mut below = 0.0;
    for (i, Published { accuracy, label, .. }) in published.iter().enumerate() {
        // Below its line, unless another line is there, or the curves of the recipes, which end below the highest line.
        let above = accuracy - below < 0.03 || i + 1 == published.len();
        marks.push(Mark::Rule(*accuracy, "rule"));
        marks.push(Mark::Label { y: *accuracy, above, text: label.clone() });
        below = *accuracy;
    }
    for (points, line, dot) in &lines {
        marks.extend([Mark::Line(points.clone(), line), Mark::Dots(points.clone(), dot)]);
    }
    let accuracies = all().map(|point| point.1).chain(published.iter().map(|published| published.accuracy));
    let panel = Panel {
        title: "Test accuracy".into(),
        alt: "Test accuracy of the paper’s settings and of the recipes against operations.".into(),
        x: (Scale::log_around(all().map(|point| point.0)), "operations of training"),
        y: (Scale::around(accuracies), "test accuracy"),
        marks,
    };
    let legend = vec![
        (Swatch::Line("training"), "recipes, 18 views".into()),
        (Swatch::Line("training dashed"), "recipes, one view".into()),
        (Swatch::Line("validation"), "the paper’s settings, 18 views".into()),
        (Swatch::Line("validation dashed"), "the paper’s settings, one view".into()),
        (Swatch::Line("rule"), "published".into()),
    ];
    let published = published.iter().map(|one| format!("{}% ({})", fixed(100.0 * one.accuracy, 1), one.source));
    let caption = "Test accuracy against the operations of training, and published accuracies.";
    let paper = results.paper.iter().map(|row| ("the paper’s", row));
    let rows = paper.chain(results.smaller.iter().map(|row| ("the recipes’", row))).map(|(settings, row)| {
        Cells::cells([
            settings.into(),
            row.hidden.as_str().into(),
            significant(row.operations, 2).into(),
            every(row, TEST),
            every(row, TEST_VIEWS),
        ])
    });
    let columns = [
        ("Settings", Kind::Words),
        ("Hidden layers", Kind::Words),
        ("Operations", Kind::Number),
        ("Test", Kind::Number),
        ("18 views", Kind::Number),
    ];
    vec![
        Block::Heading(2, title.into()),
        Block::text(format!(
            "The paper’s settings with wider layers and more cycles, on {} training images, and the recipes, also with \
             narrower layers and fewer operations, on {}. Horizontal lines are published accuracies of fully connected \
             networks, drawn as lines because we do not know their operations: {}.",
            results.manifest.dataset.training,
            results.manifest.all.training,
            published.collect::<Vec<_>>().join("; ")
        )),
        figures.block("operations", caption, legend, vec![panel.draw()]),
        Table::block("Accuracy in percent; the recipes are in the first table.", columns, rows.collect()),
    ]
}

fn whitening(results: &Results, figures: &mut Figures) -> Vec<Block> {
    let title = "Whitening";
    let rows = &results.whitening;
    if rows.is_empty() {
        return not_run(title);
    }
    let curves = || rows.iter().flat_map(|row| &row.curve);
    let x = Scale::from_zero(curves().map(|point| point.step as f64));
    let losses = curves().flat_map(|point| [point.training_loss, point.validation_loss]).flatten();
    let y = Scale::around(losses);
    let panels = rows.iter().map(|row| {
        let line = |loss: fn(&klayer_train::record::Point) -> Option<f64>, class| {
            Mark::Line(row.curve.iter().filter_map(|p| Some((p.step as f64, loss(p)?))).collect(), class)
        };
        Panel {
            title: super::format::capital(&row.name),
            alt: format!("Training and validation loss: {}.", row.name),
            x: (x.clone(), "update step"),
            y: (y.clone(), "loss"),
            marks: vec![line(|p| p.training_loss, "training"), line(|p| p.validation_loss, "validation")],
        }
        .draw()
    });
    let legend = vec![
        (Swatch::Line("training"), "training loss".into()),
        (Swatch::Line("validation"), "validation loss".into()),
    ];
    let cells = rows.iter().map(|row| {
        let last = row.curve.last();
        let loss = |loss: Option<f64>| Text::from(loss.map_or("–".into(), |loss| fixed(loss, 3)));
        Cells::cells([
            row.name.as_str().into(),
            loss(last.and_then(|point| point.training_loss)),
            loss(last.and_then(|point| point.validation_loss)),
            every(row, |run| run.validation),
            every(row, TEST),
        ])
    });
    let columns = [
        ("Inputs", Kind::Words),
        ("Training loss", Kind::Number),
        ("Validation loss", Kind::Number),
        ("Validation", Kind::Number),
        ("Test", Kind::Number),
    ];
    let mut blocks = vec![Block::Heading(2, title.into())];
    blocks.extend(effect_of_whitening(rows).filter(|_| !results.manifest.quick));
    blocks.extend([
        figures.block("whitening", "Loss with and without whitening, flips and shifts.", legend, panels.collect()),
        Table::block("After the last update step; accuracies in percent.", columns, cells.collect()),
    ]);
    let pictures: Vec<_> = rows
        .iter()
        .filter(|row| !row.weights.is_empty())
        .map(|row| {
            let title = super::format::capital(&row.name);
            tiles::draw(&title, format!("Weights of units of the first layer: {}.", row.name), &row.weights)
        })
        .collect();
    if !pictures.is_empty() {
        let caption = "Weights of the first units of the first layer, for the pixels of an image; gray is 0.";
        blocks.push(figures.block("weights", caption, Vec::new(), pictures));
    }
    blocks
}

/// What whitening does without and with flips and shifts, in words.
fn effect_of_whitening(rows: &[Row]) -> Option<Block> {
    let [pixels, whitened, moved_pixels, moved_whitened] = rows else { return None };
    let accuracy = |row: &Row| Some(percent(*values(row, |run| run.validation).first()?));
    let loss = whitened.curve.last()?.training_loss?;
    Some(Block::text(format!(
        "Whitening gives fine detail more weight. Without flips and shifts, the network can fit the details of the \
         training images: with whitening, the training loss falls to {}, and the validation accuracy is {}% instead of \
         {}%. With flips and shifts, a detail is seldom at the same place twice: with whitening, the validation \
         accuracy is {}% instead of {}% (one run each).",
        fixed(loss, 3),
        accuracy(whitened)?,
        accuracy(pixels)?,
        accuracy(moved_whitened)?,
        accuracy(moved_pixels)?,
    )))
}

fn mistakes(results: &Results, figures: &mut Figures) -> Vec<Block> {
    let title = "Mistakes of the best network";
    let best = results.recipes.last().and_then(|row| Some((row, row.confusion.clone()?)));
    let Some((row, counts)) = best else { return not_run(title) };
    let classes = &results.manifest.classes;
    let seed = row.runs[0].seed;
    let caption = format!("Confusion matrix over 18 views of the recipe {}, seed {seed}.", row.name);
    let confusion = Confusion { seed, classes: classes.clone(), counts };
    let name = |class: usize| classes.get(class).map_or("", String::as_str);
    let cells = row.mistakes.iter().map(|mistake| {
        Cells::cells([
            mistake.index.to_string().into(),
            name(mistake.class).into(),
            name(mistake.predicted).into(),
            fixed(100.0 * mistake.probability, 1).into(),
        ])
    });
    let columns = [
        ("Test image", Kind::Words),
        ("Class", Kind::Words),
        ("Predicted", Kind::Words),
        ("Probability", Kind::Number),
    ];
    vec![
        Block::Heading(2, title.into()),
        figures.block("confusion", &caption, Vec::new(), vec![heatmap::draw(&confusion, caption.clone())]),
        Table::block(
            format!("The {} with the highest probability, in percent.", plural(row.mistakes.len(), "mistake")),
            columns,
            cells.collect(),
        ),
        Block::Text(
            Text::from("Images are numbered from 0. ")
                .code("klayer inspect best.klayer --views --mistakes mistakes.png")
                .plain(" draws the mistakes of a network."),
        ),
    ]
}

fn provenance(results: &Results) -> Vec<Block> {
    let manifest = &results.manifest;
    let (data, machine) = (&manifest.dataset, &manifest.environment);
    let sections = results.sections();
    let processors: BTreeSet<&String> =
        sections.iter().flat_map(|(_, rows)| *rows).flat_map(|row| &row.processors).collect();
    let fact = |name: &str, text: Text| Cells::cells([name.into(), text]);
    let mut facts = vec![
        fact("Data set", data.name.as_str().into()),
        fact("SHA-256", Text::new().code(&data.sha256)),
        fact("SHA-256, all images for training", Text::new().code(&manifest.all.sha256)),
        fact("klayer", machine.version.as_str().into()),
        fact("Processors", joined(processors.into_iter()).into()),
        fact("System", machine.system.as_str().into()),
        fact("Command", Text::new().code("cargo xtask report --beyond")),
        fact(
            "Settings of all runs",
            Text::new().code("data/beyond.toml").plain(" and ").code("crates/klayer/recipes/"),
        ),
    ];
    facts.extend(sections.into_iter().filter(|(_, rows)| !rows.is_empty()).map(|(name, rows)| {
        let runs: Vec<_> = rows.iter().flat_map(|row| &row.runs).collect();
        let time = seconds(runs.iter().map(|run| run.seconds).sum());
        fact(
            &format!("Training time of “{name}”"),
            format!("{time} in total: {} of {}", plural(runs.len(), "run"), threads(rows)).into(),
        )
    }));
    vec![
        Block::Heading(2, "Settings and environment".into()),
        Table::block("Data, machines and times.", [("Item", Kind::Words), ("Value", Kind::Words)], facts),
        Block::Text(Text::from("All numbers at full precision: ").link("results.json").plain(".")),
    ]
}

#[cfg(test)]
mod tests {
    use super::extrapolate;

    #[test]
    fn a_power_law_is_extrapolated_through_two_points() {
        let error = |x: f64| 3.0 * x.powf(-0.25);
        let (power, at) = extrapolate((1e12, error(1e12)), (1e14, error(1e14)), 1e16);
        assert!((power + 0.25).abs() < 1e-12 && (at / error(1e16) - 1.0).abs() < 1e-12, "{power}, {at}");
    }
}
