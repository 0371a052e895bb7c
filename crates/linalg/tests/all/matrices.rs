use klayer_linalg::{ColMajor, Par, RowMajor, RowsMut, Scalar, for_rows, reduce, vectorize};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::{cases, normal, normal_columns};

/// Includes lengths of whole pages, whose columns are padded.
#[test]
fn every_accessor_returns_the_same_values() {
    fn check<T: Scalar>(rows: usize, cols: usize) {
        let (by_column, by_row) = (normal_columns::<T>(rows, cols, 1), normal::<T>(cols, rows, 1));
        assert_eq!((by_column.nrows(), by_column.ncols(), by_row.nrows(), by_row.ncols()), (rows, cols, cols, rows));
        for j in 0..cols {
            assert_eq!(by_column.col(j), by_row.row(j));
            assert!((0..rows).all(|i| by_column.as_ref().as_mat()[(i, j)] == by_row.as_ref()[(j, i)]));
        }
        let mut copy = RowMajor::zeros(cols, rows);
        copy.copy_from(&by_row);
        assert!(copy.rows().eq(by_row.rows()));
    }
    for rows in [0, 1, 3, 511, 512, 1024, 3072] {
        check::<f32>(rows, 5);
        check::<f64>(rows, 5);
    }
    check::<f64>(7, 0);
}

#[test]
fn columns_are_never_whole_pages_apart() {
    for rows in [1024, 3072] {
        let matrix = ColMajor::<f32>::zeros(rows, 2);
        let distance = matrix.as_ref().as_mat().col_stride() as usize * size_of::<f32>();
        assert!(!distance.is_multiple_of(4096), "{rows} rows: {distance} bytes");
    }
}

proptest! {
    #![proptest_config(cases(100))]

    #[test]
    fn sums_agree_with_sequential_summation(a in vec(-1.0..1.0_f64, 0..200), seed in 0..100_u64, center in -1.0..1.0_f64) {
        let b = normal::<f64>(1, a.len(), seed);
        let b = b.row(0);
        let near = |found: f64, expected: f64| (found - expected).abs() < 1e-12;
        prop_assert!(near(reduce::sum(&a), a.iter().sum()));
        prop_assert!(near(reduce::dot(&a, b), a.iter().zip(b).map(|(a, b)| a * b).sum()));
        let squares: f64 = a.iter().map(|a| (a - center).powi(2)).sum();
        prop_assert!(near(reduce::squared_distances(&a, center), squares));
    }

    #[test]
    fn sums_do_not_depend_on_the_vector_width(a in vec(-1.0..1.0_f32, 0..200), center in -1.0..1.0_f32) {
        let wide = vectorize(
#[inline(always)]
|| (reduce::sum(&a), reduce::dot(&a, &a), reduce::squared_distances(&a, center)));
        let plain = (reduce::sum(&a), reduce::dot(&a, &a), reduce::squared_distances(&a, center));
        prop_assert_eq!(wide, plain);
    }

    #[test]
    fn for_lines_visits_every_line_once_with_its_index(
        lines in 0..50_usize, stride in 1..4_usize, together in 1..7_usize, threads in 0..5_usize
    ) {
        let mut seen = vec![Vec::new(); lines * stride];
        Par::threads(threads).unwrap().for_lines(&mut seen, stride, together, &|first, part| {
            assert!(first.is_multiple_of(together), "parts begin at whole groups");
            part.iter_mut().enumerate().for_each(|(i, seen)| seen.push(first * stride + i));
        });
        prop_assert!(seen.iter().enumerate().all(|(index, seen)| *seen == [index]));
    }

    /// Also with widths for which the rows are split between threads.
    #[test]
    fn for_rows_passes_every_row_once_with_its_index(
        pairs in 0..25_usize, cols in 1..40_usize, wide: bool, threads in 0..5_usize
    ) {
        let (rows, width) = (2 * pairs, if wide { 1 << 20 } else { cols });
        let (before, mut sums) = (normal::<f64>(rows, cols, 1), vec![0.0; rows]);
        let (mut matrix, mut half) = (before.clone(), normal::<f64>(pairs, 1, 2));
        let par = Par::threads(threads).unwrap();
        for_rows(&par, width, [(&mut matrix).into(), sums.as_mut_slice().into()], |i, [row, sum]| {
            sum[0] = reduce::sum(row);
            row.iter_mut().for_each(|value| *value += i as f64);
        });
        for (i, &sum) in sums.iter().enumerate() {
            prop_assert_eq!(sum, reduce::sum(before.row(i)));
            prop_assert!(matrix.row(i).iter().zip(before.row(i)).all(|(new, old)| *new == old + i as f64));
        }
        let [top, bottom] = RowsMut::from(&mut matrix).halves();
        for_rows(&par, width, [(&mut half).into(), top, bottom], |_, [half, top, bottom]| half[0] = bottom[0] - top[0]);
        let moved = |i: usize| (before.row(i + pairs)[0] + (i + pairs) as f64) - (before.row(i)[0] + i as f64);
        prop_assert!((0..pairs).all(|i| half.row(i)[0] == moved(i)));
    }
}
