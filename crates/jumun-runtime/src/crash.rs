//! Crash points: named steps at which a test kills or stalls the process, as `kill -9` and `kill -STOP` would.
//!
//! Without the feature `crash-points` they compile to nothing.

/// Kills the process here if `JUMUN_CRASH_AT` is `name`, or `name:3` for the third pass. `JUMUN_STALL_AT` likewise stops it
/// until it receives SIGCONT.
#[cfg(feature = "crash-points")]
pub(crate) fn point(name: &str) {
    use rustix::process::{Signal, getpid, kill_process};
    use std::sync::{
        LazyLock,
        atomic::{AtomicU64, Ordering},
    };

    struct Trap {
        name: String,
        passes_left: AtomicU64,
        signal: Signal,
    }
    static TRAPS: LazyLock<Vec<Trap>> = LazyLock::new(|| {
        let trap = |variable: &str, signal| {
            let value = std::env::var(variable).ok()?;
            let (name, passes) = value.split_once(':').unwrap_or((&value, "1"));
            let passes_left = AtomicU64::new(passes.parse().expect("the number of passes"));
            Some(Trap { name: name.to_owned(), passes_left, signal })
        };
        [trap("JUMUN_CRASH_AT", Signal::KILL), trap("JUMUN_STALL_AT", Signal::STOP)].into_iter().flatten().collect()
    });
    for trap in TRAPS.iter().filter(|trap| trap.name == name) {
        if trap.passes_left.fetch_sub(1, Ordering::Relaxed) == 1 {
            kill_process(getpid(), trap.signal).expect("a process may signal itself");
        }
    }
}

/// Does nothing.
#[cfg(not(feature = "crash-points"))]
#[inline(always)]
pub(crate) const fn point(_: &str) {}
