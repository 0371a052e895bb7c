//! The synthetic stand-in: generated images in the layout of CIFAR-10, for use when the dataset is not available.
//!
//! Each of the ten classes has a few smooth patterns. An image is one of its class's patterns, shifted by a few
//! pixels, at a random contrast; random amounts of a pattern of any class, textures shared by all classes, a color
//! cast and noise are added. So classes overlap, no single pixel identifies a class, and each class forms several
//! clusters: a network can learn and overfit. With batch norm, hidden layers of 50 and 50 units and two cycles of
//! 4,500 steps, a network classifies about 57% of the test images correctly, and 69% of its training images.
//!
//! Only additions, multiplications and square roots are used, which round identically on all processors.

use std::array;

use klayer_linalg::random::{Pcg64, stream};
use klayer_linalg::vectorize;
use rand::RngExt;

use crate::{Error, Part, Parts, Progress, Shape, Sizes, checksum};

const CLASSES: usize = 10;
/// Patterns per class.
const MODES: usize = 8;
/// Textures shared by all classes.
const TEXTURES: usize = 24;
/// Textures added to an image.
const OVERLAYS: usize = 2;
/// Maximum shift of a class's pattern in pixels, in each direction.
const MOVE: usize = 4;
/// Length of the shared noise; each image uses a different section.
const NOISE: usize = 1 << 16;
/// Images per file.
const FILE: usize = 10_000;

const SIDE: usize = Shape::CIFAR.width;
const CHANNELS: usize = Shape::CIFAR.channels;
const FEATURES: usize = CHANNELS * SIDE * SIDE;
/// Knots of a pattern along each axis; a spline interpolates between them.
const KNOTS: usize = 8;

/// A smooth periodic picture of mean 0 and variance 1.
struct Pattern {
    /// Rows of twice the width, so that a row starting anywhere in the first half is contiguous.
    rows: Vec<[f32; 2 * SIDE]>,
}

/// The patterns, textures and noise that all images are composed of.
struct World {
    modes: Vec<Pattern>,
    textures: Vec<Pattern>,
    noise: Vec<f32>,
}

/// A pattern's contribution to an image.
struct Layer<'a> {
    pattern: &'a Pattern,
    right: usize,
    down: usize,
    weight: f32,
}

/// Generates the files for `sizes`; returns their images and the checksum of the files.
pub(crate) fn generate(seed: u64, sizes: Sizes, progress: &dyn Progress) -> Result<(Parts, String), Error> {
    let world = World::new(&mut stream(seed, "synthetic world"));
    let total = sizes.training + sizes.validation + sizes.test;
    let (mut sums, mut done) = (Vec::new(), 0);
    let mut files = |images: usize, name: &str| {
        let mut part = Part::with_capacity(Shape::CIFAR, images, false);
        let mut rng = stream(seed, &format!("synthetic {name}"));
        for (number, start) in (0..images).step_by(FILE).enumerate() {
            let name = if name == "test_batch" { format!("{name}.bin") } else { format!("{name}_{}.bin", number + 1) };
            let bytes = world.file(&mut rng, FILE.min(images - start), || {
                done += 1;
                progress.generating(done, total);
                progress.cancelled()
            })?;
            for record in bytes.chunks_exact(1 + FEATURES) {
                part.labels.push(record[0]);
                part.pixels.extend_from_slice(&record[1..]);
            }
            sums.push((name, checksum::sha256(&bytes)));
        }
        Ok::<_, Error>(part)
    };
    let mut training = files(sizes.training + sizes.validation, "data_batch")?;
    let test = files(sizes.test, "test_batch")?;
    let validation = training.split_last(sizes.validation)?;
    Ok((Parts { training, validation, test }, checksum::of_files(&sums)))
}

impl World {
    fn new(rng: &mut Pcg64) -> Self {
        let mut patterns = |count| (0..count).map(|_| Pattern::new(rng)).collect();
        let (modes, textures) = (patterns(CLASSES * MODES), patterns(TEXTURES));
        // The sum of three draws is close enough to normal; its variance is 3/3.
        let noise = (0..NOISE + FEATURES).map(|_| (0..3).map(|_| symmetric(rng)).sum()).collect();
        Self { modes, textures, noise }
    }

    /// Generates `images` records; `step` is called before each and returns whether to stop.
    fn file(&self, rng: &mut Pcg64, images: usize, mut step: impl FnMut() -> bool) -> Result<Vec<u8>, Error> {
        let mut bytes = vec![0; images * (1 + FEATURES)];
        for record in bytes.chunks_exact_mut(1 + FEATURES) {
            if step() {
                return Err(Error::Cancelled);
            }
            let (label, pixels) = record.split_at_mut(1);
            label[0] = rng.random_range(0..CLASSES as u8);
            self.image(rng, usize::from(label[0]), pixels);
        }
        Ok(bytes)
    }

