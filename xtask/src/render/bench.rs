//! The figures of `cargo xtask bench`: the time of a step, and its share of the processor's peak.

use crate::measurements::{AXES, Bench, Row};

use super::{File, stamps};
use klayer_chart::{Mark, Panel, Scale, file};

/// A figure for each axis.
pub(crate) fn bench_figures(bench: &Bench) -> Vec<File> {
    let stamps = stamps(bench.quick, bench.synthetic);
    let figures = AXES.iter().map(|&(group, axis)| {
        let rows: Vec<&Row> = bench.rows.iter().filter(|row| row.group == group).collect();
        let panel = |title: &str, name: &'static str, value: &dyn Fn(&Row) -> f64, scale: Scale| {
            let points: Vec<_> = rows.iter().map(|row| (row.value as f64, value(row))).collect();
            Panel {
                title: title.into(),
                alt: format!("{name} against {axis}"),
                x: (Scale::log_around(rows.iter().map(|row| row.value as f64)), axis),
                y: (scale, name),
                marks: vec![Mark::Line(points.clone(), "training"), Mark::Dots(points, "ours")],
            }
            .draw()
        };
        let cost = |row: &Row| 1e3 / row.steps_per_second;
        let part = |row: &Row| 100.0 * row.of_peak;
        let panels = [
            panel("Time per step", "milliseconds", &cost, Scale::log_around(rows.iter().map(|row| cost(row)))),
            panel("Use of the processor", "% of peak", &part, Scale::Linear(0.0, 100.0)),
        ];
        File {
            path: format!("{group}.svg").into(),
            contents: file(&format!("Speed against {axis}"), &stamps, &[], &panels),
        }
    });
    figures.collect()
}
