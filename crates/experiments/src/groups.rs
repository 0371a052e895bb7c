//! Which jobs are made together, and on how many threads.

/// Most jobs that are made together. Each more saves less, and takes memory.
const MOST: usize = 4;
/// What a group does once for all its jobs, as a part of what it does for each: images come from memory, most of the
/// time while others are worked on.
const SHARED: f64 = 0.02;

/// What more threads than one make of a group, as a part of what as many would make of as many groups.
const SHARE: f64 = 0.8;

/// In what groups jobs are made, and on how many threads each.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    /// Groups of jobs that go with each other.
    pub(crate) groups: Vec<Vec<usize>>,
    /// The first so many are made one after the other, each on several threads. Of the others each thread then takes
    /// one after the other.
    pub(crate) wide: usize,
}

/// How the jobs `missing` are soonest made on `threads` threads: large groups share most, but all threads must be busy
/// to the end. Where the groups are no multiple of the threads, the odd ones are made on all of them.
///
/// `work` is that of every job; one group can use up to `most_threads`.
pub(crate) fn plan(
    missing: &[usize],
    work: &[u64],
    threads: usize,
    most_threads: usize,
    go_together: impl Fn(usize, usize) -> bool,
) -> Plan {
    let mut kinds: Vec<Vec<usize>> = Vec::new();
    for &job in missing {
        match kinds.iter_mut().find(|kind| go_together(kind[0], job)) {
            Some(kind) => kind.push(job),
            None => kinds.push(vec![job]),
        }
    }
    let threads = threads.max(1);
    let together = threads.min(most_threads);
    let time = |plan: &Plan| {
        let alone = |group: &Vec<usize>| work[group[0]] as f64 * (group.len() as f64 + SHARED);
        let (wide, narrow) = plan.groups.split_at(plan.wide);
        let mut busy = vec![wide.iter().map(alone).sum::<f64>() / (SHARE * together as f64); threads];
        for group in narrow {
            *busy.iter_mut().min_by(|a, b| f64::total_cmp(a, b)).expect("there is a thread") += alone(group);
        }
        busy.into_iter().fold(0.0, f64::max)
    };
    let cuts = (1..=MOST).rev().flat_map(|most| [cut(&kinds, most, 1), cut(&kinds, most, threads)]);
    let plans = cuts.flat_map(|groups| {
        let odd = if together > 1 { groups.len() % threads } else { 0 };
        [Plan { groups: groups.clone(), wide: 0 }, Plan { groups, wide: odd }]
    });
    plans.min_by(|a, b| time(a).total_cmp(&time(b))).unwrap_or_default()
}

/// Cuts each of `kinds` into even groups of at most `most` jobs, their number a multiple of `multiple_of` if there
/// are jobs enough. Of each kind the larger groups come first: what is left for the end is small. The groups are in the
/// order of their first jobs.
fn cut(kinds: &[Vec<usize>], most: usize, multiple_of: usize) -> Vec<Vec<usize>> {
    let mut groups = Vec::new();
    for kind in kinds {
        let count = kind.len().div_ceil(most).next_multiple_of(multiple_of).min(kind.len());
        let bound = |i: usize| i * (kind.len() / count) + i.min(kind.len() % count);
        groups.extend((0..count).map(|i| kind[bound(i)..bound(i + 1)].to_vec()));
    }
    groups.sort_unstable();
    groups
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many jobs are made on all threads, and how many each thread makes that takes the next group as soon as it is
    /// through with one, of jobs of equal work.
    fn shares(jobs: usize, threads: usize, most_threads: usize, kinds: usize) -> (usize, Vec<usize>) {
        let all: Vec<_> = (0..jobs).collect();
        let Plan { groups, wide } = plan(&all, &vec![100; jobs], threads, most_threads, |a, b| a % kinds == b % kinds);
        let mut placed = groups.concat();
        placed.sort_unstable();
        assert_eq!(placed, all, "every job is in one group");
        let mut shares = vec![0; threads];
        for group in &groups {
            assert!(group.len() <= MOST && group.iter().all(|job| job % kinds == group[0] % kinds), "{group:?}");
        }
        for group in &groups[wide..] {
            *shares.iter_mut().min().expect("a thread") += group.len();
        }
        (groups[..wide].concat().len(), shares)
    }

    #[test]
    fn all_threads_are_busy_to_the_end() {
        assert_eq!(shares(20, 2, 4, 1), (0, vec![10, 10]));
        assert_eq!(shares(20, 4, 4, 1), (0, vec![5, 5, 5, 5]));
        assert_eq!(shares(6, 2, 4, 1), (0, vec![3, 3]));
        assert_eq!(shares(3, 4, 1, 1), (0, vec![1, 1, 1, 0]));
        assert_eq!(shares(10, 2, 1, 5).1.iter().sum::<usize>(), 10);
        assert_eq!(shares(10, 2, 4, 5), (0, vec![5, 5]), "few of a kind are soonest made apart");
        assert_eq!(shares(0, 2, 4, 1), (0, vec![0, 0]));
    }

    #[test]
    fn what_is_left_over_is_made_on_all_threads() {
        assert_eq!(shares(5, 2, 4, 5), (1, vec![2, 2]));
        assert_eq!(shares(9, 4, 4, 9), (1, vec![2; 4]));
        assert_eq!(shares(3, 2, 4, 3), (1, vec![1, 1]));
        assert_eq!(shares(1, 4, 4, 1), (1, vec![0; 4]));
        assert_eq!(shares(1, 4, 1, 1), (0, vec![1, 0, 0, 0]), "it can only use one");
    }

    #[test]
    fn one_thread_makes_the_largest_groups() {
        let Plan { groups, wide } = plan(&[0, 1, 2, 4, 5, 6, 7, 9], &[1; 10], 1, 4, |_, _| true);
        assert_eq!((groups, wide), (vec![vec![0, 1, 2, 4], vec![5, 6, 7, 9]], 0));
    }
}
