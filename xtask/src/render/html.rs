//! A report as one self-contained HTML page.

use std::fmt::Write as _;

use klayer_chart::STYLE;

use super::document::{Block, Document, Figure, Kind, Row, Span, Table, Text, verdict};
use super::format::{slug, xml};

/// Row labels of at most this many characters do not wrap.
const SHORT: usize = 20;

const PAGE_STYLE: &str = include_str!("page.css");

/// Writes the page.
pub(super) fn page(document: &Document) -> String {
    let title = xml(&document.title);
    let mut html = format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n<title>{title}</title>\n\
         <style>\n{}{PAGE_STYLE}</style>\n</head>\n<body>\n",
        STYLE
    );
    for stamp in &document.stamps {
        let _ = writeln!(html, "<p class=\"banner\" role=\"note\">{}</p>", xml(stamp));
    }
    html.push_str("<div class=\"columns\">\n<nav aria-label=\"Contents\">\n<ul>\n");
    for block in &document.blocks {
        if let Block::Heading(2, text) = block {
            let _ = writeln!(html, "<li><a href=\"#{}\">{}</a></li>", slug(text), xml(text));
        }
    }
    let _ = write!(html, "</ul>\n</nav>\n<main>\n<h1>{title}</h1>\n");
    let mut page = Page { html, stamps: &document.stamps, tables: 0 };
    for block in &document.blocks {
        page.block(block);
    }
    page.html + "</main>\n</div>\n</body>\n</html>\n"
}

struct Page<'a> {
    html: String,
    stamps: &'a [String],
    tables: u32,
}

impl Page<'_> {
    fn line(&mut self, line: &str) {
        self.html.push_str(line);
        self.html.push('\n');
    }

    fn block(&mut self, block: &Block) {
        match block {
            Block::Heading(level, text) => {
                self.line(&format!("<h{level} id=\"{}\">{}</h{level}>", slug(text), xml(text)));
            }
            Block::Text(text) => self.line(&format!("<p>{}</p>", inline(text))),
            Block::NotRun => self.line("<p class=\"not-run\">Not run.</p>"),
            Block::Table(table) => self.table(table),
            Block::Figure(figure) => self.figure(figure),
            Block::Details(summary, blocks) => {
                self.line(&format!("<details>\n<summary>{}</summary>", xml(summary)));
                for block in blocks {
                    self.block(block);
                }
                self.line("</details>");
            }
        }
    }

    fn caption(&self, text: &Text) -> String {
        let stamp = |stamp: &String| format!(" <strong class=\"stamp\">{}</strong>", xml(stamp));
        inline(text) + &self.stamps.iter().map(stamp).collect::<String>()
    }

    fn table(&mut self, table: &Table) {
        self.tables += 1;
        let id = format!("table-{}", self.tables);
        self.line("<figure class=\"table\">");
        self.line(&format!("<figcaption id=\"{id}\">{}</figcaption>", self.caption(&table.caption)));
        self.line(&format!("<div class=\"scroll\" role=\"region\" aria-labelledby=\"{id}\" tabindex=\"0\">"));
        self.line(&format!("<table aria-labelledby=\"{id}\">\n<thead>\n<tr>"));
        for column in &table.columns {
            self.line(&format!("<th scope=\"col\" class=\"{}\">{}</th>", class(column.kind), inline(&column.head)));
        }
        self.line("</tr>\n</thead>\n<tbody>");
        for (i, row) in table.rows.iter().enumerate() {
            match row {
                Row::Group(name) => {
                    if i > 0 {
                        self.line("</tbody>\n<tbody>");
                    }
                    let (span, name) = (table.columns.len(), inline(name));
                    self.line(&format!("<tr><th scope=\"rowgroup\" colspan=\"{span}\">{name}</th></tr>"));
                }
                Row::Cells(cells) => self.row(table, cells, String::new()),
                Row::Verdict(cells, holds) => {
                    let class = holds.map_or("unknown", |holds| if holds { "holds" } else { "fails" });
                    self.row(table, cells, format!("<td class=\"verdict {class}\">{}</td>", verdict(*holds)));
                }
            }
        }
        self.line("</tbody>\n</table>\n</div>\n</figure>");
    }

    fn row(&mut self, table: &Table, cells: &[Text], last: String) {
        let mut line = String::from("<tr>");
        for (i, (cell, column)) in cells.iter().zip(&table.columns).enumerate() {
            let (class, text) = (class(column.kind), inline(cell));
            let short = if cell.bare().chars().count() <= SHORT { " short" } else { "" };
            let _ = match i {
                0 => write!(line, "<th scope=\"row\" class=\"{class}{short}\">{text}</th>"),
                _ => write!(line, "<td class=\"{class}\">{text}</td>"),
            };
        }
        self.line(&(line + &last + "</tr>"));
    }

    fn figure(&mut self, figure: &Figure) {
        self.line("<figure class=\"chart-figure\">");
        self.line(&format!(
            "<figcaption><strong>{}.</strong> {}</figcaption>",
            xml(&figure.label),
            self.caption(&figure.caption)
        ));
        if !figure.legend.is_empty() {
            self.line("<ul class=\"legend\">");
            for (swatch, label) in &figure.legend {
                self.line(&format!("<li>{}{}</li>", swatch.inline(), xml(label)));
            }
            self.line("</ul>");
        }
        self.line("<div class=\"panels\">");
        for panel in &figure.panels {
            self.line(&panel.inline());
        }
        self.line("</div>\n</figure>");
    }
}

fn class(kind: Kind) -> &'static str {
    match kind {
        Kind::Words => "words",
        Kind::Number => "number",
        Kind::Paper => "number paper",
    }
}

fn inline(text: &Text) -> String {
    let tag = |name: &str, text: &str| format!("<{name}>{}</{name}>", xml(text));
    let write = |span: &Span| match span {
        // Keep "λ = 0.05" on one line.
        Span::Plain(text) => xml(text).replace(" = ", "\u{a0}=\u{a0}"),
        Span::Strong(text) => tag("strong", text),
        Span::Code(text) => tag("code", text),
        Span::Sub(text) => tag("sub", text),
        Span::Muted(text) => format!("<span class=\"muted\">{}</span>", xml(text)),
        Span::Link(to) => format!("<a href=\"{0}\">{0}</a>", xml(to)),
        Span::Break => "<br/>".to_owned(),
    };
    text.0.iter().map(write).collect()
}
