//! Durable files, and a store of records of any kind of job that processes and machines can share.
//!
//! - [`files`] writes files atomically, and reads them up to a maximum size;
//! - a [`Store`] is a folder of JSON records, each named by its [`key`]: the hash of everything that determines it;
//!   [`Recorded`] settings find their own record, and reject the record of other settings;
//! - an [`Owner`] locks a job for this process: each job is computed by one process at a time, and another process
//!   takes over if that one dies.
//!
//! The layout of the folder and the locking protocol are documented in docs/store.md, for other programs.
//!
//! ```
//! use klayer_store::{Recorded, Store, Taken};
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Serialize, Deserialize)]
//! struct Sum {
//!     to: u64,
//! }
//!
//! #[derive(Serialize, Deserialize)]
//! struct SumRecord {
//!     settings: Sum,
//!     data: String,
//!     sum: u64,
//! }
//!
//! impl Recorded for Sum {
//!     type Record = SumRecord;
//!     const KIND: &'static str = "sum";
//!
//!     fn origin(record: &SumRecord) -> (&Self, &str) {
//!         (&record.settings, &record.data)
//!     }
//! }
//!
//! # let folder = tempfile::tempdir()?;
//! # let folder = folder.path();
//! let store = Store::open(folder)?;
//! let owner = store.owner()?;
//! let (settings, data) = (Sum { to: 10 }, "the checksum of the data");
//! let key = settings.key(data)?;
//! match owner.take(&key)? {
//!     Taken::Ours(claim) => {
//!         let sum = (1..=settings.to).sum();
//!         store.put(&key, &SumRecord { settings, data: data.to_owned(), sum })?;
//!         claim.finish();
//!     }
//!     Taken::Others(name) => println!("{name} computes it"),
//! }
//! assert_eq!(store.record::<Sum>(&key)?.map(|record| record.sum), Some(55));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![forbid(unsafe_code)]

mod error;
pub mod files;
mod lock;
mod machine;
mod record;
mod store;

pub use error::Error;
pub use lock::{Claim, Owner, Taken};
pub use record::{FORMAT, Recorded, key};
pub use store::{CHECKPOINT_EVERY, Store};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
