//! Who holds a lock on a database, as far as the system tells: Linux lists all locks in `/proc/locks`.
//!
//! `fcntl(F_GETLK)` would tell as well, but it needs the file open, and closing it takes away the locks that `SQLite` has
//! on it.

use std::{fs, ops::RangeInclusive, os::unix::fs::MetadataExt, path::Path};

/// The byte of the shared memory that stands for the right to write (`WAL_WRITE_LOCK` in `wal.c` of `SQLite`).
pub(super) const WRITE: RangeInclusive<u64> = 120..=120;

/// The bytes that stand for read transactions (`WAL_READ_LOCK`).
pub(super) const READ: RangeInclusive<u64> = 123..=127;

/// Other processes that hold a lock on one of these bytes of this file, for a person: `process 4321 (python3)`. None: no
/// other one, or the system does not tell.
pub(super) fn holders(shared_memory: &Path, bytes: RangeInclusive<u64>) -> Option<String> {
    let file = fs::metadata(shared_memory).ok()?;
    let locks = fs::read_to_string("/proc/locks").ok()?;
    let mut pids: Vec<u32> = locks.lines().filter_map(|line| pid(line, (file.dev(), file.ino()), &bytes)).collect();
    pids.retain(|pid| *pid != std::process::id());
    pids.sort_unstable();
    pids.dedup();
    let named = |pid: &u32| match fs::read_to_string(format!("/proc/{pid}/comm")) {
        Ok(name) => format!("process {pid} ({})", name.trim()),
        Err(_) => format!("process {pid}"),
    };
    let names: Vec<_> = pids.iter().map(named).collect();
    (!names.is_empty()).then(|| names.join(", "))
}

/// The process of one line, if that is a lock on these bytes of this file:
/// `1: POSIX  ADVISORY  READ 4321 08:01:1234567 124 124`. Lines of waiting processes have `->` before the kind.
fn pid(line: &str, (device, inode): (u64, u64), bytes: &RangeInclusive<u64>) -> Option<u32> {
    let words: Vec<&str> = line.split_ascii_whitespace().collect();
    let [_, "POSIX" | "OFDLCK", _, _, pid, file, from, to] = words[..] else { return None };
    let mut parts = file.split(':');
    let (major, minor) = (hex(parts.next()?)?, hex(parts.next()?)?);
    if (major, minor) != numbers(device) || parts.next()?.parse() != Ok(inode) {
        return None;
    }
    let (from, to) = (from.parse::<u64>().ok()?, if to == "EOF" { u64::MAX } else { to.parse().ok()? });
    (from <= *bytes.end() && to >= *bytes.start()).then(|| pid.parse().ok()).flatten().filter(|pid| *pid > 0)
}

fn hex(digits: &str) -> Option<u64> {
    u64::from_str_radix(digits, 16).ok()
}

/// Major and minor number of a device, as Linux packs them (`makedev`).
const fn numbers(device: u64) -> (u64, u64) {
    (((device >> 8) & 0xfff) | ((device >> 32) & !0xfff), (device & 0xff) | ((device >> 12) & !0xff))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_read_as_the_kernel_writes_it() {
        let device = (0x103 << 8) | 2;
        let read = |line| pid(line, (device, 1_234_567), &READ);
        assert_eq!(read("1: POSIX  ADVISORY  READ 4321 103:02:1234567 124 124"), Some(4321));
        assert_eq!(read("2: OFDLCK ADVISORY  READ 7 103:02:1234567 0 EOF"), Some(7));
        for other in [
            "1: POSIX  ADVISORY  READ 4321 103:02:1234568 124 124",
            "1: POSIX  ADVISORY  READ 4321 103:03:1234567 124 124",
            "1: POSIX  ADVISORY  WRITE 4321 103:02:1234567 120 120",
            "1: -> POSIX  ADVISORY  READ 4321 103:02:1234567 124 124",
            "1: FLOCK  ADVISORY  WRITE 4321 103:02:1234567 0 EOF",
            "1: OFDLCK ADVISORY  READ -1 103:02:1234567 0 EOF",
            "",
        ] {
            assert_eq!(read(other), None, "{other}");
        }
    }
}
