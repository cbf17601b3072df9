//! Every bound of this crate, in one place.

/// The largest file with one value of configuration, in bytes.
pub const VALUE_MAX_BYTES: u64 = 64 * 1024;
