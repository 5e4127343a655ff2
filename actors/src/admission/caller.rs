//! Callers that wait for an answer.

use tokio::sync::oneshot;

use super::Permit;

/// Where an answer goes, and the places that its call holds until then. They are given back before the caller hears
/// from here that its call is over, by an answer or by none: it may call again at once, and is not refused for the call that it
/// had. Whoever gives up before that leaves its places taken for as long as the call is.
#[derive(Debug)]
pub(crate) struct Caller<T, H = Permit> {
    // Before `reply`: fields are dropped in their order.
    held: H,
    reply: oneshot::Sender<T>,
}

impl<T, H> Caller<T, H> {
    /// With what receives the answer, or nothing once the call is dropped.
    pub(crate) fn new(held: H) -> (Self, oneshot::Receiver<T>) {
        let (reply, answer) = oneshot::channel();
        (Self { held, reply }, answer)
    }

    pub(crate) fn answer(self, answer: T) {
        let Self { held, reply } = self;
        drop(held);
        // A caller that is gone wants no answer.
        drop(reply.send(answer));
    }

    /// Whether nobody waits any more.
    pub(crate) fn is_gone(&self) -> bool {
        self.reply.is_closed()
    }
}

impl<T> Caller<T> {
    /// The turn waits for something else than the cores.
    pub(crate) fn give_slot(&mut self) {
        self.held.give_slot();
    }
}

#[cfg(test)]
mod tests {
    use std::{
        pin::pin,
        sync::{
            Arc,
            atomic::{AtomicUsize, Ordering},
        },
        task::{Context, Wake, Waker},
    };

    use super::*;
    use crate::{admission::Admission, settings::Limits};

    /// What is in flight when a caller is woken.
    #[derive(Debug)]
    struct Woken(Admission, AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.1.store(self.0.in_flight(), Ordering::Relaxed);
        }
    }

    #[test]
    fn places_are_given_back_before_the_caller_hears() {
        let ways: [fn(Caller<()>); 2] = [|caller| caller.answer(()), drop];
        for end in ways {
            let woken = Arc::new(Woken(Admission::new(Limits::default()), AtomicUsize::new(usize::MAX)));
            let permit = woken.0.admit("acme", &Arc::default(), 0).expect("nothing is in flight");
            let (caller, answer) = Caller::new(permit);
            let mut answer = pin!(answer);
            let waker = Waker::from(Arc::clone(&woken));
            assert!(answer.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
            end(caller);
            assert_eq!(woken.1.load(Ordering::Relaxed), 0);
        }
    }
}
