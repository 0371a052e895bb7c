//! The chapter "Beyond the paper": its runs, how they are recorded, and the results of the records.

pub(crate) mod evaluated;
pub(crate) mod results;
pub(crate) mod study;
