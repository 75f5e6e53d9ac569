//! The reactor: one turn, from what is ready to what has happened.
//!
//! Owns: the epoll set, the table of connections, their deadlines, the
//! acceptor, the passage to other workers, and what is left of the turn.
//! Always holds: an event is returned with nothing borrowed, so its hearer may
//! call any method before it asks for the next; what one connection does never
//! disturbs another. Knows no protocol, no Python, and calls no one: the owner
//! pulls (`wait`, then `next_event` until `None`), as one pulls from h11.
//!
//! One turn:
//! ```text
//! prepare() -> timeout   epoll wait, without the reactor   woken(reports)
//!      ^                                                        |
//!      +------------- next_event() until None <-----------------+
//! ```

use crate::accept::{Acceptor, SupplyNews};
use crate::connection::Connection;
use crate::connections::Connections;
use crate::context::Context;
use crate::deadlines::{self, Expiry};
use crate::event::Event;
use crate::exchange::ConnectionId;
use crate::handoff::main_thread::{MainThread, Rest};
use crate::handoff::passing::Passing;
use crate::handoff::queue::{Queue, Received};
use crate::link::{Flushed, Link, Stage};
use crate::listener::Accepted;
use crate::peer::Peer;
use crate::poll_set::{NESTED, OVERCOMMIT, PollSet, QUEUE, Report, SPECIAL, WAKEUP, Waiter};
use crate::progress::{Progress, READING};
use crate::scoreboard::Slot;
use crate::timers::Timers;
use crate::transport::Transport;
use rustix::event::epoll::EventFlags;
use rustix::io::Errno;
use std::collections::VecDeque;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::Arc;

/// How long a client may take to close its side once ours is closed.
const LINGER_MS: u64 = 5_000;

#[derive(Clone, Copy)]
enum Current {
    Nothing,
    Connection(u32),
    /// Came in this turn from a listener or the queue, named as in the epoll
    /// set, which may have more.
    Newcomer(u32, u64),
}

/// What is left to do in this turn.
struct Turn {
    reports: VecDeque<Report>,
    expired: Vec<u32>,
    current: Current,
    nested_ready: bool,
}

pub struct Reactor {
    pub(crate) set: PollSet,
    pub(crate) connections: Connections,
    pub(crate) timers: Timers,
    pub(crate) acceptor: Acceptor,
    pub(crate) passing: Passing,
    pub(crate) main_thread: MainThread,
    pub(crate) cx: Context,
    turn: Turn,
}

impl Reactor {
    /// # Errors
    /// When the process has no descriptor for the epoll set or the wakeup.
    pub fn new() -> io::Result<Self> {
        let cx = Context::new();
        Ok(Reactor {
            set: PollSet::new(WAKEUP)?,
            connections: Connections::default(),
            timers: Timers::new(cx.clock.now_ms),
            acceptor: Acceptor::new(),
            passing: Passing::default(),
            main_thread: MainThread::new(),
            cx,
            turn: Turn {
                reports: VecDeque::new(),
                expired: Vec::new(),
                current: Current::Nothing,
                nested_ready: false,
            },
        })
    }

    /// Closes every listener and connection of this process, and nothing
    /// else: a forked child may call it on the copy that it was born with.
    pub fn close(&mut self) {
        if self.main_thread.guard.is_some() {
            self.set.wake(); // the guard may wait for it
        }
        self.set.close();
        self.acceptor.close_all();
        self.connections = Connections::default();
        self.timers = Timers::new(self.cx.clock.now_ms);
        self.turn.reports.clear();
        self.turn.expired.clear();
        self.turn.current = Current::Nothing;
        self.cx.events.clear();
        self.cx.load.leave_pool();
        self.passing.leave();
        self.main_thread.guard = None;
    }

    /// Adds a descriptor whose readiness only [`Reactor::end_turn`] reports:
    /// the epoll set of another loop.
    ///
    /// # Errors
    /// Those of `epoll_ctl(2)`.
    pub fn nest(&mut self, fd: BorrowedFd<'_>) -> io::Result<()> {
        self.set.add(fd, NESTED, EventFlags::IN)?;
        Ok(())
    }

    // ---- a worker's place in the pool -----------------------------------

    /// From now on `slot` tells the pool what this process does, and no
    /// client is accepted while `concurrency` requests are in flight, unless
    /// the pool is full: then `overcommit` is readable.
    pub fn join_pool(&mut self, slot: Slot, concurrency: u32, overcommit: OwnedFd) {
        self.cx.load.join_pool(slot, concurrency);
        self.acceptor.join_pool(overcommit);
    }

