//! What lies between callers and the runtime: calls come late and overtake each other, some never come, and some replies are lost,
//! so that nobody ever hears of what was done.

use std::time::Duration;

use colloquy_store::simulated::Random;

/// What becomes of a call on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// It arrives at once, and so does its reply.
    Clear,
    /// It arrives so much later.
    Late(Duration),
    /// It never arrives.
    Lost,
    /// It arrives, and its reply does not. Replies to calls that change nothing do: a lost one would be as if nobody had asked.
    Unheard,
}

impl Way {
    pub(super) fn draw(random: &mut Random) -> Self {
        match random.below(100) {
            0..78 => Self::Clear,
            78..92 => Self::Late(Duration::from_millis(random.between(1, 400) as u64)),
            92..95 => Self::Lost,
            _ => Self::Unheard,
        }
    }
}
