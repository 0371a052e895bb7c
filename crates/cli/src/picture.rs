//! Converts pictures of any size to the 3,072 pixel values of a network's input, and draws such images as sheets of
//! tiles.

use std::fs::File;
use std::io::{Cursor, ErrorKind, Read};
use std::path::Path;

use image::imageops::{self, FilterType};
use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader, ImageResult, Limits, Rgb, RgbImage};
use klayer_dataset::FEATURES;

/// Side of a network's input, in pixels.
pub(crate) const SIDE: u32 = 32;
/// Side to which large pictures are reduced before filtering, in pixels.
const REDUCED: u32 = 8 * SIDE;
/// Maximum side of a picture, in pixels.
const LONGEST: u32 = 32_768;
/// Maximum size of a decoded picture, in bytes.
const MEMORY: u64 = 512 << 20;
/// Number of leading bytes from which a format is detected.
const HEAD: u64 = 64;

/// Gap between the tiles of a sheet before enlarging, in pixels.
const GAP: u32 = 1;
/// Background of a sheet.
const GREY: Rgb<u8> = Rgb([128; 3]);
/// Factor by which a sheet is enlarged, unless it would become larger than [`LARGE`].
const SCALE: u32 = 3;
/// Maximum side of an enlarged sheet, in pixels.
const LARGE: u32 = 8_192;

/// Reads the picture `path`: rotated according to its EXIF data, drawn on white where transparent, cropped to the
/// central square and resized to 32 x 32 with a Lanczos3 filter. Returns 1,024 red values, row by row, then the green
/// and the blue ones.
///
/// # Errors
/// If the file cannot be read, is not a supported picture, is damaged, or exceeds 512 MiB or 32,768 pixels per side.
pub(crate) fn read(path: &Path) -> ImageResult<Vec<u8>> {
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
    let (width, height) = decoder.dimensions();
    limits.check_dimensions(width, height)?;
    if width == 0 || height == 0 {
        return Err(std::io::Error::other("the picture has no pixels").into());
    }
    limits.reserve(decoder.total_bytes())?;
    // A picture with an invalid orientation is not rotated.
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    let mut picture = DynamicImage::from_decoder(decoder)?;
    picture.apply_orientation(orientation);
    let square = opaque(middle(picture));
    Ok(planes(&small(square)))
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
pub(crate) fn is_one(path: &Path) -> bool {
    let read = |format: &ImageFormat| format.reading_enabled();
    let named = || ImageFormat::from_path(path).ok().filter(read);
    let begun = || {
        let mut head = Vec::new();
        File::open(path).ok()?.take(HEAD).read_to_end(&mut head).ok()?;
        image::guess_format(&head).ok().filter(read)
    };
    named().or_else(begun).is_some()
}

/// Crops a picture to the largest central square.
fn middle(picture: DynamicImage) -> DynamicImage {
    let (width, height) = (picture.width(), picture.height());
    let side = width.min(height);
    if width == height { picture } else { picture.crop_imm((width - side) / 2, (height - side) / 2, side, side) }
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

/// Resizes a square to 32 x 32. A large one is first reduced to 256 x 256 by averaging areas, which is much faster than
/// filtering all of its pixels.
fn small(square: RgbImage) -> RgbImage {
    let side = square.width();
    let square = if side > 2 * REDUCED { imageops::thumbnail(&square, REDUCED, REDUCED) } else { square };
    match side {
        SIDE => square,
        _ => imageops::resize(&square, SIDE, SIDE, FilterType::Lanczos3),
    }
}

/// The red, green and blue planes of a picture, each row by row.
fn planes(picture: &RgbImage) -> Vec<u8> {
    (0..3).flat_map(|colour| picture.pixels().map(move |pixel| pixel.0[colour])).collect()
}

/// Draws `tiles` of 3,072 values as a PNG, `columns` per row, separated by thin gray lines. Without tiles, the sheet is
/// one empty tile.
///
/// Tiles are enlarged three times, unless the sheet would become too large.
///
/// # Errors
/// If the sheet is too large for a PNG.
///
/// # Panics
/// If `columns` is 0, or a tile does not have 3,072 values.
pub(crate) fn sheet<'a>(tiles: impl ExactSizeIterator<Item = &'a [u8]>, columns: usize) -> ImageResult<Vec<u8>> {
    let columns = columns.min(tiles.len().max(1));
    let along = |count: usize| count as u32 * (SIDE + GAP) + GAP;
    let (width, height) = (along(columns), along(tiles.len().div_ceil(columns).max(1)));
    let mut sheet = RgbImage::from_pixel(width, height, GREY);
    for (i, tile) in tiles.enumerate() {
        assert_eq!(tile.len(), FEATURES, "a tile has {FEATURES} pixels");
        let (left, top) = (along(i % columns), along(i / columns));
        let plane = FEATURES / 3;
        for at in 0..plane {
            let colour = Rgb([tile[at], tile[plane + at], tile[2 * plane + at]]);
            sheet.put_pixel(left + at as u32 % SIDE, top + at as u32 / SIDE, colour);
        }
    }
    if SCALE * width.max(height) <= LARGE {
        sheet = imageops::resize(&sheet, SCALE * width, SCALE * height, FilterType::Nearest);
    }
    let mut png = Cursor::new(Vec::new());
    sheet.write_to(&mut png, ImageFormat::Png)?;
    Ok(png.into_inner())
}

#[cfg(test)]
mod tests {
    use image::{ImageBuffer, Luma, LumaA, Rgba};

    use super::*;

    fn kept(picture: impl Into<DynamicImage>, name: &str) -> Vec<u8> {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join(name);
        picture.into().save(&path).expect("written");
        read(&path).expect("a picture")
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
        assert_eq!(kept(tall, "a.png"), [35; FEATURES]);
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
        assert_eq!(kept(ImageBuffer::from_pixel(32, 32, LumaA([100_u8, 51])), "a.png"), [224; FEATURES]);
    }

    #[test]
    fn a_sheet_enlarges_each_tile_three_times() {
        let tiles: Vec<Vec<u8>> = (0..5).map(|i| (0..FEATURES).map(|at| (at % 251) as u8 ^ i).collect()).collect();
        let png = sheet(tiles.iter().map(Vec::as_slice), 3).expect("a sheet");
        let picture = image::load_from_memory(&png).expect("a picture").to_rgb8();
        assert_eq!(picture.dimensions(), (3 * (3 * 33 + 1), 3 * (2 * 33 + 1)));
        for (i, tile) in tiles.iter().enumerate() {
            let (left, top) = (3 * (33 * (i as u32 % 3) + 1), 3 * (33 * (i as u32 / 3) + 1));
            let pixel = picture.get_pixel(left + 3 * 5 + 2, top + 3 * 4);
            assert_eq!(pixel.0, [0, 1024, 2048].map(|plane| tile[plane + 4 * 32 + 5]), "tile {i}");
        }
        assert_eq!(picture.get_pixel(0, 0), &GREY);
        assert_eq!(picture.get_pixel(3 * 33 * 2 + 30, 3 * 33 + 30), &GREY, "there is no sixth tile");

        let none = image::load_from_memory(&sheet(std::iter::empty(), 2).expect("a sheet")).expect("a picture");
        let none = none.to_rgb8();
        assert_eq!(none.dimensions(), (3 * (33 + 1), 3 * (33 + 1)));
        assert!(none.pixels().all(|pixel| pixel == &GREY), "without tiles it is grey");
    }
}
