//! Documents: how collections are declared, read and changed.

use crate::WaitChange;
use std::borrow::Cow;

/// What a service keeps, as far as a database must know to set itself up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schema {
    /// The service's name; it is the source that its events are published under.
    pub service: String,
    /// Into how many partitions the journal is numbered. Fixed for the life of a database.
    pub partitions: u16,
    /// The kinds of documents.
    pub collections: Vec<Collection>,
}

/// One kind of document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Collection {
    /// Its name as in the path: `orders`.
    pub name: &'static str,
    /// The fields of its documents that a reader of the database sees as columns.
    pub fields: Vec<Field>,
    /// The fields of each index over several fields.
    pub indexes: Vec<&'static [&'static str]>,
}

/// A top-level field of a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    /// Its name as in the JSON: `storeName`.
    pub name: Cow<'static, str>,
    /// Whether documents are found by it: such a field has an index.
    pub indexed: bool,
    /// Whether it holds a point in time: a text of RFC 3339 in UTC with three digits of a second, so that the order of texts
    /// is that of time.
    pub is_date: bool,
}

/// A document as it is stored: the state of one aggregate, or one row of a view.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// Its id within the collection.
    pub id: i64,
    /// 1 when new, one more with each change.
    pub version: u64,
    /// False: remembered, in no list and no total.
    pub shown: bool,
    /// A JSON object.
    pub body: String,
}

/// One document as it shall be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DocumentChange {
    /// The collection it belongs to.
    pub collection: &'static str,
    /// Its id.
    pub id: i64,
    /// The version this change was made from; 0 for a document that is not there yet.
    pub expected_version: u64,
    /// See [`Document::shown`].
    pub shown: bool,
    /// A JSON object.
    pub body: String,
    /// Whether something is to be done with it in time.
    pub wait: WaitChange,
}

/// A document as a step has read it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DocumentVersion {
    /// The collection it belongs to.
    pub collection: &'static str,
    /// Its id.
    pub id: i64,
    /// Its version; 0 for a document that is not there.
    pub version: u64,
    /// Its content, where the step took it from a commit that was not done yet. If that commit fails, another one may make
    /// this version, with another content.
    pub body: Option<String>,
}

/// Which documents an index over several fields must find.
#[derive(Debug, Clone, PartialEq)]
pub struct Lookup {
    /// The collection.
    pub collection: &'static str,
    /// The fields of the index.
    pub fields: &'static [&'static str],
    /// Their values: texts and whole numbers. Another value is found in no document.
    pub values: Vec<serde_json::Value>,
    /// Only ids after this one.
    pub after: i64,
    /// How many ids to give, at most [`limits::PAGE_MAX_ROWS`](crate::limits::PAGE_MAX_ROWS).
    pub limit: u32,
}

/// Which documents, in which order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    /// The collection.
    pub collection: &'static str,
    /// Only documents whose field has this value; the value as JSON shows it, without quotes (`스토어99`, `7`).
    /// Fields that are not indexed are never asked for.
    pub filter: Option<(Cow<'static, str>, String)>,
    /// By which fields, the first one first, and whether the largest comes first. By id where there is none; id decides
    /// between equals, in the direction of the last one.
    pub sort: Vec<(Cow<'static, str>, Direction)>,
    /// How many documents to skip.
    pub offset: u64,
    /// How many to give, at most [`limits::PAGE_MAX_ROWS`](crate::limits::PAGE_MAX_ROWS).
    pub size: u32,
}

/// Which end of an order comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// The smallest first.
    Ascending,
    /// The largest first.
    Descending,
}

/// Some documents of many.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Page {
    /// The documents, hidden ones left out.
    pub documents: Vec<Document>,
    /// How many there are in all. It may be up to a second old where counting is slow.
    pub total: u64,
}
