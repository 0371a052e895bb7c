//! Tests of the rendering on invented results.

use super::*;
use crate::results::{Final, Noise, Point, Results};

fn paper() -> Paper {
    Paper::embedded().unwrap()
}

fn get<'a>(files: &'a [File], path: &str) -> &'a str {
    &files.iter().find(|f| f.path.to_str() == Some(path)).unwrap_or_else(|| panic!("no {path}")).contents
}

fn parse(text: &str) -> roxmltree::Document<'_> {
    let options = roxmltree::ParsingOptions { allow_dtd: true, ..Default::default() };
    roxmltree::Document::parse_with_options(text, options).unwrap()
}

/// Renders, and checks that pages and figures are well-formed, and that each CSV row has as many fields as its header.
fn render_checked(results: &Results) -> Vec<File> {
    let files = render(results, &paper()).unwrap();
    for file in &files {
        let path = file.path.to_str().unwrap();
        if path.ends_with("svg") || path.ends_with("html") {
            let document = parse(&file.contents);
            let images = document.descendants().filter(|n| n.attribute("role") == Some("img"));
            for image in images {
                let title = image.children().find(|n| n.has_tag_name("title") || n.tag_name().name() == "title");
                assert!(
                    title.and_then(|t| t.text()).is_some_and(|t| !t.is_empty()),
                    "{path}: an image without a title"
                );
            }
            for bad in ["NaN", "inf\"", "-inf"] {
                assert!(!file.contents.contains(bad), "{path} holds {bad}");
            }
        }
        if path.ends_with("csv") {
            let mut reader = file.contents.lines();
            let columns = reader.next().unwrap().split(',').count();
            assert!(reader.clone().count() > 0, "{path} is empty");
            for line in reader.filter(|l| !l.contains('"')) {
                assert_eq!(line.split(',').count(), columns, "{path}: {line}");
            }
        }
    }
    files
}

#[test]
fn rendering_writes_every_file_and_is_deterministic() {
    let results = sample::full(&paper());
    let files = render_checked(&results);
    assert_eq!(files, render(&results.clone(), &paper()).unwrap());
    let mut names: Vec<_> = files.iter().map(|f| f.path.to_str().unwrap()).collect();
    names.sort_unstable();
    assert_eq!(
        names,
        [
            "figures/coarse.svg",
            "figures/confusion.svg",
            "figures/cost-3-layer.svg",
            "figures/cost-9-layer.svg",
            "figures/final.svg",
            "figures/fine.svg",
            "figures/loss-3-layer-lambda-0.005.svg",
            "figures/loss-3-layer-lambda-0.05.svg",
            "figures/loss-9-layer-lambda-0.005.svg",
            "figures/loss-9-layer-lambda-0.05.svg",
            "figures/sensitivity-sigma-0.001.svg",
            "figures/sensitivity-sigma-0.01.svg",
            "figures/sensitivity-sigma-0.1.svg",
            "index.html",
            "report.md",
            "tables/coarse.csv",
            "tables/confusion.csv",
            "tables/final.csv",
            "tables/findings.csv",
            "tables/fine.csv",
            "tables/gradients.csv",
            "tables/loss.csv",
            "tables/noise.csv",
            "tables/per_class.csv",
            "tables/sensitivity.csv",
            "tables/sensitivity_curves.csv",
        ]
    );
    let markdown = get(&files, "report.md");
    for name in names.iter().filter(|n| n.starts_with("figures/")) {
        assert!(markdown.contains(&format!("]({name})")), "report.md does not show {name}");
    }
}

/// All numbers of a TOML value, formatted as on the page.
fn numbers(value: &toml::Value, into: &mut Vec<String>) {
    match value {
        toml::Value::Float(x) => into.push(format::exact(*x)),
        toml::Value::Integer(n) => into.push(format::count(n.unsigned_abs())),
        toml::Value::Array(items) => items.iter().for_each(|v| numbers(v, into)),
        toml::Value::Table(items) => items.values().for_each(|v| numbers(v, into)),
        _ => {}
    }
}

#[test]
fn the_pages_show_every_number_of_the_paper_without_any_runs() {
    let paper_file: toml::Value = toml::from_str(include_str!("../../../data/paper.toml")).unwrap();
    let mut expected = Vec::new();
    numbers(&paper_file, &mut expected);
    assert!(expected.len() > 60);
    for results in [sample::full(&paper()), sample::sparse(&paper())] {
        let files = render_checked(&results);
        let page = parse(get(&files, "index.html"));
        let text: String = page.descendants().filter_map(|n| n.is_text().then(|| n.text()).flatten()).collect();
        for number in &expected {
            assert!(text.contains(number.as_str()), "index.html lacks {number}");
            assert!(get(&files, "report.md").contains(number.as_str()), "report.md lacks {number}");
        }
    }
}

