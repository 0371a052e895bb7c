//! Who makes which trial of a store: locks between processes, on one machine or on several that share a folder.
//!
//! Only exclusive creation and renaming of files are assumed to be atomic, and no clock is compared with another.
//!
//! An owner is a process with a file `ID.owner` of its own, in which it raises a counter every two seconds: its
//! heartbeat. A lock is a file `KEY.N.lock` that names its owner; N counts the owners that the trial has had, from 1,
//! and the highest one holds it. Whoever finds the highest lock released, or its owner dead, takes it over by creating
//! the next one, exclusively: of several that try, one succeeds. The highest lock is never deleted before the trial's
//! record is there, so that nobody can mistake a trial under way for a free one. After the record is there, locks mean
//! nothing: whoever has taken a lock looks for the record before it does anything.
//!
//! An owner is dead if neither its heartbeat nor its lock has changed for [`Times::stale`], by the watcher's own count
//! of looks, which a clock that jumps or a machine that sleeps does not advance. On the machine of a dead owner that
//! is known at once: an owner keeps its file locked (flock), which ends with the process. Another mount of the same
//! folder, in a container or of a network's server, need not know of that lock. So the file also says how its owner
//! sees it, by the boot of the machine and the device and inode, and only who sees it so believes that it is not locked.
//!
//! An owner that was held dead but was only stopped finds the next lock at its next heartbeat, and lets the trial go.
//! Until then it may compute what another computes too. That costs time and no more: both come to the same record.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime};

use serde::{Deserialize, Serialize};
use tempfile::Builder;

use crate::environment::boot;
use crate::{Error, files};

/// How long things take between processes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Times {
    /// From one heartbeat to the next, and from one look at the locks of others to the next.
    pub(crate) beat: Duration,
    /// Without a sign of life for so long, an owner is dead.
    pub(crate) stale: Duration,
}

/// One that makes trials of a store: a process, as long as it does so.
#[derive(Debug)]
pub(crate) struct Owner {
    folder: PathBuf,
    id: String,
    times: Times,
    shared: Arc<Shared>,
    heart: Option<JoinHandle<()>>,
    /// What was last seen of the locks of others, and for how long they have been so.
    seen: Mutex<HashMap<PathBuf, Seen>>,
    /// When it started, as the clock of the store's file system has it.
    started: SystemTime,
    /// The file of the owner; it is kept locked.
    _file: File,
}

/// What the heartbeat's thread looks at.
#[derive(Debug, Default)]
struct Shared {
    ended: AtomicBool,
    /// Whether a lock names the owner that could not be let go.
    named: AtomicBool,
    held: Mutex<Vec<(PathBuf, PathBuf, Arc<AtomicBool>)>>,
}

/// A trial that an owner has taken, until it is dropped.
#[derive(Debug)]
pub(crate) struct Claim {
    lock: PathBuf,
    next: PathBuf,
    content: Lock,
    lost: Arc<AtomicBool>,
    shared: Arc<Shared>,
}

/// Hexadecimal digits of a trial's key.
const KEY_DIGITS: usize = 32;

/// What an attempt to take a trial comes to.
#[derive(Debug)]
pub(crate) enum Taken {
    /// The trial is ours.
    Ours(Claim),
    /// Another one has it: how to call it.
    Others(String),
}

/// The content of a lock.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Lock {
    /// The ID of its owner.
    owner: String,
    /// For people: where the owner runs.
    host: String,
    /// For people: its process there.
    pid: u32,
    /// Whether the owner has let the trial go.
    released: bool,
}

#[derive(Debug)]
struct Seen {
    what: (Vec<u8>, Vec<u8>),
    unchanged: Duration,
    last: Instant,
}

impl Default for Times {
    fn default() -> Self {
        Self { beat: Duration::from_secs(2), stale: Duration::from_secs(20) }
    }
}

