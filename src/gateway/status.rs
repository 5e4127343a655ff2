//! The one place where an error becomes a gRPC status.
//!
//! Every status carries the rich error model: an `ErrorInfo` with the reason and machine-readable
//! metadata, and where they apply a `BadRequest`, a `RetryInfo` or a `ResourceInfo`. Messages name the
//! field, the limit and what to do; nothing internal and no user text is in them.

use std::{collections::HashMap, time::Duration};

use colloquy_actors::{DeadlineOutcome, Error, FlowFault, LimitKind, RateOf, ScenarioMismatch, TrafficPause};
use colloquy_proto::v1::ErrorReason;
use colloquy_types::Head;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

/// The domain of every `ErrorInfo`.
pub(crate) const DOMAIN: &str = "colloquy.v1";
/// When to try again after an actor was restarted, or while a store is being replaced.
const RETRY_SOON: Duration = Duration::from_millis(100);
/// When to try again after the disk was found full, or a process is ending.
const RETRY_LATER: Duration = Duration::from_secs(1);
/// Faults and failures of a flow that one status tells.
const FAULTS_MAX: usize = 20;
/// Characters of one of them.
const DETAIL_CHARS_MAX: usize = 120;

/// A field of a request that is not as it must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct InvalidField {
    /// The field's path in the request, or `metadata:<name>`.
    pub(crate) field: &'static str,
    /// What is wrong, the bound, and what to send instead.
    pub(crate) problem: String,
}

impl InvalidField {
    pub(crate) fn new(field: &'static str, problem: impl Into<String>) -> Self {
        Self { field, problem: problem.into() }
    }
}

type Metadata = HashMap<String, String>;

fn head_metadata(head: &Head) -> Metadata {
    Metadata::from([
        ("epoch".to_owned(), head.epoch.to_string()),
        ("turn_seq".to_owned(), head.turn_seq.to_string()),
        ("hash".to_owned(), head.hash.to_string()),
    ])
}

/// The reason's name as it is sent.
pub(crate) fn reason_name(reason: ErrorReason) -> &'static str {
    reason.as_str_name().trim_start_matches("ERROR_REASON_")
}

fn info(reason: ErrorReason, metadata: Metadata) -> ErrorDetails {
    ErrorDetails::with_error_info(reason_name(reason), DOMAIN, metadata)
}

/// INVALID_ARGUMENT naming every field that is wrong.
pub(crate) fn invalid(fields: &[InvalidField]) -> Status {
    let metadata = fields.first().map(|first| ("field".to_owned(), first.field.to_owned())).into_iter().collect();
    let mut details = info(ErrorReason::InvalidField, metadata);
    for invalid in fields {
        details.add_bad_request_violation(invalid.field, &invalid.problem);
    }
    let words: Vec<_> = fields.iter().map(|invalid| format!("{}: {}", invalid.field, invalid.problem)).collect();
    Status::with_error_details(Code::InvalidArgument, words.join("; "), details)
}

/// Something the contract names but this build does not do.
pub(crate) fn unsupported(what: &str) -> Status {
    let details = info(ErrorReason::Unsupported, Metadata::new());
    Status::with_error_details(Code::Unimplemented, format!("{what} is not supported by this server"), details)
}

/// An answer that does not fit a message.
pub(crate) fn answer_too_large(bytes: usize, bound: usize) -> Status {
    let metadata = Metadata::from([("bytes".to_owned(), bytes.to_string()), ("bound".to_owned(), bound.to_string())]);
    let details = info(ErrorReason::AnswerTooLarge, metadata);
    let message = format!("the answer has {bytes} bytes, and a message at most {bound}: ask for it in another form");
    Status::with_error_details(Code::FailedPrecondition, message, details)
}

/// What one error becomes: its code, its reason, and what else a client can use.
struct Row {
    code: Code,
    reason: ErrorReason,
    metadata: Metadata,
    retry_after: Option<Duration>,
    resource: Option<(&'static str, String)>,
}

impl Row {
    fn new(code: Code, reason: ErrorReason) -> Self {
        Self { code, reason, metadata: Metadata::new(), retry_after: None, resource: None }
    }

