//! What authors use: loads flows from YAML, reports every fault with its place and fix, runs scenarios.
//!
//! [`load_folder`] and [`load_sources`] give a compiled flow or all faults at once; [`Scenario`]s are
//! conversations with what must come of each turn, played here by [`scenario::play`] and by others over the
//! wire. The format is described in `docs/flows.md`, every kind of fault in [`lint`]. [`replay`] decides recorded conversations again.

mod check;
mod compile;
mod fault;
pub mod lint;
mod load;
mod node;
mod read;
mod reader;
pub mod replay;
pub mod scenario;
mod source;

pub use fault::{FAULTS_MAX, Fault, Severity};
pub use lint::{LINTS, Lint};
pub use load::{LoadedFlow, SCENARIOS_FILE, load_folder, load_sources};
pub use node::FILE_BYTES_MAX;
pub use read::FORMAT;
pub use scenario::{Mismatch, Scenario, ScenarioTurn, check, load_scenarios};

#[cfg(test)]
mod tests;