impl Owner {
    /// A new owner of trials in the store `folder`.
    pub(crate) fn new(folder: &Path, times: Times) -> Result<Self, Error> {
        let (id, mut file, mark) = new_owner(folder)?;
        let started = file.metadata().and_then(|data| data.modified()).map_err(Error::file(folder))?;
        let kept = file.try_clone().map_err(Error::file(folder))?;
        let shared = Arc::new(Shared::default());
        let for_thread = Arc::clone(&shared);
        let beat = move || {
            let mut count = 0;
            while !for_thread.ended.load(Ordering::Acquire) {
                count += 1;
                // Without it the owner seems dead, which costs time and nothing else.
                let _ = write_beat(&mut file, count, &mark).and_then(|()| file.sync_data());
                for (lock, next, lost) in lock_of(&for_thread.held).iter() {
                    if is_taken_over(lock, next) {
                        lost.store(true, Ordering::Release);
                    }
                }
                thread::park_timeout(times.beat);
            }
        };
        let heart = thread::Builder::new().name("heartbeat".into()).spawn(beat).map_err(Error::file(folder))?;
        Ok(Self {
            folder: folder.into(),
            id,
            times,
            shared,
            heart: Some(heart),
            seen: Mutex::default(),
            started,
            _file: kept,
        })
    }

    pub(crate) fn times(&self) -> Times {
        self.times
    }

    /// Takes the trial `key` if nobody has it.
    pub(crate) fn take(&self, key: &str) -> Result<Taken, Error> {
        let highest = highest(&self.folder, key)?;
        if let Some(number) = highest
            && let Some(owner) = self.alive(&lock_path(&self.folder, key, number))?
        {
            return Ok(Taken::Others(owner));
        }
        let number = highest.unwrap_or(0) + 1;
        let (path, next) = (lock_path(&self.folder, key, number), lock_path(&self.folder, key, number + 1));
        let content = Lock {
            owner: self.id.clone(),
            host: fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default().trim().to_owned(),
            pid: std::process::id(),
            released: false,
        };
        let just_now = || Ok(Taken::Others("another process".to_owned()));
        let mut file = match OpenOptions::new().write(true).create_new(true).open(&path) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => return just_now(),
            file => file.map_err(Error::file(&path))?,
        };
        let json = serde_json::to_vec(&content).map_err(Error::Json)?;
        if let Err(error) = file.write_all(&json).and_then(|()| file.sync_all()) {
            // A lock without an owner would have to become stale first.
            let _ = fs::remove_file(&path);
            return Err(Error::file(&path)(error));
        }
        // One that was slow may have created a lock below the highest.
        if self::highest(&self.folder, key)? != Some(number) {
            let _ = fs::remove_file(&path);
            return just_now();
        }
        for below in 1..number {
            let _ = fs::remove_file(lock_path(&self.folder, key, below));
        }
        let lost = Arc::new(AtomicBool::new(false));
        lock_of(&self.shared.held).push((path.clone(), next.clone(), Arc::clone(&lost)));
        Ok(Taken::Ours(Claim { lock: path, next, content, lost, shared: Arc::clone(&self.shared) }))
    }

    /// The owner of the lock at `path`, unless it is dead or has let go.
    fn alive(&self, path: &Path) -> Result<Option<String>, Error> {
        let bytes = match fs::read(path) {
            Ok(bytes) => bytes,
            // Its trial has just been finished.
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            // On a network's file system, also what another has just replaced: look again, but not for ever.
            Err(error) if self.unchanged(path, <_>::default()) >= self.times.stale => {
                return Err(Error::file(path)(error));
            }
            Err(_) => return Ok(Some("another process".to_owned())),
        };
        // A lock whose owner died before it could write its name has none.
        let lock: Lock = serde_json::from_slice(&bytes).unwrap_or_default();
        let owner = owner_path(&self.folder, &lock.owner);
        if lock.released || has_ended(&owner) {
            return Ok(None);
        }
        // One of ours that was held lost, and was not: nobody works on it.
        if lock.owner == self.id && lock_of(&self.shared.held).iter().all(|(held, ..)| held != path) {
            return Ok(None);
        }
        let name = if lock.host.is_empty() { lock.owner } else { format!("process {} on {}", lock.pid, lock.host) };
        let mut beat = Vec::new();
        match File::open(&owner).map(|mut file| file.read_to_end(&mut beat)) {
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) if error.kind() == ErrorKind::PermissionDenied => return Err(Error::file(owner)(error)),
            // What cannot be read just now says nothing about its owner; some file systems let nobody read what another
            // has locked.
            Err(_) | Ok(Err(_)) => return Ok(Some(name)),
            Ok(Ok(_)) => {}
        }
        Ok(Some(name).filter(|_| self.unchanged(path, (bytes, beat)) < self.times.stale))
    }

    /// For how long the lock at `path`, with its owner's heartbeat, has been seen to be `what` it is now.
    fn unchanged(&self, path: &Path, what: (Vec<u8>, Vec<u8>)) -> Duration {
        let now = Instant::now();
        let mut seen = lock_of(&self.seen);
        let seen = seen.entry(path.into()).or_insert_with(|| Seen {
            what: what.clone(),
            unchanged: Duration::ZERO,
            last: now,
        });
        if seen.what == what {
            // No more than a look's worth: between two looks the machine may have slept, and the owner with it.
            seen.unchanged += (now - seen.last).min(2 * self.times.beat);
        } else {
            *seen = Seen { what, unchanged: Duration::ZERO, last: now };
        }
        seen.last = now;
        seen.unchanged
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::Release);
        if let Some(heart) = self.heart.take() {
            heart.thread().unpark();
            let _ = heart.join();
        }
        // A lock that could not be let go needs the file to tell that its owner has ended.
        if !self.shared.named.load(Ordering::Acquire) {
            let _ = fs::remove_file(owner_path(&self.folder, &self.id));
        }
        remove_leftovers(&self.folder, self.started);
    }
}

