//! What is known of a gate without asking it: figures for the tree and for metrics, and where its actor is.

use std::sync::{
    PoisonError, RwLock,
    atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering},
};

use ractor::ActorRef;
use tokio::time::Instant;

use super::{breaker::BreakerPosition, gate::Message};

/// The figures of one gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GateFigures {
    /// Calls that run.
    pub inside: usize,
    /// Calls that wait.
    pub waiting: usize,
    /// Where its breaker stands.
    pub breaker: BreakerPosition,
    /// How often the breaker opened.
    pub opened: u64,
    /// Calls refused because too many waited.
    pub refused: u64,
    /// How often its actor was started anew.
    pub restarts: u64,
    /// How long its actor has lived.
    pub age: std::time::Duration,
}

/// Written by the gate's actor alone.
#[derive(Debug)]
pub(crate) struct Board {
    /// The gate's name: `provider/model`, or the source.
    pub(crate) name: String,
    gate: RwLock<Option<(ActorRef<Message>, Instant)>>,
    lives: AtomicU64,
    inside: AtomicUsize,
    waiting: AtomicUsize,
    breaker: AtomicU8,
    opened: AtomicU64,
    refused: AtomicU64,
}

impl Board {
    pub(crate) fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            gate: RwLock::default(),
            lives: AtomicU64::new(0),
            inside: AtomicUsize::new(0),
            waiting: AtomicUsize::new(0),
            breaker: AtomicU8::new(0),
            opened: AtomicU64::new(0),
            refused: AtomicU64::new(0),
        }
    }

    /// A new actor begins; which life of the gate that is.
    pub(crate) fn begin(&self, gate: ActorRef<Message>) -> u64 {
        *self.gate.write().unwrap_or_else(PoisonError::into_inner) = Some((gate, Instant::now()));
        self.show(0, 0, BreakerPosition::Closed);
        self.lives.fetch_add(1, Ordering::Relaxed) + 1
    }

    pub(crate) fn gate(&self) -> Option<ActorRef<Message>> {
        self.gate.read().unwrap_or_else(PoisonError::into_inner).as_ref().map(|(gate, _)| gate.clone())
    }

    pub(crate) fn show(&self, inside: usize, waiting: usize, breaker: BreakerPosition) {
        self.inside.store(inside, Ordering::Relaxed);
        self.waiting.store(waiting, Ordering::Relaxed);
        self.breaker.store(breaker as u8, Ordering::Relaxed);
    }

    pub(crate) fn opened(&self) {
        self.opened.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn refused(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn figures(&self) -> GateFigures {
        let born = self.gate.read().unwrap_or_else(PoisonError::into_inner).as_ref().map(|(_, born)| *born);
        GateFigures {
            inside: self.inside.load(Ordering::Relaxed),
            waiting: self.waiting.load(Ordering::Relaxed),
            breaker: match self.breaker.load(Ordering::Relaxed) {
                0 => BreakerPosition::Closed,
                1 => BreakerPosition::Open,
                _ => BreakerPosition::HalfOpen,
            },
            opened: self.opened.load(Ordering::Relaxed),
            refused: self.refused.load(Ordering::Relaxed),
            restarts: self.lives.load(Ordering::Relaxed).saturating_sub(1),
            age: born.map(|born| born.elapsed()).unwrap_or_default(),
        }
    }
}
