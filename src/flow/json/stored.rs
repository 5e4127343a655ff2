//! Reading the stored form of a value, as `Serialize` derives it, with a bound on its depth.

use std::{fmt, sync::Arc};

use serde::{
    Deserialize, Deserializer,
    de::{self, DeserializeSeed, EnumAccess, SeqAccess, VariantAccess, Visitor},
};

use super::{JSON_NESTING_MAX, Json};

/// The stored form, as `Serialize` derives it, read with a bound on its depth: hostile bytes must not
/// exhaust the stack.
impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Stored { depth: 0 }.deserialize(deserializer)
    }
}

const VARIANTS: [&str; 7] = ["Null", "Boolean", "Integer", "Decimal", "Text", "List", "Object"];

#[derive(Clone, Copy)]
struct Stored {
    depth: usize,
}

impl<'de> DeserializeSeed<'de> for Stored {
    type Value = Json;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Json, D::Error> {
        if self.depth > JSON_NESTING_MAX {
            return Err(de::Error::custom("a value nests too deep"));
        }
        deserializer.deserialize_enum("Json", &VARIANTS, self)
    }
}

/// The number of a variant, by position or by name.
struct VariantNumber(usize);

impl<'de> Deserialize<'de> for VariantNumber {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Numbers;
        impl Visitor<'_> for Numbers {
            type Value = VariantNumber;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a variant")
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> Result<VariantNumber, E> {
                usize::try_from(number).map(VariantNumber).map_err(|_| E::custom("there is no such variant"))
            }

            fn visit_str<E: de::Error>(self, name: &str) -> Result<VariantNumber, E> {
                let found = VARIANTS.iter().position(|variant| *variant == name);
                found.map(VariantNumber).ok_or_else(|| E::unknown_variant(name, &VARIANTS))
            }
        }
        deserializer.deserialize_identifier(Numbers)
    }
}

impl<'de> Visitor<'de> for Stored {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a stored value")
    }

    fn visit_enum<A: EnumAccess<'de>>(self, data: A) -> Result<Json, A::Error> {
        let (VariantNumber(number), variant) = data.variant()?;
        match number {
            0 => variant.unit_variant().map(|()| Json::Null),
            1 => variant.newtype_variant().map(Json::Boolean),
            2 => variant.newtype_variant().map(Json::Integer),
            3 => variant.newtype_variant().map(Json::Decimal),
            4 => variant.newtype_variant().map(Json::Text),
            5 => variant.newtype_variant_seed(StoredItems(self)).map(Json::List),
            6 => variant.newtype_variant_seed(StoredEntries(self)).map(Json::Object),
            _ => Err(de::Error::custom("there is no such variant")),
        }
    }
}

struct StoredItems(Stored);

impl<'de> DeserializeSeed<'de> for StoredItems {
    type Value = Vec<Json>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Vec<Json>, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for StoredItems {
    type Value = Vec<Json>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of stored values")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Vec<Json>, A::Error> {
        let inner = Stored { depth: self.0.depth + 1 };
        let mut items = Vec::new();
        while let Some(item) = sequence.next_element_seed(inner)? {
            items.push(item);
        }
        Ok(items)
    }
}

struct StoredEntries(Stored);

impl<'de> DeserializeSeed<'de> for StoredEntries {
    type Value = Vec<(Arc<str>, Json)>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for StoredEntries {
    type Value = Vec<(Arc<str>, Json)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the entries of an object")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Self::Value, A::Error> {
        let inner = Stored { depth: self.0.depth + 1 };
        let mut entries: Self::Value = Vec::new();
        while let Some(entry) = sequence.next_element_seed(StoredEntry(inner))? {
            if entries.last().is_some_and(|(last, _)| *last >= entry.0) {
                return Err(de::Error::custom("the keys of an object are not in order"));
            }
            entries.push(entry);
        }
        Ok(entries)
    }
}

#[derive(Clone, Copy)]
struct StoredEntry(Stored);

impl<'de> DeserializeSeed<'de> for StoredEntry {
    type Value = (Arc<str>, Json);

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_tuple(2, self)
    }
}

impl<'de> Visitor<'de> for StoredEntry {
    type Value = (Arc<str>, Json);

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key and a value")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Self::Value, A::Error> {
        let missing = || de::Error::custom("an entry is a key and a value");
        let key: String = sequence.next_element()?.ok_or_else(missing)?;
        let value = sequence.next_element_seed(self.0)?.ok_or_else(missing)?;
        Ok((key.into(), value))
    }
}
