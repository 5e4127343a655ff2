//! A body that tells whether the client has begun to send.

use std::{
    convert::Infallible,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use reqwest::Body;

/// A body of known length. The client asks for its data, or whether there is any, only once it has a connection and
/// writes the request to it: until then nothing can have reached the source. Were it ever to ask earlier, the call
/// would be said to have been sent when it was not, never the other way round.
pub(super) struct TrackedBody {
    data: Option<Bytes>,
    sent: Arc<AtomicBool>,
}

impl TrackedBody {
    /// A body of this text; none for a request that has no body, not even an empty one.
    pub(super) fn new(text: Option<String>, sent: Arc<AtomicBool>) -> Self {
        Self { data: text.map(Bytes::from), sent }
    }
}

impl http_body::Body for TrackedBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.sent.store(true, Ordering::Release);
        let data = self.data.take().filter(|data| !data.is_empty());
        Poll::Ready(data.map(|data| Ok(Frame::data(data))))
    }

    fn is_end_stream(&self) -> bool {
        self.sent.store(true, Ordering::Release);
        self.data.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.data.as_ref().map_or(0, |data| u64::try_from(data.len()).unwrap_or(u64::MAX)))
    }
}

impl From<TrackedBody> for Body {
    fn from(body: TrackedBody) -> Self {
        Self::wrap(body)
    }
}
