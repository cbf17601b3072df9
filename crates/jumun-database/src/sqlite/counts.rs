//! How many documents match a filter, counted no more often than it is worth.

use crate::limits;
use rusqlite::Connection;
use std::{collections::HashMap, time::Instant};

/// The counts that one connection remembers.
#[derive(Default)]
pub(super) struct Counts(HashMap<Counted, Count>);

/// What was counted.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Counted {
    pub(super) collection: &'static str,
    pub(super) field: String,
    pub(super) value: String,
}

struct Count {
    total: u64,
    at: Instant,
    cheap: bool,
    /// The change counter of `SQLite`: another number as soon as another connection has committed anything.
    data_version: i64,
}

impl Counts {
    /// The last count if it is still good, else a new one. Called within the transaction that reads the page.
    ///
    /// A count is good while nothing was committed, and for [`limits::COUNT_KEPT`] if it took
    /// [`limits::CHEAP_COUNT`] or longer.
    pub(super) fn get(
        &mut self,
        connection: &Connection,
        counted: Counted,
        count: impl FnOnce() -> rusqlite::Result<u64>,
    ) -> rusqlite::Result<u64> {
        let data_version: i64 = connection.prepare_cached("PRAGMA data_version")?.query_row([], |row| row.get(0))?;
        if let Some(known) = self.0.get(&counted)
            && (known.data_version == data_version || (!known.cheap && known.at.elapsed() < limits::COUNT_KEPT))
        {
            return Ok(known.total);
        }
        let at = Instant::now();
        let total = count()?;
        let cheap = at.elapsed() < limits::CHEAP_COUNT;
        if self.0.len() >= limits::COUNTS_REMEMBERED_MAX {
            self.0.clear();
        }
        self.0.insert(counted, Count { total, at, cheap, data_version });
        Ok(total)
    }
}
