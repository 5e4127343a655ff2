//! The authors' tools of a run in which nobody publishes anything.

use std::sync::Arc;

use colloquy_flow::Flow;
use colloquy_store::StoredRecord;

use crate::{
    CompiledFlow, FindFlow, FlowAuthor, FlowFault, FlowSources, GraphDrawing, ReplayReport, Replayer, ScenarioResult,
};

/// Finds nothing, plays nothing, draws nothing.
pub(super) struct NoAuthor;

impl FlowAuthor for NoAuthor {
    fn compile(&self, _: &FlowSources) -> CompiledFlow {
        CompiledFlow::default()
    }

    fn play(&self, _: &Arc<Flow>, _: &str, _: &dyn Fn() -> bool) -> Result<Vec<ScenarioResult>, Vec<FlowFault>> {
        Ok(Vec::new())
    }

    fn draw(&self, _: &Flow, _: GraphDrawing) -> String {
        String::new()
    }

    fn replayer(&self, _: FindFlow, _: Option<Arc<Flow>>) -> Box<dyn Replayer> {
        Box::new(NoAuthor)
    }
}

impl Replayer for NoAuthor {
    fn record(&mut self, _: &StoredRecord) -> Result<(), String> {
        Ok(())
    }

    fn finish(self: Box<Self>) -> ReplayReport {
        ReplayReport::default()
    }
}
