//! The content of a report, independent of HTML and Markdown.

use klayer_chart::{Drawing, Swatch};

/// Running text with a little markup.
#[derive(Debug, Clone, Default)]
pub(super) struct Text(pub(super) Vec<Span>);

/// A piece of text with one style.
#[derive(Debug, Clone)]
pub(super) enum Span {
    /// Without markup.
    Plain(String),
    /// In bold.
    Strong(String),
    /// In a fixed-width face.
    Code(String),
    /// A subscript.
    Sub(String),
    /// In a muted color.
    Muted(String),
    /// A link to a file, relative to the page.
    Link(String),
    /// A new line.
    Break,
}

impl Text {
    pub(super) fn new() -> Self {
        Self::default()
    }

    fn with(mut self, span: Span) -> Self {
        self.0.push(span);
        self
    }

    pub(super) fn plain(self, text: impl Into<String>) -> Self {
        self.with(Span::Plain(text.into()))
    }

    pub(super) fn strong(self, text: impl Into<String>) -> Self {
        self.with(Span::Strong(text.into()))
    }

    pub(super) fn code(self, text: impl Into<String>) -> Self {
        self.with(Span::Code(text.into()))
    }

    pub(super) fn sub(self, text: impl Into<String>) -> Self {
        self.with(Span::Sub(text.into()))
    }

    pub(super) fn muted(self, text: impl Into<String>) -> Self {
        self.with(Span::Muted(text.into()))
    }

    pub(super) fn link(self, to: impl Into<String>) -> Self {
        self.with(Span::Link(to.into()))
    }

    pub(super) fn line(self) -> Self {
        self.with(Span::Break)
    }

    /// The text without its markup.
    pub(super) fn bare(&self) -> String {
        let word = |span: &Span| match span {
            Span::Plain(t) | Span::Strong(t) | Span::Code(t) | Span::Sub(t) | Span::Muted(t) | Span::Link(t) => {
                t.clone()
            }
            Span::Break => " ".to_owned(),
        };
        self.0.iter().map(word).collect()
    }
}

impl From<&str> for Text {
    fn from(text: &str) -> Self {
        Self::new().plain(text)
    }
}

impl From<String> for Text {
    fn from(text: String) -> Self {
        Self::new().plain(text)
    }
}

/// A report: its blocks from top to bottom, and the stamps on all of them.
#[derive(Debug)]
pub(super) struct Document {
    /// The title of the page.
    pub(super) title: String,
    /// "quick form ..." and "synthetic ...", if they apply.
    pub(super) stamps: Vec<String>,
    /// Its content.
    pub(super) blocks: Vec<Block>,
}

/// A part of the report.
#[derive(Debug)]
pub(super) enum Block {
    /// A heading: 2 for a section, 3 within one.
    Heading(u8, String),
    /// A paragraph.
    Text(Text),
    /// A note that the section was not run.
    NotRun,
    /// A table.
    Table(Table),
    /// A figure.
    Figure(Figure),
    /// Collapsed blocks, with their summary.
    Details(String, Vec<Block>),
}

impl Block {
    pub(super) fn text(text: impl Into<Text>) -> Self {
        Self::Text(text.into())
    }
}

/// A table.
#[derive(Debug)]
pub(super) struct Table {
    /// Its caption.
    pub(super) caption: Text,
    /// Its columns; the first one labels the row.
    pub(super) columns: Vec<Column>,
    /// Its rows.
    pub(super) rows: Vec<Row>,
}

/// A column of a table.
#[derive(Debug)]
pub(super) struct Column {
    /// Its header.
    pub(super) head: Text,
    /// The kind of its cells.
    pub(super) kind: Kind,
}

/// The kind of a column's cells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Words, aligned left.
    Words,
    /// Numbers, aligned right.
    Number,
    /// The paper's numbers, aligned right.
    Paper,
}

/// A row of a table.
#[derive(Debug)]
pub(super) enum Row {
    /// A heading over the rows that follow.
    Group(Text),
    /// One cell per column.
    Cells(Vec<Text>),
    /// One cell per column, with a verdict in the last one.
    Verdict(Vec<Text>, Option<bool>),
}

impl Table {
    pub(super) fn block<H: Into<Text>>(
        caption: impl Into<Text>,
        columns: impl IntoIterator<Item = (H, Kind)>,
        rows: Vec<Row>,
    ) -> Block {
        let columns = columns.into_iter().map(|(head, kind)| Column { head: head.into(), kind }).collect();
        Block::Table(Self { caption: caption.into(), columns, rows })
    }
}

impl Row {
    pub(super) fn cells<const N: usize>(cells: [Text; N]) -> Self {
        Self::Cells(cells.into())
    }
}

/// The text of a verdict.
pub(super) fn verdict(holds: Option<bool>) -> &'static str {
    match holds {
        Some(true) => "✓ holds",
        Some(false) => "✗ does not hold",
        None => "– not computed",
    }
}

/// A figure with one or more panels.
#[derive(Debug)]
pub(super) struct Figure {
    /// Its file name, without the extension.
    pub(super) name: String,
    /// "Figure 1".
    pub(super) label: String,
    /// Its caption.
    pub(super) caption: Text,
    /// Its legend.
    pub(super) legend: Vec<(Swatch, String)>,
    /// Its panels, from left to right.
    pub(super) panels: Vec<Drawing>,
}

/// Numbers the figures that are not in the paper: "Figure S1", "Figure S2" and so on.
#[derive(Debug, Default)]
pub(super) struct Supplement(u32);

impl Supplement {
    pub(super) fn next(&mut self) -> String {
        self.0 += 1;
        format!("Figure S{}", self.0)
    }
}
