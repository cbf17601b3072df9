//! Documents: the data that a system stores, sends and publishes as JSON.

/// Declares documents: the state of an aggregate or a row of a view, what a client sends, what an ask asks, what an event
/// carries.
///
/// A document is a plain struct. In JSON its fields are in camel case: `order_id` is `orderId`. Its documentation is that of
/// the API. It derives `Debug`, `Clone`, `PartialEq`, `Serialize`, `Deserialize` and `JsonSchema`; other derives, and the
/// attributes of `serde`, are added as to any struct.
///
/// ```
/// use jumun::prelude::*;
///
/// jumun::documents! {
///     /// What a customer ordered.
///     pub struct Order {
///         /// The id.
///         pub id: Id<Order>,
///         /// The dish.
///         pub item_name: Name,
///     }
///
///     /// What the customer sends.
///     #[derive(Eq)]
///     pub struct Basket {
///         /// The dish.
///         #[serde(alias = "dish")]
///         pub item_name: Name,
///     }
/// }
///
/// let Basket { item_name } = serde_json::from_str(r#"{"dish":"tea"}"#)?;
/// let order = Order { id: Id::new(7).expect("1 or more"), item_name };
/// assert_eq!(serde_json::to_string(&order)?, r#"{"id":7,"itemName":"tea"}"#);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[macro_export]
macro_rules! documents {
    ($( $(#[$meta:meta])* $vis:vis struct $name:ident { $($field:tt)* } )+) => { $(
        #[derive(Debug, Clone, PartialEq, ::serde::Serialize, ::serde::Deserialize, ::schemars::JsonSchema)]
        #[serde(rename_all = "camelCase")]
        $(#[$meta])*
        $vis struct $name { $($field)* }
    )+ };
}
