//! What must hold of a request before anything is done with it. Every fault is found, not only the first.

mod flow;

use std::{collections::HashSet, time::Duration};

use colloquy_actors::BusyPolicy;
use colloquy_proto::{CONVERSATION_KEY_METADATA, v1};
use colloquy_turn::{InputFault, InputKind, InputMember, Rating, TIMER_REQUESTS, canonical_input};
use colloquy_types::{
    ConversationKey, ConversationUid, FlowName, RequestId, Revision, SubjectId, TenantId, TraceContext, TurnSeq,
};
use tonic::{Status, metadata::MetadataMap};

use crate::status::{self, InvalidField};

/// Longest input of a turn, in bytes.
const INPUT_BYTES_MAX: usize = 16 << 10;
/// Longest reason of a reset, in bytes.
const REASON_BYTES_MAX: usize = 1 << 10;
/// Most revisions that a caller of an export may name as known.
const KNOWN_REVISIONS_MAX: usize = 256;
/// Longest comment of feedback, in bytes.
const COMMENT_BYTES_MAX: usize = 2 << 10;
/// Longest name of who publishes or promotes, in bytes.
const ACTOR_BYTES_MAX: usize = 128;
/// Largest page, in rows.
const PAGE_ROWS_MAX: u32 = 1000;

/// Collects what is wrong with one request.
#[derive(Debug, Default)]
pub(crate) struct Faults(Vec<InvalidField>);

impl Faults {
    /// Takes note of a fault; gives no value.
    pub(crate) fn add<T>(&mut self, field: &'static str, problem: impl Into<String>) -> Option<T> {
        self.0.push(InvalidField::new(field, problem));
        None
    }

    /// The value, or INVALID_ARGUMENT naming every field that is wrong.
    pub(crate) fn finish<T>(self, value: Option<T>) -> Result<T, Status> {
        match value {
            Some(value) if self.0.is_empty() => Ok(value),
            _ => Err(status::invalid(&self.0)),
        }
    }

    /// The conversation's key, in agreement with the metadata.
    pub(crate) fn key(&mut self, key: Option<&v1::ConversationKey>, metadata: &MetadataMap) -> Option<ConversationKey> {
        let Some(key) = key else { return self.add("key", "is required: give tenant and conversation") };
        let key = match ConversationKey::from_parts(&key.tenant, &key.conversation) {
            Ok(key) => key,
            Err((part, invalid)) => {
                let field = if part == "tenant" { "key.tenant" } else { "key.conversation" };
                return self.add(field, invalid.to_string());
            }
        };
        match metadata.get(CONVERSATION_KEY_METADATA) {
            Some(routed) if routed.as_bytes() != key.as_str().as_bytes() => {
                self.add("metadata:x-conversation-key", "must be `<tenant>/<conversation>` of the message's key")
            }
            _ => Some(key),
        }
    }

    pub(crate) fn request_id(&mut self, request_id: &str) -> Option<RequestId> {
        if request_id.starts_with(TIMER_REQUESTS) {
            return self.add("request_id", format!("must not begin with {TIMER_REQUESTS:?}: those are the timers'"));
        }
        RequestId::parse(request_id).map_or_else(|invalid| self.add("request_id", invalid.to_string()), Some)
    }

    pub(crate) fn tenant(&mut self, tenant: &str) -> Option<TenantId> {
        TenantId::parse(tenant).map_or_else(|invalid| self.add("tenant", invalid.to_string()), Some)
    }

    /// A conversation's random name; `Some(None)` when none is given.
    #[expect(clippy::option_option, reason = "the outer one says whether it is valid, the inner whether it is given")]
    pub(crate) fn uid(&mut self, uid: &str) -> Option<Option<ConversationUid>> {
        if uid.is_empty() {
            return Some(None);
        }
        match ConversationUid::parse(uid) {
            Some(uid) => Some(Some(uid)),
            None => self.add("uid", "must be 32 lower-case hexadecimal digits, or empty"),
        }
    }

    /// Revisions by their hexadecimal digits.
    pub(crate) fn revisions(&mut self, revisions: &[String]) -> Option<HashSet<Revision>> {
        if revisions.len() > KNOWN_REVISIONS_MAX {
            let problem = format!("must be at most {KNOWN_REVISIONS_MAX}, but are {}", revisions.len());
            return self.add("known_revisions", problem);
        }
        let parsed: Option<HashSet<_>> = revisions.iter().map(|text| Revision::parse(text)).collect();
        parsed.or_else(|| self.add("known_revisions", "must each be 64 lower-case hexadecimal digits"))
    }