#[test]
fn only_quick_and_synthetic_reports_are_stamped_everywhere() {
    for (quick, synthetic) in [(false, false), (true, false), (false, true), (true, true)] {
        let mut results = sample::full(&paper());
        results.quick = quick;
        results.dataset.synthetic = synthetic;
        let files = render_checked(&results);
        for file in &files {
            for (stamp, applies) in [(QUICK, quick), (SYNTHETIC, synthetic)] {
                let lines = file.contents.lines().count() - 1;
                let found = file.contents.replace("&#39;", "'").matches(stamp).count();
                let least = match file.path.extension().unwrap().to_str().unwrap() {
                    "csv" => lines,
                    "html" => 1 + file.contents.matches("<figure").count(),
                    "md" => 1 + file.contents.matches("\n| :--").count() + file.contents.matches("![").count(),
                    _ => 1,
                };
                assert!(if applies { found >= least } else { found == 0 }, "{} {stamp} {found}", file.path.display());
            }
        }
    }
}

#[test]
fn sections_without_runs_are_marked_not_run() {
    let files = render_checked(&sample::sparse(&paper()));
    assert_eq!(get(&files, "index.html").matches("Not run.").count(), 6);
    assert_eq!(get(&files, "report.md").matches("*Not run.*").count(), 6);
    let names: Vec<_> = files.iter().map(|f| f.path.to_str().unwrap()).collect();
    assert_eq!(names, ["index.html", "report.md", "figures/coarse.svg", "tables/coarse.csv"]);
    assert!(get(&files, "figures/coarse.svg").contains("diverged (1)"));
    let crosses = get(&files, "figures/coarse.svg").matches("class=\"line missing\"").count();
    assert_eq!(crosses, 2, "one in the legend, one for the trial");
}

#[test]
fn hostile_names_are_escaped() {
    let hostile = "<script>alert(1)</script>\"'&|`*\u{0}\n,x";
    let mut results = sample::full(&paper());
    results.dataset.name = hostile.into();
    results.environment.processor = hostile.into();
    results.findings[0].claim = hostile.into();
    results.gradients[0].network = hostile.into();
    results.loss[0].network = hostile.into();
    results.finals[0].origin = hostile.into();
    results.finals[0].confusion.as_mut().unwrap().classes[0] = hostile.into();
    let files = render_checked(&results);
    for file in files.iter().filter(|f| f.path.extension().is_some_and(|e| e != "csv")) {
        assert!(!file.contents.contains("<script"), "{}", file.path.display());
        assert!(!file.contents.contains('\u{0}'), "{}", file.path.display());
    }
    let markdown = get(&files, "report.md");
    assert!(markdown.contains("&lt;script&gt;alert(1)&lt;/script&gt;\"'&amp;\\|\\`\\* ,x"));
    assert!(files.iter().all(|f| !f.path.to_str().unwrap().contains(['<', '"', ' '])));
    let escaped = "\"<script>alert(1)</script>\"\"'&|`*\u{0}\n,x\"";
    assert!(get(&files, "tables/findings.csv").contains(escaped));
}

#[test]
fn diverged_single_and_constant_runs_are_rendered() {
    let mut results = sample::full(&paper());
    let flat = |level| Point { step: 0, training_loss: level, training_cost: level, ..results.loss[0].curve[0] };
    let flat = [flat(2.5), flat(f64::INFINITY)];
    results.loss[0].curve = vec![flat[0]];
    results.loss[1].curve = vec![];
    results.loss[1].validation_accuracy = None;
    results.loss[2].curve = flat.to_vec();
    let row = &mut results.sensitivity[1];
    row.final_validation_loss = vec![None, Some(2.5), None];
    row.final_training_loss = vec![None; 3];
    row.curves = vec![vec![], vec![flat[0]; 3], vec![flat[1]; 2]];
    results.finals = vec![Final {
        seeds: vec![42],
        diverged: vec![43, 44],
        test_accuracy: vec![0.5],
        mean: 0.5,
        std: f64::NAN,
        confusion: None,
        ..results.finals[1].clone()
    }];
    let fine = results.fine.as_mut().unwrap();
    fine.trials.truncate(1);
    fine.noise = Some(Noise {
        lambda: 0.005,
        seeds: vec![2],
        diverged: vec![1],
        validation_accuracy: vec![0.5],
        mean: 0.5,
        std: 0.0,
    });
    let files = render_checked(&results);
    let page = get(&files, "index.html");
    assert!(page.contains(">2.500, 2 diverged</td>"));
    assert!(
        page.contains(
            "the mean of 1 run is 0.5000; the paper printed 0.5344. Our mean is 3.44 percentage points lower."
        )
    );
    assert!(page.contains("Excluded: 2 runs that diverged."));
    assert!(get(&files, "tables/noise.csv").contains(",2,0.5,0.5,0"), "{}", get(&files, "tables/noise.csv"));
    assert!(get(&files, "tables/final.csv").ends_with(",42,0.5,0.5,\n"));
}

#[test]
fn the_text_follows_the_numbers() {
    let mut results = sample::full(&paper());
    let says = |results: &Results, sentence: &str| {
        let page = render_checked(results).swap_remove(0).contents;
        assert!(page.contains(sentence), "{sentence}");
    };
    says(&results, "Of 4 checks of the paper’s claims, 2 hold and 1 does not; 1 could not be computed");
    results.findings[2].holds = Some(true);
    says(&results, "Of 4 checks of the paper’s claims, 3 hold; 1 could not be computed");
    let mut all = results.clone();
    all.findings.iter_mut().for_each(|finding| finding.holds = Some(true));
    says(&all, "All 4 checks of the paper’s claims hold.");
    for (mean, words) in
        [(0.55, "1.56 percentage points higher"), (0.52, "1.44 percentage points lower"), (0.5344, "the same")]
    {
        results.finals[1].mean = mean;
        says(&results, &format!("Our accuracy is {words}."));
    }
}

