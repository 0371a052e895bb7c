use klayer_dataset::Augment;
use serde::{Deserialize, Serialize};

use super::is_default;

/// Settings of the random changes of training images.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "clap", derive(clap::Args))]
pub struct AugmentConfig {
    /// Mirror each training image left to right with probability 1/2
    #[cfg_attr(feature = "clap", arg(long))]
    #[serde(default, skip_serializing_if = "is_default")]
    pub flip: bool,
    /// Shift each training image by a random number of pixels, at most this many in each direction
    #[cfg_attr(feature = "clap", arg(long, value_name = "PIXELS", default_value_t = 0, value_parser = super::whole::<usize>))]
    #[serde(default, skip_serializing_if = "is_default")]
    pub shift: usize,
}

impl AugmentConfig {
    /// The changes.
    pub fn augment(&self) -> Augment {
        Augment { flip: self.flip, shift: self.shift }
    }
}
