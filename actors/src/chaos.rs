//! How many actors operators may kill: a budget by kind of actor, none by default.
//!
//! Killing is for tests of what is built around the runtime. The budget keeps a script that runs wild from taking the
//! service down; who killed what and why is logged by whoever asks.

use std::{
    num::NonZeroU32,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use crate::{error::Error, tree::ActorKind};

/// The time over which kills are counted.
const WINDOW: Duration = Duration::from_secs(60);

/// How many actors of each kind may be killed in a minute; none where nothing is given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ChaosBudget {
    /// Conversations.
    pub conversations: Option<NonZeroU32>,
    /// Supervisors, and what the process has one of.
    pub supervisors: Option<NonZeroU32>,
}

/// What is left of the budget.
#[derive(Debug)]
pub(crate) struct Chaos {
    conversations: Option<Spent>,
    supervisors: Option<Spent>,
}

#[derive(Debug)]
struct Spent {
    most: u32,
    /// When the window began, and the kills in it.
    window: Mutex<(Instant, u32)>,
}

impl Chaos {
    pub(crate) fn new(budget: ChaosBudget) -> Self {
        let spent = |most: Option<NonZeroU32>| {
            most.map(|most| Spent { most: most.get(), window: Mutex::new((Instant::now(), 0)) })
        };
        Self { conversations: spent(budget.conversations), supervisors: spent(budget.supervisors) }
    }

    /// Takes a kill from the budget of this kind.
    ///
    /// # Errors
    /// [`Error::KillRefused`].
    pub(crate) fn spend(&self, kind: ActorKind) -> Result<(), Error> {
        let spent = match kind {
            ActorKind::Conversation => &self.conversations,
            _ => &self.supervisors,
        };
        let Some(Spent { most, window }) = spent else { return Err(Error::KillRefused { retry_after: None }) };
        let mut window = window.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        if now.saturating_duration_since(window.0) >= WINDOW {
            *window = (now, 0);
        }
        if window.1 >= *most {
            let retry_after = Some(WINDOW.saturating_sub(now.saturating_duration_since(window.0)));
            return Err(Error::KillRefused { retry_after });
        }
        window.1 += 1;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn kills_are_off_unless_given_and_bounded_in_a_minute() {
        let off = Chaos::new(ChaosBudget::default());
        assert_eq!(off.spend(ActorKind::Conversation), Err(Error::KillRefused { retry_after: None }));
        let chaos = Chaos::new(ChaosBudget { conversations: NonZeroU32::new(2), supervisors: None });
        assert!(chaos.spend(ActorKind::Conversation).is_ok() && chaos.spend(ActorKind::Conversation).is_ok());
        tokio::time::advance(Duration::from_secs(20)).await;
        let later = Some(Duration::from_secs(40));
        assert_eq!(chaos.spend(ActorKind::Conversation), Err(Error::KillRefused { retry_after: later }));
        assert_eq!(chaos.spend(ActorKind::Shard), Err(Error::KillRefused { retry_after: None }));
        tokio::time::advance(Duration::from_secs(40)).await;
        assert!(chaos.spend(ActorKind::Conversation).is_ok());
    }
}
