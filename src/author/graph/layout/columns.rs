//! Which column and row of its lane each state stands in.

use std::collections::VecDeque;

use super::Cell;
use crate::graph::Graph;

/// The cell of each state.
pub(super) fn cells(graph: &Graph) -> Vec<Cell> {
    let mut cells = vec![Cell::default(); graph.states.len()];
    for (lane, intent) in graph.intents.iter().enumerate() {
        let states: Vec<usize> = graph.states_of(intent).map(|(place, _)| place).collect();
        let lane_moves = Lane::of(graph, states);
        let columns = lane_moves.columns();
        let rows = lane_moves.rows(&columns);
        for ((state, column), row) in lane_moves.states.iter().zip(columns).zip(rows) {
            if let Some(cell) = cells.get_mut(*state) {
                *cell = Cell { lane, column, row, ports: Vec::new() };
            }
        }
    }
    for edge in &graph.edges {
        let label = edge.label();
        if let Some(cell) = cells.get_mut(edge.to).filter(|cell| !cell.ports.contains(&label)) {
            cell.ports.push(label);
        }
    }
    cells
}

/// The states of a lane and the moves between them, by their places in the lane.
struct Lane {
    states: Vec<usize>,
    moves: Vec<(usize, usize)>,
    entries: Vec<usize>,
}

impl Lane {
    fn of(graph: &Graph, states: Vec<usize>) -> Self {
        let place_of = |state: usize| states.iter().position(|held| *held == state);
        let mut moves = Vec::new();
        let mut entries: Vec<usize> = Vec::new();
        for edge in &graph.edges {
            let Some(to) = place_of(edge.to) else { continue };
            match edge.from.and_then(place_of) {
                Some(from) => moves.push((from, to)),
                None => entries.push(to),
            }
        }
        let start = graph.states.iter().position(|state| state.start);
        entries.extend(start.and_then(place_of));
        if entries.is_empty() && !states.is_empty() {
            entries.push(0);
        }
        Self { states, moves, entries }
    }

    /// How many moves each state is away from where the lane is entered.
    fn distances(&self) -> Vec<usize> {
        let mut distances = vec![usize::MAX; self.states.len()];
        let mut queue = VecDeque::new();
        for entry in &self.entries {
            if let Some(distance) = distances.get_mut(*entry) {
                *distance = 0;
                queue.push_back((*entry, 0));
            }
        }
        while let Some((place, distance)) = queue.pop_front() {
            for (_, to) in self.moves.iter().filter(|(from, _)| *from == place) {
                if let Some(unknown) = distances.get_mut(*to).filter(|known| **known == usize::MAX) {
                    *unknown = distance + 1;
                    queue.push_back((*to, distance + 1));
                }
            }
        }
        distances
    }

    /// The longest way along moves that lead away from the entries; what leads back is left out, so that the
    /// ways end.
    fn columns(&self) -> Vec<usize> {
        let distances = self.distances();
        let mut order: Vec<usize> = (0..self.states.len()).collect();
        order.sort_by_key(|place| (distances.get(*place).copied(), *place));
        let rank: Vec<usize> =
            (0..order.len()).map(|place| order.iter().position(|held| *held == place).unwrap_or_default()).collect();
        let mut columns = vec![0; self.states.len()];
        for place in &order {
            let column = columns.get(*place).copied().unwrap_or_default();
            for (_, to) in self.moves.iter().filter(|(from, to)| from == place && rank.get(*from) < rank.get(*to)) {
                if let Some(later) = columns.get_mut(*to) {
                    *later = (column + 1).max(*later);
                }
            }
        }
        columns
    }

    /// Column by column, each state as near as can be to the middle of what leads to it.
    fn rows(&self, columns: &[usize]) -> Vec<usize> {
        let mut rows = vec![0; self.states.len()];
        for column in 0..=columns.iter().copied().max().unwrap_or_default() {
            let members = (0..self.states.len()).filter(|place| columns.get(*place) == Some(&column));
            let mut members: Vec<(Option<usize>, usize)> =
                members.map(|place| (self.middle(place, column, columns, &rows), place)).collect();
            // States that nothing here leads to stand beneath.
            members.sort_by_key(|(middle, place)| (middle.is_none(), *middle, *place));
            let mut free = 0;
            for (middle, place) in members {
                let row = free.max(middle.unwrap_or_default());
                if let Some(own) = rows.get_mut(place) {
                    *own = row;
                }
                free = row + 1;
            }
        }
        rows
    }

    fn middle(&self, place: usize, column: usize, columns: &[usize], rows: &[usize]) -> Option<usize> {
        let sources = self.moves.iter().filter(|(from, to)| *to == place && columns.get(*from) < Some(&column));
        let sources: Vec<usize> = sources.filter_map(|(from, _)| rows.get(*from).copied()).collect();
        (!sources.is_empty()).then(|| sources.iter().sum::<usize>() / sources.len())
    }
}
