//! What a report consists of, before it becomes HTML or Markdown.

use klayer_chart::{Drawing, Swatch};

/// Running text with a little markup.
#[derive(Debug, Clone, Default)]
pub(super) struct Text(pub(super) Vec<Span>);

/// A stretch of text.
#[derive(Debug, Clone)]
pub(super) enum Span {
    /// As it is.
    Plain(String),
    /// In bold.
    Strong(String),
    /// In a fixed-width face.
    Code(String),
    /// A subscript.
    Sub(String),
    /// Of less weight than what stands around it.
    Muted(String),
    /// A link to a file beside the page.
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

/// A report: its blocks from top to bottom, and what must be said on everything in it.
#[derive(Debug)]
pub(super) struct Document {
    /// The title of the page.
    pub(super) title: String,
    /// "quick form ..." and "synthetic ...", as far as they apply.
    pub(super) stamps: Vec<String>,
    /// What it says.
    pub(super) blocks: Vec<Block>,
}

/// A part of the report.
#[derive(Debug)]
pub(super) enum Block {
    /// A heading: 2 for a section, 3 within one.
    Heading(u8, String),
    /// A paragraph.
    Text(Text),
    /// The line of a section that was not run.
    NotRun,
    /// A table.
    Table(Table),
    /// A figure.
    Figure(Figure),
    /// Blocks that a reader may open.
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
    /// What it shows.
    pub(super) caption: Text,
    /// Its columns, the first of which names the row.
    pub(super) columns: Vec<Column>,
    /// Its rows.
    pub(super) rows: Vec<Row>,
}

/// A column of a table.
#[derive(Debug)]
pub(super) struct Column {
    /// Its header.
    pub(super) head: Text,
    /// What it holds.
    pub(super) kind: Kind,
}

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Words, aligned left.
    Words,
    /// Numbers, aligned right.
    Number,
    /// Numbers that the paper printed, aligned right.
    Paper,
}

/// A row of a table.
#[derive(Debug)]
pub(super) enum Row {
    /// A heading over the rows that follow.
    Group(Text),
    /// A cell a column.
    Cells(Vec<Text>),
    /// The same, ending in a verdict instead of the last column's text.
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

/// How a verdict is said.
pub(super) fn verdict(holds: Option<bool>) -> &'static str {
    match holds {
        Some(true) => "✓ holds",
        Some(false) => "✗ does not hold",
        None => "– not computed",
    }
}

/// A figure of one panel or of several on the same axes.
#[derive(Debug)]
pub(super) struct Figure {
    /// The name of its file, without the ending.
    pub(super) name: String,
    /// "Figure 1".
    pub(super) label: String,
    /// What it shows.
    pub(super) caption: Text,
    /// What its marks mean.
    pub(super) legend: Vec<(Swatch, String)>,
    /// Its panels, from left to right.
    pub(super) panels: Vec<Drawing>,
}

/// Names the figures that the paper does not have: "Figure S1", "Figure S2" and so on.
#[derive(Debug, Default)]
pub(super) struct Supplement(u32);

impl Supplement {
    pub(super) fn next(&mut self) -> String {
        self.0 += 1;
        format!("Figure S{}", self.0)
    }
}
