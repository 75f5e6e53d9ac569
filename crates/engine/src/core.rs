//! What is open in this process, and what may be done with one of it.
//!
//! Owns: the epoll set, the table of connections, their deadlines, the
//! acceptor, and the passage to other workers. Always holds: a connection of
//! the table is in the epoll set and has a deadline; what is done here may be
//! done inside of a turn and outside of it. Knows no protocol and no turn but
//! which connection is at hand in it.

use crate::accept::Acceptor;
use crate::connection::Connection;
use crate::connections::Connections;
use crate::context::Context;
use crate::deadlines;
use crate::event::Event;
use crate::handoff::main_thread::MainThread;
use crate::handoff::passing::Passing;
use crate::handoff::queue::Received;
use crate::link::{Flushed, Link};
use crate::peer::Peer;
use crate::poll_set::{PollSet, WAKEUP};
use crate::progress::{Progress, READING};
use crate::scoreboard::Slot;
use crate::timers::Timers;
use crate::transport::Transport;
use rustix::event::epoll::EventFlags;
use rustix::io::Errno;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

/// The connection at hand.
#[derive(Clone, Copy)]
pub(crate) enum Current {
    Nothing,
    Connection(u32),
    /// Came in this turn from a listener or the queue, named as in the epoll
    /// set, which may have more.
    Newcomer(u32, u64),
}

pub(crate) struct Core {
    pub(crate) set: PollSet,
    pub(crate) connections: Connections,
    pub(crate) timers: Timers,
    pub(crate) acceptor: Acceptor,
    pub(crate) passing: Passing,
    pub(crate) main_thread: MainThread,
    pub(crate) cx: Context,
    pub(crate) current: Current,
}

impl Core {
    /// # Errors
    /// When the process has no descriptor for the epoll set or the wakeup.
    pub(crate) fn new() -> io::Result<Self> {
        let cx = Context::new();
        Ok(Core {
            set: PollSet::new(WAKEUP)?,
            connections: Connections::default(),
            timers: Timers::new(cx.clock.now_ms),
            acceptor: Acceptor::new(),
            passing: Passing::default(),
            main_thread: MainThread::new(),
            cx,
            current: Current::Nothing,
        })
    }

    pub(crate) fn close(&mut self) {
        if self.main_thread.guard.is_some() {
            self.set.wake(); // the guard may wait for it
        }
        self.set.close();
        self.acceptor.close_all();
        self.connections = Connections::default();
        self.timers = Timers::new(self.cx.clock.now_ms);
        self.current = Current::Nothing;
        self.cx.events.clear();
        self.cx.load.leave_pool();
        self.passing.leave();
        self.main_thread.guard = None;
    }

    /// Has the owner's wait end, if it waits: for another thread.
    pub(crate) fn wake(&mut self) {
        if self.main_thread.must_be_woken() {
            self.set.wake();
            // What is stamped until then is of now, not of when the wait began.
            self.cx.clock.tick();
        }
    }

    /// Has the next turn look at a connection that was changed outside of its share.
    #[inline]
    pub(crate) fn touch(&mut self, key: u32) {
        if !self.is_current(key) {
            self.postpone(key);
        }
    }

    #[inline]
    pub(crate) fn is_current(&self, key: u32) -> bool {
        matches!(self.current, Current::Connection(now) | Current::Newcomer(now, _) if now == key)
    }

    /// Has the next turn look at a connection.
    pub(crate) fn postpone(&mut self, key: u32) {
        if self.connections.touch(key) {
            self.wake();
        }
    }

    pub(crate) fn set_interest(&mut self, key: u32, interest: EventFlags) {
        let Some(connection) = self.connections.get_mut(key) else {
            return;
        };
        connection.interest = interest;
        let link = &connection.link;
        let data = link.id.to_u64();
        if self
            .set
            .modify(link.transport.fd(), data, interest)
            .is_err()
        {
            self.close_connection(key, Some("epoll did not take the connection"));
        }
    }

    #[inline]
    pub(crate) fn set_deadline(&mut self, key: u32) {
        let Some(connection) = self.connections.get(key) else {
            return;
        };
        let link = &connection.link;
        let due_ms = deadlines::due_ms(
            connection.waits_for(),
            &link.settings,
            self.cx.clock.now_ms,
            self.acceptor.drains_until_ms(link.listener),
        );
        if let Some(due_ms) = due_ms {
            self.timers.set(key, due_ms);
        }
    }

    /// Sends what waits; true when nothing does any more.
    #[inline]
    pub(crate) fn flush(&mut self, key: u32) -> bool {
        let Some(connection) = self.connections.get_mut(key) else {
            return true;
        };
        if connection.link.output.pending() == 0 {
            return true;
        }
        match connection.link.flush(&mut self.cx) {
            Flushed::All => true,
            Flushed::Blocked { progress } => {
                if progress || !connection.interest.contains(EventFlags::OUT) {
                    connection.link.note_queued();
                    self.set_deadline(key);
                }
                false
            }
            Flushed::Failed(reason) => {
                self.close_connection(key, Some(reason));
                true
            }
        }
    }

    /// Does what a protocol asks for; returns what the owner must hear.
    pub(crate) fn carry_out(&mut self, key: u32, progress: Progress) -> Option<Event> {
        match progress {
            Progress::Event(event) => Some(event),
            Progress::Wait | Progress::Flush => None,
            Progress::Close(interrupted) => {
                self.close_connection(key, interrupted);
                None
            }
            Progress::Abort(event) => {
                self.flush(key);
                self.close_connection(key, None);
                Some(event)
            }
        }
    }

