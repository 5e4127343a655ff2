//! Structured input: a JSON object that names what a text would have to say.

use std::sync::Arc;

use colloquy_flow::{
    Json,
    json::{JSON_NESTING_MAX, JsonError},
};

/// A member of structured input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum InputMember {
    /// What a text would say.
    Text,
    /// The intent that is meant.
    Intent,
    /// The pending action that is meant.
    Action,
    /// Whether that action is confirmed.
    Confirm,
    /// Values of slots by name.
    Slots,
}

impl InputMember {
    const ALL: [Self; 5] = [Self::Text, Self::Intent, Self::Action, Self::Confirm, Self::Slots];

    /// The member's name as it is written.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Intent => "intent",
            Self::Action => "action",
            Self::Confirm => "confirm",
            Self::Slots => "slots",
        }
    }

    const fn kind(self) -> &'static str {
        match self {
            Self::Text | Self::Intent | Self::Action => "a text",
            Self::Confirm => "true or false",
            Self::Slots => "an object of slots by name",
        }
    }

    fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|member| member.name() == name)
    }
}

/// Something in structured input that is not as it must be. It never carries what was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InputFault {
    /// It is no JSON that we take.
    #[error(
        "must be valid JSON, each key once, numbers whole within 64 bits or with at most six digits after the point; \
         send other numbers as texts"
    )]
    Malformed,
    /// It nests too deep, or has too many values.
    #[error("must nest at most {JSON_NESTING_MAX} levels: send a flatter object")]
    TooDeep,
    /// It is JSON, but no object.
    #[error("must be an object, for example {{\"intent\": \"cancel\"}}")]
    NotAnObject,
    /// It has members that mean nothing.
    #[error("must have no members but text, intent, action, confirm and slots: leave out the others")]
    UnknownMember,
    /// A member is of another type.
    #[error("must be {}", .0.kind())]
    WrongType(InputMember),
    /// Something is confirmed or dropped, but what is not said.
    #[error("must stand beside `action`, which names what is confirmed or dropped")]
    ConfirmsNothing,
    /// The text has characters that no text may have.
    #[error("must not have control characters other than newline and tab")]
    ControlCharacter,
}

impl InputFault {
    /// The member concerned; none when it is the input as a whole.
    pub const fn member(self) -> Option<InputMember> {
        match self {
            Self::Malformed | Self::TooDeep | Self::NotAnObject | Self::UnknownMember => None,
            Self::WrongType(member) => Some(member),
            Self::ConfirmsNothing => Some(InputMember::Confirm),
            Self::ControlCharacter => Some(InputMember::Text),
        }
    }
}

/// Checks structured input and gives its canonical form: keys in order, no blanks. What says the same is then the
/// same text, whatever wrote it.
///
/// # Errors
/// Every fault, so that all can be mended at once.
pub fn canonical_input(source: &str) -> Result<String, Vec<InputFault>> {
    let value = parsed(source).map_err(|fault| vec![fault])?;
    let canonical = value.to_string();
    let (structured, mut faults) = Structured::of(value);
    if structured.text.chars().any(|letter| letter.is_control() && !matches!(letter, '\n' | '\t')) {
        faults.push(InputFault::ControlCharacter);
    }
    if faults.is_empty() { Ok(canonical) } else { Err(faults) }
}

fn parsed(source: &str) -> Result<Json, InputFault> {
    Json::parse(source).map_err(|error| match error {
        // A parser that gives up on depth before we do calls it malformed.
        JsonError::Malformed if nesting(source) <= JSON_NESTING_MAX => InputFault::Malformed,
        JsonError::Malformed | JsonError::TooLarge => InputFault::TooDeep,
    })
}

/// How deep the brackets outside of texts nest.
fn nesting(source: &str) -> usize {
    let (mut depth, mut deepest, mut in_text, mut escaped) = (0_usize, 0, false, false);
    for byte in source.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_text => escaped = true,
            b'"' => in_text = !in_text,
            b'{' | b'[' if !in_text => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b'}' | b']' if !in_text => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

/// What structured input may say. Other members are refused.
///
/// `{"intent": "cancel", "slots": {"order_number": "A-1001"}}`,
/// `{"action": "cancel_order", "confirm": true}`, `{"text": "yes"}`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Structured {
    pub(crate) text: Arc<str>,
    pub(crate) intent: Option<Arc<str>>,
    pub(crate) action: Option<Arc<str>>,
    pub(crate) confirm: Option<bool>,
    pub(crate) slots: Vec<(Arc<str>, Json)>,
}

