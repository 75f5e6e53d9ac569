//! Connections to and from other workers: which may be handed off, and when.
//!
//! Always holds: a connection that is handed off has no state in this process but
//! what goes along, so the other worker continues as if it had accepted it and read
//! the same bytes; if the queue is full,
//! the connection stays as it was. The application gets no event for either. The
//! queue's receiver is in the epoll set exactly while a listener is: a worker
//! that may accept may adopt.

use crate::connection::Connection;
use crate::handoff::queue::{Metadata, Queue, Received, Sent};
use crate::link::Link;
use crate::listener::{ACCEPTING, is_lasting};
use crate::load::Load;
use crate::poll_set::{PollSet, QUEUE};
use crate::scoreboard::Slot;
use rustix::io::Errno;
use std::os::fd::BorrowedFd;

/// How many connections may be in the queue that workers of another pool read. Their states are not known here.
const UNSEEN_TAKERS: usize = 64;

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

    /// As [`Transfer::leave`], for a process that goes on.
    ///
    /// # Errors
    /// The epoll set goes on to report the queue: its descriptor is another one.
    pub(crate) fn leave_set(&mut self, set: &PollSet) -> Result<(), Errno> {
        let Some(queue) = self.queue.take().filter(|queue| queue.registered) else {
            return Ok(());
        };
        let removed = set.remove(queue.receiver());
        if removed.is_err() {
            std::mem::forget(queue); // the number is another file's
        }
        removed
    }

    /// Sends a connection to a spare worker. `due_ms`: its deadline ([`Metadata`]).
    pub(crate) fn send(&mut self, connection: &Connection, load: &Load, due_ms: u64) -> Sent {
        let Some(queue) = &mut self.queue else {
            return Sent::No;
        };
        if !may_send(connection, load) {
            return Sent::No;
        }
        let link = &connection.link;
        let metadata = Metadata {
            listener: link.listener,
            requests: connection.requests(),
            due_ms,
            peer: link.peer,
            extensions: link.extensions.clone(),
            is_new: link.transport.is_new(),
            lent: link.transport.lent_address(),
            is_in_head: connection.is_in_head(),
            session: link.transport.session().cloned(),
            keys: link.transport.export(),
            undecoded: link.transport.undecoded().to_vec(),
            input: link.input.clone(),
        };
        pass(queue, link.transport.fd(), &metadata)
    }

    /// Sends `socket`, on which a stream of the connection `link` comes, to a spare worker.
    pub(crate) fn lend(
        &mut self,
        socket: BorrowedFd<'_>,
        link: &Link,
        load: &Load,
        now_ms: u64,
    ) -> Sent {
        let Some(queue) = self.queue.as_mut().filter(|_| load.pool_is_kept()) else {
            return Sent::No;
        };
        let metadata = Metadata {
            listener: link.listener,
            requests: 0,
            due_ms: now_ms.saturating_add(link.settings.header_timeout_ms),
            peer: link.peer,
            extensions: link.extensions.clone(),
            is_new: false,
            lent: Some(link.transport.local_address()),
            is_in_head: false,
            session: link.transport.session().cloned(),
            keys: None,
            undecoded: Vec::new(),
            input: Vec::new(),
        };
        pass(queue, socket, &metadata)
    }

    /// Whether a connection of a draining listener will be handed off after its
    /// response, so that this need not be its last one.
    pub(crate) fn would_accept(&self, connection: &Connection, load: &Load) -> bool {
        let accepted = self.queue.as_ref().is_some_and(|queue| !queue.is_full);
        let moves =
            connection.link.transport.moves() && !connection.wants_closed && !connection.is_http2();
        accepted && moves && load.pool_is_kept()
    }

    /// How many connections are in the queue.
    pub(crate) fn queued(&self) -> usize {
        self.queue.as_ref().map_or(0, Queue::len)
    }

    /// Whether a connection is still here only because the queue was full.
    pub(crate) fn lacks_room(&self, connection: &Connection, load: &Load) -> bool {
        let is_full = self.queue.as_ref().is_some_and(|queue| queue.is_full);
        is_full && may_send(connection, load)
    }

    /// Whether a spare, or a worker that can be forked, could serve a request instead.
    pub(crate) fn can_be_taken_over(&self, load: &Load) -> bool {
        match (load.slot(), &self.queue) {
            (Some(slot), Some(queue)) => slot.may_grow() || slot.spares_elsewhere() > queue.len(),
            _ => false,
        }
    }

    /// How many more connections may be in the queue: one for each of the workers
    /// that `takers` counts.
    pub(crate) fn room(&self, load: &Load, takers: impl FnOnce(&Slot) -> usize) -> usize {
        match (load.slot(), &self.queue) {
            (Some(slot), Some(queue)) if slot.pool_is_kept() => {
                let takers = match slot.pool_is_succeeded() {
                    true => UNSEEN_TAKERS,
                    false => takers(slot),
                };
                takers.saturating_sub(queue.len())
            }
            _ => 0,
        }
    }

    /// Keeps the queue's receiver in the epoll set exactly while a listener is
    /// in it.
    ///
    /// # Errors
    /// Its descriptor is another one by now.
    #[inline]
    pub(crate) fn register(&mut self, set: &PollSet, accepting: bool) -> Result<(), Errno> {
        let Some(queue) = &mut self.queue else {
            return Ok(());
        };
        if accepting == queue.registered {
            return Ok(());
        }
        match accepting {
            true => set.add(queue.receiver(), QUEUE, ACCEPTING)?,
            false => set.remove(queue.receiver())?,
        }
        queue.registered = accepting;
        Ok(())
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

fn pass(queue: &mut Queue, socket: BorrowedFd<'_>, metadata: &Metadata) -> Sent {
    match queue.send(socket, metadata) {
        Ok(()) => Sent::Yes,
        Err(Errno::PIPE) => Sent::Closed,
        Err(error) if is_lasting(error) && queue.is_gone() => Sent::Broken(error),
        Err(_) => Sent::No,
    }
}

fn may_send(connection: &Connection, load: &Load) -> bool {
    connection.may_move() && load.pool_is_kept()
}
