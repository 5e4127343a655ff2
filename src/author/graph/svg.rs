//! A graph as a picture that needs no other program.

use std::fmt::Write as _;

use super::{
    Graph, GraphState,
    layout::{Area, Layout, Route},
};

/// How round the corners of lines are.
const ROUND: i32 = 5;
const LEGEND_HEIGHT: i32 = 34;
const LEGEND_WIDTH: i32 = 680;

const STYLE: &str = "text{font-family:Helvetica,Arial,sans-serif;fill:#1b1f24}\
.lane{fill:#f6f8fa;stroke:#d0d7de}.title{font-size:12px;font-weight:bold;fill:#57606a}\
.bar{fill:#eaeef2;stroke:#afb8c1}.state{fill:#fff;stroke:#424a53;stroke-width:1.3}\
.inner{fill:none;stroke:#424a53}.dead{fill:#ffd6d6;stroke:#b00020}.unreachable{fill:#ddd;stroke-dasharray:2 2}\
.name{font-size:13px;text-anchor:middle}.label{font-size:10px;text-anchor:end;fill:#0550ae}\
.legend{font-size:11px;fill:#57606a}.move{fill:none;stroke:#57606a;stroke-width:1.2;marker-end:url(#tip)}\
.model{stroke-dasharray:5 3;marker-end:none;marker-start:url(#tip)}.mark{fill:#1b1f24}";

pub(super) fn write(graph: &Graph) -> String {
    let layout = Layout::of(graph);
    let mut svg = String::new();
    // Writing to a text cannot fail.
    let _ = draw(graph, &layout, &mut svg);
    svg
}

