//! How values are distributed: counted by one thread, read by others.

use std::sync::atomic::{AtomicU64, Ordering};

/// How often values fell into which range.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Histogram {
    /// The largest value of each range but the last, which has no end. In order.
    pub bounds: &'static [u64],
    /// How many values fell into each range; one more than there are bounds. Empty where nothing is counted.
    pub counts: Vec<u64>,
    /// All values together.
    pub sum: u64,
}

/// A histogram that is being filled.
#[derive(Debug)]
pub(crate) struct Filling {
    bounds: &'static [u64],
    counts: Vec<AtomicU64>,
    sum: AtomicU64,
}

impl Filling {
    pub(crate) fn new(bounds: &'static [u64]) -> Self {
        Self { bounds, counts: (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect(), sum: AtomicU64::new(0) }
    }

    pub(crate) fn add(&self, value: u64) {
        self.counts[self.bounds.partition_point(|bound| *bound < value)].fetch_add(1, Ordering::Relaxed);
        self.sum.fetch_add(value, Ordering::Relaxed);
    }

    /// As of about now: a value that is being added may be in the counts and not yet in the sum.
    pub(crate) fn read(&self) -> Histogram {
        let counts: Vec<_> = self.counts.iter().map(|count| count.load(Ordering::Relaxed)).collect();
        if counts.iter().all(|count| *count == 0) {
            return Histogram::default();
        }
        Histogram { bounds: self.bounds, counts, sum: self.sum.load(Ordering::Relaxed) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_falls_into_the_range_whose_bound_it_does_not_exceed() {
        let filling = Filling::new(&[1, 4]);
        assert_eq!(filling.read(), Histogram::default());
        for value in [0, 1, 2, 4, 5, 1_000] {
            filling.add(value);
        }
        assert_eq!(filling.read(), Histogram { bounds: &[1, 4], counts: vec![2, 2, 2], sum: 1_012 });
    }
}
