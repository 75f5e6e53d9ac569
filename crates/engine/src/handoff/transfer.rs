//! Connections to and from other workers: which may be handed off, and when.
//!
//! Always holds: a connection that is handed off has no state in this process,
//! so the other worker continues as if it had accepted it; if the queue is full,
//! the connection stays as it was. The application gets no event for either. The
//! queue's receiver is in the epoll set exactly while a listener is: a worker
//! that may accept may adopt.

use crate::connection::Connection;
use crate::handoff::queue::{Metadata, Queue, Received};
use crate::listener::ACCEPTING;
use crate::load::Load;
use crate::poll_set::{PollSet, QUEUE};

#[derive(Default)]
pub(crate) struct Transfer {
    queue: Option<Queue>,
}

impl Transfer {
    pub(crate) fn join(&mut self, queue: Queue) {
        self.queue = Some(queue);
    }

    pub(crate) fn leave(&mut self) {
        self.queue = None;
    }

    /// Sends a connection to a spare worker. False: it stays here.
    pub(crate) fn send(&mut self, connection: &Connection, load: &Load, due_ms: u64) -> bool {
        let Some(queue) = &mut self.queue else {
            return false;
        };
        let link = &connection.link;
        let metadata = Metadata {
            listener: link.listener,
            requests: connection.requests(),
            due_ms,
        };
        connection.may_move()
            && load.pool_is_kept()
            && queue.send(link.transport.fd(), metadata).is_ok()
    }

    /// Whether a connection of a draining listener will be handed off after its
    /// response, so that this need not be its last one.
    pub(crate) fn would_accept(&self, connection: &Connection, load: &Load) -> bool {
        let accepted = self.queue.as_ref().is_some_and(|queue| !queue.is_full);
        accepted && !connection.wants_closed && load.pool_is_kept()
    }

    /// Whether a spare, or a worker that can be forked, could serve a request instead.
    pub(crate) fn can_be_taken_over(&self, load: &Load) -> bool {
        match (load.slot(), &self.queue) {
            (Some(slot), Some(queue)) => slot.may_grow() || slot.spares_elsewhere() > queue.len(),
            _ => false,
        }
    }

    /// How many connections other workers could adopt now.
    pub(crate) fn free_spares(&self, load: &Load) -> usize {
        match (load.slot(), &self.queue) {
            (Some(slot), Some(queue)) if slot.pool_is_kept() => {
                slot.spares_elsewhere().saturating_sub(queue.len())
            }
            _ => 0,
        }
    }

    /// Keeps the queue's receiver in the epoll set exactly while a listener is
    /// in it.
    pub(crate) fn register(&mut self, set: &PollSet, accepting: bool) {
        let Some(queue) = &mut self.queue else {
            return;
        };
        if accepting != queue.registered {
            let _ = match accepting {
                true => set.add(queue.receiver(), QUEUE, ACCEPTING),
                false => set.remove(queue.receiver()),
            };
            queue.registered = accepting;
        }
    }

    pub(crate) fn is_registered(&self) -> bool {
        self.queue.as_ref().is_some_and(|queue| queue.registered)
    }

    /// Receives the next connection from the queue.
    pub(crate) fn receive(&self) -> Received {
        self.queue
            .as_ref()
            .map_or(Received::Nothing, Queue::receive)
    }
}
