//! What callers asked of the tenant's turns, that they be refused or taken again, and what came of it.

use std::time::Duration;

use colloquy_store::{ConversationStore as _, ReadError, RecordKind, simulated::SimulatedStore};
use colloquy_types::{Head, RequestId, TenantId};

use super::Breach;
use crate::{
    Runtime,
    flows::{Decision, decision, flows_key},
    invariants::Invariant,
};

/// Records of the tenant's stream that are read: more than a run writes.
const RECORDS: usize = 10_000;

/// A time in which it was known whether turns are taken, and nobody asked for anything else.
pub(super) type Spell = u64;

/// A call to pause the tenant or to resume it.
#[derive(Debug)]
struct Asked {
    paused: bool,
    began: Duration,
    /// When it ended; its deadline as long as it has not.
    until: Duration,
}

/// All of them.
#[derive(Debug)]
pub(super) struct Steering {
    made: Vec<(RequestId, bool)>,
    asked: Vec<Asked>,
    /// Whether the tenant is paused; not given while nobody can know.
    paused: Option<bool>,
    spell: Spell,
}

impl Default for Steering {
    fn default() -> Self {
        Self { made: Vec::new(), asked: Vec::new(), paused: Some(false), spell: 0 }
    }
}

impl Steering {
    /// Makes a request with an id of its own.
    pub(super) fn make(&mut self, paused: bool) -> Option<RequestId> {
        let id = RequestId::parse(&format!("s-{}", self.made.len())).ok()?;
        self.made.push((id.clone(), paused));
        Some(id)
    }

    /// One of the last requests.
    pub(super) fn made(&self, which: usize) -> Option<(RequestId, bool)> {
        let recent = self.made.len().min(4);
        which.checked_rem(recent).and_then(|place| self.made.get(self.made.len() - recent + place).cloned())
    }

    /// A call begins; gives what to end it by.
    pub(super) fn begins(&mut self, paused: bool, now: Duration, budget: Duration) -> usize {
        if self.paused != Some(paused) {
            self.turns(None);
        }
        self.asked.push(Asked { paused, began: now, until: now + budget });
        self.asked.len() - 1
    }

    /// A call has ended, and it was told that the tenant is as it asked for. Another one that wanted the opposite, and may have
    /// been carried out in the same time, leaves it open which of them was the last.
    pub(super) fn told(&mut self, call: usize, now: Duration) {
        let Some(asked) = self.asked.get_mut(call) else { return };
        asked.until = now;
        let (paused, began) = (asked.paused, asked.began);
        if !self.asked.iter().any(|other| other.paused != paused && other.until >= began) {
            self.turns(Some(paused));
        }
    }

    fn turns(&mut self, paused: Option<bool>) {
        if self.paused != paused {
            self.paused = paused;
            self.spell += 1;
        }
    }

    /// Whether nobody can know whether turns are taken.
    pub(super) fn is_unknown(&self) -> bool {
        self.paused.is_none()
    }

    /// The spell, if turns are refused in it, or if they are taken.
    pub(super) fn spell(&self, paused: bool) -> Option<Spell> {
        (self.paused == Some(paused)).then_some(self.spell)
    }
}

/// What the runtime holds to be paused is what a start would find. Nothing is known of a store that fails meanwhile.
pub(super) async fn same_pauses(runtime: &Runtime, store: &SimulatedStore, tenant: &TenantId) -> Result<(), Breach> {
    let breach = |what: String| Err(Breach::new(Invariant::Paused, what));
    let page = store.history(&flows_key(tenant), Head::default(), RECORDS).await;
    let records = match page {
        Ok(page) => page.records,
        Err(ReadError::Absent) => Vec::new(),
        Err(_) if store.is_failed() => return Ok(()),
        Err(error) => return breach(format!("the stream of {tenant} cannot be read: {error}")),
    };
    let mut found = None;
    for row in records.iter().filter(|row| row.record.header.kind == RecordKind::Promotion) {
        match decision(&row.record) {
            Ok(Decision::Pause(pause)) => found = pause.paused.then_some(pause.number),
            Ok(Decision::Promotion(_)) => {}
            Err(error) => return breach(error.to_string()),
        }
    }
    let held = runtime.paused_traffic(Some(tenant.as_str()), None, 2).rows;
    let held: Vec<_> = held.iter().map(|pause| pause.number).collect();
    if held == found.as_slice() {
        return Ok(());
    }
    breach(format!("{tenant} is paused by {held:?}, and its stream says {found:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn what_two_ask_for_at_once_is_known_to_nobody() {
        let mut steering = Steering::default();
        assert_eq!((steering.spell(false), steering.spell(true)), (Some(0), None));
        let pause = steering.begins(true, at(1), at(5));
        assert_eq!((steering.spell(false), steering.spell(true)), (None, None));
        steering.told(pause, at(2));
        assert_eq!(steering.spell(true), Some(2));
        // It is not heard of, and may be carried out until its deadline.
        steering.begins(false, at(3), at(4));
        let pause = steering.begins(true, at(4), at(5));
        steering.told(pause, at(5));
        assert_eq!((steering.spell(false), steering.spell(true)), (None, None));
        let pause = steering.begins(true, at(8), at(5));
        steering.told(pause, at(9));
        assert!(steering.spell(true).is_some());
    }
}
