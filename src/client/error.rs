//! What a server's refusal says, decoded.

use std::{collections::HashMap, time::Duration};

use tonic::{Code, Status};
use tonic_types::StatusExt as _;

/// No connection could be made.
#[derive(Debug, thiserror::Error)]
#[error("cannot connect to {address}")]
pub struct ConnectError {
    /// Where to.
    pub address: String,
    /// Why not.
    #[source]
    pub source: tonic::transport::Error,
}

/// A call that the server, or the way to it, did not answer as asked.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{code:?}: {message}")]
pub struct ClientError {
    code: Code,
    message: String,
    reason: String,
    metadata: HashMap<String, String>,
    fields: Vec<(String, String)>,
    retry_after: Option<Duration>,
}

impl ClientError {
    /// The gRPC code.
    pub fn code(&self) -> Code {
        self.code
    }

    /// What to tell a developer.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The name of the `ErrorReason`, for example `SEQ_MISMATCH`; empty when the error came from the way.
    pub fn reason(&self) -> &str {
        &self.reason
    }

    /// What else the reason says, for example the current `turn_seq`.
    pub fn metadata(&self, key: &str) -> Option<&str> {
        self.metadata.get(key).map(String::as_str)
    }

    /// The fields that are not as they must be, and what is wrong with each.
    pub fn fields(&self) -> &[(String, String)] {
        &self.fields
    }

    /// When the server wants to be asked again.
    pub fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }

    /// Whether sending the same request id again may help: the server was not there, was restarted, or
    /// is overloaded and says when to come back.
    pub fn is_retryable(&self) -> bool {
        match self.code {
            Code::Unavailable => true,
            Code::ResourceExhausted => self.retry_after.is_some(),
            _ => false,
        }
    }
}

impl From<Status> for ClientError {
    fn from(status: Status) -> Self {
        let details = status.get_error_details();
        let (reason, metadata) =
            details.error_info().map(|info| (info.reason.clone(), info.metadata.clone())).unwrap_or_default();
        let fields = details.bad_request().map(|bad| {
            bad.field_violations.iter().map(|violation| (violation.field.clone(), violation.description.clone()))
        });
        Self {
            code: status.code(),
            message: status.message().to_owned(),
            reason,
            metadata,
            fields: fields.into_iter().flatten().collect(),
            retry_after: details.retry_info().and_then(|info| info.retry_delay),
        }
    }
}
