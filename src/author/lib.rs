//! What authors use: loads flows from YAML, reports every fault with its place and fix, runs scenarios.
//!
//! [`load_folder`] and [`load_sources`] give a compiled flow or all faults at once; [`Scenario`]s are
//! conversations with what must come of each turn, played here by [`scenario::play`] and by others over the
//! wire. The format is described in `docs/flows.md`, every kind of fault in [`lint`]. [`replay`] decides recorded conversations again.

mod check;
mod compile;
pub mod deletions;
pub mod diff;
mod fault;
pub mod graph;
pub mod guard;
pub mod lint;
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
pub use fault::{FAULTS_MAX, Fault, Severity};
pub use graph::Graph;
pub use lint::{LINTS, Lint};
pub use load::{
    FILES_MAX, Inspected, LoadedFlow, SCENARIOS_FILE, inspect_sources, load_folder, load_sources, read_folder,
};
pub use node::FILE_BYTES_MAX;
pub use read::FORMAT;
pub use scenario::{Mismatch, Scenario, ScenarioTurn, Suite, check, folder_scenarios, load_scenarios};

#[cfg(test)]
mod tests;
