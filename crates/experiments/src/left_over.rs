//! Chooses the jobs that run on several threads each, so that all threads stay busy to the end.

/// Parallel efficiency of a job on several threads.
const SHARE: f64 = 0.8;

/// How many of the first jobs should run one after another, each on up to `most_threads` threads, so that the rest is
/// a multiple of `threads` and every thread gets as many; `work` is the work of each job.
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
    fn jobs_left_over_for_few_threads_run_on_several() {
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
