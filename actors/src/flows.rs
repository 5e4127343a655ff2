//! Flows: what conversations run, which revisions a tenant has published, and which it has promoted.
//!
//! [`FlowCatalogue`] is what conversations read: compiled flows by tenant and name, and by revision, and what of them
//! is paused. What is durable stands in each tenant's stream ([`stream`]), one record per revision, per promotion and
//! per pause; the catalogue is rebuilt from it at the start ([`open`]) and changed by one actor alone ([`keeper`]). Compiling and playing
//! scenarios is the [`FlowAuthor`]'s, on threads of their own ([`workshop`]).

mod author;
mod catalogue;
pub(crate) mod keeper;
mod open;
mod pauses;
mod record;
mod revision;
mod source;
mod stream;
pub(crate) mod workshop;

#[cfg(test)]
pub(crate) mod tests;

#[cfg(test)]
pub(crate) use self::record::RevisionRecord;
pub(crate) use self::source::find_source;
pub use self::{
    author::{
        CompiledFlow, FindFlow, FlowAuthor, FlowFault, FlowFile, FlowSources, GraphDrawing, ReplayDifference,
        ReplayReport, Replayer, ScenarioMismatch, ScenarioResult,
    },
    catalogue::{CurrentFlow, FlowCatalogue, LookupStats},
    open::{GivenFlow, OpenFlowsError},
    pauses::{PausedRevision, TrafficPause},
    revision::{FlowRevision, Promotion},
};
#[cfg(any(test, feature = "simulation"))]
pub(crate) use self::{
    record::{Decision, decision},
    stream::flows_key,
};
