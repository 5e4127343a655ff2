//! The world of a run: models, sources and tools that are late, fail, hang, panic, or answer although nobody waits.
//!
//! Every call of a tool that acts is shown to the witness at the moment it is made.

use std::{
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use colloquy_flow::Json;
use colloquy_store::simulated::Random;
use colloquy_turn::{CallOutcome, Failure, ModelOutput, Usage};
use futures::future::{BoxFuture, FutureExt as _};

use super::witness::Witness;
use crate::{ModelAnswer, ModelCall, Outside, SourceCall};

/// What becomes of a call.
#[derive(Clone, Copy, Debug)]
enum Conduct {
    Answers(Duration),
    Fails(Duration, Failure),
    Hangs,
    Panics,
}

/// The world.
pub(super) struct SimulatedWorld {
    witness: Arc<Witness>,
    random: Mutex<Random>,
    /// Whether everything answers at once from now on.
    calm: AtomicBool,
}

impl fmt::Debug for SimulatedWorld {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimulatedWorld").finish_non_exhaustive()
    }
}

impl SimulatedWorld {
    pub(super) fn new(seed: u64, witness: Arc<Witness>) -> Self {
        Self { witness, random: Mutex::new(Random::new(seed, "world")), calm: AtomicBool::new(false) }
    }

    pub(super) fn calm_down(&self) {
        self.calm.store(true, Ordering::Relaxed);
    }

    fn conduct(&self) -> Conduct {
        let mut random = self.random.lock().unwrap_or_else(PoisonError::into_inner);
        let drawn = random.below(100);
        let mut millis = |low, high| Duration::from_millis(random.between(low, high) as u64);
        let conduct = match drawn {
            0..45 => Conduct::Answers(Duration::ZERO),
            45..75 => Conduct::Answers(millis(1, 60)),
            75..83 => Conduct::Answers(millis(100, 4000)),
            83..88 => Conduct::Fails(millis(0, 20), Failure::Unavailable),
            88..91 => Conduct::Fails(millis(0, 20), Failure::Refused),
            91..97 => Conduct::Hangs,
            _ => Conduct::Panics,
        };
        if self.calm.load(Ordering::Relaxed) { Conduct::Answers(Duration::ZERO) } else { conduct }
    }

    fn begin(&self, what: &str, call: &crate::CallContext) -> Conduct {
        let conduct = self.conduct();
        self.witness.note(format_args!("           call {what} for {} step {}: {conduct:?}", call.turn_id, call.step));
        self.witness.count(match conduct {
            Conduct::Answers(after) if after > Duration::from_millis(60) => "calls late",
            Conduct::Answers(_) => "calls answered",
            Conduct::Fails(..) => "calls failed",
            Conduct::Hangs => "calls hung",
            Conduct::Panics => "calls panicked",
        });
        conduct
    }
}

/// Waits as `conduct` says; why the call fails, if it does.
async fn behave(conduct: Conduct) -> Result<(), Failure> {
    match conduct {
        Conduct::Answers(Duration::ZERO) => Ok(()),
        Conduct::Answers(after) => {
            tokio::time::sleep(after).await;
            Ok(())
        }
        Conduct::Fails(after, failure) => {
            tokio::time::sleep(after).await;
            Err(failure)
        }
        Conduct::Hangs => std::future::pending().await,
        // Not a panic of its own: nothing is printed.
        Conduct::Panics => std::panic::resume_unwind(Box::new("as the schedule asked for")),
    }
}

impl Outside for SimulatedWorld {
    fn model(&self, call: ModelCall) -> BoxFuture<'static, ModelAnswer> {
        let conduct = self.begin("model", &call.context);
        let mut deltas = call.deltas;
        async move {
            for part in ["All ", "is ", "well."] {
                deltas.iter_mut().for_each(|deltas| deltas.push(part));
            }
            let usage = Usage { tokens_in: 7, tokens_out: 3, ..Usage::default() };
            let output =
                ModelOutput { text: "All is well.".into(), model: "simulated".into(), usage, truncated: false };
            ModelAnswer::from(behave(conduct).await.map(|()| output))
        }
        .boxed()
    }

    fn call(&self, call: SourceCall) -> BoxFuture<'static, CallOutcome> {
        let request = &call.request;
        if !request.read_only {
            self.witness.acts(call.context.turn_id, call.context.step, request.idempotent);
        }
        let conduct = self.begin(&request.target, &call.context);
        let name = request.target.to_string();
        async move {
            match behave(conduct).await {
                Ok(()) => {
                    let text = |text: &str| Json::Text(text.into());
                    CallOutcome::Done(Json::object([("text".into(), text(&name)), ("receipt".into(), text("R-1"))]))
                }
                Err(failure) => CallOutcome::Failed(failure),
            }
        }
        .boxed()
    }
}