fn draw(graph: &Graph, layout: &Layout, svg: &mut String) -> std::fmt::Result {
    let (width, height) = (layout.width.max(LEGEND_WIDTH), layout.height + LEGEND_HEIGHT);
    writeln!(
        svg,
        r#"<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" role="img">"#
    )?;
    writeln!(svg, "<title>What leads where in {}</title>", escaped(&graph.name))?;
    writeln!(svg, "<style>{STYLE}</style>")?;
    writeln!(
        svg,
        r##"<defs><marker id="tip" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="7" markerHeight="7" orient="auto-start-reverse"><path d="M0 0L8 4L0 8z" fill="#57606a"/></marker></defs>"##
    )?;
    writeln!(svg, r##"<rect width="{width}" height="{height}" fill="#fff"/>"##)?;
    for (intent, lane) in graph.intents.iter().zip(&layout.lanes) {
        rectangle(svg, "lane", *lane, 8)?;
        writeln!(svg, r#"<text class="title" x="{}" y="{}">{}</text>"#, lane.x + 10, lane.y + 17, escaped(intent))?;
    }
    if let Some(bar) = layout.anywhere {
        rectangle(svg, "bar", bar, 8)?;
        let (x, y) = (bar.x + bar.width / 2 + 4, bar.y + bar.height / 2);
        writeln!(svg, r#"<text class="name" x="{x}" y="{y}" transform="rotate(-90 {x} {y})">anywhere</text>"#)?;
    }
    layout.routes.iter().try_for_each(|route| line(graph, route, svg))?;
    for label in &layout.labels {
        let (x, y) = label.end;
        writeln!(svg, r#"<text class="label" x="{x}" y="{y}">{}</text>"#, escaped(&label.text))?;
    }
    graph.states.iter().zip(&layout.boxes).try_for_each(|(state, area)| node(state, *area, svg))?;
    legend(layout.height, svg)?;
    writeln!(svg, "</svg>")
}

fn rectangle(svg: &mut String, class: &str, area: Area, round: i32) -> std::fmt::Result {
    let Area { x, y, width, height } = area;
    writeln!(svg, r#"<rect class="{class}" x="{x}" y="{y}" width="{width}" height="{height}" rx="{round}"/>"#)
}

fn node(state: &GraphState, area: Area, svg: &mut String) -> std::fmt::Result {
    let class = match (state.dead_end, state.reachable) {
        (true, _) => "state dead",
        (_, false) => "state unreachable",
        _ => "state",
    };
    rectangle(svg, class, area, 7)?;
    if state.terminal {
        let inner = Area { x: area.x + 3, y: area.y + 3, width: area.width - 6, height: area.height - 6 };
        rectangle(svg, "inner", inner, 5)?;
    }
    let (middle, y) = (area.x + area.width / 2, area.y + area.height / 2);
    // What a planner does is told in words: it is no look of the state's own.
    let line = if state.planner { y - 2 } else { y + 4 };
    writeln!(svg, r#"<text class="name" x="{middle}" y="{line}">{}</text>"#, escaped(&state.state))?;
    if state.planner {
        writeln!(svg, r#"<text class="legend" x="{middle}" y="{}" text-anchor="middle">planner</text>"#, y + 11)?;
    }
    if state.start {
        start_mark((area.x + 11, y), svg)?;
    }
    if state.boundary {
        boundary_mark((area.x + area.width - 11, y), svg)?;
    }
    Ok(())
}

fn start_mark((x, y): (i32, i32), svg: &mut String) -> std::fmt::Result {
    writeln!(svg, r#"<circle class="mark" cx="{x}" cy="{y}" r="4"/>"#)
}

fn boundary_mark((x, y): (i32, i32), svg: &mut String) -> std::fmt::Result {
    writeln!(svg, r#"<path class="mark" d="M{} {y}L{x} {}L{} {y}L{x} {}z"/>"#, x - 5, y - 5, x + 5, y + 5)
}

fn line(graph: &Graph, route: &Route, svg: &mut String) -> std::fmt::Result {
    let Some(edge) = graph.edges.get(route.edge) else { return Ok(()) };
    let class = if edge.by_model() { "move model" } else { "move" };
    // Dashes are counted from the target, so that lines into one port do not fill each other's gaps.
    let corners: Vec<(i32, i32)> =
        if edge.by_model() { route.corners.iter().rev().copied().collect() } else { route.corners.clone() };
    let told = format!("{} to {} by {}", graph.name_of(edge.from), graph.name_of(Some(edge.to)), edge.label());
    writeln!(svg, r#"<path class="{class}" d="{}"><title>{}</title></path>"#, path(&corners), escaped(&told))
}

/// The way along corners, each of them rounded.
fn path(corners: &[(i32, i32)]) -> String {
    let mut path = String::new();
    for (place, corner) in corners.iter().enumerate() {
        let before = place.checked_sub(1).and_then(|before| corners.get(before));
        match (before, corners.get(place + 1)) {
            (None, _) => path.push_str(&format!("M{} {}", corner.0, corner.1)),
            (_, None) => path.push_str(&format!("L{} {}", corner.0, corner.1)),
            (Some(before), Some(after)) => {
                let (enter, leave) = (toward(*corner, *before), toward(*corner, *after));
                path.push_str(&format!("L{} {}Q{} {} {} {}", enter.0, enter.1, corner.0, corner.1, leave.0, leave.1));
            }
        }
    }
    path
}

/// A little from a corner towards another, at most half the way.
fn toward(corner: (i32, i32), other: (i32, i32)) -> (i32, i32) {
    let step = |from: i32, to: i32| from + ((to - from) / 2).clamp(-ROUND, ROUND);
    (step(corner.0, other.0), step(corner.1, other.1))
}

fn legend(y: i32, svg: &mut String) -> std::fmt::Result {
    let middle = y + 8;
    let text = |svg: &mut String, x: i32, text: &str| {
        writeln!(svg, r#"<text class="legend" x="{x}" y="{}">{text}</text>"#, middle + 4)
    };
    start_mark((24, middle), svg)?;
    text(svg, 34, "start")?;
    let sample = Area { x: 80, y: middle - 8, width: 26, height: 16 };
    rectangle(svg, "state", sample, 5)?;
    rectangle(svg, "inner", Area { x: 83, y: middle - 5, width: 20, height: 10 }, 3)?;
    text(svg, 112, "terminal")?;
    boundary_mark((180, middle), svg)?;
    text(svg, 190, "boundary")?;
    rectangle(svg, "state dead", Area { x: 258, ..sample }, 5)?;
    text(svg, 290, "dead end")?;
    rectangle(svg, "state unreachable", Area { x: 356, ..sample }, 5)?;
    text(svg, 388, "unreachable")?;
    writeln!(svg, r#"<path class="move model" d="M504 {middle}L470 {middle}"/>"#)?;
    text(svg, 512, "a model may propose it")
}

fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            _ => escaped.push(letter),
        }
    }
    escaped
}