impl Structured {
    /// Reads the input; `None` when it is no such object.
    pub(crate) fn parse(source: &str) -> Option<Self> {
        let (read, faults) = Self::of(Json::parse(source).ok()?);
        faults.is_empty().then_some(read)
    }

    /// What a value says, as far as it can be understood, and what is wrong with the rest.
    fn of(value: Json) -> (Self, Vec<InputFault>) {
        let mut read = Self::default();
        let Json::Object(members) = value else { return (read, vec![InputFault::NotAnObject]) };
        let mut faults = Vec::new();
        for (key, value) in members {
            match (InputMember::named(&key), value) {
                (Some(InputMember::Text), Json::Text(text)) => read.text = text,
                (Some(InputMember::Intent), Json::Text(name)) => read.intent = Some(name),
                (Some(InputMember::Action), Json::Text(name)) => read.action = Some(name),
                (Some(InputMember::Confirm), Json::Boolean(truth)) => read.confirm = Some(truth),
                (Some(InputMember::Slots), Json::Object(slots)) => read.slots = slots,
                (Some(member), _) => faults.push(InputFault::WrongType(member)),
                (None, _) if faults.contains(&InputFault::UnknownMember) => {}
                (None, _) => faults.push(InputFault::UnknownMember),
            }
        }
        if read.confirm.is_some() && read.action.is_none() {
            faults.push(InputFault::ConfirmsNothing);
        }
        (read, faults)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(source: &str) -> Vec<InputFault> {
        canonical_input(source).expect_err("it is faulty")
    }

    #[test]
    fn what_says_the_same_becomes_the_same_text() {
        let one = canonical_input("{\"slots\": {\"b\": 1.50, \"a\": \"\\u0041\"},\r\n \"intent\": \"cancel\"}");
        let other = canonical_input("{\"intent\":\"cancel\",\"slots\":{\"a\":\"A\",\"b\":1.5}}");
        assert_eq!(one, Ok("{\"intent\":\"cancel\",\"slots\":{\"a\":\"A\",\"b\":1.5}}".to_owned()));
        assert_eq!(one, other);
        assert_eq!(canonical_input("{}"), Ok("{}".to_owned()));
    }

    #[test]
    fn the_canonical_form_says_what_was_sent() {
        let source = r#"{"confirm": false, "action": "pay", "text": "no\n\"thanks\"", "slots": {"n": 7, "z": null}}"#;
        let canonical = canonical_input(source).expect("it is fine");
        assert_eq!(Structured::parse(&canonical), Structured::parse(source));
        assert!(Structured::parse(source).is_some());
    }

    #[test]
    fn every_fault_is_told_with_its_member() {
        assert_eq!(faults("{"), [InputFault::Malformed]);
        assert_eq!(faults("{\"intent\": \"a\", \"intent\": \"b\"}"), [InputFault::Malformed]);
        assert_eq!(faults("{\"slots\": {\"n\": 0.1234567}}"), [InputFault::Malformed]);
        assert_eq!(faults("[]"), [InputFault::NotAnObject]);
        assert_eq!(faults("{\"intents\": \"a\", \"x\": 1}"), [InputFault::UnknownMember]);
        assert_eq!(faults("{\"confirm\": true}"), [InputFault::ConfirmsNothing]);
        assert_eq!(faults("{\"text\": \"\\u0007\"}"), [InputFault::ControlCharacter]);
        let all = faults("{\"text\": 1, \"intent\": null, \"action\": [], \"confirm\": \"yes\", \"slots\": \"a\"}");
        let members: Vec<_> = all.iter().map(|fault| fault.member()).collect();
        for member in InputMember::ALL {
            assert!(all.contains(&InputFault::WrongType(member)) && members.contains(&Some(member)));
        }
        assert_eq!(all.len(), InputMember::ALL.len());
    }

    #[test]
    fn depth_is_told_as_depth_however_deep() {
        let nested =
            |depth: usize| format!("{{\"slots\": {{\"a\": {}1{}}}}}", "[".repeat(depth - 2), "]".repeat(depth - 2));
        // The innermost value is a level of its own.
        assert!(canonical_input(&nested(JSON_NESTING_MAX - 1)).is_ok());
        for depth in [JSON_NESTING_MAX, JSON_NESTING_MAX + 1, 4000] {
            assert_eq!(faults(&nested(depth)), [InputFault::TooDeep], "{depth}");
        }
        // Brackets in texts nest nothing.
        assert_eq!(faults(&format!("{{\"text\": \"\\\"{}\"", "[".repeat(99))), [InputFault::Malformed]);
    }
}
