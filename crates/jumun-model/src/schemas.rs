//! Schemas, from the types of the business.

use jumun::SchemaOf;
use schemars::{
    SchemaGenerator,
    generate::{Contract, SchemaSettings},
};
use serde_json::{Map, Value};

/// Where both kinds of documents keep the schemas that others refer to.
const COMPONENTS: &str = "/components/schemas";

/// Collects schemas of what services write, each type once.
pub(crate) fn written(settings: SchemaSettings) -> SchemaGenerator {
    let settings = settings.with(|settings| {
        settings.definitions_path = COMPONENTS.into();
        settings.meta_schema = None;
        settings.contract = Contract::Serialize;
    });
    settings.into_generator()
}

/// The schemas that a generator has collected.
pub(crate) fn collected(mut generator: SchemaGenerator) -> Map<String, Value> {
    generator.take_definitions(true).into_iter().collect()
}

/// The schema of what a command reads, whole. It is wider than what services write: numbers may come as texts.
pub(crate) fn read(schema: &SchemaOf) -> Value {
    whole(schema, Contract::Deserialize)
}

/// The schema of what a service writes, whole.
pub(crate) fn alone(schema: &SchemaOf) -> Value {
    whole(schema, Contract::Serialize)
}

fn whole(schema: &SchemaOf, contract: Contract) -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.inline_subschemas = true;
        settings.meta_schema = None;
        settings.contract = contract;
    });
    schema(&mut settings.into_generator()).to_value()
}
