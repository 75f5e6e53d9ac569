//! What goes to other workers through the queue, and what may.
//!
//! Always holds: a connection that is handed off has nothing in this process,
//! so its next worker goes on as if it had accepted it; one that is refused
//! stays as it was. To the application neither is an event. The queue's exit
//! is in the epoll set exactly while a listener is: a worker that may accept
//! may adopt.

use crate::connection::Connection;
use crate::handoff::queue::{Passage, Queue, Received};
use crate::listener::ACCEPTING;
use crate::load::Load;
use crate::poll_set::{PollSet, QUEUE};

#[derive(Default)]
pub(crate) struct Passing {
    queue: Option<Queue>,
}

impl Passing {
    pub(crate) fn join(&mut self, queue: Queue) {
        self.queue = Some(queue);
    }

    pub(crate) fn leave(&mut self) {
        self.queue = None;
    }

    /// Sends a connection to a worker that is spare. False: it stays.
    pub(crate) fn send(&mut self, connection: &Connection, load: &Load, due_ms: u64) -> bool {
        let Some(queue) = &mut self.queue else {
            return false;
        };
        let link = &connection.link;
        let passage = Passage {
            listener: link.listener,
            requests: connection.requests(),
            due_ms,
        };
        connection.may_move()
            && load.pool_is_kept()
            && queue.send(link.transport.fd(), passage).is_ok()
    }

    /// Whether a connection of a listener that drains will go on elsewhere, so
    /// that the response it is given need not be its last.
    pub(crate) fn will_take(&self, connection: &Connection, load: &Load) -> bool {
        let accepted = self.queue.as_ref().is_some_and(|queue| !queue.refuses);
        accepted && !connection.wants_closed && load.pool_is_kept()
    }

    /// Whether a spare, or a worker that is about to be forked, could take a request over.
    pub(crate) fn has_taker(&self, load: &Load) -> bool {
        match (load.slot(), &self.queue) {
            (Some(slot), Some(queue)) => slot.may_grow() || slot.spares_elsewhere() > queue.len(),
            _ => false,
        }
    }

    /// How many connections other workers could take over now.
    pub(crate) fn room_elsewhere(&self, load: &Load) -> usize {
        match (load.slot(), &self.queue) {
            (Some(slot), Some(queue)) if slot.pool_is_kept() => {
                slot.spares_elsewhere().saturating_sub(queue.len())
            }
            _ => 0,
        }
    }

    /// Has the queue's exit in the epoll set exactly while a listener is.
    pub(crate) fn register(&mut self, set: &PollSet, accepting: bool) {
        let Some(queue) = &mut self.queue else {
            return;
        };
        if accepting != queue.registered {
            let _ = match accepting {
                true => set.add(queue.exit(), QUEUE, ACCEPTING),
                false => set.remove(queue.exit()),
            };
            queue.registered = accepting;
        }
    }

    pub(crate) fn is_registered(&self) -> bool {
        self.queue.as_ref().is_some_and(|queue| queue.registered)
    }

    /// Takes the next connection out of the queue.
    pub(crate) fn receive(&self) -> Received {
        self.queue
            .as_ref()
            .map_or(Received::Nothing, Queue::receive)
    }
}
