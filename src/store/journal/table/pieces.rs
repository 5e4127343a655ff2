//! A list that grows by pieces: it is never copied, and leaves no smaller copies of itself behind.

/// Items in one piece.
const LEN: usize = 1024;

#[derive(Debug)]
pub(super) struct Pieces<T>(Vec<Vec<T>>);

impl<T> Default for Pieces<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> Pieces<T> {
    /// Adds one, and tells its place.
    pub(super) fn push(&mut self, item: T) -> usize {
        let place = self.len();
        match self.0.last_mut().filter(|piece| piece.len() < LEN) {
            Some(piece) => piece.push(item),
            None => {
                let mut piece = Vec::with_capacity(LEN);
                piece.push(item);
                self.0.push(piece);
            }
        }
        place
    }

    pub(super) fn get(&self, place: usize) -> Option<&T> {
        self.0.get(place / LEN)?.get(place % LEN)
    }

    pub(super) fn get_mut(&mut self, place: usize) -> Option<&mut T> {
        self.0.get_mut(place / LEN)?.get_mut(place % LEN)
    }

    pub(super) fn len(&self) -> usize {
        let last = self.0.last().map_or(0, Vec::len);
        self.0.len().saturating_sub(1) * LEN + last
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        self.0.iter().flatten()
    }
}
