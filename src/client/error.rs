//! What a server's refusal says, decoded.

use std::{collections::HashMap, time::Duration};

use colloquy_proto::v1::ErrorReason;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

/// The domain of the reasons that this contract names.
const DOMAIN: &str = "colloquy.v1";

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
#[error("{:?}: {}", .0.code, .0.message)]
pub struct ClientError(Box<Refusal>);

#[derive(Clone, Debug)]
struct Refusal {
    code: Code,
    message: String,
    domain: String,
    reason: String,
    metadata: HashMap<String, String>,
    fields: Vec<(String, String)>,
    retry_after: Option<Duration>,
}

impl ClientError {
    /// The gRPC code.
    pub fn code(&self) -> Code {
        self.0.code
    }

    /// What to tell a developer.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// The name of the reason, for example `SEQ_MISMATCH`; empty when the error came from the way.
    pub fn reason(&self) -> &str {
        &self.0.reason
    }

    /// The reason, when it is one that this client's contract names.
    pub fn error_reason(&self) -> Option<ErrorReason> {
        if self.0.domain != DOMAIN {
            return None;
        }
        ErrorReason::from_str_name(&format!("ERROR_REASON_{}", self.0.reason))
    }

    /// What else the reason says, for example the current `turn_seq`.
    pub fn metadata(&self, key: &str) -> Option<&str> {
        self.0.metadata.get(key).map(String::as_str)
    }

    /// The fields that are not as they must be, or what keeps the call from being done, and what is wrong with each.
    pub fn fields(&self) -> &[(String, String)] {
        &self.0.fields
    }

    /// When the server wants to be asked again.
    pub fn retry_after(&self) -> Option<Duration> {
        self.0.retry_after
    }

    /// Whether sending the same request id again may help: the server was not there, was restarted, or
    /// is overloaded and says when to come back.
    pub fn is_retryable(&self) -> bool {
        match self.0.code {
            Code::Unavailable => true,
            Code::ResourceExhausted => self.0.retry_after.is_some(),
            _ => false,
        }
    }
}

impl From<Status> for ClientError {
    fn from(status: Status) -> Self {
        let details = status.get_error_details();
        let (domain, reason, metadata) = details
            .error_info()
            .map(|info| (info.domain.clone(), info.reason.clone(), info.metadata.clone()))
            .unwrap_or_default();
        let fields = details.bad_request().map(|bad| {
            bad.field_violations.iter().map(|violation| (violation.field.clone(), violation.description.clone()))
        });
        let failed = details.precondition_failure().map(|failure| {
            failure.violations.iter().map(|violation| (violation.subject.clone(), violation.description.clone()))
        });
        Self(Box::new(Refusal {
            code: status.code(),
            message: status.message().to_owned(),
            domain,
            reason,
            metadata,
            fields: fields.into_iter().flatten().chain(failed.into_iter().flatten()).collect(),
            retry_after: details.retry_info().and_then(|info| info.retry_delay),
        }))
    }
}
