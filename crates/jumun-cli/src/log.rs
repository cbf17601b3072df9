//! The log of a process, on its standard error. A line that repeats without end must not push everything else out of the
//! log file: from the same place in the code, 50 lines are written at once and then one in ten seconds. What is left out is
//! counted, and the count is logged. Lines at `debug` and `trace` are written always: somebody asked for them.

use crate::{Failure, output::is_coloured};
use jumun_text::Escaping;
use std::{
    collections::HashMap,
    env, fmt,
    io::{self, IsTerminal},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};
use tracing::{Event, Level, Subscriber, callsite::Identifier, field::Field};
use tracing_subscriber::{
    EnvFilter,
    filter::LevelFilter,
    fmt::{FmtContext, FormatEvent, FormatFields, format::Format, format::Writer},
    registry::LookupSpan,
};

/// Lines from one place in the code that are written at once.
const BURST_LINES: u32 = 50;

/// Interval after which one more line from the same place is written.
const REFILL_INTERVAL: Duration = Duration::from_secs(10);

/// Starts the log: for people, or one JSON object per line. Colours appear only on a terminal ([`is_coloured`]).
///
/// # Errors
/// If `JUMUN_LOG` is not a filter.
pub(crate) fn start(json: bool) -> Result<(), Failure> {
    let filter = filter().map_err(|why| {
        let remedy = "Set JUMUN_LOG to levels such as info or info,jumun_runtime=debug, or unset it.";
        Failure::new("configuration-invalid", format!("JUMUN_LOG is not a filter: {why}"), remedy)
    })?;
    let budget = Arc::new(Budget::default());
    let reported = budget.clone();
    let reporter = thread::Builder::new().name("log-repeats".to_owned()).spawn(move || reported.report());
    let is_coloured = is_coloured(io::stderr().is_terminal());
    // What users sent may be part of a line. Only the colours of the log itself act on a terminal.
    let escaping = if is_coloured { Escaping::with_colours } else { Escaping::new };
    // A service continues without its log if the disk is full.
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(move || escaping(io::stderr()))
        .with_ansi(is_coloured)
        .log_internal_errors(false);
    if json {
        log.json().map_event_format(|lines| Bounded { lines, budget }).init();
    } else {
        log.map_event_format(|lines| Bounded { lines, budget }).init();
    }
    if let Err(error) = reporter {
        tracing::warn!(%error, "repeated log lines are left out without a count");
    }
    Ok(())
}

/// The levels that `JUMUN_LOG` asks for; `info` if it is not set, or empty.
fn filter() -> Result<EnvFilter, String> {
    match env::var("JUMUN_LOG") {
        Ok(levels) if !levels.is_empty() => {
            // A filter may name a target alone. A misspelt level would be one, and everything else would be silent.
            let is_word = |directive: &&str| !directive.is_empty() && directive.chars().all(char::is_alphanumeric);
            let mut words = levels.split(',').map(str::trim).filter(is_word);
            if let Some(word) = words.find(|word| word.parse::<LevelFilter>().is_err()) {
                return Err(format!("`{word}` is no level; the levels are error, warn, info, debug, trace and off"));
            }
            EnvFilter::try_new(levels).map_err(|error| error.to_string())
        }
        Ok(_) | Err(env::VarError::NotPresent) => Ok(EnvFilter::new("info")),
        Err(error) => Err(error.to_string()),
    }
}

/// Formats an event, or leaves it out if too many came from the same place.
struct Bounded<F> {
    lines: F,
    budget: Arc<Budget>,
}

impl<S, N, F, T> FormatEvent<S, N> for Bounded<Format<F, T>>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
    Format<F, T>: FormatEvent<S, N>,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, out: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        if *event.metadata().level() <= Level::INFO && !self.budget.admits(event) {
            return Ok(());
        }
        self.lines.format_event(context, out, event)
    }
}

/// What may still be written from each place in the code.
#[derive(Default)]
struct Budget {
    places: Mutex<HashMap<Identifier, Place>>,
    /// Told when a line is left out.
    left_out: Condvar,
}

/// A token bucket, and what was left out since the last report.
struct Place {
    lines_left: u32,
    refilled_at: Instant,
    left_out: u64,
    message: String,
}

