//! Pictures of any size and format as images of a shape.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::Path;

use image::imageops::{self, FilterType};
use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader, ImageResult, Limits, RgbImage};

use crate::{Error, Shape};

/// Size to which large pictures are reduced before filtering, as a multiple of that of an image.
const REDUCED: u32 = 8;
/// Maximum side of a picture, in pixels.
const LONGEST: u32 = 32_768;
/// Maximum size of a decoded picture, in bytes.
const MEMORY: u64 = 512 << 20;
/// Number of leading bytes from which a format is detected.
const HEAD: u64 = 64;

/// Reads the picture `path`: rotated according to its EXIF data, drawn on white where transparent, cropped to the
/// largest central part of the shape's proportions, a square for example, and resized to the shape with a Lanczos3
/// filter. Returns the pixels channel by channel, each row by row: red, green and blue for three channels, and the
/// luma (ITU-R BT.709) for one channel.
///
/// # Errors
/// [`Error::Picture`] if the file cannot be read, is not a supported picture, is damaged, or exceeds 512 MiB or 32,768
/// pixels per side, and if the shape has another number of channels, no pixels, or more than 32,768 per side.
pub fn read(path: &Path, shape: Shape) -> Result<Vec<u8>, Error> {
    let refuse = |reason: String| Error::Picture { path: path.to_path_buf(), reason };
    let side = |side: usize| u32::try_from(side).ok().filter(|side| (1..=LONGEST).contains(side));
    let (Some(width), Some(height), 1 | 3) = (side(shape.width), side(shape.height), shape.channels) else {
        return Err(refuse(format!("a picture cannot become an image of {shape}")));
    };
    let picture = resized(path, width, height).map_err(|error| refuse(error.to_string()))?;
    Ok(if shape.channels == 1 { picture.pixels().map(|pixel| luma(pixel.0)).collect() } else { planes(&picture) })
}

/// Reads the picture `path`, and resizes it to `width` x `height`.
fn resized(path: &Path, width: u32, height: u32) -> ImageResult<RgbImage> {
    let mut reader = ImageReader::open(path)?.with_guessed_format()?;
    if reader.format() == Some(ImageFormat::Jpeg) && !is_whole_jpeg(&bytes(path)?) {
        return Err(std::io::Error::other("the picture is truncated").into());
    }
    let mut limits = Limits::default();
    (limits.max_image_width, limits.max_image_height) = (Some(LONGEST), Some(LONGEST));
    limits.max_alloc = Some(MEMORY);
    reader.limits(limits.clone());
    let mut decoder = reader.into_decoder()?;
    // Not every decoder enforces the limits.
    let (columns, rows) = decoder.dimensions();
    limits.check_dimensions(columns, rows)?;
    if columns == 0 || rows == 0 {
        return Err(std::io::Error::other("the picture has no pixels").into());
    }
    limits.reserve(decoder.total_bytes())?;
    // A picture with an invalid orientation is not rotated.
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    let mut picture = DynamicImage::from_decoder(decoder)?;
    picture.apply_orientation(orientation);
    Ok(small(opaque(middle(picture, width, height)), width, height))
}

