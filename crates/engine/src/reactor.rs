//! The reactor of one process, as its owner uses it.
//!
//! Owns: what is open ([`Core`]), and the turn. Always holds: an event is
//! returned with nothing borrowed, so the owner may call any method before it
//! asks for the next; what one connection does never disturbs another. Knows no
//! protocol, no Python, and calls no one: the owner pulls (`wait`, then
//! `next_event` until `None`), as one pulls from h11.
//!
//! One turn:
//! ```text
//! prepare() -> timeout   epoll wait, without the reactor   woken(reports)
//!      ^                                                        |
//!      +------------- next_event() until None <-----------------+
//! ```

use crate::application::{ConnectionHandle, ExchangeHandle};
use crate::core::{Core, Current};
use crate::event::Event;
use crate::exchange::{ConnectionId, ExchangeId};
use crate::handoff::guard::{self, LastWords};
use crate::handoff::main_thread::Rest;
use crate::handoff::queue::Queue;
use crate::listening::ListenerHandle;
use crate::poll_set::{NESTED, Report, Waiter};
use crate::scoreboard::Slot;
use crate::settings::ListenerSettings;
use crate::turn::Turn;
use rustix::event::epoll::EventFlags;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex};

pub struct Reactor {
    pub(crate) core: Core,
    turn: Turn,
}

impl Reactor {
    /// # Errors
    /// When the process has no descriptor for the epoll set or the wakeup.
    pub fn new() -> io::Result<Self> {
        Ok(Reactor {
            core: Core::new()?,
            turn: Turn::default(),
        })
    }

    /// Closes every listener and connection of this process, and nothing
    /// else: a forked child may call it on the copy that it was born with.
    pub fn close(&mut self) {
        self.core.close();
        self.turn = Turn::default();
    }

    /// Adds a descriptor whose readiness only [`Reactor::end_turn`] reports:
    /// the epoll set of another loop.
    ///
    /// # Errors
    /// Those of `epoll_ctl(2)`.
    pub fn nest(&mut self, fd: BorrowedFd<'_>) -> io::Result<()> {
        self.core.set.add(fd, NESTED, EventFlags::IN)?;
        Ok(())
    }

    /// From now on `slot` tells the pool what this process does, and no
    /// client is accepted while `concurrency` requests are in flight, unless
    /// the pool is full: then `overcommit` is readable.
    pub fn join_pool(&mut self, slot: Slot, concurrency: u32, overcommit: OwnedFd) {
        self.core.cx.load.join_pool(slot, concurrency);
        self.core.acceptor.join_pool(overcommit);
    }

    /// From now on connections go to the pool's other workers, and come from
    /// them, through `queue`.
    pub fn join_queue(&mut self, queue: Queue) {
        self.core.passing.join(queue);
    }

    pub fn slot(&self) -> Option<&Slot> {
        self.core.cx.load.slot()
    }

    /// [`Event::Exhausted`] comes after this many requests.
    pub fn set_max_requests(&mut self, requests: u64) {
        self.core.cx.load.set_max_requests(requests);
    }

    /// Open connections.
    pub fn connections(&self) -> usize {
        self.core.connections.len()
    }

    /// Requests that the application has and has not responded to.
    pub fn in_flight(&self) -> u32 {
        self.core.cx.load.in_flight()
    }

    /// What another loop may wait for instead: readable when a turn has
    /// something to do. `None` once the reactor is closed.
    pub fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.core.set.fd()
    }

    pub fn waiter(&self) -> Waiter {
        self.core.set.waiter()
    }

    /// How long the owner may wait at most, in milliseconds; `None`: for ever.
    pub fn prepare(&mut self) -> Option<u64> {
        if !self.core.cx.events.is_empty() || self.core.connections.any_touched() {
            return Some(0);
        }
        self.core.main_thread.rest = Rest::Asleep;
        let due_ms = [self.core.timers.next_ms(), self.core.acceptor.due_ms()];
        let due_ms = due_ms.into_iter().flatten().min()?;
        Some(due_ms.saturating_sub(self.core.cx.clock.read_ms()))
    }

    /// The same for an owner that waits in another loop, which comes back
    /// when the set is readable.
    pub fn prepare_elsewhere(&mut self) -> Option<u64> {
        let most_ms = self.prepare();
        if self.core.main_thread.rest == Rest::Asleep {
            self.core.main_thread.rest = Rest::Elsewhere;
        }
        most_ms
    }

    /// Takes what the wait brought.
    pub fn woken(&mut self, reports: &[Report]) {
        self.turn.begin(&mut self.core, reports);
    }

    /// Has the owner's wait end, if it waits: for another thread.
    pub fn wake(&mut self) {
        self.core.wake();
    }

    /// The next thing that happened, until the turn is over.
    pub fn next_event(&mut self) -> Option<Event> {
        self.turn.next_event(&mut self.core)
    }

    /// Closes the connection that is being worked on: for an owner that
    /// caught a panic of [`Reactor::next_event`], which would meet it again.
    pub fn abort_current(&mut self) {
        if let Current::Connection(key) | Current::Newcomer(key, _) =
            std::mem::replace(&mut self.core.current, Current::Nothing)
        {
            self.core
                .close_connection(key, Some("an error of the server"));
        }
    }

    /// Ends the turn; true when the nested set has something to report.
    pub fn end_turn(&mut self) -> bool {
        self.turn.end(&mut self.core)
    }

    // ---- what is in it -------------------------------------------------------------

    /// Serves the clients of a listening, non-blocking socket from now on.
    /// Returns the listener's number.
    ///
    /// # Errors
    /// Those of `epoll_ctl(2)`.
    pub fn listen(&mut self, socket: OwnedFd, settings: ListenerSettings) -> io::Result<u32> {
        let Core { acceptor, set, .. } = &mut self.core;
        let number = acceptor.listen(set, socket, settings)?;
        self.core.register_queue();
        Ok(number)
    }

    /// What the owner may do about a listener.
    pub fn listener(&mut self, number: u32) -> ListenerHandle<'_> {
        ListenerHandle::new(&mut self.core, number)
    }

    /// What the application may do about a connection.
    pub fn connection(&mut self, id: ConnectionId) -> ConnectionHandle<'_> {
        ConnectionHandle::new(&mut self.core, id)
    }

    /// What the application may do about a request and its response.
    pub fn exchange(&mut self, id: ExchangeId) -> ExchangeHandle<'_> {
        ExchangeHandle::new(&mut self.core, id)
    }

    /// Starts the guard of a worker. It inherits the caller's signal mask,
    /// which should be full: signals are the main thread's.
    ///
    /// # Errors
    /// When the process may have no further thread.
    pub fn start_guard(reactor: &Arc<Mutex<Self>>, last_words: LastWords) -> io::Result<()> {
        guard::start(reactor, last_words)
    }
}
