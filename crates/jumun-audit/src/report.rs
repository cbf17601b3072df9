//! The result of an audit.

use jumun::Findings;
use std::collections::{BTreeMap, BTreeSet};

/// The result of an audit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Audited cases.
    pub cases: u64,
    /// Violations of the rules, by correlation key.
    pub violations: Vec<(i64, String)>,
    /// Cases that look wrong while work on them is in progress.
    pub open: BTreeSet<i64>,
    /// Requests in doubt, whether or not their cases look wrong.
    pub in_doubt: u64,
    /// The sums over all cases that look right.
    pub sums: BTreeMap<&'static str, i128>,
    /// By how much the whole of the ledger exceeds its parts; 0 when it balances.
    pub difference: i128,
}

/// The verdict of an audit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// All cases and the ledger are right.
    Clean,
    /// Some case, or the ledger, is wrong.
    Violated,
    /// Some work is still in progress.
    Open,
}

impl Report {
    /// The verdict of the report.
    pub fn verdict(&self) -> Verdict {
        if !self.violations.is_empty() || self.difference != 0 {
            Verdict::Violated
        } else if !self.open.is_empty() || self.in_doubt > 0 {
            Verdict::Open
        } else {
            Verdict::Clean
        }
    }

    /// Adds the sums of a case that looks right.
    pub(crate) fn add(&mut self, findings: Findings) {
        for (name, amount) in findings.sums() {
            *self.sums.entry(name).or_default() += amount;
        }
    }
}
