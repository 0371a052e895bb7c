//! Whitening: a fixed, fast, approximate decorrelation of the pixels of an image.

use klayer_linalg::dct::{self, Dct, DctMemory};
use klayer_linalg::{RowMajor, Scalar, vectorize};
use serde::{Deserialize, Serialize};

use crate::{Normalization, Shape};

/// Number of pixels converted together.
const LANES: usize = 16;
/// Number of images whose coefficients are summed at a time.
const BLOCK: usize = 64;
/// The directions of color before their length becomes 1: gray, red - blue, green - magenta.
const COLORS: [[f64; 3]; 3] = [[1.0, 1.0, 1.0], [1.0, 0.0, -1.0], [-0.5, 1.0, -0.5]];

/// The statistics of whitening. An image becomes features in four steps:
///
/// 1. Each pixel minus the mean of its channel, divided by the channel's standard deviation.
/// 2. Three channels are rotated: gray, (red - blue) / sqrt(2), (green - (red + blue) / 2) / sqrt(3/2), with gray the
///    sum of the channels over sqrt(3). Other numbers of channels stay as they are.
/// 3. The orthonormal two-dimensional DCT-II of each channel; see [`dct`](klayer_linalg::dct).
/// 4. Each coefficient minus its mean, divided by sqrt(variance + EPS^2).
///
/// Means and variances are those of the training images. Pixels of photographs that are close in place or color are
/// much alike; the coefficients are almost uncorrelated. EPS limits how much the finest details, which vary least, are
/// amplified.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Whitening {
    eps: f64,
    mean: Vec<f64>,
    deviation: Vec<f64>,
}

impl Whitening {
    /// Computes the statistics of the coefficients of `images`, whose channels `standardization` standardizes.
    pub(crate) fn fit(eps: f64, shape: Shape, standardization: &Normalization, images: &[&[u8]]) -> Self {
        let features = shape.features();
        let whitener = Whitener::<f64>::coefficients(shape, standardization);
        let (mut memory, mut block) = (whitener.memory(), RowMajor::zeros(BLOCK, features));
        let mut total = Moments::new(features);
        for images in images.chunks(BLOCK) {
            for (i, image) in images.iter().enumerate() {
                whitener.write(image, block.row_mut(i), &mut memory);
            }
            total.add(&Moments::of(&block, images.len()));
        }
        let divisor = (total.count - 1.0).max(1.0);
        Self {
            eps,
            mean: total.mean,
            deviation: total.squares.iter().map(|square| (square / divisor).sqrt()).collect(),
        }
    }

    /// EPS.
    pub fn eps(&self) -> f64 {
        self.eps
    }

    /// The mean of each coefficient over the training images.
    pub fn mean(&self) -> &[f64] {
        &self.mean
    }

    /// The standard deviation of each coefficient over the training images (dividing by their number minus 1).
    pub fn deviation(&self) -> &[f64] {
        &self.deviation
    }

    /// The factors of step 4.
    fn scales(&self) -> impl Iterator<Item = f64> {
        self.deviation.iter().map(|deviation| 1.0 / (deviation * deviation + self.eps * self.eps).sqrt())
    }

    /// Prepares to multiply rows of weights by steps 2 to 4.
    pub(crate) fn transpose(&self, shape: Shape) -> Transpose {
        Transpose {
            shape,
            mean: self.mean.clone(),
            scale: self.scales().collect(),
            down: dct::matrix(shape.height),
            across: dct::matrix(shape.width),
        }
    }
}

/// Means, and sums of squared distances from them.
struct Moments {
    count: f64,
    mean: Vec<f64>,
    squares: Vec<f64>,
}

impl Moments {
    fn new(features: usize) -> Self {
        Self { count: 0.0, mean: vec![0.0; features], squares: vec![0.0; features] }
    }

    /// The moments of the first `count` rows of `block`.
    fn of(block: &RowMajor<f64>, count: usize) -> Self {
        let mut moments = Self { count: count as f64, ..Self::new(block.ncols()) };
        vectorize(
            #[inline(always)]
            || {
                for i in 0..count {
                    for (mean, value) in moments.mean.iter_mut().zip(block.row(i)) {
                        *mean += value;
                    }
                }
                for mean in &mut moments.mean {
                    *mean /= count as f64;
                }
                for i in 0..count {
                    for ((square, mean), value) in moments.squares.iter_mut().zip(&moments.mean).zip(block.row(i)) {
                        *square += (value - mean) * (value - mean);
                    }
                }
            },
        );
        moments
    }