impl Claim {
    /// Whether nobody else has taken the trial over.
    pub(crate) fn held(&self) -> bool {
        if is_taken_over(&self.lock, &self.next) {
            self.lost.store(true, Ordering::Release);
        }
        !self.lost()
    }

    /// Whether the last heartbeat found that somebody else has taken the trial over.
    pub(crate) fn lost(&self) -> bool {
        self.lost.load(Ordering::Acquire)
    }

    /// The trial's record is there: nobody needs a lock of it any more.
    pub(crate) fn finish(&self) {
        self.lost.store(true, Ordering::Release);
        let _ = fs::remove_file(&self.lock);
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        lock_of(&self.shared.held).retain(|(lock, _, _)| *lock != self.lock);
        if !self.lost() && self.held() {
            let released = Lock { released: true, ..self.content.clone() };
            if !serde_json::to_vec(&released).is_ok_and(|json| files::write(&self.lock, &json).is_ok()) {
                self.shared.named.store(true, Ordering::Release);
            }
        }
    }
}

/// Creates the file of a new owner, locked against all others that look whether it lives. Returns its ID, the file and
/// what it says of how it is seen.
fn new_owner(folder: &Path) -> Result<(String, File, String), Error> {
    let mut file = files::create(Builder::new().prefix("").suffix(".owner").rand_bytes(16), folder)?;
    // Where files cannot be locked, the heartbeat alone tells that the owner lives.
    let mark = mark(file.as_file()).filter(|_| file.as_file().try_lock().is_ok()).unwrap_or_default();
    // Before any lock names it.
    write_beat(file.as_file_mut(), 0, &mark).map_err(Error::file(folder))?;
    let (file, path) = file.keep().map_err(|error| Error::file(folder)(error.error))?;
    Ok((path.file_stem().unwrap_or_default().to_string_lossy().into_owned(), file, mark))
}

/// Makes `count` the heartbeat in an owner's file, with what says how its owner sees it.
fn write_beat(file: &mut File, count: u64, mark: &str) -> std::io::Result<()> {
    file.rewind()?;
    file.write_all(format!("{count:020} {mark}\n").as_bytes())
}

