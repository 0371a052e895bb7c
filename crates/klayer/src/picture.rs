//! Draws images as sheets of tiles.

use std::io::Cursor;

use image::imageops::{self, FilterType};
use image::{ImageFormat, ImageResult, Rgb, RgbImage};
use klayer_dataset::Shape;

/// Gap between the tiles of a sheet before enlarging, in pixels.
const GAP: usize = 1;
/// Background of a sheet.
const GREY: Rgb<u8> = Rgb([128; 3]);
/// Factor by which a sheet is enlarged, unless it would become larger than [`LARGE`].
const SCALE: u32 = 3;
/// Maximum side of an enlarged sheet, in pixels.
const LARGE: u32 = 8_192;

/// Draws `tiles` of the shape `shape` as a PNG, `columns` per row, separated by thin gray lines. Without tiles, the
/// sheet is one empty tile.
///
/// Three channels are red, green and blue; of any other number, the first channel is drawn in gray. Tiles are enlarged
/// three times, unless the sheet would become too large.
///
/// # Errors
/// If the sheet is too large for a PNG.
///
/// # Panics
/// If `columns` is 0, or a tile does not have the shape.
pub(crate) fn sheet<'a>(
    tiles: impl ExactSizeIterator<Item = &'a [u8]>,
    columns: usize,
    shape: Shape,
) -> ImageResult<Vec<u8>> {
    let columns = columns.min(tiles.len().max(1));
    let along = |count: usize, side: usize| (count * (side + GAP) + GAP) as u32;
    let right = |count: usize| along(count, shape.width);
    let down = |count: usize| along(count, shape.height);
    let (width, height) = (right(columns), down(tiles.len().div_ceil(columns).max(1)));
    let mut sheet = RgbImage::from_pixel(width, height, GREY);
    for (i, tile) in tiles.enumerate() {
        assert_eq!(tile.len(), shape.features(), "a tile has the shape {shape}");
        let (left, top) = (right(i % columns), down(i / columns));
        let plane = shape.width * shape.height;
        for at in 0..plane {
            let colour =
                if shape.channels == 3 { [0, plane, 2 * plane].map(|first| tile[first + at]) } else { [tile[at]; 3] };
            sheet.put_pixel(left + (at % shape.width) as u32, top + (at / shape.width) as u32, Rgb(colour));
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
    use super::*;

    #[test]
    fn a_sheet_enlarges_each_tile_three_times() {
        let tiles: Vec<Vec<u8>> = (0..5).map(|i| (0..3072).map(|at| (at % 251) as u8 ^ i).collect()).collect();
        let png = sheet(tiles.iter().map(Vec::as_slice), 3, Shape::CIFAR).expect("a sheet");
        let picture = image::load_from_memory(&png).expect("a picture").to_rgb8();
        assert_eq!(picture.dimensions(), (3 * (3 * 33 + 1), 3 * (2 * 33 + 1)));
        for (i, tile) in tiles.iter().enumerate() {
            let (left, top) = (3 * (33 * (i as u32 % 3) + 1), 3 * (33 * (i as u32 / 3) + 1));
            let pixel = picture.get_pixel(left + 3 * 5 + 2, top + 3 * 4);
            assert_eq!(pixel.0, [0, 1024, 2048].map(|plane| tile[plane + 4 * 32 + 5]), "tile {i}");
        }
        assert_eq!(picture.get_pixel(0, 0), &GREY);
        assert_eq!(picture.get_pixel(3 * 33 * 2 + 30, 3 * 33 + 30), &GREY, "there is no sixth tile");

        let none =
            image::load_from_memory(&sheet(std::iter::empty(), 2, Shape::CIFAR).expect("a sheet")).expect("a picture");
        let none = none.to_rgb8();
        assert_eq!(none.dimensions(), (3 * (33 + 1), 3 * (33 + 1)));
        assert!(none.pixels().all(|pixel| pixel == &GREY), "without tiles it is grey");
    }
}