    /// The flow's name; `Some(None)` when none is given.
    #[expect(clippy::option_option, reason = "the outer one says whether it is valid, the inner whether it is given")]
    pub(crate) fn flow(&mut self, flow: &str) -> Option<Option<FlowName>> {
        if flow.is_empty() {
            return Some(None);
        }
        FlowName::parse(flow).map_or_else(|invalid| self.add("flow", invalid.to_string()), |flow| Some(Some(flow)))
    }

    /// Whom a conversation is about; `Some(None)` when nobody is named.
    #[expect(clippy::option_option, reason = "the outer one says whether it is valid, the inner whether it is given")]
    pub(crate) fn subject(&mut self, subject: &str) -> Option<Option<SubjectId>> {
        if subject.is_empty() {
            return Some(None);
        }
        SubjectId::parse(subject).map_or_else(|invalid| self.add("subject", invalid.to_string()), |id| Some(Some(id)))
    }

    pub(crate) fn text(&mut self, text: String) -> Option<String> {
        if text.is_empty() {
            return self.add("input.text", "must not be empty: give 1 byte to 16 KiB of text");
        }
        self.words("input.text", text, INPUT_BYTES_MAX)
    }

    /// Structured input in its canonical form, which is not longer than what may be sent either.
    pub(crate) fn json(&mut self, source: &str) -> Option<String> {
        let checked = if source.len() > INPUT_BYTES_MAX { Ok(source.to_owned()) } else { canonical_input(source) };
        match checked {
            Ok(canonical) if canonical.len() <= INPUT_BYTES_MAX => Some(canonical),
            Ok(long) => {
                let problem = format!("must be at most {INPUT_BYTES_MAX} bytes of JSON, but has {}", long.len());
                self.add("input.json", problem)
            }
            Err(faults) => {
                self.0.extend(faults.into_iter().map(|fault| InvalidField::new(json_field(fault), fault.to_string())));
                None
            }
        }
    }

    pub(crate) fn reason(&mut self, reason: String) -> Option<String> {
        self.words("reason", reason, REASON_BYTES_MAX)
    }

    /// A reason that must be given.
    pub(crate) fn reason_given(&mut self, reason: String) -> Option<String> {
        if reason.is_empty() {
            return self.add("reason", "is required: say why, for the log");
        }
        self.reason(reason)
    }

    /// From one look to the next, in milliseconds; a second when it is 0.
    pub(crate) fn interval(&mut self, interval_ms: u32) -> Option<Duration> {
        match interval_ms {
            0 => Some(Duration::from_secs(1)),
            100..=60_000 => Some(Duration::from_millis(interval_ms.into())),
            _ => self.add("interval_ms", format!("must be 100 to 60000, or 0, but is {interval_ms}")),
        }
    }

    pub(crate) fn comment(&mut self, comment: String) -> Option<String> {
        self.words("comment", comment, COMMENT_BYTES_MAX)
    }

    pub(crate) fn note(&mut self, note: String) -> Option<String> {
        self.words("note", note, REASON_BYTES_MAX)
    }

    /// Who calls, as the caller says.
    pub(crate) fn actor(&mut self, actor: String) -> Option<String> {
        if actor.trim().is_empty() || actor.len() > ACTOR_BYTES_MAX || actor.chars().any(char::is_control) {
            return self.add("actor", format!("must be 1 to {ACTOR_BYTES_MAX} bytes without control characters"));
        }
        Some(actor)
    }

    pub(crate) fn rating(&mut self, rating: i32) -> Option<Rating> {
        match rating {
            -1 => Some(Rating::Bad),
            0 => Some(Rating::Neutral),
            1 => Some(Rating::Good),
            _ => self.add("rating", format!("must be -1, 0 or 1, but is {rating}")),
        }
    }

    /// Where a page begins that is counted: the number in the token of the page before.
    pub(crate) fn page_number(&mut self, token: &str, first: u64) -> Option<u64> {
        if token.is_empty() {
            return Some(first);
        }
        token.parse().map_or_else(|_| self.add("page_token", "must be the token of the page before"), Some)
    }

    fn words(&mut self, field: &'static str, text: String, max: usize) -> Option<String> {
        if text.len() > max {
            return self.add(field, format!("must be at most {max} bytes long, but has {}", text.len()));
        }
        // C0, DEL and C1; char::is_control covers exactly these.
        match text.char_indices().find(|(_, c)| c.is_control() && !matches!(c, '\n' | '\t')) {
            Some((at, c)) => self.add(
                field,
                format!(
                    "must not have control characters other than newline and tab, but has U+{:04X} at byte {at}",
                    u32::from(c)
                ),
            ),
            None => Some(text),
        }
    }

