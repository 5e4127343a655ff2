//! A graph in the language of Mermaid, as many code hosts draw it.

use std::fmt::Write as _;

use super::{Graph, GraphState};

pub(super) fn write(graph: &Graph) -> String {
    let mut text = String::new();
    // Writing to a text cannot fail.
    let _ = draw(graph, &mut text);
    text
}

fn draw(graph: &Graph, text: &mut String) -> std::fmt::Result {
    writeln!(text, "flowchart LR")?;
    if graph.edges.iter().any(|edge| edge.from.is_none()) {
        writeln!(text, "  anywhere([anywhere])")?;
    }
    for (place, intent) in graph.intents.iter().enumerate() {
        writeln!(text, "  subgraph i{place} [\"{}\"]", escaped(intent))?;
        for (place, state) in graph.states_of(intent) {
            writeln!(text, "    {}", node(place, state))?;
        }
        writeln!(text, "  end")?;
    }
    for edge in &graph.edges {
        let from = edge.from.map_or_else(|| "anywhere".to_owned(), |from| format!("s{from}"));
        let arrow = if edge.by_model() { "-.->" } else { "-->" };
        writeln!(text, "  {from} {arrow}|{}| s{}", escaped(&edge.label()), edge.to)?;
    }
    classes(graph, text)
}

/// Terminal states are rounded; what else a state is stands beneath its name.
fn node(place: usize, state: &GraphState) -> String {
    let mut label = escaped(&state.state);
    for (holds, mark) in [
        (state.start, "start"),
        (state.boundary, "boundary"),
        (state.planner, "planner"),
        (state.dead_end, "dead end"),
        (!state.reachable, "unreachable"),
    ] {
        if holds {
            label.push_str(&format!("<br/><i>{mark}</i>"));
        }
    }
    if state.terminal { format!("s{place}([\"{label}\"])") } else { format!("s{place}[\"{label}\"]") }
}

type Holds = fn(&GraphState) -> bool;

fn classes(graph: &Graph, text: &mut String) -> std::fmt::Result {
    let looks: [(&str, &str, Holds); 4] = [
        ("start", "stroke-width:3px", |state| state.start),
        ("boundary", "stroke-dasharray:4 3", |state| state.boundary),
        ("deadEnd", "fill:#ffd6d6,stroke:#b00020,color:#000", |state| state.dead_end),
        ("unreachable", "fill:#dddddd,stroke:#666,color:#000", |state| !state.reachable),
    ];
    for (class, look, holds) in looks {
        let states = graph.states.iter().enumerate().filter(|(_, state)| holds(state));
        let states: Vec<String> = states.map(|(place, _)| format!("s{place}")).collect();
        if !states.is_empty() {
            writeln!(text, "  classDef {class} {look}")?;
            writeln!(text, "  class {} {class}", states.join(","))?;
        }
    }
    Ok(())
}

fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '"' => escaped.push_str("#quot;"),
            '#' => escaped.push_str("#35;"),
            '<' => escaped.push_str("#lt;"),
            '>' => escaped.push_str("#gt;"),
            '|' => escaped.push_str("#124;"),
            '&' => escaped.push_str("#amp;"),
            _ => escaped.push(letter),
        }
    }
    escaped
}
