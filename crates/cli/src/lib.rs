//! What the commands on a terminal share: where data come from, how progress is shown, where
//! runs can be watched, how Ctrl-C stops them.
//!
//! The `klayer` binary is the only other part of this crate; the report's pipeline shows its work in the same way.
//!
//! ```
//! use klayer_cli::Interrupt;
//!
//! let interrupt = Interrupt::never();
//! assert!(!interrupt.requested());
//! ```

#![forbid(unsafe_code)]

mod data_args;
mod interrupt;
mod live;
mod progress;
mod seconds;
mod tensorboard;
mod terminal;
mod watch;

pub use data_args::DataArgs;
pub use interrupt::Interrupt;
pub use progress::{Progress, Section};
pub use seconds::parse_seconds;
pub use terminal::{Terminal, Verbosity, fail};
pub use watch::{Watch, WatchArgs, WatchError, Watchers};
