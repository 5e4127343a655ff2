//! What becomes of a turn that finds its conversation busy with another one.

/// What becomes of a turn that finds its conversation busy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum BusyPolicy {
    /// It waits its turn in the conversation's bounded queue.
    #[default]
    Enqueue,
    /// It is refused at once.
    Reject,
    /// The running turn ends now: what was shown of it stays, as a partial turn; this one comes after it.
    Interrupt,
    /// The running turn is dropped as if it had never been sent; this one comes in its place. A turn that is about to
    /// act cannot be dropped any more: it is interrupted.
    Replace,
    /// It is left out, which is no error.
    Drop,
}

impl BusyPolicy {
    /// All of them, in the order in which they are told.
    pub const ALL: [Self; 5] = [Self::Enqueue, Self::Reject, Self::Interrupt, Self::Replace, Self::Drop];

    /// The policy's name in flows.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Enqueue => "enqueue",
            Self::Reject => "reject",
            Self::Interrupt => "interrupt",
            Self::Replace => "replace",
            Self::Drop => "drop",
        }
    }

    /// The policy of this name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|policy| policy.name() == name)
    }
}
