//! Command-line code shared by the `klayer` binary and the report pipeline: data options, progress bars, the live view
//! and signal handling.
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

pub use data_args::{DataArgs, load_images};
pub use interrupt::Interrupt;
pub use progress::{Progress, Section};
pub use seconds::parse_seconds;
pub use terminal::{Terminal, Verbosity, fail};
pub use watch::{Watch, WatchArgs, WatchError, Watchers};
