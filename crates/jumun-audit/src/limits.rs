//! Limits of the audit.

/// Blocks of 4,096 keys (512 bytes) that a set of keys may have: 128 MiB, or 10^9 keys in a row.
pub const KEY_BLOCKS_MAX: usize = 262_144;
