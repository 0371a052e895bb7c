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

    /// The shape of square images of `features` features: color if that is 3 n^2 for an integer n, gray if it is n^2.
    /// `None` for other numbers of features. No number is both.
    pub fn square(features: usize) -> Option<Self> {
        [3, 1].into_iter().find_map(|channels| {
            let side = (features / channels).isqrt();
            let shape = Self { channels, height: side, width: side };
            (features > 0 && shape.features() == features).then_some(shape)
        })
    }

    /// Number of features: one for each pixel of each channel.
    pub const fn features(self) -> usize {
        self.channels.saturating_mul(self.height).saturating_mul(self.width)
    }
}

impl fmt::Display for Shape {
    /// Formats as, for example, `3 x 32 x 32`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} x {} x {}", self.channels, self.height, self.width)
    }
}