    fn with(mut self, key: &str, value: impl ToString) -> Self {
        self.metadata.insert(key.to_owned(), value.to_string());
        self
    }

    fn head(mut self, head: &Head) -> Self {
        self.metadata.extend(head_metadata(head));
        self
    }

    fn retry(mut self, after: Duration) -> Self {
        self.retry_after = Some(after);
        self
    }

    fn resource(mut self, kind: &'static str, name: impl Into<String>) -> Self {
        self.resource = Some((kind, name.into()));
        self
    }
}

/// The table. `key` names the conversation for `ResourceInfo`.
fn row(error: &Error, key: &str) -> Row {
    match error {
        Error::ConversationAbsent => {
            Row::new(Code::NotFound, ErrorReason::ConversationNotFound).resource("conversation", key)
        }
        Error::ConversationErased => {
            Row::new(Code::NotFound, ErrorReason::ConversationErased).resource("conversation", key)
        }
        Error::FlowAbsent { name } => Row::new(Code::NotFound, ErrorReason::FlowNotFound).resource("flow", name),
        Error::WrongFlow { running, .. } => {
            Row::new(Code::FailedPrecondition, ErrorReason::WrongFlow).with("flow", running)
        }
        // Who the subject is would tell a caller something about a person.
        Error::WrongSubject => Row::new(Code::FailedPrecondition, ErrorReason::WrongSubject),
        Error::RevisionUnavailable { flow, revision } => {
            Row::new(Code::FailedPrecondition, ErrorReason::RevisionUnavailable)
                .with("flow", flow)
                .with("revision", revision)
        }
        Error::RequestIdReused => Row::new(Code::AlreadyExists, ErrorReason::RequestIdReused),
        Error::SeqMismatch { head } => Row::new(Code::Aborted, ErrorReason::SeqMismatch).head(head),
        Error::Busy { head, held_by, held_for, held_at_most } => Row::new(Code::Aborted, ErrorReason::Busy)
            .head(head)
            .with("held_by", held_by.map_or_else(|| "control".to_owned(), |turn_id| turn_id.to_string()))
            .with("held_for_ms", held_for.as_millis())
            .with("held_at_most_ms", held_at_most.as_millis()),
        Error::RateLimited { of, retry_after } => {
            let of = match of {
                RateOf::Tenant => "tenant",
                RateOf::Peer => "peer",
            };
            Row::new(Code::ResourceExhausted, ErrorReason::RateLimited).with("of", of).retry(*retry_after)
        }
        Error::Cancelled => Row::new(Code::Cancelled, ErrorReason::Cancelled),
        // Only the server itself asks for turns of timers.
        Error::TimerAbsent { .. } => Row::new(Code::NotFound, ErrorReason::RequestNotFound),
        Error::Paused { since } => Row::new(Code::FailedPrecondition, ErrorReason::Paused)
            .with("of", "conversation")
            .with("since_us", since.as_micros()),
        Error::TrafficPaused(pause) => paused(pause),
        Error::ConversationExists => Row::new(Code::AlreadyExists, ErrorReason::ConversationExists),
        Error::ActorAbsent => Row::new(Code::NotFound, ErrorReason::ActorNotFound),
        Error::KillRefused { retry_after: None } => Row::new(Code::FailedPrecondition, ErrorReason::KillRefused),
        Error::KillRefused { retry_after: Some(after) } => {
            Row::new(Code::ResourceExhausted, ErrorReason::KillRefused).retry(*after)
        }
        Error::TooManyActors { total, bound } => {
            Row::new(Code::FailedPrecondition, ErrorReason::AnswerTooLarge).with("actors", total).with("bound", bound)
        }
        Error::RequestAbsent => Row::new(Code::NotFound, ErrorReason::RequestNotFound),
        Error::HistoryChanged { head } => Row::new(Code::Aborted, ErrorReason::HistoryChanged).head(head),
        Error::Overloaded { limit, bound, retry_after } => {
            let (reason, name) = match limit {
                LimitKind::Global => (ErrorReason::AdmissionFull, "global"),
                LimitKind::Tenant => (ErrorReason::AdmissionFull, "tenant"),
                LimitKind::Conversation => (ErrorReason::QueueFull, "conversation"),
                LimitKind::FlowWork => (ErrorReason::AdmissionFull, "flow_work"),
                LimitKind::Shedding => (ErrorReason::AdmissionFull, "shedding"),
                LimitKind::Bytes => (ErrorReason::AdmissionFull, "bytes"),
                LimitKind::Deadline => (ErrorReason::QueueFull, "deadline"),
                LimitKind::Activations => (ErrorReason::AdmissionFull, "activations"),
                LimitKind::Watches => (ErrorReason::AdmissionFull, "watches"),
            };
            Row::new(Code::ResourceExhausted, reason).with("limit", name).with("bound", bound).retry(*retry_after)
        }
        Error::DeadlineExceeded { outcome } => {
            let outcome = match outcome {
                DeadlineOutcome::NotApplied => "not_applied",
                DeadlineOutcome::Unknown => "unknown",
            };
            Row::new(Code::DeadlineExceeded, ErrorReason::Deadline).with("outcome", outcome)
        }
        Error::Restarted => Row::new(Code::Unavailable, ErrorReason::Restarted).retry(RETRY_SOON),
        Error::Quarantined(why) => Row::new(Code::FailedPrecondition, ErrorReason::Quarantined)
            .with("since_us", why.since.as_micros())
            .with("failures", why.failures)
            .with("window_ms", why.window.as_millis())
            .resource("conversation", key),
        Error::Draining => Row::new(Code::Unavailable, ErrorReason::Draining).retry(RETRY_LATER),
        Error::StoreUnavailable => Row::new(Code::Unavailable, ErrorReason::StoreUnavailable).retry(RETRY_LATER),
        Error::DiskFull => Row::new(Code::Unavailable, ErrorReason::DiskFull).retry(RETRY_LATER),
        Error::Corrupt { .. } => Row::new(Code::DataLoss, ErrorReason::DataCorrupt).resource("conversation", key),
        Error::SlowReader { sent } => {
            Row::new(Code::ResourceExhausted, ErrorReason::SlowReader).with("turn_seq", sent).retry(RETRY_SOON)
        }
        Error::TooLarge { .. } => Row::new(Code::FailedPrecondition, ErrorReason::RecordTooLarge),
        Error::RevisionAbsent { flow, revision } => Row::new(Code::NotFound, ErrorReason::RevisionNotFound)
            .with("flow", flow)
            .with("revision", revision)
            .resource("revision", revision),
        Error::RevisionAmbiguous { .. } => {
            Row::new(Code::InvalidArgument, ErrorReason::InvalidField).with("field", "revision")
        }
        Error::FlowUnreadable { .. } => Row::new(Code::InvalidArgument, ErrorReason::FlowUnreadable),
        Error::Unpromotable { faults, failures } => Row::new(Code::FailedPrecondition, ErrorReason::Unpromotable)
            .with("errors", faults.len())
            .with("failures", failures.len()),
        Error::PromotionConflict { promoted } => Row::new(Code::Aborted, ErrorReason::PromotionConflict)
            .with("promoted", promoted.as_deref().unwrap_or_default()),
        Error::TurnAbsent { turn_seq } => Row::new(Code::NotFound, ErrorReason::TurnNotFound)
            .with("turn_seq", turn_seq)
            .resource("turn", turn_seq.to_string()),
        Error::Internal { .. } => Row::new(Code::Internal, ErrorReason::Internal),
    }
}

fn paused(pause: &TrafficPause) -> Row {
    let row = Row::new(Code::FailedPrecondition, ErrorReason::Paused)
        .with("since_us", pause.since.as_micros())
        .with("why", pause.reason_told());
    match &pause.revision {
        None => row.with("of", "tenant"),
        Some(of) => row.with("of", "revision").with("flow", &of.flow).with("revision", of.revision),
    }
}

/// The reason that `error` is told with.
pub(crate) fn reason(error: &Error) -> &'static str {
    reason_name(row(error, "").reason)
}

