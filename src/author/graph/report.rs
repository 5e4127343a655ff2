//! What is to be known about a graph, in words.

use super::{Graph, GraphState};

pub(super) fn write(graph: &Graph) -> String {
    let mut lines = vec![format!(
        "{}: {}, {}, {}",
        graph.name,
        counted(graph.intents.len(), "intent"),
        counted(graph.states.len(), "state"),
        counted(graph.edges.len(), "move"),
    )];
    let marked = |holds: fn(&GraphState) -> bool| graph.states.iter().filter(move |state| holds(state));
    lines.push(listed("start", marked(|state| state.start)));
    lines.push(listed("terminal", marked(|state| state.terminal)));
    lines.push(listed("boundary", marked(|state| state.boundary)));
    let proposed = graph.edges.iter().filter(|edge| edge.by_model());
    let proposed: Vec<String> =
        proposed.map(|edge| format!("{} -> {}", graph.name_of(edge.from), graph.name_of(Some(edge.to)))).collect();
    lines.push(format!("a model may propose: {}", joined(&proposed)));
    for planner in &graph.planners {
        lines.push(format!(
            "planner {} in {} may call: {}; that leads to: {}",
            planner.name,
            joined(&planner.states),
            joined(&planner.tools),
            joined(&planner.leads)
        ));
    }
    lines.push(listed("unreachable", graph.unreachable()));
    let dead: Vec<&GraphState> = graph.dead_ends().collect();
    if dead.is_empty() {
        lines.push("dead ends: none".to_owned());
    }
    for state in dead {
        let way = if state.path.is_empty() { "no way leads there".to_owned() } else { state.path.join(" -> ") };
        lines.push(format!("dead end: {}, reached by {way}", state.name));
    }
    lines.join("\n")
}

fn listed<'g>(what: &str, states: impl Iterator<Item = &'g GraphState>) -> String {
    let names: Vec<String> = states.map(|state| state.name.clone()).collect();
    format!("{what}: {}", joined(&names))
}

fn joined(names: &[String]) -> String {
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

fn counted(count: usize, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}
