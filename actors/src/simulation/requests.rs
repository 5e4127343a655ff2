//! What callers asked, and what they were told of it.

use std::collections::HashMap;

use colloquy_store::{RecordKind, StoredRecord};
use colloquy_turn::TurnRecord;
use colloquy_types::{ConversationKey, RequestId, TurnSeq};

use super::{
    Breach,
    ledger::{Ended, Generation, Ledger},
    steering::Spell,
};
use crate::{DeadlineOutcome, Error, invariants::Invariant};

/// A request as callers sent it, perhaps more than once.
#[derive(Clone, Debug)]
pub(super) struct Request {
    pub(super) id: RequestId,
    pub(super) kind: RequestKind,
    /// Sent in the same way each time.
    pub(super) expected_seq: Option<TurnSeq>,
    /// How often it was sent.
    sent: u32,
    /// When it was sent first, if turns were known to be refused then.
    refused_in: Option<Spell>,
    /// How often it was told that it had no effect.
    had_no_effect: u32,
}

/// What a request is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum RequestKind {
    Turn {
        text: &'static str,
    },
    Reset,
    Feedback {
        turn_seq: TurnSeq,
    },
    Pause {
        paused: bool,
    },
    /// Of the conversation with this number, after this turn; as it is then when not given.
    Fork {
        source: usize,
        at: Option<TurnSeq>,
    },
}

/// All requests of a run.
#[derive(Debug, Default)]
pub(super) struct Requests {
    made: HashMap<ConversationKey, Vec<Request>>,
}

impl Requests {
    /// Makes a request with an id of its own.
    pub(super) fn make(
        &mut self,
        key: &ConversationKey,
        kind: RequestKind,
        expected_seq: Option<TurnSeq>,
    ) -> Option<Request> {
        let made = self.made.entry(key.clone()).or_default();
        let id = RequestId::parse(&format!("r-{}", made.len())).ok()?;
        let request = Request { id, kind, expected_seq, sent: 0, refused_in: None, had_no_effect: 0 };
        made.push(request.clone());
        Some(request)
    }

    /// The requests of `key`, in the order in which they were made.
    pub(super) fn of(&self, key: &ConversationKey) -> &[Request] {
        self.made.get(key).map(Vec::as_slice).unwrap_or_default()
    }

    fn find(&mut self, key: &ConversationKey, id: &RequestId) -> Option<&mut Request> {
        self.made.get_mut(key)?.iter_mut().find(|request| request.id == *id)
    }

    /// Takes note that a request is sent, and of the spell in which turns are refused.
    pub(super) fn sent(&mut self, key: &ConversationKey, id: &RequestId, refused_in: Option<Spell>) {
        if let Some(request) = self.find(key, id) {
            // Of what came before it nothing is on its way.
            if request.sent == request.had_no_effect {
                request.refused_in = refused_in;
            }
            request.sent += 1;
        }
    }

    /// Takes note of an error that a request was answered with.
    pub(super) fn refused(&mut self, key: &ConversationKey, id: &RequestId, error: &Error) {
        if had_no_effect(error)
            && let Some(request) = self.find(key, id)
        {
            request.had_no_effect += 1;
        }
    }

    /// Takes note of a request that was left out, and is no error.
    pub(super) fn left_out(&mut self, key: &ConversationKey, id: &RequestId) {
        if let Some(request) = self.find(key, id) {
            request.had_no_effect += 1;
        }
    }

    /// Whether a request was sent another time than those that were told to have had no effect.
    pub(super) fn was_sent_otherwise(&self, key: &ConversationKey, id: &RequestId) -> bool {
        self.of(key).iter().any(|request| request.id == *id && request.sent > request.had_no_effect)
    }

    /// A turn must have the number that its caller expected.
    pub(super) fn check(&self, key: &ConversationKey, generation: usize, known: &Generation) -> Result<(), Breach> {
        for request in self.of(key) {
            let (Some(expected), Some(Ended::Turn { head, .. })) = (request.expected_seq, known.ended.get(&request.id))
            else {
                continue;
            };
            if head.turn_seq != expected.next() {
                let (key, id) = (key.as_str(), request.id.as_str());
                let what = format!(
                    "{id} of {key} (conversation {generation}) expected turn {expected} to be the last, and took {}",
                    head.turn_seq
                );
                return Err(Breach::new(Invariant::RealTime, what));
            }
        }
        Ok(())
    }

    /// No turn is committed that was first sent in this spell, in which turns are refused.
    pub(super) fn check_refused(
        &self,
        refused_in: Option<Spell>,
        key: &ConversationKey,
        records: &[StoredRecord],
    ) -> Result<(), Breach> {
        if refused_in.is_none() {
            return Ok(());
        }
        let turns = records.iter().filter(|record| record.header.kind == RecordKind::Turn);
        for turn in turns.filter_map(|record| TurnRecord::decode(&record.payload).ok()) {
            let sent = self.of(key).iter().find(|request| request.id == turn.request_id);
            if sent.is_some_and(|request| request.refused_in == refused_in) {
                let (id, key) = (turn.request_id.as_str(), key.as_str());
                let what = format!("{id} of {key} was taken while its tenant was paused");
                return Err(Breach::new(Invariant::Paused, what));
            }
        }
        Ok(())
    }

    /// A request whose every sending was told to have had no effect must have none.
    pub(super) fn check_ghosts(&self, keys: &[ConversationKey], ledger: &Ledger) -> Result<(), Breach> {
        for key in keys {
            for request in
                self.of(key).iter().filter(|request| request.sent > 0 && request.sent == request.had_no_effect)
            {
                if ledger.generations(key).iter().any(|known| known.ended.contains_key(&request.id)) {
                    let what = format!("{} of {} was told to have had no effect", request.id.as_str(), key.as_str());
                    return Err(Breach::new(Invariant::NoGhost, what));
                }
            }
        }
        Ok(())
    }
}

/// Whether an error says that nothing came of the call, and nothing will.
const fn had_no_effect(error: &Error) -> bool {
    matches!(
        error,
        Error::ConversationAbsent
            | Error::WrongFlow { .. }
            | Error::SeqMismatch { .. }
            | Error::Busy { .. }
            | Error::Overloaded { .. }
            | Error::Draining
            | Error::Paused { .. }
            | Error::TrafficPaused(_)
            | Error::ConversationExists
            | Error::TurnAbsent { .. }
            | Error::DeadlineExceeded { outcome: DeadlineOutcome::NotApplied }
    )
}
