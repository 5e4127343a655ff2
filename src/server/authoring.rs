//! The authors' tools behind the runtime's port: what compiles flows and plays their scenarios for it.

use std::sync::Arc;

use colloquy_actors::{
    CompiledFlow, FindFlow, Flow, FlowAuthor, FlowFault, FlowSources, GraphDrawing, Replayer, ScenarioMismatch,
    ScenarioResult,
};
use colloquy_author::{
    Fault, Graph, SCENARIOS_FILE, Severity, graph::Format, inspect_sources, load_scenarios, scenario,
};

use crate::replaying::Replaying;

/// The tools of `colloquy-author`.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tools;

fn fault(fault: Fault) -> FlowFault {
    let Fault { id, severity, file, line, column, message, path, fix } = fault;
    FlowFault { id: id.to_owned(), is_error: severity == Severity::Error, file, line, column, message, path, fix }
}

impl FlowAuthor for Tools {
    fn compile(&self, sources: &FlowSources) -> CompiledFlow {
        let files = sources.files.iter().map(|file| (file.name.clone(), file.text.clone())).collect();
        let inspected = inspect_sources("the flow", files);
        let mut faults: Vec<_> = inspected.faults.into_iter().map(fault).collect();
        if !sources.scenarios.is_empty()
            && let Err(found) = load_scenarios(SCENARIOS_FILE, &sources.scenarios)
        {
            faults.extend(found.into_iter().map(fault));
        }
        CompiledFlow { name: inspected.name, source: inspected.source, flow: inspected.flow, faults }
    }

    fn play(
        &self,
        flow: &Arc<Flow>,
        scenarios: &str,
        stopped: &dyn Fn() -> bool,
    ) -> Result<Vec<ScenarioResult>, Vec<FlowFault>> {
        let scenarios = load_scenarios(SCENARIOS_FILE, scenarios)
            .map_err(|faults| faults.into_iter().map(fault).collect::<Vec<_>>())?;
        let played = scenarios.iter().take_while(|_| !stopped()).map(|scenario| {
            let mismatch = scenario::play(flow, scenario).err().map(|failure| ScenarioMismatch {
                turn: u32::try_from(failure.turn).unwrap_or(u32::MAX),
                what: failure.mismatch.what,
                expected: failure.mismatch.expected,
                got: failure.mismatch.got,
            });
            ScenarioResult { name: scenario.name.clone(), mismatch }
        });
        Ok(played.collect())
    }

    fn draw(&self, flow: &Flow, drawing: GraphDrawing) -> String {
        Graph::of(flow).draw(match drawing {
            GraphDrawing::Dot => Format::Dot,
            GraphDrawing::Mermaid => Format::Mermaid,
            GraphDrawing::Svg => Format::Svg,
        })
    }

    fn replayer(&self, find: FindFlow, against: Option<Arc<Flow>>) -> Box<dyn Replayer> {
        Box::new(Replaying::new(find, against))
    }
}
