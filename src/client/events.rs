//! A stream of a server's events.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use futures::Stream;
use tonic::Streaming;

use crate::ClientError;

/// Events as they arrive. Dropping it ends the stream; a turn that began goes on.
#[derive(Debug)]
pub struct Events<T>(Streaming<T>);

impl<T> Events<T> {
    pub(crate) fn new(streaming: Streaming<T>) -> Self {
        Self(streaming)
    }

    /// Waits for the next event; `None` at the end. Cancel safe.
    ///
    /// # Errors
    /// [`ClientError`] when the stream was cut off; it is over then.
    pub async fn message(&mut self) -> Result<Option<T>, ClientError> {
        Ok(self.0.message().await?)
    }
}

impl<T> Stream for Events<T> {
    type Item = Result<T, ClientError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let next = ready!(Pin::new(&mut self.0).poll_next(context));
        Poll::Ready(next.map(|event| event.map_err(ClientError::from)))
    }
}
