//! `cargo xtask data`: fetches CIFAR-10 and checks it.

use std::io::{Write, stdout};

use clap::Args;
use klayer_cli::{DataArgs, Interrupt, Terminal};

use crate::error::Error;
use crate::root;

/// The switches of `cargo xtask data`.
#[derive(Debug, Args)]
pub(crate) struct FetchArgs {
    #[command(flatten)]
    data: DataArgs,
}

impl FetchArgs {
    pub(crate) fn run(self, interrupt: &Interrupt) -> Result<(), Error> {
        let folder = self.data.fetch(&root(), &Terminal::new(), interrupt)?;
        writeln!(stdout(), "CIFAR-10 is whole, every file verified: {}", folder.display()).map_err(Error::Output)
    }
}
