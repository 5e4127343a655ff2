//! What a provider's refusal means. Its own codes are read before the status: they say more.

use std::time::Duration;

use reqwest::{StatusCode, header::HeaderMap};
use serde_json::Value;

use crate::{
    error::{Error, Refusal},
    retry_after,
};

/// Longest body of a refusal that is looked into, in bytes.
pub(crate) const BODY_BYTES_MAX: usize = 16 << 10;

/// The refusal that a status, its headers and its body make. Nothing of the body but its codes is used.
pub(crate) fn of_response(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Error {
    let retry_after = retry_after::of(headers);
    let body: Option<Value> = serde_json::from_slice(body).ok();
    let meaning = body.as_ref().and_then(|body| meaning(body.get("error")?));
    error(status, meaning.unwrap_or_else(|| of_status(status)), retry_after)
}

/// The refusal that came in the stream of an answer that had begun.
pub(crate) fn in_stream(body: &Value) -> Error {
    error(StatusCode::OK, meaning(body).unwrap_or(Meaning::Refused(Refusal::Failed)), None)
}

fn error(status: StatusCode, meaning: Meaning, retry_after: Option<Duration>) -> Error {
    match meaning {
        Meaning::Overloaded => Error::Overloaded { retry_after },
        Meaning::Refused(class) => Error::Status { code: status.as_u16(), class, retry_after },
    }
}

#[derive(Clone, Copy)]
enum Meaning {
    Overloaded,
    Refused(Refusal),
}

/// What the codes of an error object say. OpenAI's `code` is narrower than its `type`; others have but one.
fn meaning(error: &Value) -> Option<Meaning> {
    let said = |key: &str| error.get(key).and_then(Value::as_str).and_then(of_code);
    said("code").or_else(|| said("type"))
}

fn of_code(code: &str) -> Option<Meaning> {
    Some(Meaning::Refused(match code {
        "overloaded_error" | "unavailable_error" | "overloaded" => return Some(Meaning::Overloaded),
        "rate_limit_error" | "rate_limit_exceeded" => Refusal::RateLimited,
        "insufficient_quota" | "billing_error" => Refusal::QuotaExhausted,
        "authentication_error" | "invalid_api_key" => Refusal::Unauthenticated,
        "permission_error" => Refusal::Forbidden,
        "not_found_error" | "model_not_found" => Refusal::NotFound,
        "context_length_exceeded" | "exceed_context_size_error" | "request_too_large" => Refusal::TooLong,
        "content_filter" | "content_policy_violation" => Refusal::Filtered,
        "invalid_request_error" => Refusal::Invalid,
        "api_error" | "server_error" | "timeout_error" => Refusal::Failed,
        _ => return None,
    }))
}

fn of_status(status: StatusCode) -> Meaning {
    Meaning::Refused(match status.as_u16() {
        // 529 is Anthropic's own: overloaded.
        503 | 529 => return Meaning::Overloaded,
        401 => Refusal::Unauthenticated,
        402 => Refusal::QuotaExhausted,
        403 => Refusal::Forbidden,
        404 => Refusal::NotFound,
        413 => Refusal::TooLong,
        429 => Refusal::RateLimited,
        408 | 425 | 500..=599 => Refusal::Failed,
        400..=499 => Refusal::Invalid,
        _ => Refusal::Unexpected,
    })
}
