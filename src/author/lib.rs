//! What authors use: loads flows from YAML, reports every fault with its place and fix, runs scenarios.
//!
//! [`load_folder`] and [`load_sources`] give a compiled flow or all faults at once; [`Scenario`]s are
//! conversations with what must come of each turn, played here by [`scenario::play`] and by others over the
//! wire. The format is described in `docs/flows.md`. [`replay`] decides recorded conversations again.

mod check;
mod compile;
pub mod deletions;
pub mod diff;
mod fault;
pub mod graph;
pub mod guard;
mod load;
mod node;
mod read;
mod reader;
pub mod replay;
pub mod scenario;
pub mod schema;
mod source;

pub use deletions::Deletions;
pub use diff::Diff;
pub use fault::{Fault, Severity};
pub use graph::Graph;
pub use load::{
    FILES_MAX, Inspected, LoadedFlow, SCENARIOS_FILE, inspect_sources, load_folder, load_sources, read_folder,
};
pub use node::FILE_BYTES_MAX;
pub use read::FORMAT;
pub use scenario::{Mismatch, Scenario, ScenarioTurn, Suite, check, load_scenarios};

#[cfg(test)]
mod tests;
