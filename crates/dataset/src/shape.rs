use std::fmt;

use serde::{Deserialize, Serialize};

/// The shape of an image. Its pixels are stored channel by channel, each channel row by row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shape {
    /// Number of channels: 3 for color (red, green, blue), 1 for gray.
    pub channels: usize,
    /// Number of rows of pixels.
    pub height: usize,
    /// Number of columns of pixels.
    pub width: usize,
}

impl Shape {
    /// The shape of the images of CIFAR-10 and CIFAR-100: three channels of 32 x 32.
    pub const CIFAR: Self = Self { channels: 3, height: 32, width: 32 };

    /// Number of features: one for each pixel of each channel.
    pub fn features(self) -> usize {
        self.channels.saturating_mul(self.height).saturating_mul(self.width)
    }
}

impl fmt::Display for Shape {
    /// Formats as, for example, `3 x 32 x 32`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} x {} x {}", self.channels, self.height, self.width)
    }
}
