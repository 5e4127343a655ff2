//! Positions in a flow's tables. They mean nothing outside the flow that gave them and are never stored.

macro_rules! index {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub(crate) u16);

        impl $name {
            pub(crate) const fn at(self) -> usize {
                self.0 as usize
            }
        }
    };
}

index! {
    /// An intent of a flow.
    IntentIx
}
index! {
    /// A state of a flow, together with its intent.
    StateIx
}
index! {
    /// A slot of a flow.
    SlotIx
}
index! {
    /// An action of a flow.
    ActionIx
}
index! {
    /// A rule of a flow.
    RuleIx
}
index! {
    /// A response of a flow.
    ResponseIx
}
index! {
    /// An enrichment of a flow.
    EnrichmentIx
}
index! {
    /// A planner of a flow.
    PlannerIx
}