/// The status that `error` becomes for the caller of conversation `key`.
pub(crate) fn status(error: &Error, key: &str) -> Status {
    let Row { code, reason, metadata, retry_after, resource } = row(error, key);
    let mut details = info(reason, metadata);
    if let Some(after) = retry_after {
        details.set_retry_info(Some(after));
    }
    if let Some((kind, name)) = resource {
        details.set_resource_info(kind, name, "", "");
    }
    add_faults(error, &mut details);
    Status::with_error_details(code, error.to_string(), details)
}

/// What is wrong with a flow, one violation each: a caller mends a flow by these, not by the message.
fn add_faults(error: &Error, details: &mut ErrorDetails) {
    match error {
        Error::RevisionAmbiguous { .. } => {
            details.add_bad_request_violation("revision", error.to_string());
        }
        Error::FlowUnreadable { faults } => {
            for fault in faults.iter().take(FAULTS_MAX) {
                details.add_bad_request_violation(place(fault), words(fault));
            }
        }
        Error::Unpromotable { faults, failures } => {
            for fault in faults.iter().take(FAULTS_MAX) {
                details.add_precondition_failure_violation("FAULT", place(fault), words(fault));
            }
            for failure in failures.iter().take(FAULTS_MAX.saturating_sub(faults.len())) {
                let told = failure.mismatch.as_ref().map_or_else(String::new, |mismatch| {
                    let ScenarioMismatch { turn, what, expected, got } = mismatch;
                    format!("turn {turn}: {what} is {got:?}, expected {expected:?}")
                });
                details.add_precondition_failure_violation("SCENARIO", cut(&failure.name), cut(&told));
            }
        }
        _ => {}
    }
}

