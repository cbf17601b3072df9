//! What users of the systems know already: services, ports, paths, fields, status words, finders, commands, events and load
//! lines. Written by hand and compared with the documents of the systems, which `model.rs` compares with the code: so none of it
//! changes by accident. A system may have more than this.

use jumun::SystemModel;
use serde_json::Value;
use std::{collections::BTreeSet, fs, path::Path};

/// A collection.
struct Collection {
    service: &'static str,
    port: u64,
    path: &'static str,
    fields: &'static str,
    /// A field, and words that it may have.
    words: &'static [(&'static str, &'static [&'static str])],
    /// The fields that have a finder.
    finders: &'static str,
    /// What clients may do.
    commands: &'static [&'static str],
}

/// A system.
struct Contract {
    system: fn() -> SystemModel,
    collections: &'static [Collection],
    /// The services, and the events that each publishes.
    events: &'static [(&'static str, &'static str)],
    /// The request that `jumun load` sends, where users know one.
    load: Option<(&'static str, &'static str)>,
}

macro_rules! collection {
    ($service:literal $port:literal $path:literal: $fields:literal; $words:expr; by $finders:literal; $commands:expr) => {
        Collection {
            service: $service,
            port: $port,
            path: $path,
            fields: $fields,
            words: $words,
            finders: $finders,
            commands: $commands,
        }
    };
}

/// The words of a food order, in its view and in the services.
const WAY: &[&str] =
    &["ORDERED", "ORDER_CONFIRMED", "COOK_COMPLETED", "DELIVERY_STARTED", "PICKED_UP", "DELIVERY_COMPLETED"];

