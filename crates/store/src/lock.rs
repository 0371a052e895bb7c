//! Locks on the trials of a store, between processes on one machine or on several that share a folder.
//!
//! The only assumption is that exclusive creation and renaming of files are atomic; clocks are never compared.
//!
//! An owner is a process with a file `ID.owner`, in which it increments a counter every two seconds: its heartbeat. A
//! lock is a file `KEY.N.lock` that names its owner. N counts the owners of the trial from 1, and the highest N holds
//! the lock. A process that finds the highest lock released or expired takes it over by creating the next one
//! exclusively: of several that try, one succeeds. The highest lock is not deleted before the trial's record is
//! written, so that a running trial never looks free. Once the record is written, locks have no effect: a process
//! that has taken a lock checks for the record first.
//!
//! A lock expires when neither it nor its owner's heartbeat has changed for [`Times::stale`]. The watcher counts its
//! own polls for that, so that clock jumps and suspended machines do not matter. On the owner's machine, its end is
//! detected at once: it holds a file lock (flock) on its file, which the system releases when the process ends.
//! Another mount of the same folder (in a container, or on a network) may not see that file lock. So the file also
//! holds the machine's boot ID and the file's device and inode, and only a process that sees the same values trusts
//! the file lock.
//!
//! An owner whose lock expired while it was suspended finds the next lock at its next heartbeat, and abandons the
//! trial. Until then two processes may compute the same trial. This only costs time: both produce the same record.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Seek, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime};

use serde::{Deserialize, Serialize};
use tempfile::Builder;

use crate::files::{open_regular, read_up_to};
use crate::machine::boot;
use crate::{Error, files};

/// Intervals of the locking protocol.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Times {
    /// Interval between heartbeats, and between polls of other owners' locks.
    pub(crate) beat: Duration,
    /// A lock without changes for this long has expired.
    pub(crate) stale: Duration,
}

/// A process that runs trials of a store, from start to end. Its heartbeat stops when it is dropped.
#[derive(Debug)]
pub struct Owner {
    folder: PathBuf,
    id: String,
    times: Times,
    shared: Arc<Shared>,
    heart: Option<JoinHandle<()>>,
    /// The last state seen of each lock of another owner, and how long it has been unchanged.
    seen: Mutex<HashMap<PathBuf, Seen>>,
    /// Start time by the clock of the store's file system.
    started: SystemTime,
    /// The owner's file, kept locked.
    _file: File,
}

/// State shared with the heartbeat's thread.
#[derive(Debug, Default)]
struct Shared {
    ended: AtomicBool,
    /// Whether a lock that could not be released still names this owner.
    named: AtomicBool,
    held: Mutex<Vec<(PathBuf, PathBuf, Arc<AtomicBool>)>>,
}

/// A trial locked by an owner, until it is dropped.
#[derive(Debug)]
pub struct Claim {
    lock: PathBuf,
    next: PathBuf,
    content: Lock,
    lost: Arc<AtomicBool>,
    shared: Arc<Shared>,
}

/// Maximum size of a lock or an owner's file to read, in bytes; klayer writes at most a few hundred.
const LONGEST: u64 = 4096;

/// Hexadecimal digits in a trial's key.
const KEY_DIGITS: usize = 32;

/// The result of locking a trial.
#[derive(Debug)]
pub enum Taken {
    /// This process holds the lock.
    Ours(Claim),
    /// Another process holds the lock; describes it.
    Others(String),
}

