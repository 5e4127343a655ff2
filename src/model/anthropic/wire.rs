//! What comes back: a message of content blocks, whole or as events.

use serde::Deserialize;
use serde_json::Value;

use crate::{
    answer::{Finish, Usage},
    body::Step,
    collect::Collected,
    error::{Error, Fault},
    pace::Pace,
    refusal,
    sse::Event,
};

#[derive(Deserialize)]
struct Reply {
    model: Option<String>,
    #[serde(default)]
    content: Vec<Block>,
    stop_reason: Option<String>,
    usage: Option<UsageCount>,
}

/// A content block. Of those that are not told apart here (thoughts, for one) nothing is kept.
#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Block {
    Text {
        text: String,
    },
    ToolUse {
        id: String,
        name: String,
        #[serde(default)]
        input: Value,
    },
    #[serde(other)]
    Other,
}

/// Counts as far as they are told; later ones replace earlier ones.
#[derive(Deserialize)]
struct UsageCount {
    input_tokens: Option<u64>,
    output_tokens: Option<u64>,
    cache_read_input_tokens: Option<u64>,
    cache_creation_input_tokens: Option<u64>,
}

#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Part {
    MessageStart {
        message: Reply,
    },
    ContentBlockStart {
        index: usize,
        content_block: Block,
    },
    ContentBlockDelta {
        index: usize,
        delta: Delta,
    },
    MessageDelta {
        delta: Ending,
        usage: Option<UsageCount>,
    },
    MessageStop,
    Error {
        error: Value,
    },
    /// Pings, ends of blocks, and what the interface may add.
    #[serde(other)]
    Other,
}

#[derive(Deserialize)]
#[serde(tag = "type")]
enum Delta {
    #[serde(rename = "text_delta")]
    Text { text: String },
    #[serde(rename = "input_json_delta")]
    InputJson { partial_json: String },
    #[serde(other)]
    Other,
}

#[derive(Deserialize)]
struct Ending {
    stop_reason: Option<String>,
}

/// Takes an answer that came as a whole.
pub(super) fn whole(collected: &mut Collected, body: &[u8]) -> Result<(), Error> {
    let text = std::str::from_utf8(body).map_err(|_| Error::Malformed(Fault::NotUtf8))?;
    let reply: Reply = serde_json::from_str(text).map_err(|_| Error::Malformed(Fault::Shape))?;
    let mut stream = Stream::new(collected);
    for (index, block) in reply.content.into_iter().enumerate() {
        if let Block::ToolUse { input, .. } = &block {
            let input = if input.is_null() { String::new() } else { input.to_string() };
            stream.collected.push_call(index, "", "", &input)?;
        }
        stream.block(index, block)?;
    }
    stream.collected.named(reply.model.as_deref().unwrap_or_default());
    stream.count(reply.usage);
    stream.collected.finish = reply.stop_reason.as_deref().map(finish);
    Ok(())
}

/// The events of one answer.
pub(super) struct Stream<'c> {
    collected: &'c mut Collected,
    usage: [u64; 4],
    complete: bool,
}

impl<'c> Stream<'c> {
    pub(super) fn new(collected: &'c mut Collected) -> Self {
        Self { collected, usage: [0; 4], complete: false }
    }

    /// Takes one event.
    pub(super) fn take(&mut self, event: &Event, pace: &mut Pace) -> Result<Step, Error> {
        let part: Part = serde_json::from_str(&event.data).map_err(|_| Error::Malformed(Fault::Shape))?;
        let written = match part {
            Part::MessageStart { message } => {
                self.collected.named(message.model.as_deref().unwrap_or_default());
                self.count(message.usage);
                false
            }
            Part::ContentBlockStart { index, content_block } => self.block(index, content_block)?,
            Part::ContentBlockDelta { index, delta } => self.delta(index, &delta)?,
            Part::MessageDelta { delta, usage } => {
                self.count(usage);
                self.collected.finish = delta.stop_reason.as_deref().map(finish).or(self.collected.finish);
                true
            }
            Part::MessageStop => {
                self.complete = true;
                return Ok(Step::Complete);
            }
            Part::Error { error } => return Err(refusal::in_stream(&error)),
            Part::Other => false,
        };
        if written {
            pace.progressed();
        }
        Ok(Step::More)
    }

    /// The stream has ended.
    ///
    /// # Errors
    /// [`Fault::Truncated`]: without saying so.
    pub(super) const fn ended(&self) -> Result<(), Error> {
        if self.complete { Ok(()) } else { Err(Error::Malformed(Fault::Truncated)) }
    }

    /// Begins a block. Gives whether the model wrote it.
    fn block(&mut self, index: usize, block: Block) -> Result<bool, Error> {
        match block {
            Block::Text { text } => {
                self.collected.push(&text);
                Ok(!text.is_empty())
            }
            Block::ToolUse { id, name, .. } => self.collected.push_call(index, &id, &name, "").map(|()| true),
            Block::Other => Ok(false),
        }
    }

    fn delta(&mut self, index: usize, delta: &Delta) -> Result<bool, Error> {
        match delta {
            Delta::Text { text } => self.collected.push(text),
            Delta::InputJson { partial_json } => self.collected.push_call(index, "", "", partial_json)?,
            // Thinking is progress, but no answer.
            Delta::Other => {}
        }
        Ok(true)
    }

    /// What is read from the cache or written to it is not among `input_tokens`.
    fn count(&mut self, usage: Option<UsageCount>) {
        let Some(usage) = usage else { return };
        let told =
            [usage.input_tokens, usage.output_tokens, usage.cache_read_input_tokens, usage.cache_creation_input_tokens];
        for (held, told) in self.usage.iter_mut().zip(told) {
            *held = told.unwrap_or(*held);
        }
        let [fresh, written, read, kept] = self.usage;
        let tokens_in = fresh.saturating_add(read).saturating_add(kept);
        self.collected.usage = Usage { tokens_in, tokens_out: written, tokens_cached: read };
    }
}

fn finish(reason: &str) -> Finish {
    match reason {
        "max_tokens" | "model_context_window_exceeded" => Finish::Length,
        "tool_use" => Finish::ToolCalls,
        "refusal" => Finish::Filtered,
        _ => Finish::Stop,
    }
}