const CONTRACTS: &[Contract] = &[
    Contract {
        system: food_delivery::system,
        collections: &[
            collection!("order" 8081 "/orders": "id storeName itemName itemQty price orderStatus orderDate";
                &[("orderStatus", WAY), ("orderStatus", &["CANCELED"])]; by "storeName"; &["POST", "DELETE"]),
            collection!("store" 8082 "/stores":
                "id orderId storeName itemName itemQty itemPrice orderStatus orderDate completedDate";
                &[("orderStatus", &["CANCELED"])]; by "orderId storeName";
                &["PUT accept", "PUT reject", "PUT cook-complete"]),
            collection!("delivery" 8083 "/deliveries": "id orderId status startDt pickedUpDt compDt";
                &[]; by "orderId"; &["PUT pickup", "PUT complete"]),
            collection!("payment" 8084 "/payinfos": "id orderId price status";
                &[("status", &["APPROVED", "ORDER_CANCELED", "VOIDED"])]; by "orderId"; &[]),
            collection!("dashboard" 8085 "/dashboards":
                "orderId storeName itemName itemQty price status paymentStatus orderDt cookedCompDt deliveryCompDt";
                &[("status", WAY), ("status", &["PAID", "ORDER_CANCELED"])]; by ""; &[]),
        ],
        events: &[
            ("order", "Ordered OrderCanceled"),
            ("payment", "PaymentApproved PaymentCanceled"),
            ("store", "StoreConfirmed StoreCanceled CookCompleted"),
            ("delivery", "DeliveryStarted PickedUp DeliveryCompleted"),
        ],
        load: None,
    },
    Contract {
        system: sauce_shop::system,
        collections: &[
            collection!("order" 8084 "/orders": "id branchId sauceId qty price state";
                &[("state", &["Registered"])]; by ""; &["POST", "DELETE"]),
            collection!("payment" 8085 "/payments": "id orderId price status";
                &[("status", &["VOIDED"])]; by "orderId"; &[]),
            collection!("delivery" 8086 "/deliveries": "id orderId branchId sauceId qty state";
                &[("state", &["Preparing", "Complete"])]; by "orderId"; &["PATCH"]),
            collection!("orderdashboard" 8087 "/orderDashboards":
                "orderId branchId sauceId qty price state paymentState deliveryState";
                &[("state", &["Registered", "Paid", "Preparing", "Complete", "Canceled"])]; by "orderId"; &[]),
        ],
        events: &[
            ("order", "Ordered OrderCanceled"),
            ("payment", "Paid PaymentCanceled"),
            ("delivery", "DeliveryStarted Delivered DeliveryCanceled"),
        ],
        load: Some(("/orders", r#"{"branchId":"1","sauceId":"1","qty":10,"price":10000}"#)),
    },
    Contract {
        system: breakfast_mileage::system,
        collections: &[
            collection!("order" 8081 "/orders": "id qty amount customerId status"; &[]; by ""; &["POST", "DELETE"]),
            collection!("payment" 8084 "/pays": "id amount status orderId";
                &[("status", &["Paid", "Cancelled"])]; by "orderId"; &["POST", "DELETE"]),
            collection!("mileage" 8087 "/mileages": "id payId orderId cnt status"; &[]; by "payId"; &[]),
            collection!("mileage" 8087 "/mileageViews": "payId orderId cnt status";
                &[("status", &["Earned", "Removed"])]; by "payId"; &[]),
        ],
        events: &[
            ("order", "Ordered OrderCancelled"),
            ("payment", "Paid PayCancelled"),
            ("mileage", "MileageAdded MileageRemoved"),
        ],
        load: None,
    },
    Contract {
        system: course_enrollment::system,
        collections: &[
            collection!("order" 8081 "/orders": "id orderId customerId eduNo cardNo guest status";
                &[("status", &["Ordered", "Payment Delayed", "Order Canceled"])]; by "orderId";
                &["POST", "DELETE", "PATCH"]),
            collection!("pay" 8082 "/pays": "id orderId customerId eduNo cardNo status";
                &[("status", &["Pay Request", "Paid", "Payment Canceled"])]; by "orderId"; &[]),
            collection!("reservation" 8083 "/reservations": "id orderId eduNo status";
                &[("status",
                    &["Reservation Requested", "Reservation Confirmed", "Reservation Canceled", "Course Started"])];
                by "orderId"; &["PUT confirm", "PUT reject", "PUT start"]),
            collection!("notification" 8084 "/notifications": "id orderId"; &[]; by "orderId"; &[]),
            collection!("notification" 8084 "/infomations": "id orderId orderStatus payStatus reservationStatus";
                &[("orderStatus", &["Ordered", "Order Canceled"]), ("payStatus", &["Paid", "Payment Canceled"]),
                    ("reservationStatus", &["Reservation Confirmed", "Reservation Canceled"])]; by "orderId"; &[]),
        ],
        events: &[
            ("order", "Ordered PaymentSettled OrderCanceled"),
            ("pay", "Paid PaymentCanceled"),
            ("reservation", "Reserved ReservationCanceled CourseStarted"),
        ],
        load: Some(("/orders", r#"{"orderId": 2, "eduNo": 102}"#)),
    },
    Contract {
        system: book_rental::system,
        collections: &[
            collection!("book" 8081 "/books": "id name price stock imageUrl"; &[]; by ""; &["POST", "PATCH"]),
            collection!("rent" 8082 "/rentals": "id bookId bookName qty price customerId customerName status";
                &[]; by "bookId customerId"; &["POST", "DELETE", "PUT return"]),
            collection!("delivery" 8083 "/deliveries": "id rentalId customerId customerName qty status";
                &[]; by "rentalId"; &[]),
            collection!("reserve" 8084 "/reserves": "id bookId qty customerId status";
                &[("status", &["WAITING", "READY", "FULFILLED", "CANCELED"])]; by "bookId customerId";
                &["POST", "DELETE"]),
            collection!("viewer" 8085 "/rentalViews":
                "rentalId bookId bookName qty price customerId rentalStatus deliveryStatus";
                &[]; by "bookId customerId"; &[]),
        ],
        events: &[
            ("book", "StockAdded StockTaken StockReturned"),
            ("rent", "Rented RentalCanceled BookReturned"),
            ("delivery", "DeliveryCreated DeliveryCanceled"),
            ("reserve", "Reserved ReserveReady ReserveFulfilled ReserveCanceled"),
        ],
        load: Some(("/rental", r#"{"bookId":"5","qty":1}"#)),
    },
];

fn document(system: &str, name: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/models").join(system).join(name);
    serde_json::from_slice(&fs::read(path).expect("a document of the model")).expect("JSON")
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// Every text below a schema that a value may be: `const` and `enum`, also of what it refers to.
fn words_of(schema: &Value, openapi: &Value) -> BTreeSet<String> {
    let mut words = BTreeSet::new();
    let mut left = vec![schema];
    while let Some(schema) = left.pop() {
        words.extend(schema["const"].as_str().map(str::to_owned));
        words.extend(list(&schema["enum"]).iter().filter_map(Value::as_str).map(str::to_owned));
        left.extend(["oneOf", "anyOf"].into_iter().flat_map(|of| list(&schema[of])));
        let target = schema["$ref"].as_str().and_then(|to| openapi.pointer(to.trim_start_matches('#')));
        left.extend(target);
    }
    words
}

/// What the documents of a system lack of a collection.
fn missing_of(collection: &Collection, model: &Value, openapi: &Value) -> Vec<String> {
    let Collection { service, port, path, .. } = collection;
    let services = list(&model["services"]);
    let Some(known) = services.iter().find(|known| known["name"] == *service && known["port"] == *port) else {
        return vec![format!("{service} at port {port}")];
    };
    let mut resources = list(&known["aggregates"]).iter().chain(list(&known["views"]));
    let Some(resource) = resources.find(|resource| resource["path"] == *path) else {
        return vec![format!("{service}{path}")];
    };
    let has =
        |of: &str, key: &str, word: &str| list(&resource[of]).iter().any(|known| known == word || known[key] == word);
    let mut missing = Vec::new();
    let fields = collection.fields.split_whitespace().filter(|field| !has("fields", "", field));
    missing.extend(fields.map(|field| format!("{path}: the field {field}")));
    let finders = collection.finders.split_whitespace().filter(|field| !has("finders", "field", field));
    missing.extend(finders.map(|field| format!("{path}: a finder by {field}")));
    for command in collection.commands {
        let (method, action) = command.split_once(' ').unwrap_or((command, ""));
        let of_clients = list(&resource["commands"]).iter().filter(|known| known["actor"] == "client");
        let mut paths = of_clients.filter(|known| known["method"] == method).map(|known| &known["path"]);
        let expected = match (method, action) {
            ("POST", _) => (*path).to_owned(),
            (_, "") => format!("{path}/{{id}}"),
            (_, action) => format!("{path}/{{id}}/{action}"),
        };
        if !paths.any(|known| *known == *expected) {
            missing.push(format!("{method} {expected}"));
        }
    }
    let schema = &openapi["components"]["schemas"][resource["name"].as_str().unwrap_or_default()];
    for (field, words) in collection.words {
        let known = words_of(&schema["properties"][field], openapi);
        missing
            .extend(words.iter().filter(|word| !known.contains(**word)).map(|word| format!("{path}: {field} {word}")));
    }
    missing
}

#[test]
fn every_system_has_what_its_users_know() {
    let mut missing = Vec::new();
    for contract in CONTRACTS {
        let system = (contract.system)();
        let (model, openapi) = (document(system.name, "model.json"), document(system.name, "openapi.json"));
        let mut lacks: Vec<_> =
            contract.collections.iter().flat_map(|collection| missing_of(collection, &model, &openapi)).collect();
        for (service, events) in contract.events {
            let is_known = |event: &&str| {
                list(&model["events"]).iter().any(|known| known["name"] == **event && known["publishedBy"] == *service)
            };
            lacks.extend(
                events.split(' ').filter(|event| !is_known(event)).map(|event| format!("{event} of {service}")),
            );
        }
        let load = system.load.expect("a load line");
        let other = contract.load.filter(|known| (load.path, load.body) != *known);
        lacks.extend(other.map(|known| format!("the load line {known:?}")));
        missing.extend(lacks.into_iter().map(|what| format!("{}: {what}", system.name)));
    }
    assert!(missing.is_empty(), "missing:\n{}", missing.join("\n"));
}
