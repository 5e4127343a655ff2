//! What must hold for a turn to begin.

use colloquy_turn::InputKind;

use super::{
    Conversation,
    loaded::Loaded,
    message::Submission,
    state::{Body, State},
};
use crate::{
    error::Error,
    pinning::{self, PinnedReason},
    planted::Planted,
    reply::FlowPin,
};

impl Conversation {
    /// What must hold for a turn to start: the flow agrees, and so does the expected sequence. Gives
    /// what is to be created when the conversation does not exist yet.
    pub(super) fn check(&self, state: &State, submission: &Submission) -> Result<Option<Box<Loaded>>, Error> {
        let asked = submission.flow.as_ref();
        let creating = match &state.body {
            Body::Broken(error) | Body::Unusable(_, _, error) => return Err(error.clone()),
            Body::Open(_, loaded) => {
                if let Some(since) = loaded.paused_at {
                    return Err(Error::Paused { since });
                }
                self.check_traffic(loaded)?;
                if let Some(asked) = asked.filter(|asked| **asked != loaded.pin.name) {
                    return Err(Error::WrongFlow { running: loaded.pin.name.to_string(), asked: asked.to_string() });
                }
                if submission.input == InputKind::Timer {
                    self.check_timer(loaded, submission)?;
                }
                if submission.subject.is_some() && submission.subject != loaded.subject {
                    return Err(Error::WrongSubject);
                }
                None
            }
            Body::Absent(_) => {
                let Some(asked) = asked else { return Err(Error::ConversationAbsent) };
                let found = self.shared.flows.current(self.info.key.tenant(), asked.as_str());
                let Some(found) = found else { return Err(Error::FlowAbsent { name: asked.to_string() }) };
                let pin = FlowPin { tenant: found.tenant.into(), name: asked.clone(), revision: found.flow.revision() };
                let (subject, now) = (submission.subject.clone(), self.shared.clock.now());
                let creating = Box::new(Loaded::new(pin, found.flow, subject, now));
                self.check_traffic(&creating)?;
                Some(creating)
            }
        };
        let head = state.head_loaded();
        match submission.expected_seq {
            Some(expected) if expected != head.turn_seq => Err(Error::SeqMismatch { head }),
            _ => Ok(creating),
        }
    }

    /// That neither the tenant is paused nor the revision that the turn would run. A conversation that leaves a paused
    /// revision with this turn may do so.
    fn check_traffic(&self, loaded: &Loaded) -> Result<(), Error> {
        let (key, flows) = (&self.info.key, &self.shared.flows);
        let Some(pause) = flows.pauses().of(key.tenant(), loaded.pin.revision) else { return Ok(()) };
        if self.shared.is_planted(Planted::IgnoresPause) {
            return Ok(());
        }
        let leaves =
            || pinning::judge(key, loaded, flows).is_some_and(|pinned| pinned.reason == PinnedReason::NextTurn);
        if pause.revision.is_some() && leaves() { Ok(()) } else { Err(Error::TrafficPaused(pause)) }
    }

    /// Whether the turn of a timer may begin: it is set, and due.
    fn check_timer(&self, loaded: &Loaded, submission: &Submission) -> Result<(), Error> {
        match loaded.state.timer_of(&submission.request_id).map(|timer| timer.due_at) {
            Some(due_at) if due_at <= self.shared.clock.now() => Ok(()),
            due_at => Err(Error::TimerAbsent { due_at }),
        }
    }
}
