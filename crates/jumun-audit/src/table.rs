//! Tables: the rows of a resource, in the database of its service.

use jumun::{ResourceModel, SystemModel};
use jumun_database::{Document, Query, ReadDatabase, ReadError, limits::PAGE_MAX_ROWS};
use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::Duration,
};

/// The databases by service.
pub type Databases = BTreeMap<String, Arc<dyn ReadDatabase>>;

/// Interval between reads of a case that looks wrong, and of requests in doubt.
pub(crate) const REREAD_EVERY: Duration = Duration::from_millis(100);

/// A resource, and the database that stores it.
pub(crate) struct Table<'a> {
    pub(crate) resource: &'a ResourceModel,
    database: &'a Arc<dyn ReadDatabase>,
}

impl Table<'_> {
    /// The rows of a case.
    pub(crate) async fn rows(&self, key: i64) -> Result<Vec<Document>, ReadError> {
        rows_of(self.database.as_ref(), self.resource, key).await
    }
}

/// The tables of all services.
pub(crate) fn tables<'a>(model: &'a SystemModel, databases: &'a Databases) -> Vec<Table<'a>> {
    let services = model.services.iter().filter_map(|service| Some((service, databases.get(service.name)?)));
    services
        .flat_map(|(service, database)| service.resources.iter().map(move |resource| Table { resource, database }))
        .collect()
}

/// Reads a table in order of id, page by page.
pub(crate) struct Cursor<'a> {
    table: &'a Table<'a>,
    page: VecDeque<Document>,
    after: i64,
    is_done: bool,
}

impl<'a> Cursor<'a> {
    pub(crate) fn new(table: &'a Table<'a>) -> Self {
        Self { table, page: VecDeque::new(), after: 0, is_done: false }
    }

    /// Reads the next page if the last one is used up.
    pub(crate) async fn fill(&mut self) -> Result<(), ReadError> {
        if self.page.is_empty() && !self.is_done {
            let page = self.table.database.scan(self.table.resource.collection, self.after, PAGE_MAX_ROWS).await?;
            self.is_done = page.len() < PAGE_MAX_ROWS as usize;
            self.after = page.last().map_or(self.after, |document| document.id);
            self.page = page.into();
        }
        Ok(())
    }

    /// Moves to the first row with this key or a later one. Keys must increase from call to call.
    pub(crate) async fn seek(&mut self, key: i64) -> Result<(), ReadError> {
        if self.page.back().is_none_or(|last| last.id < key) {
            self.page.clear();
            self.after = self.after.max(key - 1);
            self.fill().await?;
        }
        while self.page.pop_front_if(|document| document.id < key).is_some() {}
        Ok(())
    }

    /// The key of the next row.
    pub(crate) fn key(&self) -> Option<i64> {
        self.page.front().map(|document| document.id)
    }

    /// Takes the next row if it has this key.
    pub(crate) fn take(&mut self, key: i64) -> Option<Document> {
        self.page.pop_front_if(|document| document.id == key)
    }
}

/// The rows of a resource that belong to a correlation key.
pub async fn rows_of(
    database: &dyn ReadDatabase,
    resource: &ResourceModel,
    key: i64,
) -> Result<Vec<Document>, ReadError> {
    let collection = resource.collection;
    let Some(field) = resource.belongs_by else {
        return Ok(database.document(collection, key).await?.into_iter().collect());
    };
    let filter = Some((field.into(), key.to_string()));
    let query = Query { collection, filter, sort: Vec::new(), offset: 0, size: PAGE_MAX_ROWS };
    Ok(database.page(query).await?.documents)
}
