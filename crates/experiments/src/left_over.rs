//! Which jobs are made on several threads each, so that all threads are busy to the end.

/// How much faster a job is on several threads, as a part of their number.
const SHARE: f64 = 0.8;

/// How many of the first jobs are better made one after the other, each on up to `most_threads` threads, so that the
/// rest are a multiple of `threads` and each thread makes as many; `work` is that of each job.
pub(crate) fn left_over(work: &[u64], threads: usize, most_threads: usize) -> usize {
    let together = threads.min(most_threads);
    if together < 2 {
        return 0;
    }
    let time = |wide: usize| {
        let (wide, narrow) = work.split_at(wide);
        let mut busy = vec![wide.iter().sum::<u64>() as f64 / (SHARE * together as f64); threads];
        for &work in narrow {
            *busy.iter_mut().min_by(|a, b| f64::total_cmp(a, b)).expect("there is a thread") += work as f64;
        }
        busy.into_iter().fold(0.0, f64::max)
    };
    let odd = work.len() % threads;
    if time(odd) < time(0) { odd } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_be_left_for_few_threads_at_the_end_is_made_on_several() {
        let of = |jobs, threads, most_threads| left_over(&vec![100; jobs], threads, most_threads);
        assert_eq!([20, 6, 2, 0].map(|jobs| of(jobs, 2, 4)), [0; 4], "each thread has as many as the others");
        assert_eq!([1, 5, 21].map(|jobs| of(jobs, 2, 4)), [1; 3]);
        assert_eq!([of(9, 4, 4), of(1, 4, 4), of(7, 4, 4)], [1, 1, 3]);
        assert_eq!(of(15, 8, 4), 0, "one after the other on four threads, seven would take longer than side by side");
        assert_eq!([of(1, 4, 1), of(5, 2, 1), of(5, 1, 4)], [0; 3], "there are no more threads for a job");
        assert_eq!(left_over(&[1000, 10, 10], 2, 4), 1);
        assert_eq!(left_over(&[1000, 1000, 10], 2, 4), 0, "what is short is soon made at the end");
    }
}
