//! Guarantees of klayer-store: files are written atomically, records are found by what determines them.

mod files;
mod records;