/// The content of a lock file.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Lock {
    /// ID of the owner.
    owner: String,
    /// Host name of the owner, for messages.
    host: String,
    /// Process ID of the owner, for messages.
    pid: u32,
    /// Whether the owner has released the lock.
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
    /// Creates a new owner of trials in the store `folder`.
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
                // A failed heartbeat only makes the lock expire early, which costs time.
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

    /// Interval between heartbeats: how long to wait before trying a trial of another owner again.
    pub fn beat(&self) -> Duration {
        self.times.beat
    }

    /// Locks the trial `key` if it is free. The caller then checks for the record, which another process may just have
    /// written.
    ///
    /// # Errors
    /// [`Error::File`].
    pub fn take(&self, key: &str) -> Result<Taken, Error> {
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
            // A lock without an owner is free only after it has expired.
            let _ = fs::remove_file(&path);
            return Err(Error::file(&path)(error));
        }
        // A slow process may have created a lock below the highest.
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

    /// The owner of the lock at `path`; `None` if the lock is released or expired.
    fn alive(&self, path: &Path) -> Result<Option<String>, Error> {
        let bytes = match open_regular(path).and_then(|file| read_up_to(&file, LONGEST)) {
            Ok(bytes) => bytes,
            Err(error) if is_foreign(&error) => return Err(Error::file(path)(error)),
            // The trial has just finished.
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            // On a network file system this may also be a file that was just replaced: retry, until it expires.
            Err(error) if self.unchanged(path, <_>::default()) >= self.times.stale => {
                return Err(Error::file(path)(error));
            }
            Err(_) => return Ok(Some("another process".to_owned())),
        };
        // The owner died before it wrote its name.
        let lock: Lock = serde_json::from_slice(&bytes).unwrap_or_default();
        let owner = owner_path(&self.folder, &lock.owner);
        if lock.released || has_ended(&owner) {
            return Ok(None);
        }
        // A lock of this process that was considered lost and is still there: nobody works on it.
        if lock.owner == self.id && lock_of(&self.shared.held).iter().all(|(held, ..)| held != path) {
            return Ok(None);
        }
        let name = if lock.host.is_empty() { lock.owner } else { format!("process {} on {}", lock.pid, lock.host) };
        let beat = match open_regular(&owner).map(|file| read_up_to(&file, LONGEST)) {
            Err(error) if error.kind() == ErrorKind::NotFound => Vec::new(),
            Err(error) | Ok(Err(error)) if is_foreign(&error) => return Err(Error::file(owner)(error)),
            Err(error) if error.kind() == ErrorKind::PermissionDenied => return Err(Error::file(owner)(error)),
            // An unreadable heartbeat does not mean a dead owner; on some file systems nobody can read a locked file.
            Err(_) | Ok(Err(_)) => return Ok(Some(name)),
            Ok(Ok(beat)) => beat,
        };
        Ok(Some(name).filter(|_| self.unchanged(path, (bytes, beat)) < self.times.stale))
    }

    /// How long the lock at `path`, with its owner's heartbeat, has been seen unchanged as `what`.
    fn unchanged(&self, path: &Path, what: (Vec<u8>, Vec<u8>)) -> Duration {
        let now = Instant::now();
        let mut seen = lock_of(&self.seen);
        let seen = seen.entry(path.into()).or_insert_with(|| Seen {
            what: what.clone(),
            unchanged: Duration::ZERO,
            last: now,
        });
        if seen.what == what {
            // Count at most one interval: the machine, and the owner with it, may have slept between two polls.
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
        // If a lock could not be released, keep the file: it shows others that the owner has ended.
        if !self.shared.named.load(Ordering::Acquire) {
            let _ = fs::remove_file(owner_path(&self.folder, &self.id));
        }
        remove_leftovers(&self.folder, self.started);
    }
}

impl Claim {
    /// Whether the lock is still held, by checking the files.
    pub fn held(&self) -> bool {
        if is_taken_over(&self.lock, &self.next) {
            self.lost.store(true, Ordering::Release);
        }
        !self.lost()
    }

    /// Whether the last heartbeat found that another process has taken over the lock.
    pub fn lost(&self) -> bool {
        self.lost.load(Ordering::Acquire)
    }

