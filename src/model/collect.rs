//! An answer in the making: adapters put in what arrives, and take the answer out.

use std::sync::Arc;

use colloquy_flow::{Json, Schema};
use tokio::{sync::mpsc, time::Instant};

use crate::{
    answer::{Answer, Finish, ToolCall, Usage},
    deltas::Deltas,
    error::{Error, Fault},
    json,
    request::Request,
};

/// Most tool calls in one answer.
const CALLS_MAX: usize = 32;

/// Longest name of a model, in bytes.
const NAME_BYTES_MAX: usize = 256;

/// A tool call whose parts arrive one by one.
#[derive(Debug, Default)]
struct PartialCall {
    index: usize,
    id: String,
    name: String,
    arguments: String,
}

/// One answer, as far as it is there.
#[derive(Debug)]
pub(crate) struct Collected {
    schema: Option<Schema>,
    /// The tool whose arguments are the answer, where JSON is asked for in that way.
    answer_tool: Option<&'static str>,
    deltas: Deltas,
    text: String,
    calls: Vec<PartialCall>,
    pub(crate) usage: Usage,
    pub(crate) finish: Option<Finish>,
    model: Arc<str>,
}

impl Collected {
    /// Begins an answer to `request` by `model`.
    ///
    /// # Errors
    /// [`Error::Unsendable`]: the request's schema is none.
    pub(crate) fn new(
        request: &Request,
        model: &Arc<str>,
        deltas: Option<mpsc::Sender<String>>,
    ) -> Result<Self, Error> {
        let compiled = |source: &Arc<str>| {
            let parsed = Json::parse(source).map_err(|_| Error::Unsendable)?;
            Schema::compile(&parsed).map_err(|_| Error::Unsendable)
        };
        let schema = request.schema.as_ref().map(compiled).transpose()?;
        // JSON in parts is of no use to who reads along.
        let deltas = Deltas::new(deltas.filter(|_| schema.is_none()));
        Ok(Self {
            schema,
            answer_tool: None,
            deltas,
            text: String::new(),
            calls: Vec::new(),
            usage: Usage::default(),
            finish: None,
            model: Arc::clone(model),
        })
    }

    /// Takes the arguments of the tool `name` for the answer.
    pub(crate) const fn answered_by_tool(mut self, name: &'static str) -> Self {
        self.answer_tool = Some(name);
        self
    }

    /// The model says its own name; one that is too long for records and metrics is left out.
    pub(crate) fn named(&mut self, model: &str) {
        let fits = !model.is_empty() && model.len() <= NAME_BYTES_MAX;
        if fits && *self.model != *model {
            self.model = model.into();
        }
    }

    /// More text.
    pub(crate) fn push(&mut self, text: &str) {
        self.text.push_str(text);
        self.deltas.push(text);
    }

    /// More of the tool call with this number.
    ///
    /// # Errors
    /// [`Fault::ToolCall`]: there are too many.
    pub(crate) fn push_call(&mut self, index: usize, id: &str, name: &str, arguments: &str) -> Result<(), Error> {
        let place = match self.calls.iter().position(|call| call.index == index) {
            Some(place) => place,
            None if self.calls.len() < CALLS_MAX => {
                self.calls.push(PartialCall { index, ..PartialCall::default() });
                self.calls.len() - 1
            }
            None => return Err(Error::Malformed(Fault::ToolCall)),
        };
        let Some(call) = self.calls.get_mut(place) else { return Ok(()) };
        // Id and name come whole; some servers repeat them with every part.
        if call.id.is_empty() {
            id.clone_into(&mut call.id);
        }
        if call.name.is_empty() {
            name.clone_into(&mut call.name);
        }
        call.arguments.push_str(arguments);
        Ok(())
    }

    /// The whole answer.
    ///
    /// # Errors
    /// [`Fault::Truncated`] when its end was not told, [`Fault::ToolCall`] for arguments that are no JSON object.
    pub(crate) async fn into_answer(mut self, deadline: Instant) -> Result<Answer, Error> {
        let Some(mut finish) = self.finish else { return Err(Error::Malformed(Fault::Truncated)) };
        self.deltas.finish(deadline).await;
        let by_tool = self.answer_tool.and_then(|tool| self.calls.iter().position(|call| call.name == tool));
        if let Some(place) = by_tool {
            self.text = self.calls.remove(place).arguments;
            finish = if finish == Finish::ToolCalls && self.calls.is_empty() { Finish::Stop } else { finish };
        }
        let tool_calls = self.calls.into_iter().map(called).collect::<Result<Vec<_>, _>>()?;
        // Who asks for tools has not answered yet.
        let schema = self.schema.as_ref().filter(|_| tool_calls.is_empty());
        let (text, misfit) = match schema {
            Some(schema) => json::settle(&self.text, schema),
            None => (self.text, None),
        };
        Ok(Answer { text, tool_calls, usage: self.usage, finish, model: self.model, misfit })
    }
}

fn called(call: PartialCall) -> Result<ToolCall, Error> {
    // A tool without arguments is called with nothing at all by some models.
    let said = if call.arguments.trim().is_empty() { "{}" } else { &call.arguments };
    match Json::parse(said) {
        Ok(arguments @ Json::Object(_)) => Ok(ToolCall { id: call.id.into(), name: call.name.into(), arguments }),
        _ => Err(Error::Malformed(Fault::ToolCall)),
    }
}