    /// The caller's policy; none when it leaves that to the flow.
    pub(crate) fn busy_policy(&mut self, policy: i32) -> Option<Option<BusyPolicy>> {
        match v1::BusyPolicy::try_from(policy) {
            Ok(v1::BusyPolicy::Unspecified) => Some(None),
            Ok(v1::BusyPolicy::Enqueue) => Some(Some(BusyPolicy::Enqueue)),
            Ok(v1::BusyPolicy::Reject) => Some(Some(BusyPolicy::Reject)),
            Ok(v1::BusyPolicy::Interrupt) => Some(Some(BusyPolicy::Interrupt)),
            Ok(v1::BusyPolicy::Replace) => Some(Some(BusyPolicy::Replace)),
            Ok(v1::BusyPolicy::Drop) => Some(Some(BusyPolicy::Drop)),
            Err(_) => {
                let known = "use ENQUEUE, REJECT, INTERRUPT, REPLACE or DROP";
                self.add("busy_policy", format!("{policy} is not a known policy: {known}"))
            }
        }
    }

    /// Another conversation of the tenant of `key`.
    pub(crate) fn sibling(&mut self, key: Option<&ConversationKey>, name: &str) -> Option<ConversationKey> {
        let tenant = key.map_or("t", ConversationKey::tenant);
        match ConversationKey::from_parts(tenant, name) {
            Ok(sibling) => Some(sibling),
            Err((_, invalid)) => self.add("conversation", invalid.to_string()),
        }
    }

    pub(crate) fn page_size(&mut self, rows: u32, default: u32) -> Option<usize> {
        if rows > PAGE_ROWS_MAX {
            return self.add("page_size", format!("must be at most {PAGE_ROWS_MAX}, but is {rows}"));
        }
        usize::try_from(if rows == 0 { default } else { rows }).ok()
    }

    pub(crate) fn actor_kind(&mut self, kind: i32) -> Option<v1::ActorKind> {
        v1::ActorKind::try_from(kind).map_or_else(|_| self.add("kind", format!("{kind} is not a known kind")), Some)
    }

    pub(crate) fn head(&mut self, head: &v1::Head) -> Option<colloquy_types::Head> {
        let Ok(hash) = <[u8; 32]>::try_from(head.hash.as_slice()) else {
            return self.add("after.hash", format!("must be 32 bytes long, but has {}", head.hash.len()));
        };
        Some(colloquy_types::Head {
            epoch: colloquy_types::Epoch::new(head.epoch),
            turn_seq: TurnSeq::new(head.turn_seq),
            hash: colloquy_types::Hash(hash),
            ..colloquy_types::Head::default()
        })
    }
}

/// The path of what is wrong with structured input.
const fn json_field(fault: InputFault) -> &'static str {
    match fault.member() {
        None => "input.json",
        Some(InputMember::Text) => "input.json.text",
        Some(InputMember::Intent) => "input.json.intent",
        Some(InputMember::Action) => "input.json.action",
        Some(InputMember::Confirm) => "input.json.confirm",
        Some(InputMember::Slots) => "input.json.slots",
    }
}

/// A turn that is as it must be.
#[derive(Debug)]
pub(crate) struct ValidTurn {
    pub(crate) key: ConversationKey,
    pub(crate) request_id: RequestId,
    pub(crate) flow: Option<FlowName>,
    pub(crate) subject: Option<SubjectId>,
    pub(crate) input: InputKind,
    pub(crate) text: String,
    pub(crate) expected_seq: Option<TurnSeq>,
    pub(crate) busy: Option<BusyPolicy>,
    pub(crate) trace: Option<TraceContext>,
}

/// The caller's place in a trace. As the W3C asks, one that is not valid is as good as none.
fn trace(metadata: &MetadataMap) -> Option<TraceContext> {
    let header = |name| metadata.get(name).and_then(|value| value.to_str().ok());
    TraceContext::parse(header("traceparent")?, header("tracestate"))
}

