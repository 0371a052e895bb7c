//! Mirrored and shifted views of images.

use std::mem;
use std::ops::Deref;

use klayer_linalg::Par;

use crate::{Error, Shape};

/// An image seen through a window that is shifted over it, and possibly mirrored.
///
/// Beyond its edges, the image is mirrored; the edge itself is not repeated (`reflect` in NumPy and PyTorch). Row y,
/// column x of the view is row y + `down`, column x + `right` of the image; of a mirrored view, it is column
/// (width - 1 - x) + `right`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct View {
    /// Whether left and right are exchanged.
    pub mirrored: bool,
    /// Rows by which the window is shifted down.
    pub down: i32,
    /// Columns by which the window is shifted to the right.
    pub right: i32,
}

impl View {
    /// The shifts of the views that klayer averages over.
    pub const SHIFTS: [i32; 3] = [-2, 0, 2];

    /// Every view with these shifts in both directions: as they are, and also mirrored if `mirror` is true.
    ///
    /// With `mirror` and the shifts -2, 0 and 2, these are 18 views.
    ///
    /// # Errors
    /// [`Error::Shift`] if a shift is not smaller than the height and the width.
    ///
    /// ```
    /// use klayer_dataset::{Shape, View};
    ///
    /// assert_eq!(View::all(Shape::CIFAR, true, &[-2, 0, 2])?.len(), 18);
    /// assert_eq!(View::all(Shape::CIFAR, true, &[0])?[0], View::default());
    /// # Ok::<(), klayer_dataset::Error>(())
    /// ```
    pub fn all(shape: Shape, mirror: bool, shifts: &[i32]) -> Result<Vec<Self>, Error> {
        shifts.iter().try_for_each(|shift| check(shape, shift.unsigned_abs() as usize))?;
        let mirrored = if mirror { &[false, true][..] } else { &[false] };
        let windows = shifts.iter().flat_map(|&down| shifts.iter().map(move |&right| (down, right)));
        Ok(windows
            .flat_map(|(down, right)| mirrored.iter().map(move |&mirrored| Self { mirrored, down, right }))
            .collect())
    }

    /// Writes this view of `image` to `out`.
    ///
    /// # Panics
    /// If `image` or `out` has another shape, or a shift is not smaller than the height and the width.
    pub fn write(self, shape: Shape, image: &[u8], out: &mut [u8]) {
        let Shape { height, width, .. } = shape;
        assert!(image.len() == shape.features() && out.len() == image.len(), "the image has another shape");
        let plane = (height * width).max(1);
        for (image, out) in image.chunks_exact(plane).zip(out.chunks_exact_mut(plane)) {
            for (y, out) in out.chunks_exact_mut(width).enumerate() {
                self.write_row(&image[reflect(y, self.down, height) * width..][..width], out);
            }
        }
    }

    fn write_row(self, row: &[u8], out: &mut [u8]) {
        let (width, by) = (row.len(), self.right.unsigned_abs() as usize);
        let (inside, last) = (width - by, width - 1);
        if self.right >= 0 {
            out[..inside].copy_from_slice(&row[by..]);
            out[inside..].iter_mut().zip(row[..last].iter().rev()).for_each(|(out, &pixel)| *out = pixel);
        } else {
            out[by..].copy_from_slice(&row[..inside]);
            out[..by].iter_mut().zip(row[1..=by].iter().rev()).for_each(|(out, &pixel)| *out = pixel);
        }
        if self.mirrored {
            out.reverse();
        }
    }
}

/// The line at `i` + `shift`, mirrored at the first and the last of `count` lines.
fn reflect(i: usize, shift: i32, count: usize) -> usize {
    let at = (i as i64 + i64::from(shift)).unsigned_abs() as usize;
    if at < count { at } else { 2 * (count - 1) - at }
}

/// Checks that images of `shape` can be shifted by `shift` pixels.
pub(crate) fn check(shape: Shape, shift: usize) -> Result<(), Error> {
    if shift == 0 || shift < shape.height.min(shape.width) { Ok(()) } else { Err(Error::Shift { shift, shape }) }
}

/// Memory for views of the images of a mini-batch. It grows with the largest mini-batch.
#[derive(Debug, Default)]
pub struct ViewBuffer {
    bytes: Vec<u8>,
    /// Empty; kept for its memory.
    images: Vec<&'static [u8]>,
}

/// The images of a mini-batch, as a slice of slices of bytes: those of a dataset, or views of them in a
/// [`ViewBuffer`].
#[derive(Debug)]
pub struct Views<'a> {
    images: Vec<&'a [u8]>,
    /// Where the memory of `images` returns to.
    home: &'a mut Vec<&'static [u8]>,
}

impl ViewBuffer {
    /// Returns the images themselves, without copying them.
    pub fn originals<'a>(&'a mut self, images: impl Iterator<Item = &'a [u8]>) -> Views<'a> {
        let mut list: Vec<&'a [u8]> = mem::take(&mut self.images);
        list.extend(images);
        Views { images: list, home: &mut self.images }
    }

    /// Returns the view `view(j)` of each image j. The images are split between the threads.
    ///
    /// # Panics
    /// As [`View::write`].
    ///
    /// ```
    /// use klayer_dataset::{Shape, View, ViewBuffer};
    /// use klayer_linalg::Par;
    ///
    /// let (shape, image) = (Shape { channels: 1, height: 1, width: 3 }, [1, 2, 3]);
    /// let mirrored = View { mirrored: true, ..View::default() };
    /// let mut buffer = ViewBuffer::default();
    /// let views = buffer.views(shape, [&image[..]].into_iter(), |_| mirrored, &Par::Seq);
    /// assert_eq!(views[0], [3, 2, 1]);
    /// ```
    pub fn views<'a>(
        &'a mut self,
        shape: Shape,
        images: impl Iterator<Item = &'a [u8]>,
        view: impl Fn(usize) -> View + Sync,
        par: &Par,
    ) -> Views<'a> {
        let mut list: Vec<&'a [u8]> = mem::take(&mut self.images);
        list.extend(images);
        let (length, size) = (shape.features(), shape.features() * list.len());
        if self.bytes.len() < size {
            self.bytes.resize(size, 0);
        }
        par.for_lines(&mut self.bytes[..size], length, 1, &|first, lines| {
            for (j, out) in (first..).zip(lines.chunks_exact_mut(length.max(1))) {
                view(j).write(shape, list[j], out);
            }
        });
        list.iter_mut().zip(self.bytes.chunks_exact(length.max(1))).for_each(|(image, view)| *image = view);
        Views { images: list, home: &mut self.images }
    }
}

impl<'a> Deref for Views<'a> {
    type Target = [&'a [u8]];

    fn deref(&self) -> &Self::Target {
        &self.images
    }
}

impl Drop for Views<'_> {
    fn drop(&mut self) {
        let mut images = mem::take(&mut self.images);
        images.clear();
        // Collected in place: an empty list of other references in the same memory.
        *self.home = images.into_iter().map(|_| &[][..]).collect();
    }
}