impl Budget {
    fn admits(&self, event: &Event<'_>) -> bool {
        let now = Instant::now();
        let mut places = lock(&self.places);
        let place = places.entry(event.metadata().callsite()).or_insert_with(|| Place {
            lines_left: BURST_LINES,
            refilled_at: now,
            left_out: 0,
            message: String::new(),
        });
        if place.admits(now) {
            return true;
        }
        if place.message.is_empty() {
            event.record(&mut |field: &Field, value: &dyn fmt::Debug| {
                if field.name() == "message" {
                    place.message = format!("{value:?}");
                }
            });
        }
        place.left_out += 1;
        self.left_out.notify_one();
        false
    }

    /// Reports what was left out, for ever. It waits one interval after the first line, so that one report covers many.
    fn report(&self) {
        loop {
            let places = lock(&self.places);
            let is_quiet = |places: &mut HashMap<_, Place>| places.values().all(|place| place.left_out == 0);
            let places = self.left_out.wait_while(places, is_quiet).unwrap_or_else(PoisonError::into_inner);
            let waited = self.left_out.wait_timeout_while(places, REFILL_INTERVAL, |_| true);
            let (mut places, _) = waited.unwrap_or_else(PoisonError::into_inner);
            let counts: Vec<_> = places.values_mut().filter_map(Place::take_left_out).collect();
            drop(places); // the report is a line of the log, too
            for (lines, like) in counts {
                tracing::info!(lines, like, "repeated lines are left out");
            }
        }
    }
}

impl Place {
    fn admits(&mut self, now: Instant) -> bool {
        let intervals = now.duration_since(self.refilled_at).as_nanos() / REFILL_INTERVAL.as_nanos();
        if let Ok(intervals @ 1..) = u32::try_from(intervals) {
            self.lines_left = self.lines_left.saturating_add(intervals).min(BURST_LINES);
            self.refilled_at += REFILL_INTERVAL * intervals;
        }
        let is_admitted = self.lines_left > 0;
        self.lines_left = self.lines_left.saturating_sub(1);
        is_admitted
    }

    fn take_left_out(&mut self) -> Option<(u64, String)> {
        let lines = std::mem::take(&mut self.left_out);
        (lines > 0).then(|| (lines, self.message.clone()))
    }
}

fn lock<T>(places: &Mutex<T>) -> MutexGuard<'_, T> {
    places.lock().unwrap_or_else(PoisonError::into_inner) // counters are whole at any instruction
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_writes_a_burst_and_then_one_line_per_interval() {
        let start = Instant::now();
        let mut place = Place { lines_left: BURST_LINES, refilled_at: start, left_out: 0, message: String::new() };
        let mut admitted = |at: Duration, lines: u32| (0..lines).filter(|_| place.admits(start + at)).count();
        assert_eq!(admitted(Duration::ZERO, 1_000), 50);
        assert_eq!(admitted(REFILL_INTERVAL.mul_f64(0.999), 1_000), 0);
        assert_eq!(admitted(REFILL_INTERVAL, 1_000), 1);
        assert_eq!(admitted(REFILL_INTERVAL * 4, 1_000), 3);
        assert_eq!(admitted(REFILL_INTERVAL * 1_000_000, 1_000), 50, "a long pause fills the burst, and no more");
    }

    #[test]
    fn a_line_that_repeats_is_bounded_and_hides_no_other() {
        let (written, budget) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Budget::default()));
        let (writer, bound) = (written.clone(), budget.clone());
        let log = tracing_subscriber::fmt()
            .with_max_level(Level::DEBUG)
            .with_writer(move || Written(writer.clone()))
            .map_event_format(|lines| Bounded { lines, budget: bound })
            .finish();
        tracing::subscriber::with_default(log, || {
            for order in 0..1_000 {
                tracing::warn!(order, "no answer before the deadline");
                tracing::debug!(order, "asked again");
            }
            tracing::error!("the database file is damaged");
        });
        let written = String::from_utf8(lock(&written).clone()).expect("a log is text");
        let count = |message: &str| written.lines().filter(|line| line.contains(message)).count();
        assert_eq!(count("no answer before the deadline"), 50);
        assert_eq!(count("asked again"), 1_000, "debug lines were asked for");
        assert_eq!(count("the database file is damaged"), 1);
        let left_out: Vec<_> = lock(&budget.places).values_mut().filter_map(Place::take_left_out).collect();
        assert_eq!(left_out, [(950, "no answer before the deadline".to_owned())]);
    }

    /// Collects what is written.
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            lock(&self.0).extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
}
