//! The values of a body, as a deserializer over JSON that is well formed already.
//!
//! It differs from that of `serde_json` where a client's words have a meaning: a number that is whole is exactly the one
//! that was written, no field that is read occurs twice, a struct is an object, and every text that is read is in the
//! [canonical](jumun_text::canonical()) spelling or refused.

use super::{Texts, error::Error};
use crate::{decimal, limits::NESTING_MAX};
use serde::{
    Deserialize, Deserializer,
    de::{self, DeserializeSeed, IntoDeserializer, MapAccess, SeqAccess, Visitor, value::CowStrDeserializer},
    forward_to_deserialize_any,
};
use serde_json::value::RawValue;
use std::{borrow::Cow, collections::HashSet, fmt};

/// One value.
#[derive(Clone, Copy)]
pub(super) struct Json<'a> {
    raw: &'a str,
    texts: Texts,
    depth: usize,
    /// Whether its object has an earlier value of the same name. Which of them is meant is not ours to choose, unless neither
    /// is read.
    is_repeat: bool,
}

impl<'a> Json<'a> {
    pub(super) fn new(raw: &'a RawValue, texts: Texts) -> Self {
        Self { raw: raw.get(), texts, depth: 0, is_repeat: false }
    }

    pub(super) fn is_object(self) -> bool {
        self.raw.starts_with('{')
    }

    fn inner(self, raw: &'a RawValue, is_repeat: bool) -> Self {
        Self { raw: raw.get(), texts: self.texts, depth: self.depth + 1, is_repeat }
    }

    /// Checks a value that is about to be read.
    fn check(self) -> Result<(), Error> {
        if self.is_repeat { Err(Error::invalid("occurs twice")) } else { Ok(()) }
    }

    /// Decodes what is well formed: it fails only where a text is not Unicode.
    fn decode<T: Deserialize<'a>>(self) -> Result<T, Error> {
        if self.depth > NESTING_MAX {
            return Err(Error::invalid("is nested too deeply"));
        }
        serde_json::from_str(self.raw).map_err(|error| Error::Malformed(error.to_string()))
    }

    /// A text for a visitor. One that no person could mean is refused, by a visitor that takes no text in its own words.
    fn visit_text<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Error> {
        let Text(text) = self.decode()?;
        if self.texts == Texts::OfPeople {
            match jumun_text::canonical(&text) {
                Ok(Cow::Borrowed(same)) if same == text => {}
                Ok(other) => return visitor.visit_string(other.into_owned()),
                Err(unfit) => {
                    return visitor.visit_str(&text).and_then(|_| Err(Error::invalid(unfit.to_string())));
                }
            }
        }
        match text {
            Cow::Borrowed(text) => visitor.visit_borrowed_str(text),
            Cow::Owned(text) => visitor.visit_string(text),
        }
    }
}

impl<'de> Deserializer<'de> for Json<'de> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.check()?;
        match self.raw.as_bytes().first() {
            Some(b'n') => visitor.visit_unit(),
            Some(b't') => visitor.visit_bool(true),
            Some(b'f') => visitor.visit_bool(false),
            Some(b'"') => self.visit_text(visitor),
            Some(b'{') => {
                let Members(members) = self.decode()?;
                let seen = HashSet::with_capacity(members.len());
                visitor.visit_map(Fields { json: self, members: members.into_iter(), seen, value: None })
            }
            Some(b'[') => {
                let items = self.decode::<Vec<&'de RawValue>>()?.into_iter();
                visitor.visit_seq(Items { json: self, items })
            }
            _ => match decimal::whole(self.raw) {
                Some(whole) => visitor.visit_i64(whole),
                // Not whole, or too large: only who reads floats takes it, and nothing that counts money does.
                None => visitor.visit_f64(self.raw.parse().unwrap_or(f64::INFINITY)),
            },
        }
    }

    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        if self.raw.parse().is_ok_and(f64::is_infinite) {
            return Err(Error::invalid("is no number that can be held"));
        }
        self.deserialize_any(visitor)
    }

    fn deserialize_f32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_f64(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.check()?;
        if self.raw == "null" { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    /// Derived structs also read arrays, in the order of their fields. No client intends that.
    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        if self.is_object() { self.deserialize_any(visitor) } else { Err(Error::invalid("must be a JSON object")) }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        words: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.check()?;
        if !self.raw.starts_with('"') {
            return Err(Error::not_one_of(words));
        }
        let Text(text) = self.decode()?;
        let word =
            if self.texts == Texts::OfPeople { jumun_text::canonical_or_same(&text) } else { Cow::Borrowed(&*text) };
        let word: CowStrDeserializer<'_, Error> = word.into_deserializer();
        visitor.visit_enum(word)
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_unit()
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 char str string bytes byte_buf unit unit_struct seq tuple
        tuple_struct map identifier
    }
}

/// A text of JSON, without its quotes and escapes.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// The members of an object, in order.
struct Members<'a>(Vec<Member<'a>>);

type Member<'a> = (Cow<'a, str>, &'a RawValue);

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Collecting;
        impl<'de> Visitor<'de> for Collecting {
            type Value = Members<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }
            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Members<'de>, M::Error> {
                let mut members = Vec::new();
                while let Some((Text(name), value)) = map.next_entry::<Text<'de>, &'de RawValue>()? {
                    members.push((name, value));
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Collecting)
    }
}

struct Fields<'a> {
    json: Json<'a>,
    members: std::vec::IntoIter<Member<'a>>,
    seen: HashSet<Cow<'a, str>>,
    value: Option<Json<'a>>,
}

impl<'a> MapAccess<'a> for Fields<'a> {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'a>>(&mut self, seed: K) -> Result<Option<K::Value>, Error> {
        let Some((name, value)) = self.members.next() else { return Ok(None) };
        let is_repeat = !self.seen.insert(name.clone());
        self.value = Some(self.json.inner(value, is_repeat));
        let name: CowStrDeserializer<'a, Error> = name.into_deserializer();
        seed.deserialize(name).map(Some)
    }

    fn next_value_seed<S: DeserializeSeed<'a>>(&mut self, seed: S) -> Result<S::Value, Error> {
        let value = self.value.take().ok_or_else(|| <Error as de::Error>::custom("a value is read before its name"))?;
        seed.deserialize(value)
    }
}

struct Items<'a> {
    json: Json<'a>,
    items: std::vec::IntoIter<&'a RawValue>,
}

impl<'a> SeqAccess<'a> for Items<'a> {
    type Error = Error;

    fn next_element_seed<S: DeserializeSeed<'a>>(&mut self, seed: S) -> Result<Option<S::Value>, Error> {
        self.items.next().map(|item| seed.deserialize(self.json.inner(item, false))).transpose()
    }
}
