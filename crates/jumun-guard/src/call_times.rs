//! How long calls take: a smoothed mean and a smoothed deviation from it, as TCP has of its round trips (RFC 6298,
//! section 2).

use std::time::Duration;

/// How long calls take.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct CallTimes {
    mean: Duration,
    deviation: Duration,
    is_known: bool,
}

impl CallTimes {
    /// A call took this long; one without an answer at least this long.
    pub(crate) fn record(&mut self, took: Duration) {
        if self.is_known {
            self.deviation = (self.deviation * 3 + took.abs_diff(self.mean)) / 4;
            self.mean = (self.mean * 7 + took) / 8;
        } else {
            *self = Self { mean: took, deviation: took / 2, is_known: true };
        }
    }

    /// Hardly any call takes longer. Zero until one has ended.
    pub(crate) fn at_most(&self) -> Duration {
        self.mean + self.deviation * 4
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn hardly_any_call_takes_longer_than_it_says() {
        let mut times = CallTimes::default();
        assert_eq!(times.at_most(), Duration::ZERO);
        times.record(ms(100));
        assert_eq!(times.at_most(), ms(300), "one call says little");
        (0..100).for_each(|_| times.record(ms(100)));
        assert!((ms(100)..ms(101)).contains(&times.at_most()), "all take as long: {times:?}");
        for nth in 0..1_000_u64 {
            let took = ms(400 + nth * 97 % 220);
            assert!(nth < 50 || took <= times.at_most(), "{took:?}, {times:?}");
            times.record(took);
        }
        assert!(times.at_most() < ms(1_000), "{times:?}");
        (0..100).for_each(|_| times.record(ms(1)));
        assert!(times.at_most() < ms(2), "{times:?}");
    }
}
