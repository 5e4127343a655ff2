//! A graph in the language of Graphviz.

use std::fmt::Write as _;

use super::{Graph, GraphState};

pub(super) fn write(graph: &Graph) -> String {
    let mut dot = String::new();
    // Writing to a text cannot fail.
    let _ = draw(graph, &mut dot);
    dot
}

fn draw(graph: &Graph, dot: &mut String) -> std::fmt::Result {
    writeln!(dot, "digraph {} {{", quoted(&graph.name))?;
    writeln!(dot, "  rankdir=LR;")?;
    writeln!(dot, "  node [shape=box, style=\"rounded,filled\", fillcolor=white, fontname=\"sans-serif\"];")?;
    writeln!(dot, "  edge [fontname=\"sans-serif\", fontsize=10];")?;
    if graph.edges.iter().any(|edge| edge.from.is_none()) {
        writeln!(dot, "  anywhere [shape=ellipse, style=filled, fillcolor=\"#eeeeee\"];")?;
    }
    for (place, intent) in graph.intents.iter().enumerate() {
        writeln!(dot, "  subgraph cluster_{place} {{")?;
        writeln!(dot, "    label={};", quoted(intent))?;
        for (place, state) in graph.states_of(intent) {
            writeln!(dot, "    s{place} [label={}{}];", quoted(&label(state)), look(state))?;
        }
        writeln!(dot, "  }}")?;
    }
    for edge in &graph.edges {
        let from = edge.from.map_or_else(|| "anywhere".to_owned(), |from| format!("s{from}"));
        let style = if edge.by_model() { ", style=dashed" } else { "" };
        writeln!(dot, "  {from} -> s{} [label={}{style}];", edge.to, quoted(&edge.label()))?;
    }
    writeln!(dot, "}}")
}

/// The name, with what cannot be told by its look.
fn label(state: &GraphState) -> String {
    let mut label = state.state.clone();
    for (holds, mark) in [
        (state.start, "start"),
        (state.boundary, "boundary"),
        (state.planner, "planner"),
        (state.dead_end, "dead end"),
        (!state.reachable, "unreachable"),
    ] {
        if holds {
            label.push_str(&format!("\n({mark})"));
        }
    }
    label
}

fn look(state: &GraphState) -> String {
    let mut look = String::new();
    if state.terminal {
        look.push_str(", peripheries=2");
    }
    if state.start {
        look.push_str(", penwidth=2.5");
    }
    if state.dead_end {
        look.push_str(", fillcolor=\"#ffd6d6\", color=\"#b00020\"");
    } else if !state.reachable {
        look.push_str(", fillcolor=\"#dddddd\"");
    }
    look
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n"))
}
