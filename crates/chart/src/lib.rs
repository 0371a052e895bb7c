//! Draws charts as SVG: panels with axes, lines, dots, bands and rules, and files of several panels.
//!
//! ```
//! use klayer_chart::{Mark, Panel, Scale, Swatch, file};
//!
//! let loss = vec![(0.0, 2.3), (100.0, 1.9), (200.0, 1.6)];
//! let panel = Panel {
//!     title: "Training".into(),
//!     alt: "The loss falls from 2.3 to 1.6 in 200 steps.".into(),
//!     x: (Scale::from_zero([200.0]), "update step"),
//!     y: (Scale::around([1.6, 2.3]), "loss"),
//!     marks: vec![Mark::Line(loss, "training")],
//! };
//! let svg = file("A run", &[], &[(Swatch::Line("training"), "training".into())], &[panel.draw()]);
//! assert!(svg.starts_with("<svg "));
//! ```
//!
//! Colors are CSS classes ([`STYLE`]), so charts support light and dark themes. Equal values give equal bytes.
//! [`format`](mod@format) formats the numbers on axes and in text.

#![forbid(unsafe_code)]

mod axis;
mod chart;
pub mod format;

pub use axis::{Scale, Tick, range};
pub use chart::{Drawing, Mark, Panel, STYLE, Swatch, area, file, text};