    fn image(&self, rng: &mut Pcg64, class: usize, pixels: &mut [u8]) {
        let near = |rng: &mut Pcg64| (SIDE + rng.random_range(0..=2 * MOVE) - MOVE) % SIDE;
        let contrast = uniform(rng, 12.0, 36.0);
        let own = Layer {
            pattern: &self.modes[class * MODES + rng.random_range(0..MODES)],
            right: near(rng),
            down: near(rng),
            weight: contrast,
        };
        let other = Layer {
            pattern: &self.modes[rng.random_range(0..CLASSES * MODES)],
            right: near(rng),
            down: near(rng),
            weight: contrast * uniform(rng, 0.0, 1.5),
        };
        let overlays: [Layer<'_>; OVERLAYS] = array::from_fn(|_| Layer {
            pattern: &self.textures[rng.random_range(0..TEXTURES)],
            right: rng.random_range(0..SIDE),
            down: rng.random_range(0..SIDE),
            weight: 30.0 * symmetric(rng),
        });
        let brightness = 128.0 + 40.0 * symmetric(rng);
        let cast: [f32; CHANNELS] = array::from_fn(|_| brightness + 15.0 * symmetric(rng));
        let noise = &self.noise[rng.random_range(0..NOISE)..][..FEATURES];
        let grain = uniform(rng, 4.0, 16.0);
        vectorize(
            #[inline(always)]
            || {
                for (y, (pixels, noise)) in pixels.chunks_exact_mut(SIDE).zip(noise.chunks_exact(SIDE)).enumerate() {
                    let (own_row, other_row) = (own.row(y), other.row(y));
                    let overlay_rows = overlays.each_ref().map(|overlay| overlay.row(y));
                    for x in 0..SIDE {
                        let mut value = cast[y / SIDE] + own.weight * own_row[x] + other.weight * other_row[x];
                        for (overlay, row) in overlays.iter().zip(&overlay_rows) {
                            value += overlay.weight * row[x];
                        }
                        value += grain * noise[x];
                        pixels[x] = value.clamp(0.0, 255.0) as u8;
                    }
                }
            },
        );
    }
}

impl Layer<'_> {
    /// The contribution to row `y` of the image's 96 (32 per channel).
    #[inline(always)]
    fn row(&self, y: usize) -> &[f32; SIDE] {
        let row = &self.pattern.rows[y / SIDE * SIDE + (y + self.down) % SIDE];
        row[self.right..].first_chunk().expect("a row is twice as long as an image is wide")
    }
}

impl Pattern {
    fn new(rng: &mut Pcg64) -> Self {
        // Channels of photographs are correlated: most of a pattern is shared by them.
        let light = Self::smooth(rng);
        let mut values: Vec<f32> = Vec::with_capacity(FEATURES);
        for _ in 0..CHANNELS {
            let colour = Self::smooth(rng);
            values.extend(light.iter().zip(&colour).map(|(light, colour)| light + 0.5 * colour));
        }
        let mean = values.iter().sum::<f32>() / FEATURES as f32;
        let variance = values.iter().map(|v| (v - mean) * (v - mean)).sum::<f32>() / FEATURES as f32;
        let scale = 1.0 / variance.sqrt();
        let row = |row: &[f32]| array::from_fn(|x| (row[x % SIDE] - mean) * scale);
        Self { rows: values.chunks_exact(SIDE).map(row).collect() }
    }

    /// Random knots on a torus, interpolated by a quadratic spline.
    fn smooth(rng: &mut Pcg64) -> Vec<f32> {
        const STEP: usize = SIDE / KNOTS;
        let knots: [[f32; KNOTS]; KNOTS] = array::from_fn(|_| array::from_fn(|_| symmetric(rng)));
        let weights: [[f32; 3]; STEP] = array::from_fn(|i| {
            let t = (i as f32 + 0.5) / STEP as f32;
            [0.5 * (1.0 - t) * (1.0 - t), 0.5 + t * (1.0 - t), 0.5 * t * t]
        });
        let value = |y: usize, x: usize| {
            let mut sum = 0.0;
            for (i, wy) in weights[y % STEP].iter().enumerate() {
                for (j, wx) in weights[x % STEP].iter().enumerate() {
                    sum += wy * wx * knots[(y / STEP + i) % KNOTS][(x / STEP + j) % KNOTS];
                }
            }
            sum
        };
        (0..SIDE * SIDE).map(|i| value(i / SIDE, i % SIDE)).collect()
    }
}

/// Draws a number between `low` and `high`.
fn uniform(rng: &mut Pcg64, low: f32, high: f32) -> f32 {
    low + (high - low) * rng.random::<f32>()
}

/// Draws a number between -1 and 1.
fn symmetric(rng: &mut Pcg64) -> f32 {
    uniform(rng, -1.0, 1.0)
}
