//! A bound on the length of a line, for protocols of one message a line.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, ReadBuf};

/// Reads until a line is longer than allowed; that ends the stream, since what would be left out might be an answer
/// that someone waits for.
pub(super) struct BoundedLines<R> {
    inner: R,
    bytes_max: usize,
    line_bytes: usize,
    overlong: Arc<AtomicBool>,
}

impl<R> BoundedLines<R> {
    pub(super) fn new(inner: R, bytes_max: usize, overlong: Arc<AtomicBool>) -> Self {
        Self { inner, bytes_max, line_bytes: 0, overlong }
    }
}

impl<R: AsyncRead + Unpin> AsyncRead for BoundedLines<R> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = into.filled().len();
        ready!(Pin::new(&mut self.inner).poll_read(context, into))?;
        let mut overlong = false;
        for byte in into.filled().iter().skip(before) {
            self.line_bytes = if *byte == b'\n' { 0 } else { self.line_bytes.saturating_add(1) };
            overlong |= self.line_bytes > self.bytes_max;
        }
        if overlong {
            into.set_filled(before);
            self.overlong.store(true, Ordering::Release);
            return Poll::Ready(Err(io::ErrorKind::InvalidData.into()));
        }
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt as _;

    use super::*;

    async fn read(text: &str, bytes_max: usize) -> (bool, bool) {
        let overlong = Arc::new(AtomicBool::new(false));
        let mut lines = BoundedLines::new(text.as_bytes(), bytes_max, Arc::clone(&overlong));
        let mut all = Vec::new();
        (lines.read_to_end(&mut all).await.is_ok(), overlong.load(Ordering::Acquire))
    }

    #[tokio::test]
    async fn a_line_may_be_as_long_as_allowed_and_no_longer() {
        assert_eq!(read("1234\n1234\n1234", 4).await, (true, false));
        assert_eq!(read("1234\n12345\n", 4).await, (false, true));
        assert_eq!(read(&"1".repeat(100_000), 99_999).await, (false, true));
    }
}
