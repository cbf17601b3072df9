//! Audits: what must be true of every order. Tests, drills and operators use the same audit.

use crate::model::ResourceModel;
use serde::de::DeserializeOwned;
use std::{any::TypeId, collections::BTreeMap, fmt};

/// All rows of one correlation key, from all services.
#[derive(Debug)]
pub struct Case<'a> {
    key: i64,
    rows: BTreeMap<TypeId, Vec<Row<'a>>>,
}

#[derive(Debug)]
struct Row<'a> {
    body: &'a str,
    is_shown: fn(&str) -> bool,
}

impl<'a> Case<'a> {
    /// A case without rows.
    pub fn new(key: i64) -> Self {
        Self { key, rows: BTreeMap::new() }
    }

    /// Adds a row of a resource.
    #[must_use]
    pub fn with(mut self, resource: &ResourceModel, body: &'a str) -> Self {
        self.rows.entry(resource.type_id).or_default().push(Row { body, is_shown: resource.is_shown });
        self
    }

    /// The correlation key.
    pub const fn key(&self) -> i64 {
        self.key
    }

    /// The row of a type, also if it is hidden.
    pub fn row<T: DeserializeOwned + 'static>(&self) -> Option<T> {
        self.rows().next()
    }

    /// The rows of a type, hidden ones included, in the order of their ids.
    pub fn rows<T: DeserializeOwned + 'static>(&self) -> impl Iterator<Item = T> {
        self.stored::<T>().filter_map(|row| serde_json::from_str(row.body).ok())
    }

    /// The row of a type, if clients see it.
    pub fn shown<T: DeserializeOwned + 'static>(&self) -> Option<T> {
        let row = self.stored::<T>().next().filter(|row| (row.is_shown)(row.body))?;
        serde_json::from_str(row.body).ok()
    }

    fn stored<T: 'static>(&self) -> impl Iterator<Item = &Row<'a>> {
        self.rows.get(&TypeId::of::<T>()).into_iter().flatten()
    }
}

/// What an audit finds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Findings {
    violations: Vec<String>,
    sums: BTreeMap<&'static str, i128>,
}

impl Findings {
    /// Adds something that must not be.
    pub fn violation(&mut self, what: impl fmt::Display) {
        self.violations.push(what.to_string());
    }

    /// Adds an amount to a named sum.
    pub fn add(&mut self, sum: &'static str, amount: i64) {
        *self.sums.entry(sum).or_default() += i128::from(amount);
    }

    /// What is wrong.
    pub fn violations(&self) -> &[String] {
        &self.violations
    }

    /// The sums.
    pub const fn sums(&self) -> &BTreeMap<&'static str, i128> {
        &self.sums
    }

    /// Adds the findings of another case.
    pub fn merge(&mut self, other: Findings) {
        self.violations.extend(other.violations);
        for (name, amount) in other.sums {
            *self.sums.entry(name).or_default() += amount;
        }
    }
}

/// The sums of a system in which an order exists only if it is paid: all that was taken stands for an order, is refunded, or is
/// voided.
pub mod payments {
    /// All payments that were ever taken.
    pub const MONEY_IN: &str = "money in";
    /// Payments of orders that are not cancelled.
    pub const STANDING: &str = "standing";
    /// Payments that were given back because their order was cancelled.
    pub const REFUNDED: &str = "refunded";
    /// Payments that were given back because their order was never placed.
    pub const VOIDED: &str = "voided";
    /// What [`MONEY_IN`] consists of, for [`System::ledger`](crate::System::ledger).
    pub const PARTS: &[&str] = &[STANDING, REFUNDED, VOIDED];
}

/// An equation over sums: `whole = parts[0] + parts[1] + …`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Ledger {
    /// The sum on the left.
    pub whole: &'static str,
    /// The sums on the right.
    pub parts: &'static [&'static str],
}

impl Ledger {
    /// The left side minus the right side: 0 if the ledger balances.
    pub fn difference(&self, sums: &BTreeMap<&'static str, i128>) -> i128 {
        let of = |name: &&'static str| sums.get(name).copied().unwrap_or_default();
        of(&self.whole) - self.parts.iter().map(of).sum::<i128>()
    }
}
