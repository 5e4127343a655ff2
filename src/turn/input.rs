//! Structured input: a JSON object that names what a text would have to say.

use std::sync::Arc;

use colloquy_flow::Json;

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
        let Json::Object(members) = Json::parse(source).ok()? else { return None };
        let mut read = Self::default();
        for (key, value) in members {
            match (key.as_ref(), value) {
                ("text", Json::Text(text)) => read.text = text,
                ("intent", Json::Text(name)) => read.intent = Some(name),
                ("action", Json::Text(name)) => read.action = Some(name),
                ("confirm", Json::Boolean(truth)) => read.confirm = Some(truth),
                ("slots", Json::Object(slots)) => read.slots = slots,
                _ => return None,
            }
        }
        (read.confirm.is_none() || read.action.is_some()).then_some(read)
    }
}