    /// Adds the moments of other values (Chan, Golub and LeVeque, 1983).
    fn add(&mut self, other: &Self) {
        let count = self.count + other.count;
        let (part, product) = (other.count / count, self.count * other.count / count);
        for (i, &mean) in other.mean.iter().enumerate() {
            let distance = mean - self.mean[i];
            self.mean[i] += part * distance;
            self.squares[i] += other.squares[i] + product * distance * distance;
        }
        self.count = count;
    }
}

/// Computes the features of images in numbers of type `T`.
#[derive(Clone, Debug)]
pub(crate) struct Whitener<T> {
    shape: Shape,
    /// Steps 1 and 2: each channel is the sum of `offset` and the pixels times `factors`; with other than three
    /// channels, only the first factor is used, for the channel itself.
    channels: Vec<Channel<T>>,
    dct: Dct<T>,
    /// Step 4: the factor of each coefficient, and what is added then.
    scale: Vec<T>,
    shift: Vec<T>,
}

#[derive(Clone, Copy, Debug)]
struct Channel<T> {
    factors: [T; 3],
    offset: T,
}

/// Scratch memory of a [`Whitener`] for one thread.
#[derive(Clone, Debug)]
pub(crate) struct WhitenerMemory<T> {
    height: usize,
    width: usize,
    dct: DctMemory<T>,
}

impl<T: Scalar> Whitener<T> {
    pub(crate) fn new(shape: Shape, standardization: &Normalization, whitening: &Whitening) -> Self {
        Self {
            scale: whitening.scales().map(T::from_f64).collect(),
            shift: whitening.scales().zip(&whitening.mean).map(|(scale, mean)| T::from_f64(-scale * mean)).collect(),
            ..Self::coefficients(shape, standardization)
        }
    }

    /// Steps 1 to 3 alone.
    fn coefficients(shape: Shape, standardization: &Normalization) -> Self {
        let plane = (shape.height * shape.width).max(1);
        let scales: Vec<f64> = standardization.scales().step_by(plane).collect();
        let means: Vec<f64> = standardization.mean().iter().step_by(plane).map(|mean| 255.0 * mean).collect();
        let channels = (0..shape.channels).map(|channel| {
            let (factors, offset) = if shape.channels == 3 {
                let mut factors = color(channel);
                factors.iter_mut().zip(&scales).for_each(|(factor, scale)| *factor *= scale);
                (factors, -factors.iter().zip(&means).map(|(factor, mean)| factor * mean).sum::<f64>())
            } else {
                ([scales[channel], 0.0, 0.0], -scales[channel] * means[channel])
            };
            Channel { factors: factors.map(T::from_f64), offset: T::from_f64(offset) }
        });
        Self {
            shape,
            channels: channels.collect(),
            dct: Dct::new(shape.height, shape.width),
            scale: vec![T::from_f64(1.0); shape.features()],
            shift: vec![T::from_f64(0.0); shape.features()],
        }
    }

    pub(crate) fn memory(&self) -> WhitenerMemory<T> {
        WhitenerMemory { height: self.shape.height, width: self.shape.width, dct: self.dct.memory() }
    }

    /// Whether `memory` is for images of this size.
    pub(crate) fn fits(&self, memory: &WhitenerMemory<T>) -> bool {
        (memory.height, memory.width) == (self.shape.height, self.shape.width)
    }

    /// Writes the features of an image to `out`.
    ///
    /// # Panics
    /// If `pixels` or `out` has another length.
    pub(crate) fn write(&self, pixels: &[u8], out: &mut [T], memory: &mut WhitenerMemory<T>) {
        assert!(pixels.len() == self.shape.features() && out.len() == pixels.len(), "the image has another length");
        vectorize(
            #[inline(always)]
            || self.standardize(pixels, out),
        );
        self.dct.forward(out, &self.scale, &self.shift, &mut memory.dct);
    }