    /// Removes the locks; the trial's record is written.
    pub fn finish(&self) {
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

/// Creates the file of a new owner and locks it. Returns its ID, the file and its [`mark`].
fn new_owner(folder: &Path) -> Result<(String, File, String), Error> {
    let mut file = files::create(Builder::new().prefix("").suffix(".owner").rand_bytes(16), folder)?;
    // Where files cannot be locked, the heartbeat alone shows that the owner is alive.
    let mark = mark(file.as_file()).filter(|_| file.as_file().try_lock().is_ok()).unwrap_or_default();
    // Write the heartbeat before any lock names this owner.
    write_beat(file.as_file_mut(), 0, &mark).map_err(Error::file(folder))?;
    let (file, path) = file.keep().map_err(|error| Error::file(folder)(error.error))?;
    Ok((path.file_stem().unwrap_or_default().to_string_lossy().into_owned(), file, mark))
}

/// Writes the heartbeat `count` and the owner's `mark` to its file.
fn write_beat(file: &mut File, count: u64, mark: &str) -> std::io::Result<()> {
    file.rewind()?;
    file.write_all(format!("{count:020} {mark}\n").as_bytes())
}

/// Identifies the file as seen by this process: the machine's boot ID, and the file's device and inode. Processes
/// that see the same mark share file locks. `None` if the platform has no such IDs.
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

/// Whether reading a lock or an owner's file failed because klayer did not write it: waiting does not help.
fn is_foreign(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::FileTooLarge | ErrorKind::InvalidInput)
}

/// Whether another process has taken over this lock. File system errors do not count as that.
fn is_taken_over(lock: &Path, next: &Path) -> bool {
    next.try_exists().unwrap_or(false) || !lock.try_exists().unwrap_or(true)
}

/// The key at the start of the name of a trial's lock or checkpoint.
fn key_of(name: &str) -> Option<&str> {
    let (key, rest) = name.split_at_checked(KEY_DIGITS)?;
    let number = |rest: &str| Some(rest.strip_prefix('.')?.strip_suffix(".lock")?.bytes().all(|b| b.is_ascii_digit()));
    let ours = matches!(rest, ".checkpoint" | ".checkpoint.previous") || number(rest) == Some(true);
    (ours && key.bytes().all(|byte| byte.is_ascii_hexdigit())).then_some(key)
}

/// Whether the owner of this file has certainly ended: its mark equals the one seen here, and the file is not locked.
/// For a missing file or another mark, only the heartbeat decides.
fn has_ended(owner: &Path) -> bool {
    let Ok(file) = open_regular(owner) else { return false };
    let seen_the_same = mark(&file).is_some_and(|mark| {
        let beat = read_up_to(&file, LONGEST).ok().and_then(|beat| String::from_utf8(beat).ok());
        beat.is_some_and(|beat| beat.trim_end().split_once(' ').is_some_and(|(_, of)| of == mark))
    });
    seen_the_same && file.try_lock().is_ok()
}

/// Removes leftovers of killed processes: locks and checkpoints of finished trials, files of owners that have ended
/// on this machine and that no lock names, and temporary files if there is no other owner.
fn remove_leftovers(folder: &Path, started: SystemTime) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    let mut names: Vec<String> = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.retain(|name| {
        let finished = key_of(name).is_some_and(|key| folder.join(key).with_extension("json").exists());
        !(finished && fs::remove_file(folder.join(name)).is_ok())
    });

    let read = |name: &String| files::read_regular(&folder.join(name), LONGEST).ok();
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

/// The highest number of a lock on `key`.
fn highest(folder: &Path, key: &str) -> Result<Option<u64>, Error> {
    let mut highest = None;
    for entry in fs::read_dir(folder).map_err(Error::file(folder))? {
        let name = entry.map_err(Error::file(folder))?.file_name();
        let number = name.to_str().and_then(|name| name.strip_prefix(key)?.strip_prefix('.')?.strip_suffix(".lock"));
        highest = highest.max(number.and_then(|number| number.parse().ok()));
    }
    Ok(highest)
}

/// Locks a mutex; its data stay valid after a panic in another thread.
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

