use std::io;

use clap::{Args, Command};
use clap_complete::{Shell, generate};

use crate::{Error, config};

/// Options of `klayer completions`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    klayer completions bash > ~/.local/share/bash-completion/completions/klayer\n  \
    klayer completions zsh > ~/.zfunc/_klayer     with ~/.zfunc in $fpath\n  \
    klayer completions fish > ~/.config/fish/completions/klayer.fish")]
pub(crate) struct CompletionsArgs {
    /// Shell to print the script for
    shell: Shell,
}

impl CompletionsArgs {
    /// Prints the script for the parser `command`.
    pub(crate) fn run(self, command: Command) -> Result<(), Error> {
        let mut script = Vec::new();
        generate(self.shell, &mut config::settable(command), "klayer", &mut script);
        io::Write::write_all(&mut io::stdout(), &script).map_err(Error::Output)
    }
}
