//! The machine that this process runs on.

use std::fs;

/// Linux's boot ID.
pub(crate) fn boot() -> Option<String> {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").ok().map(|boot| boot.trim().to_owned())
}
