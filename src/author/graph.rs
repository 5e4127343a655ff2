//! A flow as a graph: who may lead a conversation where, and which states lead nowhere.
//!
//! [`Graph::of`] reads the declared transitions of a compiled flow; [`Graph::draw`] writes it for other programs
//! (DOT, Mermaid) or for people (SVG, Markdown). Everything is in declared order, so that the same flow always
//! gives the same bytes.

mod dot;
mod layout;
mod markdown;
mod mermaid;
mod report;
mod svg;

use std::collections::VecDeque;

use colloquy_flow::{By, ByMask, Flow, Planner, StateIx};
use serde::Serialize;

/// What a drawing is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// The language of Graphviz.
    Dot,
    /// The language of Mermaid.
    Mermaid,
    /// A picture.
    Svg,
    /// A page of Markdown: a Mermaid block and the report.
    Markdown,
}

/// A flow as a graph.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Graph {
    /// The flow's name.
    pub name: String,
    /// Names of the intents, in declared order.
    pub intents: Vec<String>,
    /// The states, in declared order.
    pub states: Vec<GraphState>,
    /// The moves, those from anywhere first. Staying where one is needs none and is left out.
    pub edges: Vec<GraphEdge>,
    /// Where a model chooses which tools are called, in declared order.
    pub planners: Vec<GraphPlanner>,
}

/// A state of a graph.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct GraphState {
    /// `intent.state`.
    pub name: String,
    /// Its intent.
    pub intent: String,
    /// Its name within the intent.
    pub state: String,
    /// Whether conversations begin here.
    pub start: bool,
    /// Whether nothing is underway here.
    pub terminal: bool,
    /// Whether a conversation may move to another revision here.
    pub boundary: bool,
    /// Whether a planner works here.
    pub planner: bool,
    /// Whether declared moves lead here from the start, or none has to: its intent starts the conversation over.
    pub reachable: bool,
    /// Whether it is not terminal and declared moves lead to no terminal state.
    pub dead_end: bool,
    /// The shortest way from the start, both ends included; empty when there is none.
    pub path: Vec<String>,
}

/// A declared move.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct GraphEdge {
    /// The state left, as a place in [`Graph::states`]; none when the move is declared from every state.
    pub from: Option<usize>,
    /// The state entered.
    pub to: usize,
    /// Who may propose it, by the names flows use.
    pub by: Vec<&'static str>,
}

/// A planner: where it works, and what may come of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct GraphPlanner {
    /// Its name.
    pub name: String,
    /// The states it works in, as `intent.state`.
    pub states: Vec<String>,
    /// The actions it may call.
    pub tools: Vec<String>,
    /// The states those lead to when they were executed or failed, as `intent.state`.
    pub leads: Vec<String>,
}

impl GraphPlanner {
    fn of(flow: &Flow, planner: &Planner) -> Self {
        let name = |state: &StateIx| flow.state(*state).full_name.to_string();
        let actions = || planner.tools.iter().map(|tool| flow.action(*tool));
        let mut leads: Vec<StateIx> =
            actions().flat_map(|action| action.on_executed.into_iter().chain(action.on_failed)).collect();
        leads.sort_unstable();
        leads.dedup();
        Self {
            name: planner.name.to_string(),
            states: flow.states().filter(|(at, _)| planner.in_scope(*at)).map(|(at, _)| name(&at)).collect(),
            tools: actions().map(|action| action.name.to_string()).collect(),
            leads: leads.iter().map(name).collect(),
        }
    }
}

impl GraphEdge {
    /// Whether a model may propose it.
    pub fn by_model(&self) -> bool {
        self.by.contains(&By::Model.name())
    }

    /// Who may propose it, as one text.
    pub fn label(&self) -> String {
        self.by.join(", ")
    }
}

impl Graph {
    /// Reads the graph of a flow.
    pub fn of(flow: &Flow) -> Self {
        let states: Vec<StateIx> = flow.states().map(|(state, _)| state).collect();
        let moves = Moves::of(flow, &states);
        let start = states.iter().position(|state| *state == flow.start_state()).unwrap_or_default();
        let came_from = moves.ways_from(start);
        let terminal: Vec<bool> = flow.states().map(|(_, state)| state.terminal).collect();
        let ends = moves.reaching(&terminal);
        let names: Vec<String> = flow.states().map(|(_, state)| state.full_name.to_string()).collect();
        let drawn = flow.states().zip(ends).enumerate().map(|(place, ((_, state), ends))| GraphState {
            name: state.full_name.to_string(),
            intent: state.intent_name.to_string(),
            state: state.name.to_string(),
            start: place == start,
            terminal: state.terminal,
            boundary: state.boundary,
            planner: !state.planners.is_empty(),
            reachable: came_from.get(place).is_some_and(Option::is_some) || flow.intent(state.intent).reset,
            dead_end: !ends,
            path: path_to(place, &came_from, &names),
        });
        Self {
            name: flow.name().to_string(),
            intents: flow.intents().map(|(_, intent)| intent.name.to_string()).collect(),
            states: drawn.collect(),
            edges: edges(flow, &states),
            planners: flow.planners().iter().map(|planner| GraphPlanner::of(flow, planner)).collect(),
        }
    }

    /// The states that lead to no terminal state, though they are none.
    pub fn dead_ends(&self) -> impl Iterator<Item = &GraphState> {
        self.states.iter().filter(|state| state.dead_end)
    }

