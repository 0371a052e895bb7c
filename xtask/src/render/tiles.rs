//! Weights as pictures.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use klayer_chart::{Drawing, text};

/// Tiles in a row.
const COLUMNS: usize = 8;
/// Side of a tile in the picture, in pixels, and in the drawing.
const SIDE: usize = 32;
const DRAWN: f64 = 58.0;
const TOP: f64 = 30.0;

/// Draws the weights of units: of each, 3 x 32 x 32 bytes in hexadecimal, red, green and blue.
pub(super) fn draw(title: &str, alt: String, units: &[String]) -> Drawing {
    let mut svg = String::new();
    text(&mut svg, (2.0, 16.0), "title", title);
    for (i, unit) in units.iter().enumerate() {
        let (x, y) = ((i % COLUMNS) as f64 * DRAWN, TOP + (i / COLUMNS) as f64 * DRAWN);
        let picture = STANDARD.encode(bitmap(&bytes(unit)));
        svg += &format!(
            r#"<image x="{x:.1}" y="{y:.1}" width="{0}" height="{0}" href="data:image/bmp;base64,{picture}"/>"#,
            DRAWN - 4.0
        );
    }
    let rows = units.len().div_ceil(COLUMNS) as f64;
    Drawing { width: COLUMNS as f64 * DRAWN, height: TOP + rows * DRAWN, alt, body: svg }
}

fn bytes(hexadecimal: &str) -> Vec<u8> {
    let digits = hexadecimal.as_bytes().chunks_exact(2);
    digits
        .map(|pair| str::from_utf8(pair).ok().and_then(|pair| u8::from_str_radix(pair, 16).ok()).unwrap_or(0))
        .collect()
}

/// A picture of 32 x 32 pixels in three planes as an uncompressed bitmap (BMP): rows from the bottom, blue first.
fn bitmap(planes: &[u8]) -> Vec<u8> {
    const HEADER: u32 = 54;
    let pixels = SIDE * SIDE;
    let mut file = b"BM".to_vec();
    let numbers = [HEADER + 3 * pixels as u32, 0, HEADER, 40, SIDE as u32, SIDE as u32, 1 | 24 << 16, 0, 0, 0, 0, 0, 0];
    file.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
    for row in (0..SIDE).rev() {
        for at in row * SIDE..(row + 1) * SIDE {
            file.extend([2, 1, 0].map(|plane| planes.get(plane * pixels + at).copied().unwrap_or(128)));
        }
    }
    file
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bitmap_has_its_first_row_last_and_blue_first() {
        let mut planes = vec![0; 3 * 1024];
        (planes[0], planes[1024], planes[2048]) = (1, 2, 3);
        let file = bitmap(&planes);
        assert_eq!(file.len(), 54 + 3072);
        assert_eq!(file[54 + 31 * 96..][..3], [3, 2, 1]);
    }
}
