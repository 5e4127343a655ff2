//! The lines of the moves. Each source has one track in the channel after its column, and each port that is
//! reached through a corridor one track there and one in the channel before its column: lines share a track only
//! with what leaves the same state or enters the same port.

use super::{Cell, LANE_GAP, Label, Places, Route, TRACK_GAP, port_of, whole};
use crate::graph::{Graph, GraphEdge};

/// Who has which track.
pub(super) struct Tracks {
    /// Sources by channel.
    exits: Vec<Vec<usize>>,
    /// Targets and ports by channel, for those that are entered through a corridor.
    entries: Vec<Vec<(usize, usize)>>,
    /// Targets and ports by lane.
    corridors: Vec<Vec<(usize, usize)>>,
}

/// Whether a move reaches its target without a corridor.
fn is_direct(edge: &GraphEdge, cells: &[Cell]) -> bool {
    let column = cells.get(edge.to).map_or(0, |cell| cell.column);
    edge.from.map_or(column == 0, |from| cells.get(from).is_some_and(|cell| cell.column + 1 == column))
}

impl Tracks {
    pub(super) fn of(graph: &Graph, cells: &[Cell]) -> Self {
        let channels = cells.iter().map(|cell| cell.column + 2).max().unwrap_or(1);
        let mut tracks = Self {
            exits: vec![Vec::new(); channels],
            entries: vec![Vec::new(); channels],
            corridors: vec![Vec::new(); graph.intents.len()],
        };
        for edge in &graph.edges {
            if let Some((from, cell)) = edge.from.and_then(|from| Some((from, cells.get(from)?))) {
                once(&mut tracks.exits, cell.column + 1, from);
            }
            if let Some(cell) = cells.get(edge.to).filter(|_| !is_direct(edge, cells)) {
                let port = (edge.to, port_of(edge, cells));
                once(&mut tracks.entries, cell.column, port);
                once(&mut tracks.corridors, cell.lane, port);
            }
        }
        tracks
    }

    /// The room the tracks of a channel need.
    pub(super) fn width(&self, channel: usize) -> i32 {
        let exits = self.exits.get(channel).map_or(0, Vec::len);
        let entries = self.entries.get(channel).map_or(0, Vec::len);
        whole(exits + entries + 2) * TRACK_GAP
    }

    /// The room a lane's corridor needs.
    pub(super) fn corridor_height(&self, lane: usize) -> i32 {
        match self.corridors.get(lane).map_or(0, Vec::len) {
            0 => 0,
            tracks => whole(tracks) * TRACK_GAP + 6,
        }
    }

    fn exit(&self, from: usize, channel: usize, places: &Places) -> i32 {
        let track = place_in(&self.exits, channel, &from);
        places.channels.get(channel).copied().unwrap_or_default() + whole(track + 1) * TRACK_GAP
    }

    fn entry(&self, port: (usize, usize), channel: usize, places: &Places) -> i32 {
        let track = self.exits.get(channel).map_or(0, Vec::len) + place_in(&self.entries, channel, &port);
        places.channels.get(channel).copied().unwrap_or_default() + whole(track + 1) * TRACK_GAP
    }

    fn corridor(&self, port: (usize, usize), lane: usize, places: &Places) -> i32 {
        let track = place_in(&self.corridors, lane, &port);
        places.corridors.get(lane).copied().unwrap_or_default() + whole(track) * TRACK_GAP
    }
}

fn once<T: PartialEq>(lists: &mut [Vec<T>], at: usize, item: T) {
    if let Some(list) = lists.get_mut(at).filter(|list| !list.contains(&item)) {
        list.push(item);
    }
}

fn place_in<T: PartialEq>(lists: &[Vec<T>], at: usize, item: &T) -> usize {
    lists.get(at).and_then(|list| list.iter().position(|held| held == item)).unwrap_or_default()
}

/// The lines, and the labels of the ports.
pub(super) fn draw(graph: &Graph, cells: &[Cell], tracks: &Tracks, places: &Places) -> (Vec<Route>, Vec<Label>) {
    let routes = graph.edges.iter().enumerate().filter_map(|(place, edge)| {
        let corners = corners(graph, edge, cells, tracks, places)?;
        Some(Route { edge: place, corners: straightened(corners) })
    });
    let mut labels = Vec::new();
    for (state, cell) in cells.iter().enumerate() {
        for (port, text) in cell.ports.iter().enumerate() {
            let (x, y) = places.port(state, cell, port);
            labels.push(Label { end: (x - 10, y - 3), text: text.clone() });
        }
    }
    (routes.collect(), labels)
}

fn corners(
    graph: &Graph,
    edge: &GraphEdge,
    cells: &[Cell],
    tracks: &Tracks,
    places: &Places,
) -> Option<Vec<(i32, i32)>> {
    let target = cells.get(edge.to)?;
    let port = (edge.to, port_of(edge, cells));
    let end = places.port(edge.to, target, port.1);
    let mut corners = Vec::with_capacity(6);
    // Where the line comes from: the bar at the left, or a state's right side and its track.
    let mut at = match edge.from {
        None => places.channels.first().copied()? - LANE_GAP,
        Some(from) => {
            let cell = cells.get(from)?;
            let y = exit_height(graph, from, cells, places)?;
            let area = places.boxes.get(from)?;
            let track = tracks.exit(from, cell.column + 1, places);
            corners.extend([(area.x + area.width, y), (track, y)]);
            track
        }
    };
    if !is_direct(edge, cells) {
        let corridor = tracks.corridor(port, target.lane, places);
        let entry = tracks.entry(port, target.column, places);
        corners.extend([(at, corridor), (entry, corridor)]);
        at = entry;
    }
    corners.extend([(at, end.1), end]);
    Some(corners)
}

/// The middle of a state's right side when a line goes straight on from there; otherwise a little beneath, so
/// that it is not taken for a line that passes at the same height.
fn exit_height(graph: &Graph, from: usize, cells: &[Cell], places: &Places) -> Option<i32> {
    let area = places.boxes.get(from)?;
    let middle = area.y + area.height / 2;
    let straight = graph.edges.iter().filter(|edge| edge.from == Some(from) && is_direct(edge, cells)).any(|edge| {
        let port = port_of(edge, cells);
        cells.get(edge.to).is_some_and(|cell| places.port(edge.to, cell, port).1 == middle)
    });
    Some(if straight { middle } else { middle + 5 })
}

/// Without corners that are none.
fn straightened(corners: Vec<(i32, i32)>) -> Vec<(i32, i32)> {
    let mut straight: Vec<(i32, i32)> = Vec::with_capacity(corners.len());
    for corner in corners {
        if let [.., before, last] = straight.as_slice() {
            let in_line = (before.0 == last.0 && last.0 == corner.0) || (before.1 == last.1 && last.1 == corner.1);
            if in_line || *last == corner {
                straight.pop();
            }
        }
        straight.push(corner);
    }
    straight
}
