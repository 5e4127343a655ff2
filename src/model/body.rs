//! The body of a response, read within its limits.

use futures::FutureExt as _;
use reqwest::Response;

use crate::{
    error::{Error, Fault},
    http,
    pace::Pace,
    sse::{Bounds, Decoder, Event, SseError},
};

/// A body that is being read. Dropping it before its end closes the connection.
pub(crate) struct Body {
    response: Response,
    pub(crate) pace: Pace,
    left: usize,
}

impl Body {
    /// Begins to read, unless the response says itself that it is too large.
    pub(crate) fn new(response: Response, pace: Pace) -> Result<Self, Error> {
        let left = pace.limits().bytes_max;
        let declared = response.content_length().unwrap_or_default();
        if usize::try_from(declared).is_ok_and(|declared| declared <= left) {
            Ok(Self { response, pace, left })
        } else {
            Err(Error::TooLarge { bytes_max: left })
        }
    }

    async fn chunk(&mut self) -> Result<Option<Vec<u8>>, Error> {
        let chunk = self.pace.within(self.response.chunk()).await?.map_err(|error| http::lost(&error))?;
        let Some(chunk) = chunk else { return Ok(None) };
        let Some(left) = self.left.checked_sub(chunk.len()) else { return Err(self.too_large()) };
        self.left = left;
        Ok(Some(chunk.into()))
    }

    const fn too_large(&self) -> Error {
        Error::TooLarge { bytes_max: self.pace.limits().bytes_max }
    }

    /// Reads all of it.
    pub(crate) async fn whole(mut self) -> Result<Vec<u8>, Error> {
        let mut whole = Vec::new();
        self.pace.progressed();
        while let Some(chunk) = self.chunk().await? {
            whole.extend_from_slice(&chunk);
            self.pace.progressed();
        }
        Ok(whole)
    }

    /// Reads it as an event stream until it ends or `on` says that it is complete.
    pub(crate) async fn events(
        mut self,
        mut on: impl FnMut(&Event, &mut Pace) -> Result<Step, Error>,
    ) -> Result<(), Error> {
        let most = self.pace.limits().bytes_max;
        let mut decoder = Decoder::new(Bounds { line: most, event: most, total: most });
        while let Some(chunk) = self.chunk().await? {
            let mut input = chunk.as_slice();
            while let Some(event) = decoder.next(&mut input).map_err(|error| self.unreadable(error))? {
                if on(&event, &mut self.pace)? == Step::Complete {
                    self.finish().await;
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    const fn unreadable(&self, error: SseError) -> Error {
        match error {
            SseError::TooLarge => self.too_large(),
            SseError::NotUtf8 => Error::Malformed(Fault::NotUtf8),
        }
    }

    /// Takes the end of the response if it is there already: the connection can then be used again. The answer does
    /// not wait for it.
    async fn finish(mut self) {
        for _ in 0..4 {
            match self.response.chunk().now_or_never() {
                Some(Ok(Some(_))) => {}
                Some(_) => return,
                None => tokio::task::yield_now().await,
            }
        }
    }
}

/// Whether a stream goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    More,
    Complete,
}
