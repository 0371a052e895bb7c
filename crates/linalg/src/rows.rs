//! Rows of several matrices, processed together on the threads of a [`Par`]: for the steps of a layer that treat each
//! unit alone.

use crate::par::{Share, Strided};
use crate::{Par, RowMajor, Scalar, vectorize};

/// Fewest numbers for which splitting the rows between threads takes less time than processing them on one.
const WORTH_SPLITTING: usize = 32_768;

/// The rows of a matrix, or the numbers of a slice as rows of one number.
#[derive(Debug)]
pub struct RowsMut<'a, T> {
    lines: Strided<'a, T>,
    width: usize,
}

impl<T: Scalar> RowsMut<'_, T> {
    /// The first and the second half of the rows.
    ///
    /// # Panics
    /// If the number of rows is odd.
    pub fn halves(self) -> [Self; 2] {
        let (rows, width) = (self.lines.count(), self.width);
        assert!(rows.is_multiple_of(2), "{rows} rows cannot be halved");
        let (a, b) = self.lines.split(rows / 2);
        [a, b].map(|lines| Self { lines, width })
    }

    #[inline(always)]
    fn row_mut(&mut self, i: usize) -> &mut [T] {
        &mut self.lines.memory[i * self.lines.stride..][..self.width]
    }
}

impl<'a, T: Scalar> From<&'a mut RowMajor<T>> for RowsMut<'a, T> {
    fn from(matrix: &'a mut RowMajor<T>) -> Self {
        let width = matrix.ncols();
        let (memory, stride) = matrix.strided_mut();
        Self { lines: Strided { memory, stride }, width }
    }
}

impl<'a, T: Scalar> From<&'a mut [T]> for RowsMut<'a, T> {
    fn from(memory: &'a mut [T]) -> Self {
        Self { lines: Strided { memory, stride: 1 }, width: 1 }
    }
}

impl<T: Send, const N: usize> Share for [RowsMut<'_, T>; N] {
    fn count(&self) -> usize {
        self[0].lines.count()
    }

    fn split(mut self, count: usize) -> (Self, Self) {
        let first = self.each_mut().map(|RowsMut { lines, width }| {
            let Strided { memory, stride } = lines;
            let memory = memory.split_off_mut(..count * *stride).expect("fewer rows than the matrix has");
            RowsMut { lines: Strided { memory, stride: *stride }, width: *width }
        });
        (first, self)
    }
}

/// Calls `work` with the index of each row and this row of each of the `matrices`, in any order, compiled as by
/// [`vectorize`]. `width` is the number of columns that `work` processes: small matrices are not split between threads.
///
/// ```
/// use klayer_linalg::{Par, RowMajor, for_rows};
///
/// let mut a = RowMajor::from_rows(2, 2, &[1.0, 2.0, 3.0, 4.0]);
/// let mut sums = [0.0; 2];
/// for_rows(&Par::Seq, 2, [(&mut a).into(), sums.as_mut_slice().into()], |_, [a, sum]| sum[0] = a[0] + a[1]);
/// assert_eq!(sums, [3.0, 7.0]);
/// ```
///
/// # Panics
/// If the numbers of rows differ.
pub fn for_rows<T: Scalar, const N: usize>(
    par: &Par,
    width: usize,
    matrices: [RowsMut<'_, T>; N],
    work: impl Fn(usize, [&mut [T]; N]) + Sync,
) {
    let count = matrices.count();
    assert!(matrices.iter().all(|matrix| matrix.lines.count() == count), "the numbers of rows differ");
    let par = if count * width < WORTH_SPLITTING { &Par::Seq } else { par };
    par.share(&mut par.each(), 0, matrices, 1, &|first, mut matrices, _| {
        vectorize(
            #[inline(always)]
            || {
                for i in 0..matrices.count() {
                    work(first + i, matrices.each_mut().map(|matrix| matrix.row_mut(i)));
                }
            },
        );
    });
}
