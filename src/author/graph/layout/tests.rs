//! Nothing of a drawing stands on anything else.

use std::sync::Arc;

use colloquy_flow::Flow;

use super::{Area, Layout};
use crate::{graph::Graph, load::load_despite_faults};

/// Moves forwards, backwards, over columns, between lanes and from anywhere.
const TANGLE: &str = r#"
format: colloquy.flow/v1
name: tangle
start: a.one
fallback: Lost.
intents:
  a: {initial: one, states: {one: {}, two: {}, three: {}, four: {}}}
  b: {initial: one, states: {one: {}, two: {}, three: {}, four: {}, five: {}}}
  c: {initial: one, states: {one: {terminal: true}}}
transitions:
  - {from: "*", to: b.one, by: intent}
  - {from: "*", to: b.three, by: [digression, model]}
  - {from: a.one, to: a.two, by: rule}
  - {from: [a.one, a.two], to: a.three, by: [rule, action]}
  - {from: [a.three, b.four], to: a.one, by: pending}
  - {from: b.one, to: b.two, by: rule}
  - {from: b.one, to: b.four, by: rule}
  - {from: [b.two, b.four], to: b.five, by: action}
  - {from: b.five, to: b.two, by: [rule, pending]}
  - {from: a.three, to: c.one, by: rule}
  - {from: c.one, to: a.four, by: rule}
  - {from: a.two, to: c.one, by: [action, model]}
"#;

fn layout() -> (Graph, Layout) {
    let flow: Arc<Flow> = load_despite_faults(TANGLE).expect("it can be compiled");
    let graph = Graph::of(&flow);
    let layout = Layout::of(&graph);
    (graph, layout)
}

fn overlap(one: Area, other: Area) -> bool {
    one.x < other.x + other.width
        && other.x < one.x + one.width
        && one.y < other.y + other.height
        && other.y < one.y + one.height
}

#[test]
fn boxes_stand_apart_and_within_their_lanes() {
    let (graph, layout) = layout();
    assert_eq!(layout.boxes.len(), graph.states.len());
    for (place, area) in layout.boxes.iter().enumerate() {
        assert!(layout.boxes[..place].iter().all(|other| !overlap(*area, *other)), "{}", graph.states[place].name);
        let lane = graph.intents.iter().position(|intent| *intent == graph.states[place].intent).expect("its lane");
        let lane = layout.lanes[lane];
        assert!(area.x > lane.x && area.x + area.width <= lane.x + lane.width);
        assert!(area.y > lane.y && area.y + area.height <= lane.y + lane.height);
    }
}

#[test]
fn lines_run_at_right_angles_from_source_to_target_and_through_no_box() {
    let (graph, layout) = layout();
    assert_eq!(layout.routes.len(), graph.edges.len());
    for route in &layout.routes {
        let edge = &graph.edges[route.edge];
        let (first, last) = (route.corners[0], route.corners[route.corners.len() - 1]);
        if let Some(from) = edge.from {
            assert_eq!(first.0, layout.boxes[from].x + layout.boxes[from].width);
        }
        assert_eq!(last.0, layout.boxes[edge.to].x);
        for pair in route.corners.windows(2) {
            let (one, other) = (pair[0], pair[1]);
            assert!(one.0 == other.0 || one.1 == other.1, "{edge:?} runs askew: {:?}", route.corners);
            let line = Area {
                x: one.0.min(other.0),
                y: one.1.min(other.1),
                width: (one.0 - other.0).abs(),
                height: (one.1 - other.1).abs(),
            };
            for (place, area) in layout.boxes.iter().enumerate() {
                assert!(!overlap(line, *area), "{edge:?} runs through {}", graph.states[place].name);
            }
        }
    }
}
