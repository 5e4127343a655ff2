//! A model that answers by the rules its flow writes down: no key, no network, the same answer each time.

use std::sync::Arc;

use colloquy_flow::{ScriptedAnswer, ScriptedFault};
use futures::{FutureExt as _, future::BoxFuture};
use tokio::{
    sync::mpsc,
    time::{self, Instant},
};

use crate::{
    answer::{Answer, Finish, Usage},
    collect::Collected,
    error::{Error, Fault, Refusal},
    port::{Features, Limits, Model},
    request::Request,
};

/// The name it answers by.
const MODEL: &str = "scripted";

/// The adapter. The rules come with each request: [`Request::scripts`].
#[derive(Clone, Debug)]
pub struct Scripted {
    name: Arc<str>,
}

impl Scripted {
    /// Makes the adapter under a name.
    pub fn new(name: Arc<str>) -> Self {
        Self { name }
    }

    async fn answer(
        &self,
        request: &Request,
        limits: Limits,
        deltas: Option<mpsc::Sender<String>>,
    ) -> Result<Answer, Error> {
        let mut collected = Collected::new(request, &MODEL.into(), deltas)?;
        let said = request.last_user().unwrap_or_default();
        let scripts = request.scripts.as_ref().ok_or(Error::NotScripted)?;
        let rule = scripts.find(&request.prompt, request.purpose, said).ok_or(Error::NotScripted)?;
        wait(rule.delay, limits).await?;
        let text = match &rule.answer {
            ScriptedAnswer::Say(text) => text.to_string(),
            ScriptedAnswer::Json(value) => value.to_string(),
            ScriptedAnswer::Fail(fault) => return Err(failed(*fault)),
        };
        if text.len() > limits.bytes_max {
            return Err(Error::TooLarge { bytes_max: limits.bytes_max });
        }
        for word in text.split_inclusive(' ') {
            collected.push(word);
            // A reader on the same thread sees each word come.
            tokio::task::yield_now().await;
        }
        let read: usize = request.messages.iter().map(crate::Message::bytes).sum();
        collected.usage = Usage { tokens_in: tokens(read), tokens_out: tokens(text.len()), tokens_cached: 0 };
        collected.finish = Some(Finish::Stop);
        collected.into_answer(limits.deadline).await
    }
}

/// Tokens as flows estimate them: one for each four bytes.
fn tokens(bytes: usize) -> u64 {
    u64::try_from(bytes.div_ceil(4)).unwrap_or(u64::MAX)
}

/// Waits as long as the rule says and the limits allow.
async fn wait(delay: std::time::Duration, limits: Limits) -> Result<(), Error> {
    let now = Instant::now();
    if now >= limits.deadline {
        return Err(Error::TimedOut);
    }
    if delay.is_zero() {
        return Ok(());
    }
    let (begins, late) = (now + delay, now + limits.first_token);
    time::sleep_until(begins.min(late).min(limits.deadline)).await;
    match begins {
        _ if begins <= late && begins <= limits.deadline => Ok(()),
        _ if late < limits.deadline => Err(Error::FirstTokenLate),
        _ => Err(Error::TimedOut),
    }
}

/// What a scripted fault looks like from outside.
fn failed(fault: ScriptedFault) -> Error {
    match fault {
        ScriptedFault::TimedOut => Error::TimedOut,
        ScriptedFault::Unavailable => Error::Overloaded { retry_after: None },
        ScriptedFault::Refused => Error::Status { code: 400, class: Refusal::Invalid, retry_after: None },
        ScriptedFault::Malformed => Error::Malformed(Fault::Shape),
    }
}

impl Model for Scripted {
    fn name(&self) -> &str {
        &self.name
    }

    fn features(&self) -> Features {
        Features { streams: true, json: true, tools: false }
    }

    fn attempt<'a>(
        &'a self,
        request: &'a Request,
        limits: Limits,
        deltas: Option<mpsc::Sender<String>>,
    ) -> BoxFuture<'a, Result<Answer, Error>> {
        self.answer(request, limits, deltas).boxed()
    }

    fn check(&self, _limits: Limits) -> BoxFuture<'_, Result<(), Error>> {
        async { Ok(()) }.boxed()
    }
}
