//! Where everything of a drawing stands, in whole pixels.
//!
//! Each intent is a lane; its states stand in columns by the longest way from where the lane is entered, and
//! in rows by the rows of what leads to them. Moves run at right angles: out of a state into the channel after
//! its column, if need be through the corridor on top of the target's lane, into the channel before the target's
//! column, and to a port of the target. A port belongs to one set of proposers, so that a label is drawn once.

mod columns;
mod routes;

use super::{Graph, GraphEdge};

/// A rectangle.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Area {
    pub(super) x: i32,
    pub(super) y: i32,
    pub(super) width: i32,
    pub(super) height: i32,
}

/// A move: the corners of its line.
#[derive(Debug)]
pub(super) struct Route {
    pub(super) edge: usize,
    pub(super) corners: Vec<(i32, i32)>,
}

/// A text that ends at a place.
#[derive(Debug)]
pub(super) struct Label {
    pub(super) end: (i32, i32),
    pub(super) text: String,
}

#[derive(Debug)]
pub(super) struct Layout {
    pub(super) width: i32,
    pub(super) height: i32,
    /// The bar that stands for anywhere.
    pub(super) anywhere: Option<Area>,
    /// A lane for each intent.
    pub(super) lanes: Vec<Area>,
    /// A box for each state.
    pub(super) boxes: Vec<Area>,
    pub(super) routes: Vec<Route>,
    pub(super) labels: Vec<Label>,
}

const MARGIN: i32 = 16;
const BAR_WIDTH: i32 = 28;
const LANE_GAP: i32 = 14;
const TITLE_HEIGHT: i32 = 24;
const ROW_GAP: i32 = 14;
const TRACK_GAP: i32 = 8;
const PORT_GAP: i32 = 18;
const BOX_HEIGHT_MIN: i32 = 36;
/// Room of a letter in a state's name and in a label.
const NAME_LETTER: i32 = 8;
const LABEL_LETTER: i32 = 6;

/// A state's place in its lane, and what leads to it.
#[derive(Clone, Debug, Default)]
struct Cell {
    lane: usize,
    column: usize,
    row: usize,
    /// The labels of what leads here, each once.
    ports: Vec<String>,
}

impl Cell {
    fn height(&self) -> i32 {
        BOX_HEIGHT_MIN.max(whole(self.ports.len()) * PORT_GAP + 16)
    }
}

impl Layout {
    pub(super) fn of(graph: &Graph) -> Self {
        let cells = columns::cells(graph);
        let tracks = routes::Tracks::of(graph, &cells);
        let places = Places::of(graph, &cells, &tracks);
        let (routes, labels) = routes::draw(graph, &cells, &tracks, &places);
        let has_anywhere = graph.edges.iter().any(|edge| edge.from.is_none());
        let bottom = places.lanes.last().map_or(MARGIN, |lane| lane.y + lane.height);
        Self {
            width: places.right + MARGIN,
            height: bottom + MARGIN,
            anywhere: has_anywhere.then(|| Area {
                x: MARGIN,
                y: MARGIN,
                width: BAR_WIDTH,
                height: (bottom - MARGIN).max(BAR_WIDTH),
            }),
            lanes: places.lanes,
            boxes: places.boxes,
            routes,
            labels,
        }
    }
}

/// Where lanes, boxes and channels stand.
struct Places {
    lanes: Vec<Area>,
    boxes: Vec<Area>,
    /// Where the channel before each column begins; the last is the one after the last column.
    channels: Vec<i32>,
    /// Where the corridor of each lane begins.
    corridors: Vec<i32>,
    right: i32,
}

impl Places {
    fn of(graph: &Graph, cells: &[Cell], tracks: &routes::Tracks) -> Self {
        let columns = cells.iter().map(|cell| cell.column + 1).max().unwrap_or_default();
        let has_anywhere = graph.edges.iter().any(|edge| edge.from.is_none());
        let left = if has_anywhere { MARGIN + BAR_WIDTH + LANE_GAP } else { MARGIN };
        let mut x = left;
        let (mut channels, mut column_places) = (Vec::new(), Vec::new());
        for column in 0..=columns {
            channels.push(x);
            let labels = cells.iter().filter(|cell| cell.column == column).flat_map(|cell| &cell.ports);
            let label = labels.map(|label| letters(label) * LABEL_LETTER + 20).max().unwrap_or_default();
            x += tracks.width(column) + label;
            let states = graph.states.iter().zip(cells).filter(|(_, cell)| cell.column == column);
            let width = states.map(|(state, _)| letters(&state.state) * NAME_LETTER + 36).max().unwrap_or_default();
            column_places.push((x, width));
            x += width;
        }
        let mut places = Self {
            lanes: Vec::new(),
            boxes: vec![Area::default(); cells.len()],
            channels,
            corridors: Vec::new(),
            right: x,
        };
        let mut y = MARGIN;
        for lane in 0..graph.intents.len() {
            y = places.lane(lane, (left, y), cells, &column_places, tracks) + LANE_GAP;
        }
        places
    }

    /// Places a lane and its boxes; gives where it ends.
    fn lane(
        &mut self,
        lane: usize,
        (left, top): (i32, i32),
        cells: &[Cell],
        columns: &[(i32, i32)],
        tracks: &routes::Tracks,
    ) -> i32 {
        let own = || cells.iter().enumerate().filter(|(_, cell)| cell.lane == lane);
        let corridor = top + TITLE_HEIGHT + 2;
        self.corridors.push(corridor);
        let mut y = corridor + tracks.corridor_height(lane);
        let rows = own().map(|(_, cell)| cell.row + 1).max().unwrap_or_default();
        for row in 0..rows {
            let in_row = || own().filter(|(_, cell)| cell.row == row);
            let height = in_row().map(|(_, cell)| cell.height()).max().unwrap_or_default();
            for (place, cell) in in_row() {
                let (x, width) = columns.get(cell.column).copied().unwrap_or_default();
                if let Some(area) = self.boxes.get_mut(place) {
                    *area = Area { x, y: y + (height - cell.height()) / 2, width, height: cell.height() };
                }
            }
            y += height + ROW_GAP;
        }
        self.lanes.push(Area { x: left, y: top, width: self.right - left, height: y - top });
        y
    }

    /// Where a port of a state is.
    fn port(&self, state: usize, cell: &Cell, port: usize) -> (i32, i32) {
        let area = self.boxes.get(state).copied().unwrap_or_default();
        let first = area.y + area.height / 2 - (whole(cell.ports.len()) - 1) * PORT_GAP / 2;
        (area.x, first + whole(port) * PORT_GAP)
    }
}

/// The port of its target that a move leads to.
fn port_of(edge: &GraphEdge, cells: &[Cell]) -> usize {
    let label = edge.label();
    let ports = cells.get(edge.to).map(|cell| cell.ports.as_slice()).unwrap_or_default();
    ports.iter().position(|port| *port == label).unwrap_or_default()
}

fn whole(count: usize) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX / 1024)
}

fn letters(text: &str) -> i32 {
    whole(text.chars().count())
}

#[cfg(test)]
mod tests;
