//! What errors of the protocol's library mean. None of what servers write in them is passed on.

use std::io;

use rmcp::{
    ServiceError,
    model::ErrorCode,
    transport::{DynamicTransportError, streamable_http_client::StreamableHttpError},
};

use crate::{
    error::{Error, MalformedKind, UnreachableKind},
    http::{refusal_of, seconds_of},
    outbound::{cause, error_of},
};

type HttpError = StreamableHttpError<reqwest::Error>;

/// What an error of a request means.
pub(super) fn of(error: &ServiceError) -> Error {
    match error {
        ServiceError::McpError(error) => match error.code {
            ErrorCode::PARSE_ERROR
            | ErrorCode::INVALID_REQUEST
            | ErrorCode::METHOD_NOT_FOUND
            | ErrorCode::INVALID_PARAMS => Error::Refused { code: Some(error.code.0) },
            code => Error::Failed { code: Some(code.0), retry_after: None },
        },
        ServiceError::TransportSend(error) => of_transport(error),
        ServiceError::TransportClosed | ServiceError::Cancelled { .. } => Error::Interrupted,
        ServiceError::Timeout { .. } => Error::TimedOut { sent: true },
        _ => Error::Malformed(MalformedKind::Protocol),
    }
}

/// What an error of sending means.
pub(super) fn of_transport(error: &DynamicTransportError) -> Error {
    let error = error.error.as_ref();
    match cause::<HttpError>(error) {
        Some(error) => of_http(error),
        // The message was not written to its end, and one without its end is none.
        None if cause::<io::Error>(error).is_some() => Error::Unreachable(UnreachableKind::NoSession),
        None => Error::Interrupted,
    }
}

/// Whether the server does not know the session any more.
pub(super) fn session_is_forgotten(error: &ServiceError) -> bool {
    let ServiceError::TransportSend(error) = error else { return false };
    matches!(cause::<HttpError>(error.error.as_ref()), Some(StreamableHttpError::SessionExpired))
}

fn of_http(error: &HttpError) -> Error {
    match error {
        StreamableHttpError::Client(error) => error_of(error, !error.is_connect()),
        StreamableHttpError::HttpStatus(error) => {
            refusal_of(error.status, error.retry_after.as_deref().and_then(seconds_of))
        }
        StreamableHttpError::UnexpectedServerResponse(text) => match status_in(text) {
            Some(status) => refusal_of(status, None),
            None => Error::Malformed(MalformedKind::Protocol),
        },
        StreamableHttpError::AuthRequired(_) => Error::Refused { code: Some(401) },
        StreamableHttpError::InsufficientScope(_) => Error::Refused { code: Some(403) },
        StreamableHttpError::SessionExpired => Error::Unreachable(UnreachableKind::NoSession),
        StreamableHttpError::ResponseBodyTooLarge { max_size } => Error::TooLarge { bytes_max: *max_size },
        StreamableHttpError::UnexpectedContentType(_) => Error::Malformed(MalformedKind::ContentType),
        StreamableHttpError::Deserialize(_) => Error::Malformed(MalformedKind::Json),
        StreamableHttpError::ServerDoesNotSupportSse | StreamableHttpError::MissingSessionIdInResponse => {
            Error::Malformed(MalformedKind::Protocol)
        }
        _ => Error::Interrupted,
    }
}

/// The status in a text that begins with `HTTP 400`: the library keeps it nowhere else.
fn status_in(text: &str) -> Option<u16> {
    let digits = text.strip_prefix("HTTP ")?.get(..3)?;
    digits.parse().ok().filter(|status| (100..600).contains(status))
}
