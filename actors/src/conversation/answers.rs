//! How much of what the outside answers a turn may keep: its record holds all of it.

use colloquy_store::EFFECT_RESULT_BYTES_MAX;
use colloquy_turn::{CallOutcome, Effect, EffectKind, EffectResult, EffectValue, Failure};
use colloquy_types::codec;

/// Largest answer, encoded. Leaves room for the rest of a record that holds it alone.
const ANSWER_BYTES_MAX: usize = 60 << 10;
/// What encoding a text adds to it, at most.
const SHOWN_OVERHEAD: usize = 16;
/// All answers of a turn together. Leaves half of the turn's record for everything else.
const ANSWERS_BYTES_MAX: usize = 512 << 10;

/// The answers that a turn has kept so far.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Kept {
    bytes: usize,
}

impl Kept {
    /// Those of an earlier activation.
    pub(super) fn of(results: &[EffectResult]) -> Self {
        Self { bytes: results.iter().map(|result| encoded_bytes(&result.value)).sum() }
    }

    /// The answer, or what stands for one that is too large. A tool that acted has acted all the same.
    pub(super) fn admit(&mut self, effect: &Effect, value: EffectValue) -> EffectValue {
        let bytes = encoded_bytes(&value);
        if bytes > ANSWER_BYTES_MAX || self.bytes.saturating_add(bytes) > ANSWERS_BYTES_MAX {
            return too_large(effect, value);
        }
        self.bytes += bytes;
        value
    }
}

/// As much of what was shown as a record takes, like any answer: its beginning.
pub(super) fn kept_of(shown: &str) -> &str {
    let most = ANSWER_BYTES_MAX - SHOWN_OVERHEAD;
    shown.get(..shown.floor_char_boundary(most)).unwrap_or_default()
}

fn too_large(effect: &Effect, value: EffectValue) -> EffectValue {
    match &effect.kind {
        EffectKind::Act(request) if !request.read_only => EffectValue::Act(CallOutcome::Unknown),
        kind => EffectValue::failed(kind, Failure::Malformed).unwrap_or(value),
    }
}

/// What cannot be encoded cannot be kept either.
fn encoded_bytes(value: &EffectValue) -> usize {
    codec::encode(value).map_or(usize::MAX, |bytes| bytes.len())
}

/// Splits results into parts of which each fits a record of its own. There is always one, which may be empty.
pub(super) fn parts(results: Vec<EffectResult>) -> Vec<Vec<EffectResult>> {
    let (mut parts, mut part, mut bytes) = (Vec::new(), Vec::new(), 0);
    for result in results {
        let more = encoded_bytes(&result.value);
        if !part.is_empty() && bytes + more > ANSWER_BYTES_MAX {
            parts.push(std::mem::take(&mut part));
            bytes = 0;
        }
        bytes += more;
        part.push(result);
    }
    parts.push(part);
    parts
}

const _: () = assert!(ANSWER_BYTES_MAX < EFFECT_RESULT_BYTES_MAX);

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use colloquy_flow::{Json, Patience};
    use colloquy_turn::CallRequest;

    use super::*;

    fn effect(read_only: bool) -> Effect {
        let request = CallRequest {
            name: "look".into(),
            target: "crm/look".into(),
            arguments: Json::Null,
            read_only,
            idempotent: false,
            patience: Patience::default(),
        };
        Effect { step: 1, kind: EffectKind::Act(Arc::new(request)) }
    }

    #[test]
    fn what_was_shown_is_kept_as_far_as_an_answer_may_be_and_ends_with_a_whole_character() {
        for text in ["x".repeat(1 << 20), "ä".repeat(1 << 20), "日".repeat(1 << 20), "short".to_owned()] {
            let kept = kept_of(&text);
            assert!(text.starts_with(kept) && (kept == text || kept.len() > 59 << 10), "{}", kept.len());
            let value = EffectValue::Interrupted(kept.into());
            assert!(encoded_bytes(&value) <= ANSWER_BYTES_MAX);
        }
    }

    fn answer(bytes: usize) -> EffectValue {
        EffectValue::Act(CallOutcome::Done(Json::Text("x".repeat(bytes).into())))
    }

    #[test]
    fn an_answer_that_no_record_can_hold_is_not_kept() {
        let mut kept = Kept::default();
        assert_eq!(kept.admit(&effect(true), answer(59 << 10)), answer(59 << 10));
        let failed = EffectValue::Act(CallOutcome::Failed(Failure::Malformed));
        assert_eq!(kept.admit(&effect(true), answer(61 << 10)), failed);
        assert_eq!(kept.admit(&effect(false), answer(61 << 10)), EffectValue::Act(CallOutcome::Unknown));
    }

    #[test]
    fn neither_are_many_that_one_record_cannot_hold_together() {
        let mut kept = Kept::default();
        let kept_of = |answers: usize, kept: &mut Kept| {
            (0..answers).filter(|_| kept.admit(&effect(true), answer(50 << 10)) == answer(50 << 10)).count()
        };
        assert_eq!(kept_of(20, &mut kept), 10);
        let results: Vec<_> = (0..9).map(|step| EffectResult::at_once(step, answer(50 << 10))).collect();
        assert_eq!(kept_of(20, &mut Kept::of(&results)), 1, "those from before a crash count");
    }

    #[test]
    fn parts_fit_their_records_and_lose_nothing() {
        let results: Vec<_> = [1, 58 << 10, 1, 2 << 10, 40 << 10, 40 << 10, 0]
            .into_iter()
            .enumerate()
            .map(|(step, bytes)| EffectResult::at_once(step as u16, answer(bytes)))
            .collect();
        let parts = parts(results.clone());
        assert_eq!(parts.iter().map(Vec::len).collect::<Vec<_>>(), [3, 2, 2]);
        assert_eq!(parts.concat(), results);
        assert_eq!(super::parts(Vec::new()), [Vec::new()]);
    }
}