#[test]
fn the_summary_names_each_figure_and_its_comparison() {
    let paper = paper();
    let mut results = sample::full(&paper);
    results.findings = crate::findings::findings(&results, &paper);
    assert_eq!(results.findings.len(), 10);
    let files = render_checked(&results);
    let text = get(&files, "report.md").replace('\u{202f}', " ");
    let rows: Vec<Vec<&str>> =
        text.lines().map(|line| line.split(" | ").collect()).filter(|row: &Vec<_>| row.len() == 3).collect();
    for (claim, measured) in [
        ("The analytic gradients are correct", "largest relative error 3.985 × 10⁻⁷; limit 10⁻⁶"),
        ("The 3-layer network ends at a lower loss", "difference in final validation loss "),
        ("The 9-layer network ends at a lower loss", "; with batch norm "),
        ("The coarse search leads", "range of the paper’s fine search 0.001 to 0.01"),
        ("The fine search finds a better", "difference in best validation accuracy "),
        ("The fine search finds a better", "; fine search 0.5398, coarse search 0.5254"),
        ("The final test accuracy", "mean test accuracy 0.5339; paper 0.5344; difference −5 × 10⁻⁴; limit 0.01"),
        ("With batch normalization", "largest difference in mean final validation loss across σ: 0; limit 0.1"),
        ("Without batch normalization", "largest distance of a final validation loss from ln 10: 0; limit 0.05"),
    ] {
        let found = rows.iter().find(|row| row[0].contains(claim)).unwrap_or_else(|| panic!("{claim}"));
        assert!(found[1].contains(measured), "{rows:#?} lacks {measured}");
    }
}

#[test]
fn the_quick_form_states_no_verdicts() {
    let mut results = sample::full(&paper());
    results.quick = true;
    let files = render_checked(&results);
    for path in ["index.html", "report.md"] {
        let page = get(&files, path);
        assert!(page.contains("The pipeline ran. This is the quick form: its figures are not the study’s results"));
        for verdict in
            ["hold", "✓", "✗", "not computed", "percentage points", "checks of the paper", "more than", "lower"]
        {
            let body = page.split("</style>").last().unwrap();
            assert!(!body.contains(verdict), "{path} contains {verdict}");
        }
    }
    let table = get(&files, "tables/findings.csv");
    assert!(table.lines().next().unwrap().ends_with(",holds"));
    assert_eq!(table.lines().skip(1).count(), 4);
    assert!(table.lines().skip(1).all(|row| row.ends_with(',')), "{table}");
    assert!(crate::findings::findings(&results, &paper()).iter().all(|f| f.holds.is_none()));
    results.quick = false;
    for finding in crate::findings::findings(&results, &paper()) {
        assert_eq!(finding.holds.is_some(), finding.value.is_some(), "{}", finding.id);
    }
}

#[test]
fn inconsistent_results_are_rejected() {
    let mut results = sample::full(&paper());
    results.sensitivity[3].curves.pop();
    let error = render(&results, &paper()).unwrap_err();
    assert_eq!(error.to_string(), "sensitivity[3].curves has 2 items; expected 3");
    let mut results = sample::full(&paper());
    results.finals[0].confusion.as_mut().unwrap().counts[4].pop();
    assert!(matches!(render(&results, &paper()), Err(Error::Length { found: 9, .. })));
    results.schema = SCHEMA + 1;
    assert_eq!(render(&results, &paper()), Err(Error::Schema { found: SCHEMA + 1 }));
}

/// The committed report is a full run on CIFAR-10, rendered by this version. If `KLAYER_UPDATE` is set, this test
/// renders it again in place.
#[test]
fn the_committed_report_is_up_to_date() {
    let folder = std::path::Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/report"));
    let results: Results = serde_json::from_slice(&std::fs::read(folder.join("results.json")).unwrap()).unwrap();
    assert!(!results.quick && !results.dataset.synthetic);
    assert_eq!(results.findings, crate::findings::findings(&results, &Paper::embedded().unwrap()));
    assert_committed(&render(&results, &Paper::embedded().unwrap()).unwrap(), folder);
}

/// Compares the files with the committed ones in `folder`; with KLAYER_UPDATE, writes them first.
pub(crate) fn assert_committed(files: &[File], folder: &std::path::Path) {
    for file in files.iter().filter(|file| file.path.to_str() != Some("index.html")) {
        let path = folder.join(&file.path);
        if std::env::var_os("KLAYER_UPDATE").is_some() {
            std::fs::write(&path, &file.contents).unwrap();
        }
        let committed = std::fs::read_to_string(&path).unwrap();
        assert!(committed == file.contents, "{} is not up to date", path.display());
    }
}
