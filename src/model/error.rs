//! Why an attempt brought no answer. Nothing here carries what was said, a key or an address.

use std::{io, time::Duration};

/// What is wrong with a response that cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It is no HTTP.
    Http,
    /// It is of another content type than was asked for.
    ContentType,
    /// It is not UTF-8.
    NotUtf8,
    /// It is no JSON, or not of the shape that the interface describes.
    Shape,
    /// It ended before the answer was complete.
    Truncated,
    /// A tool is asked for with arguments that are no JSON object, or with too many calls at once.
    ToolCall,
}

/// Why a provider said no.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It does not know the key.
    Unauthenticated,
    /// The key may not do this.
    Forbidden,
    /// There is no such model or path.
    NotFound,
    /// The prompt is longer than the model can read.
    TooLong,
    /// The prompt goes against its rules.
    Filtered,
    /// The request is wrong in another way.
    Invalid,
    /// Too many requests or tokens at the moment.
    RateLimited,
    /// What was paid for is used up.
    QuotaExhausted,
    /// Something failed on its side.
    Failed,
    /// An answer that does not belong here, such as a redirect.
    Unexpected,
}

impl Refusal {
    /// The class's name for logs and metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unauthenticated => "unauthenticated",
            Self::Forbidden => "forbidden",
            Self::NotFound => "not_found",
            Self::TooLong => "too_long",
            Self::Filtered => "filtered",
            Self::Invalid => "invalid",
            Self::RateLimited => "rate_limited",
            Self::QuotaExhausted => "quota_exhausted",
            Self::Failed => "failed",
            Self::Unexpected => "unexpected",
        }
    }

    /// Whether the same request may be answered a little later.
    const fn passes(self) -> bool {
        matches!(self, Self::RateLimited | Self::Failed)
    }
}

/// Why an attempt brought no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The provider's name could not be resolved.
    #[error("the provider's name cannot be resolved")]
    Dns,
    /// There was no connection.
    #[error("no connection to the provider: {0}")]
    Connect(io::ErrorKind),
    /// The connection could not be made safe: the certificate is not trusted, or it is no TLS.
    #[error("the provider's TLS cannot be trusted or understood")]
    Tls,
    /// The attempt's deadline passed.
    #[error("the deadline passed")]
    TimedOut,
    /// The answer did not begin in time.
    #[error("the first token did not come in time")]
    FirstTokenLate,
    /// The answer began, then stood still.
    #[error("the answer stood still")]
    Stalled,
    /// The provider said no.
    #[error("the provider refused with status {code}: {}", class.name())]
    Status {
        /// The HTTP status; 200 when the refusal came in the stream of an answer that had begun.
        code: u16,
        /// Why.
        class: Refusal,
        /// When it may be asked again.
        retry_after: Option<Duration>,
    },
    /// The provider has more to do than it can.
    #[error("the provider is overloaded")]
    Overloaded {
        /// When it may be asked again.
        retry_after: Option<Duration>,
    },
    /// The response cannot be read.
    #[error("the response cannot be read: {0:?}")]
    Malformed(Fault),
    /// The answer does not fit the schema that was asked for; see [`Answer::fitting`](crate::Answer::fitting).
    #[error("the answer does not fit its schema at {at}: {rule}")]
    WrongSchema {
        /// The place of the first fault, as a path from the root.
        at: String,
        /// The keyword that does not hold.
        rule: &'static str,
    },
    /// The response is larger than the limit.
    #[error("the response has more than {bytes_max} bytes")]
    TooLarge {
        /// The limit.
        bytes_max: usize,
    },
    /// The connection ended while the response was awaited or read.
    #[error("the connection was lost")]
    Reset,
    /// The request itself cannot be put to this adapter: a schema in it is no JSON.
    #[error("the request cannot be put to this model")]
    Unsendable,
    /// No rule of the flow answers this prompt.
    #[error("nothing is scripted for this prompt")]
    NotScripted,
}

impl Error {
    /// Whether the same request may be answered when it is sent again.
    pub const fn retryable(&self) -> bool {
        match self {
            Self::Dns
            | Self::Connect(_)
            | Self::TimedOut
            | Self::FirstTokenLate
            | Self::Stalled
            | Self::Overloaded { .. }
            | Self::Malformed(_)
            | Self::Reset => true,
            Self::Status { class, .. } => class.passes(),
            Self::Tls | Self::WrongSchema { .. } | Self::TooLarge { .. } | Self::Unsendable | Self::NotScripted => {
                false
            }
        }
    }

    /// When the provider says that it may be asked again.
    pub const fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Status { retry_after, .. } | Self::Overloaded { retry_after } => *retry_after,
            _ => None,
        }
    }

    /// The error's name for logs and metrics.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Dns => "dns",
            Self::Connect(_) => "connect",
            Self::Tls => "tls",
            Self::TimedOut => "timed_out",
            Self::FirstTokenLate => "first_token_late",
            Self::Stalled => "stalled",
            Self::Status { class, .. } => class.name(),
            Self::Overloaded { .. } => "overloaded",
            Self::Malformed(_) => "malformed",
            Self::WrongSchema { .. } => "wrong_schema",
            Self::TooLarge { .. } => "too_large",
            Self::Reset => "reset",
            Self::Unsendable => "unsendable",
            Self::NotScripted => "not_scripted",
        }
    }
}
