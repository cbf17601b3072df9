//! Limits of configuration.

/// The largest file with one value of configuration, in bytes.
pub const CONFIGURATION_VALUE_MAX_BYTES: u64 = 64 * 1024;