/// How this file is seen from here: the boot of the machine, and the file's device and inode. Who sees it the same sees
/// the same locks of it. None where there is no such thing.
fn mark(file: &File) -> Option<String> {
    let (boot, data) = (boot()?, file.metadata().ok()?);
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        Some(format!("{boot} {} {}", data.dev(), data.ino()))
    }
    #[cfg(not(unix))]
    {
        let _ = (boot, data);
        None
    }
}

/// Whether somebody else has the trial of this lock. A file system that does not answer does not say so.
fn is_taken_over(lock: &Path, next: &Path) -> bool {
    next.try_exists().unwrap_or(false) || !lock.try_exists().unwrap_or(true)
}

/// The key that begins the name of a file of a trial under way: of its locks and checkpoints.
fn key_of(name: &str) -> Option<&str> {
    let (key, rest) = name.split_at_checked(KEY_DIGITS)?;
    let number = |rest: &str| Some(rest.strip_prefix('.')?.strip_suffix(".lock")?.bytes().all(|b| b.is_ascii_digit()));
    let ours = matches!(rest, ".checkpoint" | ".checkpoint.previous") || number(rest) == Some(true);
    (ours && key.bytes().all(|byte| byte.is_ascii_hexdigit())).then_some(key)
}

/// Whether the owner of this file has certainly ended: it saw its file as it is seen here, and does not lock it any
/// more. Of what is gone, or seen otherwise, only the heartbeat tells.
fn has_ended(owner: &Path) -> bool {
    let Ok(mut file) = File::open(owner) else { return false };
    let mut beat = String::new();
    let seen_the_same = mark(&file).is_some_and(|mark| {
        file.read_to_string(&mut beat).is_ok() && beat.trim_end().split_once(' ').is_some_and(|(_, of)| of == mark)
    });
    seen_the_same && file.try_lock().is_ok()
}

/// Removes what processes that were killed have left: locks and checkpoints of trials whose records are there, files of
/// owners that have ended on this machine and that no lock names, and temporary files if there is no other owner.
fn remove_leftovers(folder: &Path, started: SystemTime) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    let mut names: Vec<String> = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.retain(|name| {
        let finished = key_of(name).is_some_and(|key| folder.join(key).with_extension("json").exists());
        !(finished && fs::remove_file(folder.join(name)).is_ok())
    });

    let read = |name: &String| fs::read(folder.join(name)).ok();
    let locks: Vec<Lock> = names
        .iter()
        .filter(|name| name.ends_with(".lock"))
        .filter_map(|name| serde_json::from_slice(&read(name)?).ok())
        .collect();
    names.retain(|name| {
        let Some(id) = name.strip_suffix(".owner") else { return true };
        let named = locks.iter().any(|lock| lock.owner == id);
        named || !has_ended(&folder.join(name)) || fs::remove_file(folder.join(name)).is_err()
    });

    if names.iter().all(|name| !name.ends_with(".owner")) {
        for path in names.iter().filter(|name| name.starts_with(files::TEMPORARY)).map(|name| folder.join(name)) {
            if fs::metadata(&path).and_then(|data| data.modified()).is_ok_and(|modified| modified < started) {
                let _ = fs::remove_file(path);
            }
        }
    }
}

fn owner_path(folder: &Path, id: &str) -> PathBuf {
    folder.join(format!("{id}.owner"))
}

fn lock_path(folder: &Path, key: &str, number: u64) -> PathBuf {
    folder.join(format!("{key}.{number}.lock"))
}

/// The highest number of a lock of `key`.
fn highest(folder: &Path, key: &str) -> Result<Option<u64>, Error> {
    let mut highest = None;
    for entry in fs::read_dir(folder).map_err(Error::file(folder))? {
        let name = entry.map_err(Error::file(folder))?.file_name();
        let number = name.to_str().and_then(|name| name.strip_prefix(key)?.strip_prefix('.')?.strip_suffix(".lock"));
        highest = highest.max(number.and_then(|number| number.parse().ok()));
    }
    Ok(highest)
}

