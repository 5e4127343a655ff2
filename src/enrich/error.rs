//! How a call ends when it does not end well.

use std::time::Duration;

use crate::address::AddressKind;

/// Whether a call that failed may have changed something in the world.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Happened {
    /// Nothing happened: it was never sent, or it was answered with a no.
    No,
    /// Nobody knows: it was sent, and no answer that can be believed came back.
    Unknown,
}

/// Why a call has no answer. No variant carries arguments, answers, secrets or URLs.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The source has no such tool, or the settings do not allow it.
    #[error("the source has no such tool, or it is not allowed")]
    NoSuchTool,
    /// The arguments cannot be sent; nothing was.
    #[error("the arguments cannot be sent: {0}")]
    Arguments(ArgumentFault),
    /// The destination is not allowed; nothing was sent.
    #[error("the destination is denied: {0}")]
    Denied(Denied),
    /// The source cannot be reached; nothing was sent.
    #[error("the source cannot be reached: {0}")]
    Unreachable(UnreachableKind),
    /// The deadline passed.
    #[error("the deadline passed {}", if *sent { "after the request was sent" } else { "before the request was sent" })]
    TimedOut {
        /// Whether the request may have left by then.
        sent: bool,
    },
    /// The connection or session broke after the request was sent.
    #[error("the connection broke after the request was sent")]
    Interrupted,
    /// The source said no.
    #[error("the source refused the request{}", shown(*code))]
    Refused {
        /// The HTTP status, or the JSON-RPC code; none for a tool that says that it failed.
        code: Option<i32>,
    },
    /// The source cannot take the request now, and did not.
    #[error("the source is busy{}", shown(*code))]
    Busy {
        /// The HTTP status.
        code: Option<i32>,
        /// How long it asks to be left alone.
        retry_after: Option<Duration>,
    },
    /// The source failed in the middle.
    #[error("the source failed{}", shown(*code))]
    Failed {
        /// The HTTP status, or the JSON-RPC code.
        code: Option<i32>,
        /// How long it asks to be left alone.
        retry_after: Option<Duration>,
    },
    /// The source sent the request elsewhere, which is never followed.
    #[error("the source answered with a redirect, HTTP {status}")]
    Redirected {
        /// The HTTP status.
        status: u16,
    },
    /// The answer cannot be read.
    #[error("the answer cannot be read: {0}")]
    Malformed(MalformedKind),
    /// The answer is larger than allowed.
    #[error("the answer has more than {bytes_max} bytes")]
    TooLarge {
        /// The bound.
        bytes_max: usize,
    },
}

fn shown(code: Option<i32>) -> String {
    code.map(|code| format!(", code {code}")).unwrap_or_default()
}

impl Error {
    /// Whether anything may have happened in the world.
    pub const fn happened(&self) -> Happened {
        match self {
            Self::NoSuchTool
            | Self::Arguments(_)
            | Self::Denied(_)
            | Self::Unreachable(_)
            | Self::TimedOut { sent: false }
            | Self::Refused { .. }
            | Self::Busy { .. }
            // These two say that the request is to be made elsewhere, unchanged: here it was not carried out. The
            // others may follow what was done.
            | Self::Redirected { status: 307 | 308 } => Happened::No,
            Self::TimedOut { sent: true }
            | Self::Interrupted
            | Self::Failed { .. }
            | Self::Redirected { .. }
            | Self::Malformed(_)
            | Self::TooLarge { .. } => Happened::Unknown,
        }
    }

    /// Whether the same call might end better a little later. Whether it may be made again is another question:
    /// [`Self::happened`] and the flow's declarations answer that.
    pub const fn retryable(&self) -> bool {
        match self {
            Self::Unreachable(_)
            | Self::TimedOut { .. }
            | Self::Interrupted
            | Self::Busy { .. }
            | Self::Failed { .. } => true,
            Self::NoSuchTool
            | Self::Arguments(_)
            | Self::Denied(_)
            | Self::Refused { .. }
            | Self::Redirected { .. }
            | Self::Malformed(_)
            | Self::TooLarge { .. } => false,
        }
    }

    /// The error's name for logs and metrics.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::NoSuchTool => "no_such_tool",
            Self::Arguments(_) => "arguments",
            Self::Denied(_) => "denied",
            Self::Unreachable(_) => "unreachable",
            Self::TimedOut { .. } => "timed_out",
            Self::Interrupted => "interrupted",
            Self::Refused { .. } => "refused",
            Self::Busy { .. } => "busy",
            Self::Failed { .. } => "failed",
            Self::Redirected { .. } => "redirected",
            Self::Malformed(_) => "malformed",
            Self::TooLarge { .. } => "too_large",
        }
    }

    /// How long the source asks to be left alone, at most a day.
    pub const fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Busy { retry_after, .. } | Self::Failed { retry_after, .. } => *retry_after,
            _ => None,
        }
    }
}

/// What is wrong with arguments. Names come from the settings or the source's schema, never from users.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ArgumentFault {
    /// They are no object.
    #[error("they are no object")]
    NotAnObject,
    /// One that the URL needs is not given.
    #[error("{0:?} is missing")]
    Missing(String),
    /// One that the URL needs is no text, number or boolean, is empty, or would change the path's shape.
    #[error("{0:?} cannot stand in a URL")]
    NotForUrl(String),
    /// What they make is longer than allowed.
    #[error("they make more than {0} bytes")]
    TooLong(usize),
    /// A number would be changed on the way.
    #[error("a number in them has too many digits to be carried exactly")]
    Inexact,
    /// They do not fit the tool's schema.
    #[error("they do not fit the tool's schema: {keyword} does not hold")]
    Misfit {
        /// The keyword of the schema.
        keyword: String,
    },
}

/// Why a destination is denied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// Host and port are not on the list.
    #[error("host and port are not on the list of those allowed")]
    Unlisted,
    /// An address that must not be reached.
    #[error("it leads to a {0} address")]
    Address(AddressKind),
}

/// Why a source cannot be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnreachableKind {
    /// The name has no address.
    #[error("its name was not resolved")]
    Name,
    /// No connection came about, or the request could not be handed to it.
    #[error("no connection came about")]
    Connect,
    /// The program of a server could not be started.
    #[error("its program could not be started")]
    Spawn,
    /// The server could not be agreed with: it ended, or spoke something else.
    #[error("no session came about")]
    Handshake,
    /// The session has ended, or has not begun.
    #[error("there is no session")]
    NoSession,
}

/// What cannot be read in an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MalformedKind {
    /// Its content type is not one of those allowed.
    #[error("its content type is not allowed")]
    ContentType,
    /// It is no UTF-8.
    #[error("it is no UTF-8")]
    Utf8,
    /// It is no JSON that can be held exactly.
    #[error("it is no JSON that can be held exactly")]
    Json,
    /// It nests too deep or has too many values.
    #[error("it nests too deep or has too many values")]
    Shape,
    /// It is no answer in terms of the protocol.
    #[error("it is no answer in terms of the protocol")]
    Protocol,
}

/// What is wrong with the settings of a source.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {message}")]
pub struct SettingsError {
    /// The field.
    pub field: &'static str,
    /// What is wrong, without the value of a secret.
    pub message: String,
}

impl SettingsError {
    pub(crate) fn new(field: &'static str, message: impl Into<String>) -> Self {
        Self { field, message: message.into() }
    }
}