    /// Steps 1 and 2.
    #[inline(always)]
    fn standardize(&self, pixels: &[u8], out: &mut [T]) {
        let plane = (self.shape.height * self.shape.width).max(1);
        for (i, (out, channel)) in out.chunks_exact_mut(plane).zip(&self.channels).enumerate() {
            if self.channels.len() == 3 {
                let (red, others) = pixels.split_at(plane);
                let (green, blue) = others.split_at(plane);
                mix([red, green, blue], *channel, out);
            } else {
                let (pixels, factor, offset) = (&pixels[i * plane..][..plane], channel.factors[0], channel.offset);
                for (out, &pixel) in out.iter_mut().zip(pixels) {
                    *out = number::<T>(pixel).fused(factor, offset);
                }
            }
        }
    }
}

impl<T: Scalar> Channel<T> {
    #[inline(always)]
    fn value(self, red: u8, green: u8, blue: u8) -> T {
        let [a, b, c] = self.factors;
        number::<T>(red).fused(a, number::<T>(green).fused(b, number::<T>(blue).fused(c, self.offset)))
    }
}

/// One rotated channel of a color image.
#[inline(always)]
fn mix<T: Scalar>(pixels: [&[u8]; 3], channel: Channel<T>, out: &mut [T]) {
    let [red, green, blue] = pixels;
    let ((red, last_red), (green, last_green)) = (red.as_chunks::<LANES>(), green.as_chunks::<LANES>());
    let ((blue, last_blue), (out, last_out)) = (blue.as_chunks::<LANES>(), out.as_chunks_mut::<LANES>());
    for ((out, red), (green, blue)) in out.iter_mut().zip(red).zip(green.iter().zip(blue)) {
        // Copied, because otherwise the compiler must assume that the output may alias them.
        let (red, green, blue) = (*red, *green, *blue);
        for lane in 0..LANES {
            out[lane] = channel.value(red[lane], green[lane], blue[lane]);
        }
    }
    for ((out, &red), (&green, &blue)) in last_out.iter_mut().zip(last_red).zip(last_green.iter().zip(last_blue)) {
        *out = channel.value(red, green, blue);
    }
}

#[inline(always)]
fn number<T: Scalar>(pixel: u8) -> T {
    T::from_f64(f64::from(pixel))
}

/// Direction `i` of color, of length 1.
fn color(i: usize) -> [f64; 3] {
    let length = COLORS[i].iter().map(|x| x * x).sum::<f64>().sqrt();
    COLORS[i].map(|x| x / length)
}

/// The transpose of steps 2 to 4.
pub(crate) struct Transpose {
    shape: Shape,
    mean: Vec<f64>,
    scale: Vec<f64>,
    down: RowMajor<f64>,
    across: RowMajor<f64>,
}

impl Transpose {
    /// Replaces a row of weights of features by weights of standardized pixels, and returns what the means of the
    /// coefficients add to the bias.
    pub(crate) fn apply(&self, row: &mut [f64]) -> f64 {
        let Shape { channels, height, width } = self.shape;
        let mut bias = 0.0;
        for ((value, scale), mean) in row.iter_mut().zip(&self.scale).zip(&self.mean) {
            *value *= scale;
            bias -= *value * mean;
        }
        // D is orthogonal: its transpose inverts it. Each row of an image is a sum of cosines, and so is each column.
        let mut across = vec![0.0; width];
        for line in row.chunks_exact_mut(width) {
            combine(line, &self.across, &mut across, 1);
            line.copy_from_slice(&across);
        }
        let mut down = vec![0.0; height * width];
        for channel in row.chunks_exact_mut(height * width) {
            combine(channel, &self.down, &mut down, width);
            channel.copy_from_slice(&down);
        }
        if channels == 3 {
            let colors = [0, 1, 2].map(color);
            for i in 0..height * width {
                let values = [0, 1, 2].map(|channel| row[channel * height * width + i]);
                for channel in 0..3 {
                    row[channel * height * width + i] = (0..3).map(|d| colors[d][channel] * values[d]).sum();
                }
            }
        }
        bias
    }
}

/// Computes out(n, :) = sum_k matrix(k, n) values(k, :), for rows of `width` numbers.
fn combine(values: &[f64], matrix: &RowMajor<f64>, out: &mut [f64], width: usize) {
    vectorize(
        #[inline(always)]
        || {
            out.fill(0.0);
            for (cosine, values) in matrix.rows().zip(values.chunks_exact(width)) {
                for (out, &cosine) in out.chunks_exact_mut(width).zip(cosine) {
                    for (out, &value) in out.iter_mut().zip(values) {
                        *out += cosine * value;
                    }
                }
            }
        },
    );
}
