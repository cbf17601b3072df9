//! The names that a schema brings into a database, and how the database describes its collections to its readers.

use crate::Schema;

/// Names that tables of adapters take from collections.
const RESERVED: [&str; 7] = ["meta", "counters", "journal", "places", "requests", "bases", "waits"];

/// How the name of a shadow's table ends.
pub(crate) const SHADOW: &str = "_documents_shadow";

/// How the name of a base's table ends.
pub(crate) const BASE: &str = "_documents_base";

/// A collection as the database describes it.
#[derive(Debug)]
pub(crate) struct StoredCollection {
    pub(crate) name: String,
    pub(crate) fields: Vec<String>,
}

pub(crate) fn collections_to_json(schema: &Schema) -> String {
    let collections: Vec<_> = schema
        .collections
        .iter()
        .map(|collection| {
            let fields: Vec<&str> = collection.fields.iter().map(|field| &*field.name).collect();
            serde_json::json!({ "name": collection.name, "fields": fields })
        })
        .collect();
    serde_json::Value::from(collections).to_string()
}

pub(crate) fn collections_from_json(json: &str) -> Option<Vec<StoredCollection>> {
    let text = |value: &serde_json::Value| value.as_str().map(str::to_owned);
    let collection = |value: &serde_json::Value| {
        let fields = value["fields"].as_array()?.iter().map(text).collect::<Option<_>>()?;
        Some(StoredCollection { name: text(&value["name"])?, fields })
    };
    serde_json::from_str::<serde_json::Value>(json).ok()?.as_array()?.iter().map(collection).collect()
}

pub(crate) fn check_names(schema: &Schema) -> Result<(), String> {
    for (position, collection) in schema.collections.iter().enumerate() {
        let name = collection.name.to_lowercase();
        let taken = RESERVED.contains(&&*name)
            || name.starts_with("sqlite_")
            || name.starts_with("pg_")
            || name.ends_with("_documents")
            || name.ends_with(SHADOW)
            || name.ends_with(BASE);
        if !plain(collection.name) || taken {
            return Err(format!("a collection cannot be called `{}`", collection.name));
        }
        if schema.collections[..position].iter().any(|earlier| earlier.name.to_lowercase() == name) {
            return Err(format!("there are two collections called `{}`", collection.name));
        }
        if let Some(field) = collection.fields.iter().find(|field| !plain(&field.name)) {
            return Err(format!("a field of `{}` cannot be called `{}`", collection.name, field.name));
        }
    }
    Ok(())
}

/// Letters of any language, digits, `_` and `-`: nothing that would mean something in SQL or in a JSON path.
fn plain(name: &str) -> bool {
    !name.is_empty() && name.chars().all(|c| c.is_alphanumeric() || c == '_' || c == '-')
}
