//! What a condition can see, handed to CEL without copying: values are made when they are asked for.

use std::sync::Arc;

use cel::{
    ExecutionError,
    common::{
        traits::{Container, Indexer, Sizer},
        types::{CelBool, CelInt, CelString, LIST_TYPE, MAP_TYPE, Type},
        value::{CowVal, Val},
    },
    context::VariableResolver,
};

use super::outside::{Named, list_of, value_of};
use crate::{json::Json, value::SlotValue};

/// The variables conditions may use. Members of slots, flags and of what came from outside are checked when
/// a flow is loaded.
pub const VARIABLES: [&str; 24] = [
    "act",
    "asked",
    "by",
    "confidence",
    "data",
    "ended",
    "enrich",
    "failed",
    "filled",
    "flags",
    "input",
    "intent",
    "interrupted",
    "missing",
    "moved",
    "next_slot",
    "pending",
    "recognised",
    "released",
    "result",
    "slots",
    "state",
    "text",
    "timer",
];

/// Variables whose members come from outside, at any depth.
pub const OUTSIDE: [&str; 3] = ["data", "enrich", "result"];

/// What conditions see of a turn.
#[derive(Clone, Copy, Debug, Default)]
pub struct Facts<'a> {
    /// Filled slots, ordered by name.
    pub slots: &'a [(Arc<str>, SlotValue)],
    /// Raised flags, ordered by name.
    pub flags: &'a [Arc<str>],
    /// The dialogue act's name, or empty.
    pub act: &'a str,
    /// The intent the turn is heading for.
    pub intent: &'a str,
    /// The state the turn is heading for.
    pub state: &'a str,
    /// What the user said.
    pub text: &'a str,
    /// Whether an intent was recognised in this turn.
    pub recognised: bool,
    /// Slots the text of this turn gave.
    pub filled: &'a [Arc<str>],
    /// Whether anything moves the conversation in this turn, even if it comes back to where it was.
    pub moved: bool,
    /// Names of the actions that wait for a confirmation.
    pub pending: &'a [Arc<str>],
    /// How an action ended in this turn: `executed`, `rejected`, `expired`, `failed`, `unknown` or empty.
    pub ended: &'a str,
    /// How the intent was recognised: `pattern`, `keywords`, `example`, `model`, `choice`, `input` or empty.
    pub by: &'a str,
    /// How sure the recognition is, in percent.
    pub confidence: u8,
    /// Whether a phrase let go of the current intent.
    pub released: bool,
    /// Whether the last turn asked which of several was meant.
    pub asked: bool,
    /// How many positions are interrupted.
    pub interrupted: usize,
    /// What kind of input it is: `text`, `json`, `event` or `timer`.
    pub input: &'a str,
    /// The id of the timer that fired the turn, or empty.
    pub timer: &'a str,
    /// Slots the state asks for that are empty, in the order it asks.
    pub missing: &'a [Arc<str>],
    /// Enrichments and actions that failed in this turn, or whose failure is not yet made good.
    pub failed: &'a [Arc<str>],
    /// What was fetched in this turn, ordered by name.
    pub enrich: &'a [(Arc<str>, Json)],
    /// What actions returned in this turn, ordered by name.
    pub result: &'a [(Arc<str>, Json)],
    /// What the conversation keeps of what was fetched, ordered by name.
    pub data: &'a [(Arc<str>, Json)],
}

impl VariableResolver for Facts<'_> {
    fn resolve<'b>(&'b self, variable: &str) -> Option<CowVal<'b, 'b>> {
        Some(match variable {
            "slots" => CowVal::owned(Slots(self.slots)),
            "flags" => CowVal::owned(Flags(self.flags)),
            "act" => text(self.act),
            "intent" => text(self.intent),
            "state" => text(self.state),
            "text" => text(self.text),
            "recognised" => CowVal::owned(CelBool::from(self.recognised)),
            "filled" => CowVal::owned(Names(self.filled)),
            "moved" => CowVal::owned(CelBool::from(self.moved)),
            "pending" => CowVal::owned(Names(self.pending)),
            "ended" => text(self.ended),
            "by" => text(self.by),
            "confidence" => CowVal::owned(CelInt::from(i64::from(self.confidence))),
            "released" => CowVal::owned(CelBool::from(self.released)),
            "asked" => CowVal::owned(CelBool::from(self.asked)),
            "interrupted" => CowVal::owned(CelInt::from(i64::try_from(self.interrupted).unwrap_or(i64::MAX))),
            "input" => text(self.input),
            "timer" => text(self.timer),
            "missing" => CowVal::owned(Names(self.missing)),
            "next_slot" => text(self.missing.first().map_or("", |slot| slot)),
            "failed" => CowVal::owned(Names(self.failed)),
            "enrich" => CowVal::owned(Named(self.enrich)),
            "result" => CowVal::owned(Named(self.result)),
            "data" => CowVal::owned(Named(self.data)),
            _ => return None,
        })
    }
}

