//! Dropout (Srivastava et al., 2014) of the outputs of hidden layers, inverted: in training, an output is multiplied by
//! 0 with probability p, and otherwise by 1 / (1 - p); inference is unchanged. The gradient passes the same mask.
//!
//! The masks come from a counter: no state to store, and the same for any number of threads. All numbers are unsigned
//! and wrap.
//! - The key of an output is 64 bits: starting from 0, key = mix(key xor value + 0x9e3779b97f4a7c15) for the values
//!   seed, step, layer and output, where mix is the finalizer of SplitMix64 (Steele et al., 2014).
//! - The draw of an image is 32 bits: its position plus the low half of the key, then the hash triple32 (Wellons,
//!   2018), with the high half of the key xored in before the second multiplication.
//! - The output is dropped if the draw is less than p 2^32.
//!
//! The forward and the backward pass both draw the masks, which takes less time than a pass through memory.

use klayer_linalg::{Par, RowMajor, Scalar, for_rows};

/// The rate p, and the seed of the masks.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Dropout {
    pub(crate) rate: f64,
    pub(crate) seed: u64,
}

/// The mask of one layer in one step.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Mask {
    key: u64,
    rate: f64,
    /// The output of the layer that row 0 of a matrix holds.
    first: u64,
}

impl Dropout {
    /// The mask of the outputs of layer `layer` (counted from 0) in step `step`.
    pub(crate) fn mask(self, step: u64, layer: usize) -> Mask {
        Mask { key: [self.seed, step, layer as u64].into_iter().fold(0, mixed), rate: self.rate, first: 0 }
    }
}

impl Mask {
    /// The mask of a matrix whose first row is output `first` of the layer.
    pub(crate) fn starting_at(self, first: usize) -> Self {
        Self { first: first as u64, ..self }
    }

    /// Applies the mask, to outputs or to their gradient. NaN and infinite values do not become 0, so that a diverged
    /// network has a NaN loss.
    ///
    /// # Shapes
    /// `values` outputs x n.
    pub(crate) fn apply<T: Scalar>(self, values: &mut RowMajor<T>, par: &Par) {
        let Self { key, rate, first } = self;
        let threshold = (rate * 2.0_f64.powi(32)) as u32;
        let (zero, scale) = (T::from_f64(0.0), T::from_f64(1.0 / (1.0 - rate)));
        for_rows(
            par,
            values.ncols(),
            [values.into()],
            #[inline(always)]
            |i, [values]| {
                // Local, because the compiler vectorizes only if no store can change them.
                let (threshold, zero, scale) = (threshold, zero, scale);
                let key = mixed(key, first + i as u64);
                let (mut counter, high) = (key as u32, (key >> 32) as u32);
                for value in values {
                    *value *= if draw(counter, high) < threshold { zero } else { scale };
                    counter = counter.wrapping_add(1);
                }
            },
        );
    }
}

#[inline(always)]
fn mixed(key: u64, value: u64) -> u64 {
    let z = (key ^ value).wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[inline(always)]
fn draw(counter: u32, key: u32) -> u32 {
    let x = (counter ^ (counter >> 17)).wrapping_mul(0xed5a_d4bb);
    let x = x ^ (x >> 11) ^ key;
    let x = x.wrapping_mul(0xac4c_1b51);
    let x = (x ^ (x >> 15)).wrapping_mul(0x3184_8bab);
    x ^ (x >> 14)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dropped(seed: u64, step: u64, layer: usize, first: usize, rows: usize, images: usize) -> Vec<Vec<bool>> {
        let mut ones = RowMajor::from_rows(rows, images, &vec![1.0_f32; rows * images]);
        Dropout { rate: 0.25, seed }.mask(step, layer).starting_at(first).apply(&mut ones, &Par::Seq);
        assert!(ones.rows().flatten().all(|&value| value == 0.0 || value == 1.0 / 0.75));
        ones.rows().map(|row| row.iter().map(|&value| value == 0.0).collect()).collect()
    }

    #[test]
    fn masks_have_the_rate_and_are_independent() {
        let (rows, images) = (300, 1000);
        let all = dropped(1, 2, 3, 0, rows, images);
        let share = |mask: &[Vec<bool>]| mask.iter().flatten().filter(|&&d| d).count() as f64 / (rows * images) as f64;
        // Five standard errors of a share p of that many draws.
        let near = |share: f64, p: f64| (share - p).abs() < 5.0 * (p * (1.0 - p) / (rows * images) as f64).sqrt();
        assert!(near(share(&all), 0.25), "{}", share(&all));
        let both = |other: &[Vec<bool>]| {
            let pairs = all.iter().flatten().zip(other.iter().flatten());
            pairs.filter(|&(&a, &b)| a && b).count() as f64 / (rows * images) as f64
        };
        for (seed, step, layer) in [(2, 2, 3), (1, 3, 3), (1, 2, 4), (3, 2, 1)] {
            assert!(near(both(&dropped(seed, step, layer, 0, rows, images)), 0.0625), "{seed} {step} {layer}");
        }
        for (unit, image) in [(1, 0), (0, 1), (1, 1), (0, 16), (16, 0)] {
            let moved = (0..rows).map(|i| (0..images).map(|j| all[(i + unit) % rows][(j + image) % images]).collect());
            assert!(near(both(&moved.collect::<Vec<_>>()), 0.0625), "shifted by {unit} units and {image} images");
        }
        assert_eq!(all[7..9], dropped(1, 2, 3, 7, 2, images), "the mask of an output does not depend on its row");
    }
}