    /// A lock held by an owner on another machine, whose heartbeat beats `beats` times.
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
    fn a_trial_has_one_owner_until_it_is_released() {
        let folder = TempDir::new().expect("a temporary folder");
        let (one, other) = (owner(&folder), owner(&folder));
        for _ in 0..3 {
            let claim = take(&one).expect("it is free");
            assert!(take(&other).is_none() && take(&one).is_none() && claim.held());
            drop(claim);
            let claim = take(&other).expect("it was released");
            assert!(take(&one).is_none());
            drop(claim);
        }
    }

    /// Ends an owner as if it were killed: its file is no longer locked, but the file and the lock remain.
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
    fn locks_of_ended_processes_on_this_machine_are_taken_over_at_once() {
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
    fn locks_seen_through_another_mount_expire_only_by_heartbeat() {
        let folder = TempDir::new().expect("a temporary folder");
        let (one, other) = (owner(&folder), owner(&folder));
        let claim = take(&one).expect("it is free");
        let path = kill(&folder, one, claim);
        // A copy of the file: its file lock is not visible here.
        let there = fs::read(&path).expect("an owner");
        fs::write(folder.path().join("there"), there).expect("written");
        fs::rename(folder.path().join("there"), &path).expect("it is ours");
        assert!(!has_ended(&path) && take(&other).is_none(), "the file may be locked on the other mount");
        remove_leftovers(folder.path(), SystemTime::now());
        fs::remove_file(lock_path(folder.path(), "key", 1)).expect("a lock");
        remove_leftovers(folder.path(), SystemTime::now());
        assert!(path.exists(), "it may be the heartbeat of a running process");
        fs::remove_file(&path).expect("it is ours");
        assert!(!has_ended(&path), "a missing file does not mean a dead owner");
    }

    #[test]
    fn a_lock_expires_only_after_its_heartbeat_stops() {
        let folder = TempDir::new().expect("a temporary folder");
        let beating = foreign_lock(&folder, 1, 50).expect("a heartbeat");
        let one = owner(&folder);
        while !beating.is_finished() {
            assert!(take(&one).is_none(), "the owner is alive");
            thread::sleep(TIMES.beat / 2);
        }
        // Two polls far apart count as two polls.
        assert!(take(&one).is_none());
        thread::sleep(TIMES.stale);
        assert!(take(&one).is_none(), "the owner may have slept too");
        let mut looks = 0;
        let claim = loop {
            if let Some(claim) = take(&one) {
                break claim;
            }
            looks += 1;
            assert!(looks < 1_000, "the lock never expires");
            thread::sleep(TIMES.beat);
        };
        assert!(looks >= 5 && claim.held());
        assert!(claim.lock.ends_with("key.2.lock"));
    }

    #[test]
    fn an_expired_lock_is_taken_over_by_one_process() {
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
    fn an_owner_whose_lock_was_taken_over_abandons_the_trial() {
        let folder = TempDir::new().expect("a temporary folder");
        let one = owner(&folder);
        let claim = take(&one).expect("it is free");
        thread::sleep(2 * TIMES.beat);
        assert!(!claim.lost());
        let beating = foreign_lock(&folder, 2, 1).expect("a heartbeat");
        assert!(!claim.held(), "the lock was taken over");
        beating.join().expect("no panic");
        thread::sleep(2 * TIMES.beat);
        assert!(claim.lost());
        drop(claim);
        assert!(take(&one).is_none() && lock_path(folder.path(), "key", 2).exists());
    }

    #[test]
    fn a_lock_wrongly_considered_lost_is_taken_again() {
        let folder = TempDir::new().expect("a temporary folder");
        let one = owner(&folder);
        let claim = take(&one).expect("it is free");
        // As if the file system had failed for a moment.
        claim.lost.store(true, Ordering::Release);
        drop(claim);
        assert!(lock_path(folder.path(), "key", 1).exists(), "a lost trial is not released");
        let claim = take(&one).expect("nobody holds it");
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
    fn heartbeat_files_have_default_permissions() {
        use std::os::unix::fs::PermissionsExt;
        let folder = TempDir::new().expect("a temporary folder");
        let one = owner(&folder);
        fs::write(folder.path().join("any"), "").expect("written");
        let mode = |path: &Path| fs::metadata(path).expect("a file").permissions().mode();
        assert_eq!(mode(&owner_path(folder.path(), &one.id)), mode(&folder.path().join("any")));
    }

    /// Polls the trial until an unchanged lock would expire, and a little longer.
    fn look_for_long(one: &Owner) -> Vec<Result<Taken, Error>> {
        let looks = 3 * TIMES.stale.as_millis() / (2 * TIMES.beat.as_millis());
        let look = |_| {
            thread::sleep(TIMES.beat);
            one.take("key")
        };
        (0..looks).map(look).collect()
    }

    #[test]
    fn an_unreadable_lock_is_an_error_after_it_expires() {
        let folder = TempDir::new().expect("a temporary folder");
        let one = owner(&folder);
        // A folder can be opened but not read, like a file that a server has lost.
        fs::create_dir(lock_path(folder.path(), "key", 1)).expect("a folder");
        let looks = look_for_long(&one);
        assert!(matches!(looks.first(), Some(Ok(Taken::Others(_)))), "{looks:?}");
        assert!(
            matches!(looks.last(), Some(Err(Error::File { path, .. })) if path.ends_with("key.1.lock")),
            "{looks:?}"
        );
    }

    #[test]
    fn an_unreadable_heartbeat_does_not_expire() {
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
    fn locks_and_heartbeats_of_excessive_size_are_errors() {
        let folder = TempDir::new().expect("a temporary folder");
        let one = owner(&folder);
        foreign_lock(&folder, 1, 0);
        for path in [owner_path(folder.path(), "foreign"), lock_path(folder.path(), "key", 1)] {
            File::create(&path).and_then(|file| file.set_len(LONGEST + 1)).expect("a sparse file");
            let error = one.take("key").expect_err("it is not a lock").to_string();
            assert_eq!(error, format!("{}: longer than 4096 bytes", path.display()));
        }
    }

    #[test]
    fn an_unreleased_lock_is_free_once_its_owner_has_ended() {
        let folder = TempDir::new().expect("a temporary folder");
        // A heartbeat while the lock is replaced would consider it lost: the first one is over, the second far off.
        let minute = Duration::from_secs(60);
        let slow = || Owner::new(folder.path(), Times { beat: minute, stale: 20 * minute }).expect("a folder");
        let one = slow();
        thread::sleep(Duration::from_millis(300));
        let claim = take(&one).expect("it is free");
        let content = fs::read(&claim.lock).expect("a lock");
        // The lock cannot be replaced, as on a full disk.
        fs::remove_file(&claim.lock).expect("it is ours");
        fs::create_dir(&claim.lock).expect("a folder");
        let lock = claim.lock.clone();
        drop(claim);
        fs::remove_dir(&lock).expect("a folder");
        fs::write(&lock, content).expect("written");
        // The owner's file remains, since the lock names it.
        drop(one);
        // A process that another test is starting may still hold the closed file.
        let (other, wait) = (slow(), Duration::from_millis(10));
        let mut looks = (0..1000).inspect(|_| thread::sleep(wait));
        assert!(looks.any(|_| take(&other).is_some()), "the lock is free before its heartbeat expires");
    }

    #[test]
    fn a_deleted_store_is_an_error() {
        let folder = TempDir::new().expect("a temporary folder");
        let one = owner(&folder);
        let claim = take(&one).expect("it is free");
        fs::remove_dir_all(folder.path()).expect("it is ours");
        assert!(!claim.held());
        assert!(matches!(one.take("other"), Err(Error::File { .. })));
    }
}