/// Reads a file of at most [`MEMORY`] bytes.
fn bytes(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(MEMORY + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MEMORY { Err(ErrorKind::FileTooLarge.into()) } else { Ok(bytes) }
}

/// Whether a JPEG has an end marker, which decoders do not check. A JPEG is a sequence of segments, each a marker
/// followed by its length, except for standalone markers; compressed pixels follow their segment up to the next marker
/// (ITU-T T.81, B.1.1).
fn is_whole_jpeg(bytes: &[u8]) -> bool {
    const END: u8 = 0xd9;
    const PIXELS: u8 = 0xda;
    let mut at = 2;
    while let Some(&[0xff, marker]) = bytes.get(at..at + 2) {
        at += match marker {
            END => return true,
            // Fill bytes before a marker.
            0xff => 1,
            0x01 | 0xd0..=0xd8 => 2,
            _ => match bytes.get(at + 2..at + 4) {
                Some(&[high, low]) => 2 + usize::from(u16::from_be_bytes([high, low])),
                _ => return false,
            },
        };
        if marker == PIXELS {
            let is_marker = |pair: &[u8]| pair[0] == 0xff && !matches!(pair[1], 0x00 | 0xd0..=0xd7);
            let pixels = bytes.get(at..).unwrap_or_default();
            at += pixels.windows(2).position(is_marker).unwrap_or(pixels.len());
        }
    }
    false
}

/// Whether a file is a picture in a supported format, by its name or its first bytes.
pub fn is_one(path: &Path) -> bool {
    let read = |format: &ImageFormat| format.reading_enabled();
    let named = || ImageFormat::from_path(path).ok().filter(read);
    let begun = || {
        let mut head = Vec::new();
        File::open(path).ok()?.take(HEAD).read_to_end(&mut head).ok()?;
        image::guess_format(&head).ok().filter(read)
    };
    named().or_else(begun).is_some()
}

/// Crops a picture to its largest central part with the proportions of `width` x `height`.
fn middle(picture: DynamicImage, width: u32, height: u32) -> DynamicImage {
    let (columns, rows) = (picture.width(), picture.height());
    // All sides are at most `LONGEST`, so products fit.
    let kept = (columns.min((rows * width / height).max(1)), rows.min((columns * height / width).max(1)));
    if kept == (columns, rows) {
        return picture;
    }
    picture.crop_imm((columns - kept.0) / 2, (rows - kept.1) / 2, kept.0, kept.1)
}

/// Converts a picture to 8-bit RGB, on white where it is transparent.
fn opaque(picture: DynamicImage) -> RgbImage {
    if !picture.color().has_alpha() {
        return picture.into_rgb8();
    }
    let mut picture = picture.into_rgba8();
    for pixel in picture.pixels_mut() {
        let [r, g, b, alpha] = pixel.0.map(u32::from);
        let on_white = |c: u32| ((c * alpha + 255 * (255 - alpha) + 127) / 255) as u8;
        pixel.0 = [on_white(r), on_white(g), on_white(b), 255];
    }
    DynamicImage::from(picture).into_rgb8()
}

/// Resizes a picture to `width` x `height`. A large one is first reduced to eight times that by averaging areas, which
/// is much faster than filtering all of its pixels.
fn small(picture: RgbImage, width: u32, height: u32) -> RgbImage {
    let sides = picture.dimensions();
    let large = sides.0 > 2 * REDUCED * width && sides.1 > 2 * REDUCED * height;
    let picture = if large { imageops::thumbnail(&picture, REDUCED * width, REDUCED * height) } else { picture };
    if sides == (width, height) {
        return picture;
    }
    imageops::resize(&picture, width, height, FilterType::Lanczos3)
}

/// The red, green and blue planes of a picture, each row by row.
fn planes(picture: &RgbImage) -> Vec<u8> {
    (0..3).flat_map(|colour| picture.pixels().map(move |pixel| pixel.0[colour])).collect()
}

/// The luma of a color, by ITU-R BT.709; that of a gray is the gray itself.
pub(crate) fn luma([red, green, blue]: [u8; 3]) -> u8 {
    ((2126 * u32::from(red) + 7152 * u32::from(green) + 722 * u32::from(blue) + 5000) / 10_000) as u8
}

#[cfg(test)]
mod tests {
    use image::{ImageBuffer, Luma, LumaA, Rgb, Rgba};

    use super::*;

    fn kept(picture: impl Into<DynamicImage>, name: &str) -> Vec<u8> {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join(name);
        picture.into().save(&path).expect("written");
        read(&path, Shape::CIFAR).expect("a picture")
    }

    #[test]
    fn a_32_by_32_picture_keeps_every_pixel() {
        let colour = |x: u32, y: u32, c: u32| ((7 * x + 31 * y + 85 * c) % 256) as u8;
        let picture = RgbImage::from_fn(32, 32, |x, y| Rgb([0, 1, 2].map(|c| colour(x, y, c))));
        let pixels = kept(picture, "a.png");
        for (i, &pixel) in pixels.iter().enumerate() {
            let (c, y, x) = (i as u32 / 1024, i as u32 % 1024 / 32, i as u32 % 32);
            assert_eq!(pixel, colour(x, y, c), "colour {c} at {x}, {y}");
        }
    }

    #[test]
    fn pictures_are_cropped_to_the_centre_and_smoothed() {
        let wide = |x: u32| if !(100..200).contains(&x) { 200 } else { 100 * (x % 2) as u8 };
        let pixels = kept(ImageBuffer::from_fn(300, 100, |x, _| Luma([wide(x)])), "a.png");
        assert!(pixels.iter().all(|p| (30..=70).contains(p)), "stripes of 0 and 100, without those beside: {pixels:?}");
        let tall = ImageBuffer::from_fn(64, 256, |_, y| Luma([if (96..160).contains(&y) { 9_000_u16 } else { 0 }]));
        assert_eq!(kept(tall, "a.png"), [35; 3072]);
        let fine = ImageBuffer::from_fn(1500, 1500, |x, _| Luma([255 * (x % 2) as u8]));
        assert!(kept(fine, "a.png").iter().all(|p| (100..=155).contains(p)), "a large picture is reduced first");
        let thin = RgbImage::from_pixel(1, 500, Rgb([1, 2, 3]));
        assert_eq!(kept(thin, "a.bmp")[..1], [1]);
    }

    #[test]
    fn transparent_pixels_become_white() {
        let halves =
            ImageBuffer::from_fn(64, 64, |x, _| if x < 32 { Rgba([10_u8, 20, 30, 0]) } else { Rgba([0, 0, 0, 255]) });
        let pixels = kept(halves, "a.png");
        for row in pixels.chunks_exact(32) {
            assert_eq!((row[0], row[31]), (255, 0));
        }
        assert_eq!(kept(ImageBuffer::from_pixel(32, 32, LumaA([100_u8, 51])), "a.png"), [224; 3072]);
    }
}
