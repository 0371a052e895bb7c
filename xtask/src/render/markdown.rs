//! A report as Markdown: the same blocks, with links to the figures.

use super::document::{Block, Document, Figure, Kind, Row, Span, Table, Text, verdict};
use super::format::markdown;

/// Writes the file.
pub(super) fn page(document: &Document) -> String {
    let mut page = Page { text: String::new(), stamps: &document.stamps };
    page.paragraph(&format!("# {}", markdown(&document.title)));
    for stamp in &document.stamps {
        page.paragraph(&format!("> **{}**", markdown(stamp)));
    }
    for block in &document.blocks {
        page.block(block);
    }
    page.text.truncate(page.text.trim_end().len());
    page.text + "\n"
}

struct Page<'a> {
    text: String,
    stamps: &'a [String],
}

impl Page<'_> {
    fn paragraph(&mut self, paragraph: &str) {
        self.text.push_str(paragraph);
        self.text.push_str("\n\n");
    }

    fn block(&mut self, block: &Block) {
        match block {
            Block::Heading(level, text) => {
                self.paragraph(&format!("{} {}", "#".repeat(usize::from(*level)), markdown(text)));
            }
            Block::Text(text) => self.paragraph(&inline(text)),
            Block::NotRun => self.paragraph("*Not run.*"),
            Block::Table(table) => self.table(table),
            Block::Figure(figure) => self.figure(figure),
            Block::Details(summary, blocks) => {
                self.paragraph(&format!("<details>\n<summary>{}</summary>", markdown(summary)));
                for block in blocks {
                    self.block(block);
                }
                self.paragraph("</details>");
            }
        }
    }

    fn caption(&self, text: &Text) -> String {
        let stamp = |stamp: &String| format!(" **{}**", markdown(stamp));
        inline(text) + &self.stamps.iter().map(stamp).collect::<String>()
    }

    fn table(&mut self, table: &Table) {
        self.paragraph(&self.caption(&table.caption));
        let cells = |cells: Vec<String>| format!("| {} |\n", cells.join(" | "));
        let mut text = cells(table.columns.iter().map(|c| inline(&c.head)).collect());
        text +=
            &cells(table.columns.iter().map(|c| if c.kind == Kind::Words { ":--" } else { "--:" }.into()).collect());
        for row in &table.rows {
            text += &cells(match row {
                Row::Group(name) => (0..table.columns.len())
                    .map(|i| if i == 0 { format!("**{}**", inline(name)) } else { String::new() })
                    .collect(),
                Row::Cells(texts) => texts.iter().map(inline).collect(),
                Row::Verdict(texts, holds) => {
                    texts.iter().map(inline).chain([format!("**{}**", verdict(*holds))]).collect()
                }
            });
        }
        self.paragraph(text.trim_end());
    }

    fn figure(&mut self, figure: &Figure) {
        let alt = figure.panels.iter().map(|p| p.alt.as_str()).collect::<Vec<_>>().join(" ");
        self.paragraph(&format!("![{}](figures/{}.svg)", markdown(&alt), figure.name));
        self.paragraph(&format!("**{}.** {}", markdown(&figure.label), self.caption(&figure.caption)));
    }
}

fn inline(text: &Text) -> String {
    let write = |span: &Span| match span {
        Span::Plain(text) | Span::Muted(text) => markdown(text),
        Span::Strong(text) => format!("**{}**", markdown(text)),
        Span::Code(text) => format!("<code>{}</code>", markdown(text)),
        Span::Sub(text) => format!("<sub>{}</sub>", markdown(text)),
        Span::Link(to) => format!("[{0}]({0})", markdown(to)),
        Span::Break => "<br>".to_owned(),
    };
    text.0.iter().map(write).collect()
}
