//! The supervision tree: one actor per conversation, below shard supervisors, below a root.
//!
//! [`Runtime`] is the handle through which the gateway reaches it. Everything a caller can get wrong or
//! meet is an [`Error`]; what it gets back is in [`TurnReply`] and its neighbours.

mod activations;
mod admission;
mod chaos;
mod conversation;
mod directory;
mod error;
mod events;
mod export;
mod flows;
mod heartbeat;
mod inspecting;
mod invariants;
mod janitor;
mod latest;
mod lives;
mod outside;
mod passivator;
mod pinning;
mod planted;
mod quarantine;
mod reply;
mod restarts;
mod root;
mod runtime;
mod settings;
mod shard;
mod shared;
#[cfg(any(test, feature = "simulation"))]
pub mod simulation;
mod timers;
mod tree;
mod watch;
mod watched;

#[cfg(test)]
mod tests;

pub use colloquy_flow::{BusyPolicy, Flow};
pub use colloquy_store::{Compacted, HistoryRecord, Listed, journal::backup::KnownBackup};

pub use self::{
    admission::{Rate, TurnSlot, TurnSlots},
    chaos::ChaosBudget,
    directory::ActorStatus,
    error::{DeadlineOutcome, Error, LimitKind, RateOf},
    export::{Export, ExportEvent},
    flows::{
        CompiledFlow, CurrentFlow, FindFlow, FlowAuthor, FlowCatalogue, FlowFault, FlowFile, FlowRevision, FlowSources,
        GivenFlow, GraphDrawing, LookupStats, OpenFlowsError, PausedRevision, Promotion, ReplayDifference,
        ReplayReport, Replayer, ScenarioMismatch, ScenarioResult, TrafficPause,
    },
    inspecting::{ConversationReport, EffectReport, Inspection, RunningReport},
    invariants::Invariant,
    janitor::IdleRetention,
    outside::{
        BreakerPolicy, BreakerPosition, CallContext, Deltas, GateFigures, GateKind, GatePolicy, Gates, ModelAnswer,
        ModelCall, ModelSpec, Nowhere, Outside, Pace, Prices, RetryPolicy, Routes, SourceAdapter, SourceCall,
        SourceSpec, World, WorldSpec,
    },
    pinning::{Pinned, PinnedReason},
    quarantine::{FailureCause, Quarantined},
    reply::{CommittedTurn, ControlReply, Described, Ending, FlowPin, TurnEvent, TurnReply},
    restarts::{RestartPolicies, RestartPolicy},
    runtime::{
        Attribution, Backups, Cancelled, Dependencies, DrainEstimate, EraseConversation, ErasureReceipt, EventPlace,
        Feedback, FeedbackPage, FlowChoice, ForkConversation, GraphEdge, GraphState, PauseConversation, PauseTraffic,
        PausedPage, PinnedPage, PromoteFlow, Promoted, PublishFlow, Published, QuarantinePage, RecordFeedback,
        ResetConversation, RevisionChoice, Runtime, RuntimeStats, StartError, StoreFacts, SubmitTurn, TrafficReply,
        TransitionGraph, TurnStream,
    },
    settings::{Limits, PassivationPolicy, RuntimeSettings, SnapshotPolicy},
    tree::{ActorKind, TreeFilter, TreePage, TreeRow},
    watch::{WatchEvent, Watcher},
};
