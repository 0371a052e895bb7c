//! Which jobs are made together.

/// Most jobs that are made together. Each more saves less, and takes memory and cache.
const MOST: usize = 4;
/// What a group does once for all its jobs, as a part of what it does for each.
const SHARED: f64 = 0.3;

/// The jobs `missing`, in groups that go with each other, so that `threads` threads that take one group after the
/// other are soonest at the end: large groups share most, but all threads must be busy to the end.
///
/// `work` is that of every job.
pub(crate) fn groups(
    missing: &[usize],
    work: &[u64],
    threads: usize,
    go_together: impl Fn(usize, usize) -> bool,
) -> Vec<Vec<usize>> {
    let mut kinds: Vec<Vec<usize>> = Vec::new();
    for &job in missing {
        match kinds.iter_mut().find(|kind| go_together(kind[0], job)) {
            Some(kind) => kind.push(job),
            None => kinds.push(vec![job]),
        }
    }
    let threads = threads.max(1);
    let time = |groups: &Vec<Vec<usize>>| {
        let mut busy = vec![0.0; threads];
        for group in groups {
            let first = busy.iter_mut().min_by(|a, b| f64::total_cmp(a, b)).expect("there is a thread");
            *first += work[group[0]] as f64 * (group.len() as f64 + SHARED);
        }
        busy.into_iter().fold(0.0, f64::max)
    };
    let cuts = (1..=MOST).rev().flat_map(|most| [cut(&kinds, most, 1), cut(&kinds, most, threads)]);
    cuts.min_by(|a, b| time(a).total_cmp(&time(b))).unwrap_or_default()
}

/// Cuts each of `kinds` into even groups of at most `most` jobs, their number a multiple of `multiple_of` if there
/// are jobs enough. The groups are in the order of their first jobs.
fn cut(kinds: &[Vec<usize>], most: usize, multiple_of: usize) -> Vec<Vec<usize>> {
    let mut groups = Vec::new();
    for kind in kinds {
        let count = kind.len().div_ceil(most).next_multiple_of(multiple_of).min(kind.len());
        let bound = |i: usize| i * kind.len() / count;
        groups.extend((0..count).map(|i| kind[bound(i)..bound(i + 1)].to_vec()));
    }
    groups.sort_unstable();
    groups
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Jobs that threads get which take the next group as soon as they are through with one, of equal work.
    fn shares(jobs: usize, threads: usize, kinds: usize) -> Vec<usize> {
        let all: Vec<_> = (0..jobs).collect();
        let groups = groups(&all, &vec![100; jobs], threads, |a, b| a % kinds == b % kinds);
        let mut placed = groups.concat();
        placed.sort_unstable();
        assert_eq!(placed, all, "every job is in one group");
        let mut shares = vec![0; threads];
        for group in groups {
            assert!(group.len() <= MOST && group.iter().all(|job| job % kinds == group[0] % kinds), "{group:?}");
            *shares.iter_mut().min().expect("a thread") += group.len();
        }
        shares
    }

    #[test]
    fn all_threads_are_busy_to_the_end() {
        assert_eq!(shares(20, 2, 1), [10, 10]);
        assert_eq!(shares(20, 4, 1), [5, 5, 5, 5]);
        assert_eq!(shares(6, 2, 1), [3, 3]);
        assert_eq!(shares(3, 4, 1), [1, 1, 1, 0]);
        assert_eq!(shares(10, 2, 5).iter().sum::<usize>(), 10);
        assert_eq!(shares(0, 2, 1), [0, 0]);
    }

    #[test]
    fn one_thread_makes_the_largest_groups() {
        let groups = groups(&[0, 1, 2, 4, 5, 6, 7, 9], &[1; 10], 1, |_, _| true);
        assert_eq!(groups, [[0, 1, 2, 4], [5, 6, 7, 9]]);
    }
}
