//! `cargo xtask data`: downloads and verifies CIFAR-10.

use std::io::{Write, stdout};
use std::path::PathBuf;

use clap::Args;
use klayer_cli::{DataArgs, Interrupt, Terminal};

use crate::error::Error;
use crate::root::root;

/// The options of `cargo xtask data`.
#[derive(Debug, Args)]
pub(crate) struct FetchArgs {
    /// CIFAR-10: the folder or the .tar.gz archive of its binary or Python version, or a folder that contains one of
    /// these [default: $CIFAR10_DIR, data/ or ../shared/ relative to the checkout, or a download]
    #[arg(long, value_name = "PATH")]
    data: Option<PathBuf>,
    /// Disable downloads
    #[arg(long)]
    offline: bool,
}

impl FetchArgs {
    pub(crate) fn run(self, interrupt: &Interrupt) -> Result<(), Error> {
        let data = DataArgs { data: self.data, offline: self.offline, synthetic: false };
        let folder = match data.fetch(&root(), &Terminal::default(), interrupt) {
            Err(klayer_dataset::Error::Cancelled) => return Err(Error::Stopped),
            folder => folder.map_err(Error::Dataset)?,
        };
        writeln!(stdout(), "CIFAR-10 is complete and verified: {}", folder.display()).map_err(Error::Output)
    }
}
