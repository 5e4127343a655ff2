//! Event streams as the WHATWG HTML standard defines them (section 9.2), decoded within bounds.
//!
//! The decoder holds one line and one event at most. Unlike a browser it refuses what is not UTF-8 instead of
//! replacing it. An event that the end of the stream cuts off is not given out, as the standard demands.

use std::{mem, time::Duration};

/// What one stream may bring, in bytes.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Longest line, without its end.
    pub line: usize,
    /// Longest event: its data and its name.
    pub event: usize,
    /// Longest stream.
    pub total: usize,
}

/// Why a stream was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SseError {
    /// A line, an event or the stream is longer than its bound.
    #[error("a line, an event or the stream is too long")]
    TooLarge,
    /// A line is not UTF-8.
    #[error("a line is not UTF-8")]
    NotUtf8,
}

/// One event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Its name; `message` unless the stream says otherwise.
    pub name: String,
    /// Its data; several lines are joined by a newline.
    pub data: String,
}

const BYTE_ORDER_MARK: char = '\u{feff}';

/// Decodes one stream.
#[derive(Debug)]
pub struct Decoder {
    bounds: Bounds,
    seen: usize,
    line: Vec<u8>,
    /// Whether the last line ended with CR: an LF that follows belongs to it.
    after_cr: bool,
    began: bool,
    name: String,
    /// Each line of data with a newline after it.
    data: String,
    last_id: String,
    retry: Option<Duration>,
}

impl Decoder {
    /// Begins a stream.
    pub const fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            seen: 0,
            line: Vec::new(),
            after_cr: false,
            began: false,
            name: String::new(),
            data: String::new(),
            last_id: String::new(),
            retry: None,
        }
    }

    /// Takes bytes from the front of `input` until an event is complete or nothing is left.
    ///
    /// # Errors
    /// [`SseError`]; the stream cannot be read any further.
    pub fn next(&mut self, input: &mut &[u8]) -> Result<Option<Event>, SseError> {
        while self.fill_line(input)? {
            let mut line = mem::take(&mut self.line);
            let event = self.take_line(&line)?;
            line.clear();
            self.line = line;
            if event.is_some() {
                return Ok(event);
            }
        }
        Ok(None)
    }

    /// The id that the stream gave last; empty when it gave none.
    pub fn last_id(&self) -> &str {
        &self.last_id
    }

    /// How long the stream asks readers to wait before they connect again.
    pub const fn retry(&self) -> Option<Duration> {
        self.retry
    }

    /// How many bytes it holds.
    #[cfg(test)]
    pub(crate) fn held(&self) -> usize {
        self.line.len() + self.name.len() + self.data.len() + self.last_id.len()
    }

    /// Whether a whole line is there.
    fn fill_line(&mut self, input: &mut &[u8]) -> Result<bool, SseError> {
        if self.after_cr && !input.is_empty() {
            self.after_cr = false;
            if let Some(rest) = input.strip_prefix(b"\n") {
                *input = rest;
                self.count(1)?;
            }
        }
        let end = input.iter().position(|byte| matches!(byte, b'\n' | b'\r'));
        let (part, rest) = input.split_at(end.unwrap_or(input.len()));
        self.count(part.len() + usize::from(end.is_some()))?;
        if self.line.len() + part.len() > self.bounds.line {
            return Err(SseError::TooLarge);
        }
        self.line.extend_from_slice(part);
        let Some((ending, rest)) = rest.split_first() else {
            *input = rest;
            return Ok(false);
        };
        self.after_cr = *ending == b'\r';
        *input = rest;
        Ok(true)
    }

    fn count(&mut self, bytes: usize) -> Result<(), SseError> {
        self.seen += bytes;
        if self.seen > self.bounds.total { Err(SseError::TooLarge) } else { Ok(()) }
    }

    fn take_line(&mut self, line: &[u8]) -> Result<Option<Event>, SseError> {
        let mut line = std::str::from_utf8(line).map_err(|_| SseError::NotUtf8)?;
        if !mem::replace(&mut self.began, true) {
            line = line.strip_prefix(BYTE_ORDER_MARK).unwrap_or(line);
        }
        if line.is_empty() {
            return Ok(self.dispatch());
        }
        // A line that begins with a colon is a comment: a field without a name.
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut self.name),
            "data" => {
                self.data.push_str(value);
                self.data.push('\n');
            }
            "id" if !value.contains('\0') => value.clone_into(&mut self.last_id),
            "retry" if value.bytes().all(|byte| byte.is_ascii_digit()) => {
                self.retry = value.parse().map(Duration::from_millis).ok().or(self.retry);
            }
            _ => {}
        }
        if self.data.len() + self.name.len() > self.bounds.event { Err(SseError::TooLarge) } else { Ok(None) }
    }

    /// Ends an event. One without data is none, and its name is forgotten.
    fn dispatch(&mut self) -> Option<Event> {
        let mut data = mem::take(&mut self.data);
        let mut name = mem::take(&mut self.name);
        data.pop()?;
        if name.is_empty() {
            name.push_str("message");
        }
        Some(Event { name, data })
    }
}