    /// Closes a connection and forgets it. `interrupted`: why, if that is too early.
    pub(crate) fn close_connection(&mut self, key: u32, interrupted: Option<&'static str>) {
        let Some(connection) = self.connections.remove(key) else {
            return;
        };
        self.wake();
        // To close it is not enough: the epoll set follows the socket, and a
        // child that the application forked may have it open.
        let _ = self.set.remove(connection.link.transport.fd());
        self.timers.clear(key);
        let listener = connection.link.listener;
        connection.close(&mut self.cx, interrupted);
        // Behind the end of its last connection: then the owner may go too.
        if let Some(listener) = self.acceptor.get_mut(listener) {
            listener.open -= 1;
        }
        self.check_drained(listener);
    }

    /// Whether the last connection of a listener that drains is gone. While
    /// the pool is kept, other workers come to the queue; if it is not, nothing
    /// may stay there. A worker that sends into it looks here once more afterwards.
    pub(crate) fn check_drained(&mut self, number: u32) {
        let is_over = |core: &Self| {
            let listener = core.acceptor.get(number);
            listener
                .is_some_and(|listener| listener.drains_until_ms.is_some() && listener.open == 0)
        };
        if is_over(self) {
            self.empty_queue(number);
            if is_over(self) {
                self.cx.events.push_back(Event::Empty { listener: number });
            }
        }
    }

    pub(crate) fn empty_queue(&mut self, number: u32) {
        if self.cx.load.slot().is_none_or(Slot::pool_is_kept) {
            return;
        }
        let until_ms = self.acceptor.drains_until_ms(number).unwrap_or(0);
        loop {
            match self.passing.receive() {
                Received::Connection(socket, passage) => {
                    // The listeners of a pool have the same settings, and its own may be over.
                    let history = (passage.requests, passage.due_ms);
                    if let Some(key) = self.take_in(socket, number, history) {
                        // What it has asked is read in the next turn; if nothing, it ends there.
                        self.timers.set(key, until_ms.max(self.cx.clock.now_ms));
                    }
                }
                Received::Nonsense => {}
                Received::Nothing => return,
            }
        }
    }

    /// Adopts a connection that came out of the queue, with how many requests
    /// it has brought and until when it may idle.
    pub(crate) fn take_in(
        &mut self,
        socket: OwnedFd,
        listener: u32,
        (requests, idles_until_ms): (u32, u64),
    ) -> Option<u32> {
        let (transport, peer) = Transport::adopt(socket)?;
        let key = self.admit(transport, peer, listener)?;
        self.cx.load.counters.adopted += 1;
        if let Some(connection) = self.connections.get_mut(key) {
            connection.resume(requests, idles_until_ms);
        }
        Some(key)
    }

    /// Adds a connection of a listener; returns its key.
    pub(crate) fn admit(&mut self, transport: Transport, peer: Peer, number: u32) -> Option<u32> {
        let listener = self.acceptor.get_mut(number)?;
        let settings = Arc::clone(&listener.settings);
        let id = self.connections.reserve();
        if self.set.add(transport.fd(), id.to_u64(), READING).is_err() {
            self.connections.spend(id.key);
            return None;
        }
        listener.open += 1;
        let link = Link::new(transport, peer, id, number, settings);
        let connection = Connection::new(link, self.cx.clock.now_ms);
        self.connections.insert(connection);
        self.set_deadline(id.key);
        Some(id.key)
    }

    /// There is no descriptor for a client.
    pub(crate) fn starve(&mut self, listener: u32, error: Errno) {
        let now_ms = self.cx.clock.now_ms;
        if self.acceptor.starve(&self.set, listener, now_ms) {
            let error = error.into();
            self.cx.events.push_back(Event::Starved { listener, error });
        }
        self.register_queue();
    }

    /// Has the queue in the epoll set exactly while a listener is.
    #[inline]
    pub(crate) fn register_queue(&mut self) {
        let accepting = self.acceptor.is_accepting();
        self.passing.register(&self.set, accepting);
    }

    /// Sends a connection to a worker that is spare. False: it stays.
    pub(crate) fn hand_off(&mut self, key: u32) -> bool {
        let Some(connection) = self.connections.get(key) else {
            return false;
        };
        let link = &connection.link;
        let idles_until_ms = match self.acceptor.is_draining(link.listener) {
            true => None,
            false => self.timers.due_ms(key),
        };
        let due_ms = idles_until_ms.unwrap_or_else(|| {
            let timeout_ms = link.settings.keep_alive_timeout_ms;
            self.cx.clock.now_ms.saturating_add(timeout_ms)
        });
        let sent = self.passing.send(connection, &self.cx.load, due_ms);
        if sent {
            self.cx.load.counters.handed_off += 1;
            self.close_connection(key, None);
        }
        sent
    }

    /// The same from outside of a turn.
    pub(crate) fn hand_off_outside(&mut self, key: u32) -> bool {
        !self.is_current(key) && self.hand_off(key)
    }

    /// Whether the next response on a connection must be its last.
    #[inline]
    pub(crate) fn is_last_response(&self, connection: &Connection) -> bool {
        self.acceptor.is_draining(connection.link.listener)
            && !self.passing.will_take(connection, &self.cx.load)
    }

    /// What is open on a connection of a listener that drains, and would last,
    /// ends. Connections that may bring one more request are those of a worker
    /// that goes alone: then the peer may come again, to another.
    pub(crate) fn drain_connection(&mut self, key: u32) {
        let now_ms = self.cx.clock.now_ms;
        if let Some(connection) = self.connections.get_mut(key) {
            let until_ms = self.acceptor.drains_until_ms(connection.link.listener);
            let others_stay = until_ms.is_some_and(|until_ms| until_ms > now_ms);
            connection.drain(&mut self.cx, others_stay);
        }
    }
}
