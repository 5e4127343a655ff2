//! The port to what turns sources into flows. Implemented where the authors' tools are known.

use std::{fmt, sync::Arc};

use colloquy_flow::Flow;
use colloquy_store::StoredRecord;
use colloquy_types::{FlowName, Revision};

/// One file of a flow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlowFile {
    /// The name that faults report it by.
    pub name: String,
    /// Its text.
    pub text: String,
}

/// The sources of a flow.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FlowSources {
    /// Its files.
    pub files: Vec<FlowFile>,
    /// Its scenarios; empty when it has none.
    pub scenarios: String,
}

/// Something in sources that is not as it must or should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlowFault {
    /// Stable name of the kind of fault, in kebab case.
    pub id: String,
    /// Whether it keeps the flow from being used; otherwise it is a warning.
    pub is_error: bool,
    /// The file, as it was given.
    pub file: String,
    /// Line, from 1; 0 when it concerns the file as a whole.
    pub line: u64,
    /// Column, from 1; 0 when it concerns the file as a whole.
    pub column: u64,
    /// What is wrong.
    pub message: String,
    /// How a conversation gets there, position by position; empty where that says nothing.
    pub path: Vec<String>,
    /// What to do about it.
    pub fix: String,
}

impl fmt::Display for FlowFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = if self.is_error { "error" } else { "warning" };
        write!(f, "{}:{}:{}: {severity}[{}]: {}", self.file, self.line, self.column, self.id, self.message)
    }
}

/// What came of compiling.
#[derive(Clone, Debug, Default)]
pub struct CompiledFlow {
    /// The flow's name, when it can be read.
    pub name: Option<FlowName>,
    /// The revision and the normalised source, when every file can be parsed.
    pub source: Option<(Revision, String)>,
    /// The flow, unless there is an error in it.
    pub flow: Option<Arc<Flow>>,
    /// Every fault of the flow and of its scenarios, ordered by place.
    pub faults: Vec<FlowFault>,
}

/// A turn of a scenario that came out otherwise than promised.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScenarioMismatch {
    /// The turn, from 1.
    pub turn: u32,
    /// `reply`, `intent`, `state`, `slot <name>`.
    pub what: String,
    /// What was promised.
    pub expected: String,
    /// What came.
    pub got: String,
}

/// How one scenario came out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScenarioResult {
    /// The scenario's name.
    pub name: String,
    /// The first difference; none when all came out as promised.
    pub mismatch: Option<ScenarioMismatch>,
}

/// Something that comes out otherwise than it was recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplayDifference {
    /// The turn, or the last one before it.
    pub turn_seq: u64,
    /// The record; 0 when the whole turn is meant.
    pub record_no: u64,
    /// What differs.
    pub what: String,
    /// As it was recorded; may hold what was said.
    pub recorded: String,
    /// As it comes out now; may hold what was said.
    pub replayed: String,
}

/// What came of replaying a conversation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReplayReport {
    /// Turns that came out as recorded.
    pub turns_identical: u64,
    /// Turns that did not. On its own revisions a replay ends with the first.
    pub turns_different: u64,
    /// Turns that could not be decided on the other revision: it asks for what the records do not hold.
    pub turns_undecided: u64,
    /// The first differences.
    pub differences: Vec<ReplayDifference>,
}

/// What the graph of a flow is drawn in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GraphDrawing {
    /// The language of Graphviz.
    Dot,
    /// The language of Mermaid.
    Mermaid,
    /// A picture.
    Svg,
}

/// Finds the compiled flow of a revision.
pub type FindFlow = Box<dyn Fn(Revision) -> Option<Arc<Flow>> + Send>;

/// Replays one conversation.
pub trait Replayer: Send {
    /// Takes the conversation's next record.
    ///
    /// # Errors
    /// Why the records are no history; names no text.
    fn record(&mut self, record: &StoredRecord) -> Result<(), String>;

    /// What came of it.
    fn finish(self: Box<Self>) -> ReplayReport;
}

/// Compiles flows and plays their scenarios. Slow: called on threads that may wait.
pub trait FlowAuthor: Send + Sync + 'static {
    /// Reads, checks and compiles; never fails, but tells what is wrong.
    fn compile(&self, sources: &FlowSources) -> CompiledFlow;

    /// Plays scenarios on a flow, in order; asks `stopped` between them and ends early when it says so.
    ///
    /// # Errors
    /// Every fault of scenarios that cannot be read.
    fn play(
        &self,
        flow: &Arc<Flow>,
        scenarios: &str,
        stopped: &dyn Fn() -> bool,
    ) -> Result<Vec<ScenarioResult>, Vec<FlowFault>>;

    /// Draws what leads where; the same flow always gives the same text.
    fn draw(&self, flow: &Flow, drawing: GraphDrawing) -> String;

    /// Begins to replay a conversation: on its own revisions, or on another flow.
    fn replayer(&self, find: FindFlow, against: Option<Arc<Flow>>) -> Box<dyn Replayer>;
}
