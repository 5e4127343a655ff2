//! Values from outside, handed to CEL by reference.

use std::sync::Arc;

use cel::{
    ExecutionError,
    common::{
        traits::{Container, Indexer, Sizer},
        types::{CelBool, CelInt, CelNull, CelString, LIST_TYPE, MAP_TYPE, Type},
        value::{CowVal, Val},
    },
};

use super::facts::key_of;
use crate::json::Json;

/// A value as conditions see it: decimals are whole millionths.
pub(super) fn value_of<'b, 'v, 'a: 'v>(json: &'a Json) -> CowVal<'b, 'v> {
    match json {
        Json::Null => CowVal::owned(CelNull),
        Json::Boolean(truth) => CowVal::owned(CelBool::from(*truth)),
        Json::Integer(number) => CowVal::owned(CelInt::from(*number)),
        Json::Decimal(number) => CowVal::owned(CelInt::from(number.as_micros())),
        Json::Text(text) => CowVal::owned(CelString::from(text.as_ref().to_owned())),
        Json::List(items) => CowVal::owned(Items(items)),
        Json::Object(entries) => CowVal::owned(Members(entries)),
    }
}

/// A list as conditions see it.
pub(super) fn list_of<'b, 'v, 'a: 'v>(items: &'a [Json]) -> CowVal<'b, 'v> {
    CowVal::owned(Items(items))
}

/// What was fetched under which name. What was not is an object without members, so that
/// `has(enrich.customer.level)` is false and no error while there is no customer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Named<'a>(pub(super) &'a [(Arc<str>, Json)]);

impl Val for Named<'_> {
    fn get_type(&self) -> &Type {
        <Self as Val>::cel_type()
    }

    fn cel_type() -> &'static Type {
        &MAP_TYPE
    }

    fn as_container(&self) -> Option<&dyn Container> {
        Some(self)
    }

    fn as_indexer<'b, 'v>(&'b self) -> Option<&'b (dyn Indexer + 'v)>
    where
        Self: 'v,
    {
        Some(self)
    }

    fn clone_as_boxed<'v>(&self) -> Box<dyn Val + 'v>
    where
        Self: 'v,
    {
        Box::new(*self)
    }
}

impl Container for Named<'_> {
    fn contains(&self, key: &dyn Val) -> Result<bool, ExecutionError> {
        Members(self.0).contains(key)
    }
}

impl Indexer for Named<'_> {
    fn get<'b, 'v>(&'b self, key: &dyn Val) -> Result<CowVal<'b, 'v>, ExecutionError>
    where
        Self: 'v,
    {
        let found = Members(self.0).find(key_of(key)?);
        Ok(found.map_or_else(|| CowVal::owned(Members(&[])), value_of))
    }

    fn steal<'v>(self: Box<Self>, key: &dyn Val) -> Result<Box<dyn Val + 'v>, ExecutionError>
    where
        Self: 'v,
    {
        self.get(key).map(CowVal::into_owned)
    }
}

/// The members of an object.
#[derive(Clone, Copy, Debug)]
struct Members<'a>(&'a [(Arc<str>, Json)]);

impl<'a> Members<'a> {
    fn find(&self, name: &str) -> Option<&'a Json> {
        let place = self.0.binary_search_by(|(held, _)| held.as_ref().cmp(name)).ok()?;
        self.0.get(place).map(|(_, value)| value)
    }
}

impl Val for Members<'_> {
    fn get_type(&self) -> &Type {
        <Self as Val>::cel_type()
    }

    fn cel_type() -> &'static Type {
        &MAP_TYPE
    }

    fn as_container(&self) -> Option<&dyn Container> {
        Some(self)
    }

    fn as_sizer(&self) -> Option<&dyn Sizer> {
        Some(self)
    }

    fn as_indexer<'b, 'v>(&'b self) -> Option<&'b (dyn Indexer + 'v)>
    where
        Self: 'v,
    {
        Some(self)
    }

    fn clone_as_boxed<'v>(&self) -> Box<dyn Val + 'v>
    where
        Self: 'v,
    {
        Box::new(*self)
    }
}

impl Container for Members<'_> {
    fn contains(&self, key: &dyn Val) -> Result<bool, ExecutionError> {
        key_of(key).map(|name| self.find(name).is_some())
    }
}

impl Sizer for Members<'_> {
    fn size(&self) -> CelInt {
        CelInt::from(i64::try_from(self.0.len()).unwrap_or(i64::MAX))
    }
}

impl Indexer for Members<'_> {
    fn get<'b, 'v>(&'b self, key: &dyn Val) -> Result<CowVal<'b, 'v>, ExecutionError>
    where
        Self: 'v,
    {
        let name = key_of(key)?;
        self.find(name).map(value_of).ok_or_else(|| ExecutionError::NoSuchKey(Arc::new(name.to_owned())))
    }

    fn steal<'v>(self: Box<Self>, key: &dyn Val) -> Result<Box<dyn Val + 'v>, ExecutionError>
    where
        Self: 'v,
    {
        self.get(key).map(CowVal::into_owned)
    }
}

/// A list.
#[derive(Clone, Copy, Debug)]
struct Items<'a>(&'a [Json]);

impl Val for Items<'_> {
    fn get_type(&self) -> &Type {
        <Self as Val>::cel_type()
    }

    fn cel_type() -> &'static Type {
        &LIST_TYPE
    }

    fn as_container(&self) -> Option<&dyn Container> {
        Some(self)
    }

    fn as_sizer(&self) -> Option<&dyn Sizer> {
        Some(self)
    }

    fn as_indexer<'b, 'v>(&'b self) -> Option<&'b (dyn Indexer + 'v)>
    where
        Self: 'v,
    {
        Some(self)
    }

    fn clone_as_boxed<'v>(&self) -> Box<dyn Val + 'v>
    where
        Self: 'v,
    {
        Box::new(*self)
    }
}

impl Container for Items<'_> {
    fn contains(&self, value: &dyn Val) -> Result<bool, ExecutionError> {
        Ok(self.0.iter().any(|item| value_of(item).equals(value)))
    }
}

impl Sizer for Items<'_> {
    fn size(&self) -> CelInt {
        CelInt::from(i64::try_from(self.0.len()).unwrap_or(i64::MAX))
    }
}

impl Indexer for Items<'_> {
    fn get<'b, 'v>(&'b self, key: &dyn Val) -> Result<CowVal<'b, 'v>, ExecutionError>
    where
        Self: 'v,
    {
        let wanted = key.downcast_ref::<CelInt>().map(|number| *number.inner());
        let found = wanted.and_then(|number| self.0.get(usize::try_from(number).ok()?));
        found.map(value_of).ok_or_else(|| ExecutionError::NoSuchKey(Arc::new("an item".to_owned())))
    }

    fn steal<'v>(self: Box<Self>, key: &dyn Val) -> Result<Box<dyn Val + 'v>, ExecutionError>
    where
        Self: 'v,
    {
        self.get(key).map(CowVal::into_owned)
    }
}
