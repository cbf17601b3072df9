//! Limits of the audit.

/// Blocks of 4,096 keys (512 bytes) in a set of keys: 128 MiB, or 10^9 consecutive keys.
pub const KEY_BLOCKS_MAX: usize = 262_144;