/// The data of a mutex; a panic elsewhere does not make them useless.
fn lock_of<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    const TIMES: Times = Times { beat: Duration::from_millis(20), stale: Duration::from_millis(400) };

    fn owner(folder: &TempDir) -> Owner {
        Owner::new(folder.path(), TIMES).expect("a folder")
    }

    fn take(owner: &Owner) -> Option<Claim> {
        match owner.take("key").expect("a folder") {
            Taken::Ours(claim) => Some(claim),
            Taken::Others(_) => None,
        }
    }

    /// The lock of an owner on another machine, which raises its counter `beats` times.
    fn foreign_lock(folder: &TempDir, number: u64, beats: u64) -> Option<JoinHandle<()>> {
        let lock = Lock { owner: "foreign".into(), host: "elsewhere".into(), ..Lock::default() };
        fs::write(lock_path(folder.path(), "key", number), serde_json::to_vec(&lock).expect("JSON")).expect("written");
        let path = owner_path(folder.path(), "foreign");
        fs::write(&path, "0").expect("written");
        let beat = move || {
            for count in 1..=beats {
                thread::sleep(TIMES.beat);
                fs::write(&path, count.to_string()).expect("written");
            }
        };
        (beats > 0).then(|| thread::spawn(beat))
    }

    #[test]
    fn a_trial_has_one_owner_until_it_lets_go() {
        let folder = TempDir::new().expect("a temporary folder");
        let (one, other) = (owner(&folder), owner(&folder));
        for _ in 0..3 {
            let claim = take(&one).expect("it is free");
            assert!(take(&other).is_none() && take(&one).is_none() && claim.held());
            drop(claim);
            let claim = take(&other).expect("it was let go");
            assert!(take(&one).is_none());
            drop(claim);
        }
    }

    /// Ends an owner that has taken the trial as if it were killed: its file is not locked any more, but neither that
    /// nor the lock is removed.
    fn kill(folder: &TempDir, one: Owner, claim: Claim) -> PathBuf {
        let (path, kept) = (owner_path(folder.path(), &one.id), folder.path().join("kept"));
        let (lock, lock_path) = (fs::read(&claim.lock).expect("a lock"), claim.lock.clone());
        fs::hard_link(&path, &kept).expect("a link");
        drop((claim, one));
        fs::write(&lock_path, lock).expect("written");
        fs::rename(kept, &path).expect("it is ours");
        path
    }

    #[test]
    fn an_owner_that_has_ended_on_this_machine_is_known_to_be_dead() {
        let folder = TempDir::new().expect("a temporary folder");
        let (one, other) = (owner(&folder), owner(&folder));
        let claim = take(&one).expect("it is free");
        assert!(take(&other).is_none());
        kill(&folder, one, claim);
        if boot().is_some() {
            assert!(take(&other).is_some());
        }
    }

    #[test]
    fn an_owner_that_sees_its_file_through_another_mount_is_not_dead_before_its_heart_has_stopped() {
        let folder = TempDir::new().expect("a temporary folder");
        let (one, other) = (owner(&folder), owner(&folder));
        let claim = take(&one).expect("it is free");
        let path = kill(&folder, one, claim);
        // The same content in another file: what is locked there is not known here.
        let there = fs::read(&path).expect("an owner");
        fs::write(folder.path().join("there"), there).expect("written");
        fs::rename(folder.path().join("there"), &path).expect("it is ours");
        assert!(!has_ended(&path) && take(&other).is_none(), "its file is not locked here, but may be there");
        remove_leftovers(folder.path(), SystemTime::now());
        fs::remove_file(lock_path(folder.path(), "key", 1)).expect("a lock");
        remove_leftovers(folder.path(), SystemTime::now());
        assert!(path.exists(), "it may be the heart of a process");
        fs::remove_file(&path).expect("it is ours");
        assert!(!has_ended(&path), "a file that is not seen yet is no dead owner");
    }

    #[test]
    fn a_lock_is_stale_when_its_heartbeat_has_stopped_and_no_sooner() {
        let folder = TempDir::new().expect("a temporary folder");
        let beating = foreign_lock(&folder, 1, 50).expect("a heart");
        let one = owner(&folder);
        while !beating.is_finished() {
            assert!(take(&one).is_none(), "its heart beats");
            thread::sleep(TIMES.beat / 2);
        }
        // Two looks far apart count as two looks.
        assert!(take(&one).is_none());
        thread::sleep(TIMES.stale);
        assert!(take(&one).is_none(), "whoever slept does not know whether the owner slept too");
        let mut looks = 0;
        let claim = loop {
            if let Some(claim) = take(&one) {
                break claim;
            }
            looks += 1;
            assert!(looks < 1_000, "it never becomes stale");
            thread::sleep(TIMES.beat);
        };
        assert!(looks >= 5 && claim.held());
        assert!(claim.lock.ends_with("key.2.lock"));
    }

    #[test]
    fn of_many_that_find_a_lock_stale_one_takes_it() {
        let folder = TempDir::new().expect("a temporary folder");
        let path = folder.path();
        for round in 0..10 {
            foreign_lock(&folder, 1 + 2 * round, 0);
            let owners: Vec<_> = (0..8).map(|_| owner(&folder)).collect();
            let claims: Vec<_> = thread::scope(|scope| {
                let wait = |owner: &Owner| loop {
                    match take(owner) {
                        Some(claim) => return Some(claim),
                        None if highest(path, "key").expect("a folder") != Some(1 + 2 * round) => return None,
                        None => thread::sleep(TIMES.beat / 4),
                    }
                };
                let workers: Vec<_> = owners.iter().map(|owner| scope.spawn(move || wait(owner))).collect();
                workers.into_iter().filter_map(|worker| worker.join().expect("no panic")).collect()
            });
            assert_eq!(claims.len(), 1, "round {round}");
        }
    }

    #[test]
    fn an_owner_that_was_held_dead_finds_that_out_and_leaves_the_trial_to_the_other() {
        let folder = TempDir::new().expect("a temporary folder");
        let one = owner(&folder);
        let claim = take(&one).expect("it is free");
        thread::sleep(2 * TIMES.beat);
        assert!(!claim.lost());
        let beating = foreign_lock(&folder, 2, 1).expect("a heart");
        assert!(!claim.held(), "it is seen at once where it matters");
        beating.join().expect("no panic");
        thread::sleep(2 * TIMES.beat);
        assert!(claim.lost());
        drop(claim);
        assert!(take(&one).is_none() && lock_path(folder.path(), "key", 2).exists());
    }

    #[test]
    fn a_trial_that_was_held_lost_and_was_not_is_taken_again() {
        let folder = TempDir::new().expect("a temporary folder");
        let one = owner(&folder);
        let claim = take(&one).expect("it is free");
        // As if the file system had not answered for a moment.
        claim.lost.store(true, Ordering::Release);
        drop(claim);
        assert!(lock_path(folder.path(), "key", 1).exists(), "a lost trial is not released");
        let claim = take(&one).expect("nobody works on it");
        assert!(claim.lock.ends_with("key.2.lock") && claim.held());
    }

    #[test]
    fn only_files_of_finished_trials_are_removed_as_leftovers() {
        let folder = TempDir::new().expect("a temporary folder");
        let (key, other) = ("0123456789abcdef".repeat(2), "f".repeat(32));
        let gone = [format!("{key}.3.lock"), format!("{key}.checkpoint"), format!("{key}.checkpoint.previous")];
        let kept = [format!("{key}.json"), format!("{other}.1.lock"), format!("{key}.x.lock"), "composer.json".into()];
        let foreign = ["composer.lock", "composer.1.lock", "composer.checkpoint", "composer.previous"];
        for name in gone.iter().chain(&kept).map(String::as_str).chain(foreign) {
            fs::write(folder.path().join(name), "").expect("written");
        }
        remove_leftovers(folder.path(), SystemTime::now());
        for name in kept.iter().map(String::as_str).chain(foreign) {
            assert!(folder.path().join(name).exists(), "{name} is kept");
        }
        assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), kept.len() + foreign.len());
    }

    #[cfg(unix)]
    #[test]
    fn the_heartbeat_can_be_read_by_other_users_as_any_new_file() {
        use std::os::unix::fs::PermissionsExt;
        let folder = TempDir::new().expect("a temporary folder");
        let one = owner(&folder);
        fs::write(folder.path().join("any"), "").expect("written");
        let mode = |path: &Path| fs::metadata(path).expect("a file").permissions().mode();
        assert_eq!(mode(&owner_path(folder.path(), &one.id)), mode(&folder.path().join("any")));
    }

    /// Looks at the trial until the owner of a lock that does not change would be held dead, and a little longer.
    fn look_for_long(one: &Owner) -> Vec<Result<Taken, Error>> {
        let looks = 3 * TIMES.stale.as_millis() / (2 * TIMES.beat.as_millis());
        let look = |_| {
            thread::sleep(TIMES.beat);
            one.take("key")
        };
        (0..looks).map(look).collect()
    }

    #[test]
    fn a_lock_that_cannot_be_read_is_waited_for_and_told_at_last() {
        let folder = TempDir::new().expect("a temporary folder");
        let one = owner(&folder);
        // A folder can be opened and not be read, as a file that a server has lost.
        fs::create_dir(lock_path(folder.path(), "key", 1)).expect("a folder");
        let looks = look_for_long(&one);
        assert!(matches!(looks.first(), Some(Ok(Taken::Others(_)))), "{looks:?}");
        assert!(
            matches!(looks.last(), Some(Err(Error::File { path, .. })) if path.ends_with("key.1.lock")),
            "{looks:?}"
        );
    }

    #[test]
    fn an_owner_whose_heartbeat_cannot_be_read_is_not_held_dead() {
        let folder = TempDir::new().expect("a temporary folder");
        let one = owner(&folder);
        foreign_lock(&folder, 1, 0);
        let beat = owner_path(folder.path(), "foreign");
        fs::remove_file(&beat).expect("it is ours");
        fs::create_dir(&beat).expect("a folder");
        let looks = look_for_long(&one);
        assert!(looks.iter().all(|look| matches!(look, Ok(Taken::Others(_)))), "{looks:?}");
    }

    #[test]
    fn an_owner_that_could_not_let_a_trial_go_is_known_to_have_ended() {
        let folder = TempDir::new().expect("a temporary folder");
        // A heart that beats while its lock is replaced would hold it lost: the first beat is over, the second far off.
        let minute = Duration::from_secs(60);
        let slow = || Owner::new(folder.path(), Times { beat: minute, stale: 20 * minute }).expect("a folder");
        let one = slow();
        thread::sleep(Duration::from_millis(300));
        let claim = take(&one).expect("it is free");
        let content = fs::read(&claim.lock).expect("a lock");
        // What stands there now cannot be replaced, as on a full disk.
        fs::remove_file(&claim.lock).expect("it is ours");
        fs::create_dir(&claim.lock).expect("a folder");
        let lock = claim.lock.clone();
        drop(claim);
        fs::remove_dir(&lock).expect("a folder");
        fs::write(&lock, content).expect("written");
        // Its file stays, since the lock names it.
        drop(one);
        // A process that another test is just starting still holds what this one has closed.
        let (other, wait) = (slow(), Duration::from_millis(10));
        let mut looks = (0..1000).inspect(|_| thread::sleep(wait));
        assert!(looks.any(|_| take(&other).is_some()), "nobody has to wait until its heart has stopped");
    }

    #[test]
    fn a_store_that_is_gone_is_an_error() {
        let folder = TempDir::new().expect("a temporary folder");
        let one = owner(&folder);
        let claim = take(&one).expect("it is free");
        fs::remove_dir_all(folder.path()).expect("it is ours");
        assert!(!claim.held());
        assert!(matches!(one.take("other"), Err(Error::File { .. })));
    }
}