fn place(fault: &FlowFault) -> String {
    cut(&format!("{}:{}:{}", fault.file, fault.line, fault.column))
}

fn words(fault: &FlowFault) -> String {
    cut(&format!("{}: {}; {}", fault.id, fault.message, fault.fix))
}

/// Status details travel in a header, which must stay small.
fn cut(text: &str) -> String {
    text.chars().take(DETAIL_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use colloquy_actors::{FailureCause, PausedRevision, Quarantined};
    use colloquy_types::{ConversationKey, FlowName, Revision, TenantId, Timestamp, TurnSeq};

    use super::*;

    fn quarantined() -> Error {
        Error::Quarantined(Arc::new(Quarantined {
            key: ConversationKey::from_parts("acme", "c-1").unwrap(),
            since: Timestamp::from_micros(7),
            failures: 6,
            window: RETRY_LATER,
            cause: FailureCause::Panic,
        }))
    }

    fn traffic_paused(revision: Option<PausedRevision>) -> Error {
        Error::TrafficPaused(Arc::new(TrafficPause {
            number: 2,
            tenant: TenantId::parse("acme").unwrap(),
            revision,
            since: Timestamp::from_micros(7),
            by: "ann".to_owned(),
            reason: "ä".repeat(500),
        }))
    }

    #[test]
    fn a_pause_tells_what_is_paused_since_when_and_why_in_bounds() {
        let told = |error: &Error| {
            let status = status(error, "acme/c");
            assert!(status.message().chars().count() < 300, "{}", status.message());
            status.get_error_details().error_info().unwrap().metadata.clone()
        };
        let row = |pairs: &[(&str, &str)]| -> Metadata {
            pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
        };
        let (why, hash) = ("ä".repeat(DETAIL_CHARS_MAX), Revision([6; 32]).to_string());
        let tenant = told(&traffic_paused(None));
        assert_eq!(tenant, row(&[("of", "tenant"), ("since_us", "7"), ("why", &why)]));
        let of = PausedRevision { flow: FlowName::parse("desk").unwrap(), revision: Revision([6; 32]) };
        let revision = told(&traffic_paused(Some(of)));
        let of_revision = [("of", "revision"), ("since_us", "7"), ("why", &why), ("flow", "desk"), ("revision", &hash)];
        assert_eq!(revision, row(&of_revision));
        let conversation = told(&Error::Paused { since: Timestamp::from_micros(7) });
        assert_eq!(conversation, row(&[("of", "conversation"), ("since_us", "7")]));
    }

    #[test]
    fn every_error_has_its_code_its_reason_and_a_retry_hint_where_one_helps() {
        let head = Head { turn_seq: TurnSeq::new(7), ..Head::default() };
        let overloaded = |limit| Error::Overloaded { limit, bound: 3, retry_after: RETRY_SOON };
        let table = [
            (Error::ConversationAbsent, Code::NotFound, "CONVERSATION_NOT_FOUND", false),
            (Error::ConversationErased, Code::NotFound, "CONVERSATION_ERASED", false),
            (Error::FlowAbsent { name: "f".into() }, Code::NotFound, "FLOW_NOT_FOUND", false),
            (
                Error::WrongFlow { running: "a".into(), asked: "b".into() },
                Code::FailedPrecondition,
                "WRONG_FLOW",
                false,
            ),
            (
                Error::RevisionUnavailable { flow: "a".into(), revision: "b".into() },
                Code::FailedPrecondition,
                "REVISION_UNAVAILABLE",
                false,
            ),
            (Error::WrongSubject, Code::FailedPrecondition, "WRONG_SUBJECT", false),
            (Error::RequestIdReused, Code::AlreadyExists, "REQUEST_ID_REUSED", false),
            (Error::SeqMismatch { head }, Code::Aborted, "SEQ_MISMATCH", false),
            (
                Error::Busy { head, held_by: None, held_for: RETRY_SOON, held_at_most: RETRY_SOON },
                Code::Aborted,
                "BUSY",
                false,
            ),
            (Error::Cancelled, Code::Cancelled, "CANCELLED", false),
            (
                Error::RateLimited { of: RateOf::Peer, retry_after: RETRY_SOON },
                Code::ResourceExhausted,
                "RATE_LIMITED",
                true,
            ),
            (overloaded(LimitKind::Shedding), Code::ResourceExhausted, "ADMISSION_FULL", true),
            (overloaded(LimitKind::Bytes), Code::ResourceExhausted, "ADMISSION_FULL", true),
            (overloaded(LimitKind::Deadline), Code::ResourceExhausted, "QUEUE_FULL", true),
            (Error::Paused { since: Timestamp::from_micros(1) }, Code::FailedPrecondition, "PAUSED", false),
            (Error::TimerAbsent { due_at: None }, Code::NotFound, "REQUEST_NOT_FOUND", false),
            (traffic_paused(None), Code::FailedPrecondition, "PAUSED", false),
            (Error::ConversationExists, Code::AlreadyExists, "CONVERSATION_EXISTS", false),
            (Error::ActorAbsent, Code::NotFound, "ACTOR_NOT_FOUND", false),
            (Error::KillRefused { retry_after: None }, Code::FailedPrecondition, "KILL_REFUSED", false),
            (Error::KillRefused { retry_after: Some(RETRY_SOON) }, Code::ResourceExhausted, "KILL_REFUSED", true),
            (Error::TooManyActors { total: 2, bound: 1 }, Code::FailedPrecondition, "ANSWER_TOO_LARGE", false),
            (Error::RequestAbsent, Code::NotFound, "REQUEST_NOT_FOUND", false),
            (Error::HistoryChanged { head }, Code::Aborted, "HISTORY_CHANGED", false),
            (overloaded(LimitKind::Global), Code::ResourceExhausted, "ADMISSION_FULL", true),
            (overloaded(LimitKind::Tenant), Code::ResourceExhausted, "ADMISSION_FULL", true),
            (overloaded(LimitKind::Conversation), Code::ResourceExhausted, "QUEUE_FULL", true),
            (Error::DeadlineExceeded { outcome: DeadlineOutcome::Unknown }, Code::DeadlineExceeded, "DEADLINE", false),
            (Error::Restarted, Code::Unavailable, "RESTARTED", true),
            (quarantined(), Code::FailedPrecondition, "QUARANTINED", false),
            (Error::Draining, Code::Unavailable, "DRAINING", true),
            (Error::StoreUnavailable, Code::Unavailable, "STORE_UNAVAILABLE", true),
            (Error::DiskFull, Code::Unavailable, "DISK_FULL", true),
            (Error::Corrupt { reason: "r".into() }, Code::DataLoss, "DATA_CORRUPT", false),
            (Error::SlowReader { sent: TurnSeq::new(2) }, Code::ResourceExhausted, "SLOW_READER", true),
            (Error::TooLarge { what: "w".into() }, Code::FailedPrecondition, "RECORD_TOO_LARGE", false),
            (overloaded(LimitKind::FlowWork), Code::ResourceExhausted, "ADMISSION_FULL", true),
            (overloaded(LimitKind::Activations), Code::ResourceExhausted, "ADMISSION_FULL", true),
            (overloaded(LimitKind::Watches), Code::ResourceExhausted, "ADMISSION_FULL", true),
            (
                Error::RevisionAbsent { flow: "f".into(), revision: "r".into() },
                Code::NotFound,
                "REVISION_NOT_FOUND",
                false,
            ),
            (Error::RevisionAmbiguous { digits: "0".into() }, Code::InvalidArgument, "INVALID_FIELD", false),
            (Error::FlowUnreadable { faults: Vec::new() }, Code::InvalidArgument, "FLOW_UNREADABLE", false),
            (
                Error::Unpromotable { faults: Vec::new(), failures: Vec::new() },
                Code::FailedPrecondition,
                "UNPROMOTABLE",
                false,
            ),
            (Error::PromotionConflict { promoted: None }, Code::Aborted, "PROMOTION_CONFLICT", false),
            (Error::TurnAbsent { turn_seq: TurnSeq::new(2) }, Code::NotFound, "TURN_NOT_FOUND", false),
            (Error::Internal { what: "w" }, Code::Internal, "INTERNAL", false),
        ];
        for (error, code, reason, retry) in table {
            let status = status(&error, "acme/c-1");
            let details = status.get_error_details();
            let info = details.error_info().unwrap();
            assert_eq!(status.code(), code, "{error}");
            assert_eq!(info.reason, reason, "{error}");
            assert_eq!(info.domain, DOMAIN);
            assert_eq!(details.retry_info().is_some(), retry, "{error}");
        }
    }

    #[test]
    fn a_conflict_carries_the_current_head() {
        let head = Head { turn_seq: TurnSeq::new(7), ..Head::default() };
        let status = status(&Error::SeqMismatch { head }, "acme/c-1");
        let details = status.get_error_details();
        assert_eq!(details.error_info().unwrap().metadata.get("turn_seq").map(String::as_str), Some("7"));
    }

    #[test]
    fn what_keeps_a_revision_from_promotion_is_told_in_bounds() {
        let fault = |n: usize| FlowFault {
            id: "unknown-state".into(),
            is_error: true,
            file: "flow.yaml".into(),
            line: n as u64,
            column: 1,
            message: "m".repeat(1000),
            path: Vec::new(),
            fix: "f".into(),
        };
        let error = Error::Unpromotable { faults: (1..500).map(fault).collect(), failures: Vec::new() };
        let status = status(&error, "");
        let details = status.get_error_details();
        assert_eq!(details.error_info().unwrap().metadata.get("errors").map(String::as_str), Some("499"));
        let told = &details.precondition_failure().unwrap().violations;
        assert_eq!((told.len(), told[0].r#type.as_str(), told[0].subject.as_str()), (20, "FAULT", "flow.yaml:1:1"));
        // HTTP/2 peers take 16 KiB of headers, and the details are sent as base64.
        assert!(status.details().len() < 10 << 10, "{}", status.details().len());
    }

    #[test]
    fn an_invalid_request_names_every_field() {
        let fields = [InvalidField::new("a", "must be b"), InvalidField::new("c", "must be d")];
        let status = invalid(&fields);
        let details = status.get_error_details();
        let named: Vec<_> =
            details.bad_request().unwrap().field_violations.iter().map(|violation| violation.field.clone()).collect();
        assert_eq!((status.code(), named), (Code::InvalidArgument, vec!["a".to_owned(), "c".to_owned()]));
    }
}
