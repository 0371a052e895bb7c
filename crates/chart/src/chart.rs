//! Panels, their marks, and SVG files of several panels.
//!
//! Colors are CSS classes, so charts support light and dark themes.

use std::fmt::Write as _;

use crate::axis::Scale;
use crate::format::xml;

/// The style sheet of charts: the colors, and the styles of all parts.
pub const STYLE: &str = concat!(include_str!("palette.css"), include_str!("chart.css"));

/// A drawing, to be embedded in a page or a file.
#[derive(Debug, Clone)]
pub struct Drawing {
    /// Width in user units; text is 13 units high.
    pub width: f64,
    /// Height in user units.
    pub height: f64,
    /// A text alternative for screen readers.
    pub alt: String,
    /// The SVG elements of the drawing.
    pub body: String,
}

/// A sample of a mark for legends: its kind and its CSS class.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Swatch {
    /// A line.
    Line(&'static str),
    /// A dot.
    Dot(&'static str),
    /// A cross.
    Cross(&'static str),
    /// An area.
    Band(&'static str),
}

/// A mark in a panel. The strings are CSS classes.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Mark {
    /// A line through points. It breaks at points outside the axes.
    Line(Vec<(f64, f64)>, &'static str),
    /// Dots.
    Dots(Vec<(f64, f64)>, &'static str),
    /// Crosses at the bottom of the panel, for x values without a y value.
    Missing(Vec<f64>),
    /// A horizontal line across the panel.
    Rule(f64, &'static str),
    /// A vertical line across the panel.
    Upright(f64, &'static str),
    /// A horizontal band between two y values.
    Band(f64, f64, &'static str),
    /// A short horizontal line at an x and a y value.
    Dash(f64, f64, &'static str),
    /// A text at the right end of the panel, directly above or below a y value.
    Label {
        /// The y value.
        y: f64,
        /// Whether the text is above it.
        above: bool,
        /// The text.
        text: String,
    },
}

/// A chart with one pair of axes.
#[derive(Debug)]
pub struct Panel {
    /// The title.
    pub title: String,
    /// A text alternative for screen readers.
    pub alt: String,
    /// The horizontal axis and its label.
    pub x: (Scale, &'static str),
    /// The vertical axis and its label.
    pub y: (Scale, &'static str),
    /// The marks, from back to front.
    pub marks: Vec<Mark>,
}

const WIDTH: f64 = 480.0;
const HEIGHT: f64 = 310.0;
const LEFT: f64 = 54.0;
const RIGHT: f64 = WIDTH - 14.0;
const TOP: f64 = 54.0;
const BOTTOM: f64 = HEIGHT - 48.0;

impl Panel {
    /// Draws the panel.
    pub fn draw(&self) -> Drawing {
        let mut svg = String::new();
        text(&mut svg, (2.0, 16.0), "title", &self.title);
        let note = if matches!(self.y.0, Scale::Log(..)) { " (logarithmic axis)" } else { "" };
        text(&mut svg, (2.0, 38.0), "name", &format!("{}{note}", self.y.1));
        text(&mut svg, (RIGHT, HEIGHT - 6.0), "name end", self.x.1);
        self.axes(&mut svg);
        for mark in &self.marks {
            self.mark(&mut svg, mark);
        }
        Drawing { width: WIDTH, height: HEIGHT, alt: self.alt.clone(), body: svg }
    }

    fn x(&self, value: f64) -> Option<f64> {
        self.x.0.place(value).map(|at| LEFT + at * (RIGHT - LEFT))
    }

    fn y(&self, value: f64) -> Option<f64> {
        self.y.0.place(value).map(|at| BOTTOM - at * (BOTTOM - TOP))
    }

    fn point(&self, &(x, y): &(f64, f64)) -> Option<(f64, f64)> {
        Some((self.x(x)?, self.y(y)?))
    }

    fn axes(&self, svg: &mut String) {
        for tick in self.y.0.ticks() {
            if let (Some(y), Some(label)) = (self.y(tick.at), &tick.label) {
                line(svg, (LEFT, y), (RIGHT, y), "grid");
                text(svg, (LEFT - 8.0, y + 4.5), "tick end", label);
            }
        }
        line(svg, (LEFT, BOTTOM), (RIGHT, BOTTOM), "axis");
        for (i, tick) in self.x.0.ticks().iter().enumerate() {
            let Some(x) = self.x(tick.at) else { continue };
            line(svg, (x, BOTTOM), (x, BOTTOM + if tick.label.is_some() { 6.0 } else { 3.0 }), "axis");
            if let Some(label) = &tick.label {
                text(svg, (x, BOTTOM + 20.0), "tick middle", label);
            }
            if let Scale::Places(names) = &self.x.0 {
                text(svg, (x, BOTTOM + 36.0), "tick middle faint", &names[i].1);
            }
        }
    }

    fn mark(&self, svg: &mut String, mark: &Mark) {
        match mark {
            Mark::Line(points, class) => self.line(svg, points, class),
            Mark::Dots(points, class) => {
                for at in points.iter().filter_map(|p| self.point(p)) {
                    dot(svg, at, class);
                }
            }
            Mark::Missing(places) => {
                for x in places.iter().filter_map(|&x| self.x(x)) {
                    cross(svg, (x, BOTTOM - 8.0), "missing");
                }
            }
            Mark::Rule(level, class) => {
                if let Some(y) = self.y(*level) {
                    line(svg, (LEFT, y), (RIGHT, y), class);
                }
            }
            Mark::Upright(value, class) => {
                if let Some(x) = self.x(*value) {
                    line(svg, (x, TOP), (x, BOTTOM), class);
                }
            }
            Mark::Band(low, high, class) => {
                let (top, bottom) = (self.y(*high).unwrap_or(TOP), self.y(*low).unwrap_or(BOTTOM));
                area(svg, (LEFT, top), (RIGHT - LEFT, (bottom - top).max(1.0)), class);
            }
            Mark::Label { y, above, text: content } => {
                if let Some(y) = self.y(*y) {
                    text(svg, (RIGHT, if *above { y - 4.0 } else { y + 12.0 }), "tick faint end", content);
                }
            }
            Mark::Dash(x, level, class) => {
                if let Some((x, y)) = self.point(&(*x, *level)) {
                    line(svg, (x - 58.0, y), (x + 58.0, y), class);
                }
            }
        }
    }

    fn line(&self, svg: &mut String, points: &[(f64, f64)], class: &str) {
        let mut path = String::new();
        let mut joined = false;
        for point in points {
            match self.point(point) {
                Some((x, y)) => {
                    let _ = write!(path, "{}{x:.1} {y:.1}", if joined { "L" } else { "M" });
                    joined = true;
                }
                None => joined = false,
            }
        }
        if !path.is_empty() {
            let _ = write!(svg, r#"<path class="line {class}" d="{path}"/>"#);
        }
    }
}

/// Appends a text element at a position.
pub fn text(svg: &mut String, (x, y): (f64, f64), class: &str, content: &str) {
    let _ = write!(svg, r#"<text class="{class}" x="{x:.1}" y="{y:.1}">{}</text>"#, xml(content));
}

/// Appends a rectangle with a given upper left corner and size.
pub fn area(svg: &mut String, (x, y): (f64, f64), (width, height): (f64, f64), class: &str) {
    let _ = write!(svg, r#"<rect class="{class}" x="{x:.1}" y="{y:.1}" width="{width:.1}" height="{height:.1}"/>"#);
}

fn line(svg: &mut String, from: (f64, f64), to: (f64, f64), class: &str) {
    let _ = write!(
        svg,
        r#"<line class="line {class}" x1="{:.1}" y1="{:.1}" x2="{:.1}" y2="{:.1}"/>"#,
        from.0, from.1, to.0, to.1
    );
}

fn dot(svg: &mut String, (x, y): (f64, f64), class: &str) {
    let _ = write!(svg, r#"<circle class="dot {class}" cx="{x:.1}" cy="{y:.1}" r="4.5"/>"#);
}

fn cross(svg: &mut String, (x, y): (f64, f64), class: &str) {
    let (l, r, t, b) = (x - 4.0, x + 4.0, y - 4.0, y + 4.0);
    let _ = write!(svg, r#"<path class="line {class}" d="M{l:.1} {t:.1}L{r:.1} {b:.1}M{l:.1} {b:.1}L{r:.1} {t:.1}"/>"#);
}

impl Swatch {
    /// Draws the sample in an area of 28 x 14 with the given upper left corner.
    fn draw(self, svg: &mut String, (x, y): (f64, f64)) {
        match self {
            Self::Line(class) => line(svg, (x + 1.0, y + 7.0), (x + 27.0, y + 7.0), class),
            Self::Dot(class) => dot(svg, (x + 14.0, y + 7.0), class),
            Self::Cross(class) => cross(svg, (x + 14.0, y + 7.0), class),
            Self::Band(class) => area(svg, (x + 1.0, y + 1.0), (26.0, 12.0), class),
        }
    }

    /// Returns the sample as an inline SVG element for an HTML page.
    pub fn inline(self) -> String {
        let mut body = String::new();
        self.draw(&mut body, (0.0, 0.0));
        format!(
            r#"<svg class="chart swatch" viewBox="0 0 28 14" width="28" height="14" aria-hidden="true">{body}</svg>"#
        )
    }
}

impl Drawing {
    /// Returns the drawing as an inline SVG element for an HTML page.
    pub fn inline(&self) -> String {
        let Self { width, height, alt, body } = self;
        let alt = xml(alt);
        format!(r#"<svg class="chart" role="img" viewBox="0 0 {width} {height}"><title>{alt}</title>{body}</svg>"#)
    }
}

/// Returns a standalone SVG file: stamps and a legend above drawings side by side.
pub fn file(title: &str, stamps: &[String], legend: &[(Swatch, String)], drawings: &[Drawing]) -> String {
    const GAP: f64 = 28.0;
    const MARGIN: f64 = 16.0;
    let inner: f64 = drawings.iter().map(|d| d.width + GAP).sum::<f64>() - GAP;
    let mut body = String::new();
    let mut y = MARGIN;
    for stamp in stamps {
        text(&mut body, (MARGIN, y + 12.0), "stamp", stamp);
        y += 20.0;
    }
    let mut x = MARGIN;
    for (swatch, label) in legend {
        let width = 54.0 + 7.2 * label.chars().count() as f64;
        if x > MARGIN && x + width > inner + 2.0 * MARGIN {
            (x, y) = (MARGIN, y + 20.0);
        }
        swatch.draw(&mut body, (x, y));
        text(&mut body, (x + 34.0, y + 11.5), "entry", label);
        x += width;
    }
    y += if legend.is_empty() { 0.0 } else { 30.0 };
    x = MARGIN;
    for Drawing { width, height, alt, body: drawing } in drawings {
        let _ = writeln!(
            body,
            "<svg x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} {height}\" \
             role=\"img\"><title>{}</title>{drawing}</svg>",
            xml(alt)
        );
        x += width + GAP;
    }
    let (width, height) = (inner + 2.0 * MARGIN, y + drawings.iter().map(|d| d.height).fold(0.0, f64::max) + MARGIN);
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"chart\" role=\"img\" width=\"{width}\" height=\"{height}\" \
         viewBox=\"0 0 {width} {height}\">\n<title>{}</title>\n<style>\n{STYLE}</style>\n\
         <rect class=\"ground\" width=\"{width}\" height=\"{height}\"/>\n{body}</svg>\n",
        xml(title)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_placed_by_value_and_lines_break_at_gaps() {
        let panel = Panel {
            title: String::new(),
            alt: "a line".into(),
            x: (Scale::Linear(0.0, 4.0), "x"),
            y: (Scale::Log(1.0, 100.0), "y"),
            marks: vec![
                Mark::Line(vec![(0.0, 1.0), (1.0, 10.0), (2.0, f64::NAN), (3.0, 1e9), (4.0, 100.0)], "training"),
                Mark::Dots(vec![(2.0, 10.0), (5.0, 10.0)], "ours"),
            ],
        };
        let body = panel.draw().body;
        let (left, right, middle) = (LEFT, RIGHT, (TOP + BOTTOM) / 2.0);
        let quarter = left + (right - left) / 4.0;
        let path = format!("d=\"M{left:.1} {BOTTOM:.1}L{quarter:.1} {middle:.1}M{right:.1} {TOP:.1}\"");
        assert!(body.contains(&path), "{path} is not in {body}");
        assert!(body.contains(&format!("cx=\"{:.1}\" cy=\"{middle:.1}\"", (left + right) / 2.0)));
        assert_eq!(body.matches("<circle").count(), 1, "a dot outside the axes is not drawn");
    }
}
