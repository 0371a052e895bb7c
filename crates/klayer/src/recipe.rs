//! Settings for CIFAR-10 that come with klayer: the files in `recipes/`.

use std::fmt;

use clap::ValueEnum;

/// The name of a recipe: the time that it takes on two cores.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Recipe {
    Minute,
    Quarter,
    Hour,
    Day,
}

impl Recipe {
    /// The settings, as a TOML file for `--config`.
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::Minute => include_str!("../recipes/minute.toml"),
            Self::Quarter => include_str!("../recipes/quarter.toml"),
            Self::Hour => include_str!("../recipes/hour.toml"),
            Self::Day => include_str!("../recipes/day.toml"),
        }
    }
}

impl fmt::Display for Recipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.to_possible_value().expect("no recipe is hidden").get_name())
    }
}
