//! The supervision tree: one actor per conversation, below shard supervisors, below a root.
//!
//! [`Runtime`] is the handle through which the gateway reaches it. Everything a caller can get wrong or
//! meet is an [`Error`]; what it gets back is in [`TurnReply`] and its neighbours.

mod admission;
mod conversation;
mod directory;
mod error;
mod events;
mod export;
mod flows;
mod invariants;
mod janitor;
mod outside;
mod pinning;
mod planted;
mod reply;
mod root;
mod runtime;
mod settings;
mod shard;
mod shared;
#[cfg(any(test, feature = "simulation"))]
pub mod simulation;
mod tree;
mod watch;

#[cfg(test)]
mod tests;

pub use colloquy_flow::{BusyPolicy, Flow};
pub use colloquy_store::{Compacted, HistoryRecord, Listed, journal::backup::KnownBackup};

pub use self::{
    directory::ActorStatus,
    error::{DeadlineOutcome, Error, LimitKind},
    export::{Export, ExportEvent},
    flows::{
        CompiledFlow, CurrentFlow, FindFlow, FlowAuthor, FlowCatalogue, FlowFault, FlowFile, FlowRevision, FlowSources,
        GivenFlow, GraphDrawing, LookupStats, OpenFlowsError, Promotion, ReplayDifference, ReplayReport, Replayer,
        ScenarioMismatch, ScenarioResult,
    },
    invariants::Invariant,
    janitor::IdleRetention,
    outside::{
        BreakerPolicy, BreakerPosition, CallContext, Deltas, GateFigures, GateKind, GatePolicy, Gates, ModelAnswer,
        ModelCall, ModelSpec, Nowhere, Outside, Pace, Prices, RetryPolicy, Routes, SourceAdapter, SourceCall,
        SourceSpec, World, WorldSpec,
    },
    pinning::{Pinned, PinnedReason},
    reply::{CommittedTurn, ControlReply, Described, Ending, FlowPin, TurnEvent, TurnReply},
    runtime::{
        Attribution, Backups, Cancelled, Dependencies, EraseConversation, ErasureReceipt, EventPlace, Feedback,
        FeedbackPage, FlowChoice, ForkConversation, GraphEdge, GraphState, PauseConversation, PinnedPage, PromoteFlow,
        Promoted, PublishFlow, Published, RecordFeedback, ResetConversation, Runtime, RuntimeStats, StartError,
        StoreFacts, SubmitTurn, TransitionGraph, TurnStream,
    },
    settings::{Limits, RestartPolicy, RuntimeSettings, SnapshotPolicy},
    tree::{ActorKind, TreeFilter, TreePage, TreeRow},
    watch::{WatchEvent, Watcher},
};
