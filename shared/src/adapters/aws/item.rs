//! Items of DynamoDB: keys and the few types of attributes that are used.

use std::str::FromStr;
use std::sync::Arc;

use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;

use crate::ports::{Error, ErrorKind};

/// The partition key of every item of both tables.
pub(super) const PK: &str = "pk";
/// The sort key.
pub(super) const SK: &str = "sk";

#[expect(
    clippy::disallowed_types,
    reason = "the SDK's own; it is built and looked into by name, never gone through"
)]
pub(super) type Item = std::collections::HashMap<String, AttributeValue>;

/// An item with its key.
pub(super) fn item(pk: &str, sk: &str) -> Item {
    Item::from([(PK.to_owned(), text(pk)), (SK.to_owned(), text(sk))])
}

pub(super) fn text(text: impl Into<String>) -> AttributeValue {
    AttributeValue::S(text.into())
}

pub(super) fn bytes(bytes: impl Into<Vec<u8>>) -> AttributeValue {
    AttributeValue::B(Blob::new(bytes))
}

pub(super) fn number(number: impl Into<i128>) -> AttributeValue {
    AttributeValue::N(number.into().to_string())
}

/// A text of an item that must be there.
pub(super) fn text_of<'i>(item: &'i Item, name: &str) -> Result<&'i str, Error> {
    let text = item.get(name).and_then(|value| value.as_s().ok());
    text.map(String::as_str).ok_or_else(|| missing(name))
}

/// Bytes of an item that must be there.
pub(super) fn bytes_of<'i>(item: &'i Item, name: &str) -> Result<&'i [u8], Error> {
    let bytes = item.get(name).and_then(|value| value.as_b().ok());
    bytes.map(Blob::as_ref).ok_or_else(|| missing(name))
}

/// A number of an item that must be there.
pub(super) fn number_of<T: FromStr>(item: &Item, name: &str) -> Result<T, Error> {
    let number = item.get(name).and_then(|value| value.as_n().ok());
    let number = number.and_then(|number| number.parse().ok());
    number.ok_or_else(|| missing(name))
}

fn missing(name: &str) -> Error {
    let why: Arc<str> = format!("the attribute {name} is missing or of another type").into();
    Error::new(ErrorKind::Corrupt, "read an item of DynamoDB", &*why)
}