fn text<'b>(text: &'b str) -> CowVal<'b, 'b> {
    CowVal::owned(CelString::from(text))
}

pub(super) fn key_of(key: &dyn Val) -> Result<&str, ExecutionError> {
    key.downcast_ref::<CelString>().map(CelString::inner).ok_or_else(|| ExecutionError::UnexpectedType {
        got: key.get_type().name().to_owned(),
        want: "string".to_owned(),
    })
}

/// `slots.name`; decimals are whole millionths, so that no float ever decides.
#[derive(Clone, Copy, Debug)]
struct Slots<'a>(&'a [(Arc<str>, SlotValue)]);

impl Val for Slots<'_> {
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

impl<'a> Slots<'a> {
    fn find(&self, name: &str) -> Option<&'a SlotValue> {
        let place = self.0.binary_search_by(|(slot, _)| slot.as_ref().cmp(name)).ok()?;
        self.0.get(place).map(|(_, value)| value)
    }
}

impl Container for Slots<'_> {
    fn contains(&self, key: &dyn Val) -> Result<bool, ExecutionError> {
        key_of(key).map(|name| self.find(name).is_some())
    }
}

impl Indexer for Slots<'_> {
    fn get<'b, 'v>(&'b self, key: &dyn Val) -> Result<CowVal<'b, 'v>, ExecutionError>
    where
        Self: 'v,
    {
        let name = key_of(key)?;
        let value = self.find(name).ok_or_else(|| ExecutionError::NoSuchKey(Arc::new(name.to_owned())))?;
        Ok(match value {
            SlotValue::Text(text) => CowVal::owned(CelString::from(text.as_ref().to_owned())),
            SlotValue::Integer(number) => CowVal::owned(CelInt::from(*number)),
            SlotValue::Decimal(number) => CowVal::owned(CelInt::from(number.as_micros())),
            SlotValue::Boolean(truth) => CowVal::owned(CelBool::from(*truth)),
            SlotValue::Date(date) => CowVal::owned(CelString::from(date.to_string())),
            SlotValue::List(items) => list_of(items),
            SlotValue::Object(object) => value_of(object),
        })
    }

    fn steal<'v>(self: Box<Self>, key: &dyn Val) -> Result<Box<dyn Val + 'v>, ExecutionError>
    where
        Self: 'v,
    {
        self.get(key).map(CowVal::into_owned)
    }
}

/// `flags.name`: true when raised, false otherwise.
#[derive(Clone, Copy, Debug)]
struct Flags<'a>(&'a [Arc<str>]);

impl Val for Flags<'_> {
    fn get_type(&self) -> &Type {
        <Self as Val>::cel_type()
    }

    fn cel_type() -> &'static Type {
        &MAP_TYPE
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

impl Indexer for Flags<'_> {
    fn get<'b, 'v>(&'b self, key: &dyn Val) -> Result<CowVal<'b, 'v>, ExecutionError>
    where
        Self: 'v,
    {
        let name = key_of(key)?;
        Ok(CowVal::owned(CelBool::from(self.0.iter().any(|flag| flag.as_ref() == name))))
    }

    fn steal<'v>(self: Box<Self>, key: &dyn Val) -> Result<Box<dyn Val + 'v>, ExecutionError>
    where
        Self: 'v,
    {
        self.get(key).map(CowVal::into_owned)
    }
}

/// `'name' in filled` and `size(pending)`.
#[derive(Clone, Copy, Debug)]
struct Names<'a>(&'a [Arc<str>]);

impl Val for Names<'_> {
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

    fn clone_as_boxed<'v>(&self) -> Box<dyn Val + 'v>
    where
        Self: 'v,
    {
        Box::new(*self)
    }
}

impl Container for Names<'_> {
    fn contains(&self, key: &dyn Val) -> Result<bool, ExecutionError> {
        key_of(key).map(|name| self.0.iter().any(|held| held.as_ref() == name))
    }
}

impl Sizer for Names<'_> {
    fn size(&self) -> CelInt {
        CelInt::from(i64::try_from(self.0.len()).unwrap_or(i64::MAX))
    }
}
