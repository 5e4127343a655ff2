//! Flows as graphs: what is drawn, what is marked, and that the shipped maps are current.

use std::path::PathBuf;

use super::examples::{EXAMPLES, example};
use crate::{
    graph::{Format, Graph},
    load::load_despite_faults,
};

/// A flow with a loop that never ends, a state nothing leads to, and moves by everyone.
const MAZE: &str = r#"
format: colloquy.flow/v1
name: maze
start: hall.door
fallback: Lost.
intents:
  hall:
    initial: door
    states:
      door: {boundary: true}
      out: {terminal: true}
  cellar:
    classify: {patterns: ['\bdown\b']}
    initial: stairs
    states: {stairs: {}, dark: {}, darker: {}, walled: {}}
transitions:
  - {from: "*", to: hall.door, by: pending}
  - {from: "*", to: hall.out, by: [rule, model]}
"#;

/// The cellar's loop, in place of the moves from everywhere.
fn pit() -> String {
    let ways = "transitions:\n  - {from: hall.door, to: hall.out, by: rule}\n  \
                - {from: hall.door, to: cellar.stairs, by: [intent, model]}\n  \
                - {from: cellar.stairs, to: cellar.dark, by: rule}\n  \
                - {from: cellar.dark, to: cellar.darker, by: action}\n  \
                - {from: cellar.darker, to: cellar.dark, by: rule}\n";
    format!("{}{ways}", MAZE.split("transitions:").next().unwrap_or_default())
}

fn graph(source: &str) -> Graph {
    Graph::of(&load_despite_faults(source).expect("it can be compiled"))
}

/// CE-009: dead ends are reported.
#[test]
fn dead_ends_are_told_with_the_way_there_and_unreachable_states_without() {
    let graph = graph(&pit());
    let dead: Vec<_> = graph.dead_ends().map(|state| (state.name.as_str(), state.path.join(" "))).collect();
    assert_eq!(
        dead,
        [
            ("cellar.stairs", "hall.door cellar.stairs".to_owned()),
            ("cellar.dark", "hall.door cellar.stairs cellar.dark".to_owned()),
            ("cellar.darker", "hall.door cellar.stairs cellar.dark cellar.darker".to_owned()),
            ("cellar.walled", String::new()),
        ]
    );
    assert_eq!(graph.unreachable().map(|state| state.name.as_str()).collect::<Vec<_>>(), ["cellar.walled"]);
    assert!(!graph.is_sound());
    let report = graph.report();
    assert!(
        report.contains("dead end: cellar.darker, reached by hall.door -> cellar.stairs -> cellar.dark"),
        "{report}"
    );
    assert!(report.contains("unreachable: cellar.walled"), "{report}");
    assert!(report.contains("a model may propose: hall.door -> cellar.stairs"), "{report}");
}

#[test]
fn what_is_declared_from_every_state_is_one_move_from_anywhere() {
    let with_more = format!("{MAZE}  - {{from: hall.door, to: hall.out, by: action}}\n");
    let edges = graph(&with_more).edges;
    let told: Vec<_> = edges.iter().map(|edge| (edge.from, edge.to, edge.label())).collect();
    assert_eq!(
        told,
        [(None, 0, "pending".to_owned()), (None, 1, "rule, model".to_owned()), (Some(0), 1, "action".to_owned()),]
    );
}

#[test]
fn a_move_from_all_states_but_one_is_not_from_anywhere() {
    let from = "from: [hall.door, hall.out, cellar.stairs, cellar.dark, cellar.darker]";
    let edges = graph(&MAZE.replacen("from: \"*\"", from, 1)).edges;
    assert_eq!(edges.iter().filter(|edge| edge.from.is_none()).count(), 1);
    assert_eq!(edges.iter().filter(|edge| edge.to == 0).count(), 4, "staying is no move");
}

/// CE-009: DOT, Mermaid and SVG show the same map.
#[test]
fn every_drawing_shows_every_state_move_and_mark() {
    let graph = graph(&pit());
    let dot = graph.draw(Format::Dot);
    assert!(dot.contains("s0 -> s2 [label=\"intent, model\", style=dashed];"), "{dot}");
    assert!(dot.contains("s2 -> s3 [label=\"rule\"];"), "{dot}");
    assert!(dot.contains("s0 [label=\"door\\n(start)\\n(boundary)\", penwidth=2.5];"), "{dot}");
    assert!(dot.contains("s1 [label=\"out\", peripheries=2];"), "{dot}");
    let mermaid = graph.draw(Format::Mermaid);
    assert!(mermaid.contains("s0 -.->|intent, model| s2"), "{mermaid}");
    assert!(mermaid.contains("s1([\"out\"])"), "{mermaid}");
    assert!(mermaid.contains("class s2,s3,s4,s5 deadEnd"), "{mermaid}");
    let svg = graph.draw(Format::Svg);
    assert_eq!(svg.matches("class=\"name\"").count(), graph.states.len());
    assert_eq!(svg.matches("class=\"state dead\"").count(), 4 + 1, "and one in the legend");
    assert_eq!(svg.matches("<title>").count(), graph.edges.len() + 1);
    assert_eq!(svg.matches("class=\"move model\"").count(), 1 + 1, "and one in the legend");
}

#[test]
fn names_cannot_break_out_of_a_drawing() {
    let mut graph = graph(MAZE);
    let hostile = "\"]<script>&|\\";
    graph.intents[0] = hostile.to_owned();
    for state in &mut graph.states {
        if state.intent == "hall" {
            state.intent = hostile.to_owned();
            state.state = hostile.to_owned();
        }
    }
    let svg = graph.draw(Format::Svg);
    assert!(!svg.contains("<script") && svg.contains("&quot;]&lt;script&gt;&amp;|\\"), "{svg}");
    assert!(graph.draw(Format::Dot).contains(r#""\"]<script>&|\\""#));
    let mermaid = graph.draw(Format::Mermaid);
    assert!(!mermaid.contains("<script") && mermaid.contains("#quot;]#lt;script#gt;#amp;#124;"), "{mermaid}");
}

/// CE-009: the maps are in the documents of the example flows.
#[test]
fn the_shipped_maps_are_current() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs/maps");
    for flow in EXAMPLES {
        let graph = Graph::of(&example(flow).flow);
        assert!(graph.is_sound(), "{}", graph.report());
        for (ending, format) in [("md", Format::Markdown), ("svg", Format::Svg)] {
            let path = folder.join(format!("{flow}.{ending}"));
            let held = std::fs::read_to_string(&path).unwrap_or_default();
            assert!(held == graph.draw(format), "{} is not current: run `just maps`", path.display());
        }
    }
}