    /// The states no declared move leads to.
    pub fn unreachable(&self) -> impl Iterator<Item = &GraphState> {
        self.states.iter().filter(|state| !state.reachable)
    }

    /// Whether every state can be reached and leads to an end.
    pub fn is_sound(&self) -> bool {
        self.dead_ends().next().is_none() && self.unreachable().next().is_none()
    }

    /// The graph, written in `format`.
    pub fn draw(&self, format: Format) -> String {
        match format {
            Format::Dot => dot::write(self),
            Format::Mermaid => mermaid::write(self),
            Format::Svg => svg::write(self),
            Format::Markdown => markdown::write(self),
        }
    }

    /// What is to be known about it, in words: how much there is, what leads nowhere, what a model may do.
    pub fn report(&self) -> String {
        report::write(self)
    }

    /// The name of the state at a place, or `anywhere`.
    pub(crate) fn name_of(&self, from: Option<usize>) -> &str {
        from.map_or("anywhere", |from| self.states.get(from).map_or("", |state| state.name.as_str()))
    }

    /// The states of an intent with their places.
    fn states_of<'g>(&'g self, intent: &'g str) -> impl Iterator<Item = (usize, &'g GraphState)> {
        self.states.iter().enumerate().filter(move |(_, state)| state.intent == intent)
    }
}

/// The declared moves by places.
struct Moves {
    targets: Vec<Vec<usize>>,
}

impl Moves {
    fn of(flow: &Flow, states: &[StateIx]) -> Self {
        let leads = |from: StateIx| {
            let targets = states.iter().enumerate();
            targets
                .filter(move |(_, to)| from != **to && flow.by_mask(from, **to) != ByMask::NONE)
                .map(|(place, _)| place)
        };
        Self { targets: states.iter().map(|from| leads(*from).collect()).collect() }
    }

    /// For each state that can be reached, the state before it on the shortest way; the start is its own.
    fn ways_from(&self, start: usize) -> Vec<Option<usize>> {
        let mut before = vec![None; self.targets.len()];
        if let Some(own) = before.get_mut(start) {
            *own = Some(start);
        }
        let mut queue = VecDeque::from([start]);
        while let Some(place) = queue.pop_front() {
            for to in self.targets.get(place).into_iter().flatten() {
                if let Some(unknown) = before.get_mut(*to).filter(|known| known.is_none()) {
                    *unknown = Some(place);
                    queue.push_back(*to);
                }
            }
        }
        before
    }

    /// Which states are, or lead to, one of `wanted`.
    fn reaching(&self, wanted: &[bool]) -> Vec<bool> {
        let mut sources: Vec<Vec<usize>> = vec![Vec::new(); self.targets.len()];
        for (from, targets) in self.targets.iter().enumerate() {
            for to in targets {
                if let Some(sources) = sources.get_mut(*to) {
                    sources.push(from);
                }
            }
        }
        let mut reaching = wanted.to_vec();
        let mut queue: Vec<usize> = (0..wanted.len()).filter(|place| wanted.get(*place) == Some(&true)).collect();
        while let Some(place) = queue.pop() {
            for from in sources.get(place).into_iter().flatten() {
                if let Some(unknown) = reaching.get_mut(*from).filter(|known| !**known) {
                    *unknown = true;
                    queue.push(*from);
                }
            }
        }
        reaching
    }
}

fn path_to(place: usize, before: &[Option<usize>], names: &[String]) -> Vec<String> {
    let mut path = Vec::new();
    let mut at = place;
    while let Some(Some(earlier)) = before.get(at) {
        path.extend(names.get(at).cloned());
        if *earlier == at {
            break;
        }
        at = *earlier;
    }
    path.reverse();
    path
}

/// The moves; what is declared from every state to one, by the same proposers, is one move from anywhere.
fn edges(flow: &Flow, states: &[StateIx]) -> Vec<GraphEdge> {
    let mut anywhere = Vec::new();
    let mut single = Vec::new();
    let shared: Vec<ByMask> = states.iter().map(|to| shared_by_all(flow, states, *to)).collect();
    for (to, mask) in shared.iter().enumerate() {
        anywhere.extend(edge(None, to, *mask));
    }
    for (from, state) in states.iter().enumerate() {
        for (to, (target, shared)) in states.iter().zip(&shared).enumerate() {
            let own = flow.by_mask(*state, *target);
            if from != to {
                single.extend(edge(Some(from), to, only(|by| own.allows(by) && !shared.allows(by))));
            }
        }
    }
    anywhere.extend(single);
    anywhere
}

fn shared_by_all(flow: &Flow, states: &[StateIx], to: StateIx) -> ByMask {
    // With a single state, "anywhere" would only say that it may stay.
    if states.len() < 2 {
        return ByMask::NONE;
    }
    only(|by| states.iter().all(|from| flow.by_mask(*from, to).allows(by)))
}

fn only(wanted: impl Fn(By) -> bool) -> ByMask {
    By::ALL.into_iter().filter(|by| wanted(*by)).fold(ByMask::NONE, ByMask::with)
}

fn edge(from: Option<usize>, to: usize, mask: ByMask) -> Option<GraphEdge> {
    let by: Vec<&'static str> = By::ALL.into_iter().filter(|by| mask.allows(*by)).map(By::name).collect();
    (!by.is_empty()).then_some(GraphEdge { from, to, by })
}