/// Checks a turn.
///
/// # Errors
/// INVALID_ARGUMENT naming every field, or UNIMPLEMENTED for events, which this server does not take.
pub(crate) fn turn(request: v1::SubmitTurnRequest, metadata: &MetadataMap) -> Result<ValidTurn, Status> {
    use v1::turn_input::Input;
    let mut faults = Faults::default();
    let key = faults.key(request.key.as_ref(), metadata);
    let request_id = faults.request_id(&request.request_id);
    let (flow, subject) = (faults.flow(&request.flow), faults.subject(&request.subject));
    let busy = faults.busy_policy(request.busy_policy);
    let input = match request.input.and_then(|input| input.input) {
        Some(Input::Text(text)) => faults.text(text).map(|text| (InputKind::Text, text)),
        Some(Input::Json(source)) => faults.json(&source).map(|json| (InputKind::Json, json)),
        Some(Input::Timer(_)) => faults.add("input.timer", "is what a timer says: give input.text or input.json"),
        Some(Input::Event(_)) => return Err(status::unsupported("input.event")),
        None => faults.add("input", "is required: give input.text or input.json"),
    };
    let expected_seq = request.expected_seq.map(TurnSeq::new);
    let trace = trace(metadata);
    let valid = (|| {
        let (key, request_id, flow, subject, (input, text), busy) = (key?, request_id?, flow?, subject?, input?, busy?);
        Some(ValidTurn { key, request_id, flow, subject, input, text, expected_seq, busy, trace })
    })();
    faults.finish(valid)
}

#[cfg(test)]
mod tests {
    use tonic::metadata::MetadataValue;
    use tonic_types::StatusExt as _;

    use super::*;

    fn request() -> v1::SubmitTurnRequest {
        v1::SubmitTurnRequest {
            key: Some(v1::ConversationKey { tenant: "acme".into(), conversation: "c-1".into() }),
            request_id: "r-1".into(),
            input: Some(v1::TurnInput { input: Some(v1::turn_input::Input::Text("hi\n\tthere".into())) }),
            ..v1::SubmitTurnRequest::default()
        }
    }

    fn faults(change: impl FnOnce(&mut v1::SubmitTurnRequest, &mut MetadataMap)) -> Vec<String> {
        let (mut request, mut metadata) = (request(), MetadataMap::new());
        change(&mut request, &mut metadata);
        match turn(request, &metadata) {
            Ok(_) => Vec::new(),
            Err(status) => {
                let details = status.get_error_details();
                details.bad_request().unwrap().field_violations.iter().map(|v| v.field.clone()).collect()
            }
        }
    }

    fn text(text: impl Into<String>) -> Option<v1::TurnInput> {
        Some(v1::TurnInput { input: Some(v1::turn_input::Input::Text(text.into())) })
    }

    #[test]
    fn each_bad_field_is_named() {
        let none: [&str; 0] = [];
        assert_eq!(faults(|_, _| {}), none);
        assert_eq!(faults(|r, _| r.key = None), ["key"]);
        assert_eq!(faults(|r, _| r.request_id.clear()), ["request_id"]);
        assert_eq!(faults(|r, _| r.request_id = "timer/nudge/1".into()), ["request_id"]);
        assert_eq!(faults(|r, _| r.request_id = "timer".into()), none);
        assert_eq!(faults(|r, _| r.input = None), ["input"]);
        let timer = Some(v1::TurnInput { input: Some(v1::turn_input::Input::Timer("nudge".into())) });
        assert_eq!(faults(|r, _| r.input.clone_from(&timer)), ["input.timer"]);
        assert_eq!(faults(|r, _| r.input = text("")), ["input.text"]);
        assert_eq!(faults(|r, _| r.input = text("a\u{7}")), ["input.text"]);
        assert_eq!(faults(|r, _| r.input = text("a\u{85}")), ["input.text"]);
        assert_eq!(faults(|r, _| r.input = text("a".repeat(INPUT_BYTES_MAX))), none);
        assert_eq!(faults(|r, _| r.input = text("a".repeat(INPUT_BYTES_MAX + 1))), ["input.text"]);
        assert_eq!(faults(|r, _| r.flow = "../x".into()), ["flow"]);
        assert_eq!(faults(|r, _| r.busy_policy = 99), ["busy_policy"]);
        let tenant = |tenant: String| faults(|r, _| r.key.as_mut().unwrap().tenant = tenant);
        assert_eq!(tenant("../x".into()), ["key.tenant"]);
        assert_eq!(tenant("a".repeat(129)), ["key.tenant"]);
    }