    /// From now on connections go to the pool's other workers, and come from
    /// them, through `queue`.
    pub fn join_queue(&mut self, queue: Queue) {
        self.passing.join(queue);
    }

    pub fn slot(&self) -> Option<&Slot> {
        self.cx.load.slot()
    }

    /// [`Event::Exhausted`] comes after this many requests.
    pub fn set_max_requests(&mut self, requests: u64) {
        self.cx.load.set_max_requests(requests);
    }

    /// Open connections.
    pub fn connections(&self) -> usize {
        self.connections.len()
    }

    /// Requests that the application has and has not responded to.
    pub fn in_flight(&self) -> u32 {
        self.cx.load.in_flight()
    }

    // ---- one turn ---------------------------------------------------------

    /// What another loop may wait for instead: readable when a turn has
    /// something to do. `None` once the reactor is closed.
    pub fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.set.fd()
    }

    pub fn waiter(&self) -> Waiter {
        self.set.waiter()
    }

    /// How long the owner may wait at most, in milliseconds; `None`: for ever.
    pub fn prepare(&mut self) -> Option<u64> {
        if !self.cx.events.is_empty() || self.connections.any_touched() {
            return Some(0);
        }
        self.main_thread.rest = Rest::Asleep;
        let due_ms = [self.timers.next_ms(), self.acceptor.due_ms()];
        let due_ms = due_ms.into_iter().flatten().min()?;
        Some(due_ms.saturating_sub(self.cx.clock.read_ms()))
    }

    /// The same for an owner that waits in another loop, which comes back
    /// when the set is readable.
    pub fn prepare_elsewhere(&mut self) -> Option<u64> {
        let most_ms = self.prepare();
        if self.main_thread.rest == Rest::Asleep {
            self.main_thread.rest = Rest::Elsewhere;
        }
        most_ms
    }

    /// Takes what the wait brought.
    pub fn woken(&mut self, reports: &[Report]) {
        self.cx.clock.tick();
        self.main_thread.resume();
        let turn = &mut self.turn;
        turn.nested_ready = false;
        // First what was responded to: it leaves even if the client is just going.
        self.connections
            .begin_turn(|id| turn.reports.push_back((id.to_u64(), EventFlags::empty())));
        // Then clients that are new: no other worker was woken for them, while a
        // connection that waits behind a slow handler is handed off (`guard.rs`).
        for &(data, flags) in reports {
            match data {
                NESTED => turn.nested_ready = true,
                OVERCOMMIT => self.acceptor.accept_again(&self.set),
                WAKEUP => {}
                _ if data & SPECIAL != 0 => turn.reports.push_back((data, flags)),
                _ => {}
            }
        }
        let connections = reports.iter().filter(|(data, _)| data & SPECIAL == 0);
        turn.reports.extend(connections);
        self.timers.expire(self.cx.clock.now_ms, &mut turn.expired);
        let news = self.acceptor.check_supply(&self.set, self.cx.clock.now_ms);
        if let SupplyNews::Recovered { listener } = news {
            self.cx.events.push_back(Event::Recovered { listener });
        }
        self.register_queue();
    }

    /// Has the owner's wait end, if it waits: for another thread.
    pub fn wake(&mut self) {
        if self.main_thread.must_be_woken() {
            self.set.wake();
            // What is stamped until then is of now, not of when the wait began.
            self.cx.clock.tick();
        }
    }

    /// The next thing that happened, until the turn is over.
    pub fn next_event(&mut self) -> Option<Event> {
        self.main_thread.steps += 1;
        // None of them can lead to another for ever: what their hearer writes
        // is looked at in the next turn.
        if let Some(event) = self.cx.events.pop_front() {
            return Some(event);
        }
        loop {
            if let Some(event) = self.go_on() {
                return Some(event);
            }
            if !matches!(self.turn.current, Current::Nothing) {
                continue;
            }
            if let Some((data, flags)) = self.turn.reports.pop_front() {
                if data & SPECIAL == 0 {
                    self.begin(ConnectionId::from_u64(data), flags);
                } else {
                    self.acceptor.begin();
                    self.take_newcomer(data);
                }
            } else if let Some(key) = self.turn.expired.pop() {
                self.expire(key);
            } else {
                return self.cx.events.pop_front();
            }
        }
    }

    /// Closes the connection that is being worked on: for an owner that
    /// caught a panic of [`Reactor::next_event`], which would meet it again.
    pub fn abort_current(&mut self) {
        if let Current::Connection(key) | Current::Newcomer(key, _) =
            std::mem::replace(&mut self.turn.current, Current::Nothing)
        {
            self.close_connection(key, Some("an error of the server"));
        }
    }

    /// Ends the turn; true when the nested set has something to report.
    pub fn end_turn(&mut self) -> bool {
        let Context { load, clock, .. } = &mut self.cx;
        self.acceptor.follow_load(&self.set, load, clock.now_ms);
        load.counters.connections = self.connections.len() as u64;
        load.counters.busy_ns += clock.since_tick_ns();
        load.tell(clock.now_ns);
        self.register_queue();
        self.turn.nested_ready
    }

    // ---- the current connection -----------------------------------------------

    /// Goes on with the current connection, until it has brought its share.
    #[inline]
    fn go_on(&mut self) -> Option<Event> {
        match self.turn.current {
            Current::Nothing => {}
            Current::Connection(key) => {
                if let Some(event) = self.step(key) {
                    return Some(event);
                }
                self.settle(key);
                self.turn.current = Current::Nothing;
            }
            Current::Newcomer(key, source) => {
                if let Some(event) = self.step(key) {
                    return Some(event);
                }
                // One that has asked nothing yet ends the series: what else
                // waits there is for a worker with less to do.
                let asked = self.connections.get(key).is_none() || !self.cx.work.is_untouched();
                self.settle(key);
                self.turn.current = Current::Nothing;
                if asked {
                    self.take_newcomer(source);
                }
            }
        }
        None
    }

    /// A report of the epoll set, or (without flags) a connection that was
    /// touched: makes it the current one.
    fn begin(&mut self, id: ConnectionId, flags: EventFlags) {
        let Ok(connection) = self.connections.find(id) else {
            return;
        };
        if let Some(reason) = connection.ends_by(flags) {
            return self.close_connection(id.key, Some(reason));
        }
        if flags == EventFlags::IN && self.cx.load.is_full() && self.leave_to_a_spare(id.key) {
            return;
        }
        let Some(connection) = self.connections.get_mut(id.key) else {
            return;
        };
        let wanted = connection.interest(connection.link.output.pending() > 0);
        // What is not wanted now would be reported again and again.
        let early = flags.intersection(READING).difference(wanted);
        // One whose requests wait already brings no more of them.
        let reads = wanted.contains(EventFlags::IN) && !connection.has_backlog();
        if !early.is_empty() {
            connection.link.unread = true;
            self.set_interest(id.key, wanted);
        }
        self.turn.current = Current::Connection(id.key);
        self.load(id.key);
        if reads && flags.intersects(EventFlags::IN | EventFlags::HUP | EventFlags::ERR) {
            self.receive(id.key);
        }
    }

    /// Gives a connection its share of the turn.
    #[inline]
    fn load(&mut self, key: u32) {
        if let Some(connection) = self.connections.get_mut(key) {
            connection.link.load(&mut self.cx);
        } else {
            self.cx.work.begin();
        }
    }

    #[inline]
    fn receive(&mut self, key: u32) {
        if let Some(connection) = self.connections.get_mut(key) {
            let progress = connection.receive(&mut self.cx);
            if !matches!(progress, Progress::Wait) {
                let event = self.carry_out(key, progress);
                self.cx.events.extend(event);
            }
        }
    }

    /// One step of the current connection through its protocol.
    #[inline]
    fn step(&mut self, key: u32) -> Option<Event> {
        loop {
            let progress = self.connections.get_mut(key)?.read(&mut self.cx);
            match progress {
                Progress::Event(event) => return Some(event),
                Progress::Wait => return None,
                Progress::Flush if self.flush(key) => {}
                progress => return self.carry_out(key, progress),
            }
        }
    }

    /// Does what a protocol asks for; returns what the owner must hear.
    fn carry_out(&mut self, key: u32, progress: Progress) -> Option<Event> {
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

    /// Keeps what was not understood, sends what waits, and says what the
    /// connection waits for from now on.
    fn settle(&mut self, key: u32) {
        if let Some(connection) = self.connections.get_mut(key) {
            connection.link.keep(&mut self.cx);
        }
        let sent = self.flush(key);
        let Some(connection) = self.connections.get_mut(key) else {
            return;
        };
        if sent {
            if connection.link.stage == Stage::Finishing {
                return self.end_connection(key);
            }
            if connection.is_over() {
                return self.close_connection(key, None);
            }
            if let Some(exchange) = connection.take_drained() {
                self.cx.events.push_back(Event::Drained { exchange });
            }
            let (backlog, listener) = (connection.has_backlog(), connection.link.listener);
            self.set_deadline(key);
            if backlog {
                self.postpone(key);
            } else if self.acceptor.is_draining(listener) && self.hand_off(key) {
                return;
            }
        }
        let Some(connection) = self.connections.get(key) else {
            return;
        };
        let wanted = connection.interest(!sent);
        // Reading is not given up before a report shows that it must be.
        let missing = wanted.difference(connection.interest);
        let surplus = connection.interest.difference(wanted | READING);
        if !missing.is_empty() || !surplus.is_empty() {
            self.set_interest(key, wanted);
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
        matches!(self.turn.current, Current::Connection(now) | Current::Newcomer(now, _) if now == key)
    }

    /// Has the next turn look at a connection.
    fn postpone(&mut self, key: u32) {
        if self.connections.touch(key) {
            self.wake();
        }
    }

    // ---- what it waits for, and until when -------------------------------------

    fn set_interest(&mut self, key: u32, interest: EventFlags) {
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
            self.close_connection(key, Some("the connection could not be watched"));
        }
    }

    #[inline]
    fn set_deadline(&mut self, key: u32) {
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
        self.timers.set(key, due_ms);
    }

    fn expire(&mut self, key: u32) {
        // Something has happened to it in this very turn.
        if self.timers.is_set(key) {
            return;
        }
        let Some(connection) = self.connections.get_mut(key) else {
            return;
        };
        let expiry = deadlines::on_expiry(connection.waits_for());
        let listener = connection.link.listener;
        // It may be that the queue has room by now.
        if expiry == Expiry::Close && self.acceptor.is_draining(listener) && self.hand_off(key) {
            return;
        }
        let Some(connection) = self.connections.get_mut(key) else {
            return;
        };
        let progress = connection.expire(&mut self.cx, expiry);
        let event = self.carry_out(key, progress);
        self.cx.events.extend(event);
        self.set_deadline(key);
        self.postpone(key);
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

    // ---- how it ends -----------------------------------------------------------

    /// The last response has left.
    fn end_connection(&mut self, key: u32) {
        let until_ms = self.cx.clock.now_ms + LINGER_MS;
        let Some(connection) = self.connections.get_mut(key) else {
            return;
        };
        let link = &mut connection.link;
        if !link.unread || link.transport.end_sending().is_err() {
            return self.close_connection(key, None);
        }
        link.stage = Stage::Lingering { until_ms };
        let wanted = connection.interest(false);
        self.set_deadline(key);
        self.set_interest(key, wanted);
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
        let is_over = |reactor: &Self| {
            let listener = reactor.acceptor.get(number);
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

    fn empty_queue(&mut self, number: u32) {
        if self.slot().is_none_or(Slot::pool_is_kept) {
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

    // ---- newcomers -------------------------------------------------------------

    /// Takes one from a listener or the queue, named as in the epoll set, and
    /// makes it the current connection.
    fn take_newcomer(&mut self, source: u64) {
        let key = match source {
            QUEUE => self.adopt(),
            listener => self.accept(listener as u32),
        };
        if let Some(key) = key {
            self.turn.current = Current::Newcomer(key, source);
            self.load(key);
            self.receive(key);
        }
    }

    fn accept(&mut self, number: u32) -> Option<u32> {
        match self.acceptor.accept(number, &self.cx.load) {
            Accepted::Client(socket, peer) => self.admit(Transport::Plain(socket), peer, number),
            Accepted::Nothing => None,
            Accepted::Starved(error) => {
                self.starve(number, error);
                None
            }
        }
    }

    fn adopt(&mut self) -> Option<u32> {
        while self.passing.is_registered() && self.acceptor.take_one(&self.cx.load) {
            // Without a descriptor the kernel would throw the connection away.
            if !self.set.finds_room() {
                self.starve(0, Errno::MFILE);
                return None;
            }
            match self.passing.receive() {
                Received::Connection(socket, passage) => {
                    let history = (passage.requests, passage.due_ms);
                    let key = self.take_in(socket, passage.listener, history);
                    if key.is_some() {
                        return key;
                    }
                }
                Received::Nonsense => {}
                Received::Nothing => return None,
            }
        }
        None
    }

    /// Adopts a connection that came out of the queue, with how many requests
    /// it has brought and until when it may idle.
    fn take_in(
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
    fn admit(&mut self, transport: Transport, peer: Peer, number: u32) -> Option<u32> {
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

    // ---- to other workers --------------------------------------------------------

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

    /// A worker that is busy enough leaves a request that is about to begin to
    /// a spare, or to one that is about to be forked.
    fn leave_to_a_spare(&mut self, key: u32) -> bool {
        self.passing.has_taker(&self.cx.load) && self.hand_off(key)
    }

    /// Whether the next response on a connection must be its last.
    #[inline]
    pub(crate) fn is_last_response(&self, connection: &Connection) -> bool {
        self.acceptor.is_draining(connection.link.listener)
            && !self.passing.will_take(connection, &self.cx.load)
    }
}