    #[test]
    fn what_is_wrong_with_json_is_told_by_its_path() {
        let json = |source: String| {
            faults(|r, _| r.input = Some(v1::TurnInput { input: Some(v1::turn_input::Input::Json(source)) }))
        };
        let padded = |bytes: usize| format!("{{\"text\":\"{}\"}}", "a".repeat(bytes - 11));
        assert_eq!(json(padded(INPUT_BYTES_MAX)), [""; 0]);
        assert_eq!(json(padded(INPUT_BYTES_MAX + 1)), ["input.json"]);
        // Short as it was sent, but not as it would be kept.
        assert_eq!(json(format!("{{\"slots\":{{\"n\":[{}1e9]}}}}", "1e9,".repeat(4000))), ["input.json"]);
        assert_eq!(json(String::new()), ["input.json"]);
        assert_eq!(json(format!("{}{}", "[".repeat(20), "]".repeat(20))), ["input.json"]);
        let all = r#"{"text": 1, "intent": 1, "action": 1, "confirm": 1, "slots": 1, "more": 1}"#;
        let paths = ["action", "confirm", "intent", "slots", "text"].map(|member| format!("input.json.{member}"));
        let mut found = json(all.to_owned());
        found.sort();
        assert_eq!(found, [&["input.json".to_owned()], &paths[..]].concat());
    }

    #[test]
    fn json_goes_on_in_its_canonical_form() {
        let input = Some(v1::TurnInput { input: Some(v1::turn_input::Input::Json("{ \"text\" :\r\n\"hi\" }".into())) });
        let valid = turn(v1::SubmitTurnRequest { input, ..request() }, &MetadataMap::new()).unwrap();
        assert_eq!((valid.input, valid.text.as_str()), (InputKind::Json, "{\"text\":\"hi\"}"));
    }

    #[test]
    fn known_revisions_are_digits_and_not_too_many() {
        let named = |revisions: &[String]| Faults::default().revisions(revisions).map(|known| known.len());
        assert_eq!(named(&[]), Some(0));
        assert_eq!(named(&["0f".repeat(32), "0f".repeat(32)]), Some(1));
        for bad in ["0f".repeat(31), "0F".repeat(32), "0g".repeat(32)] {
            assert_eq!(named(&[bad]), None);
        }
        assert_eq!(named(&vec!["0f".repeat(32); KNOWN_REVISIONS_MAX + 1]), None);
    }

    #[test]
    fn names_and_numbers_are_bounded() {
        let named = |check: fn(&mut Faults) -> bool| {
            let mut faults = Faults::default();
            let passed = check(&mut faults);
            assert_eq!(passed, faults.0.is_empty());
            faults.0.first().map(|invalid| invalid.field)
        };
        assert_eq!(named(|faults| faults.actor(" ".into()).is_some()), Some("actor"));
        assert_eq!(named(|faults| faults.actor("a".repeat(129)).is_some()), Some("actor"));
        assert_eq!(named(|faults| faults.subject("").is_some()), None);
        assert_eq!(named(|faults| faults.subject(&"s".repeat(128)).is_some()), None);
        assert_eq!(named(|faults| faults.subject(&"s".repeat(129)).is_some()), Some("subject"));
        assert_eq!(named(|faults| faults.subject("a/b").is_some()), Some("subject"));
        assert_eq!(named(|faults| faults.uid("").is_some()), None);
        assert_eq!(named(|faults| faults.uid(&"0f".repeat(16)).is_some()), None);
        assert_eq!(named(|faults| faults.uid(&"0F".repeat(16)).is_some()), Some("uid"));
        assert_eq!(named(|faults| faults.uid("0f").is_some()), Some("uid"));
        assert_eq!(named(|faults| faults.rating(2).is_some()), Some("rating"));
        assert_eq!(named(|faults| faults.comment("c".repeat(2049)).is_some()), Some("comment"));
        assert_eq!(named(|faults| faults.page_number("x", 0).is_some()), Some("page_token"));
        assert_eq!(named(|faults| faults.flow_name("").is_some()), Some("flow"));
    }

    #[test]
    fn metadata_must_agree_with_the_message() {
        let metadata = |value: &'static str| {
            faults(|_, m| drop(m.insert(CONVERSATION_KEY_METADATA, MetadataValue::from_static(value))))
        };
        assert!(metadata("acme/c-1").is_empty());
        assert_eq!(metadata("acme/c-2"), ["metadata:x-conversation-key"]);
    }

    #[test]
    fn all_faults_are_told_at_once() {
        let found = faults(|r, _| {
            r.request_id = "a b".into();
            r.key.as_mut().unwrap().conversation = "a/b".into();
            r.input = text("");
        });
        assert_eq!(found, ["key.conversation", "request_id", "input.text"]);
    }
}
