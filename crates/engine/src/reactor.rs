//! The reactor: sockets on one side, events on the other.
//!
//! Owns: the epoll set, the listeners, the connections and their timers.
//! Always holds: an event is returned with nothing borrowed, so whoever gets
//! it may call any method before asking for the next; what one connection
//! does never disturbs another. Knows no Python and calls nobody: the owner
//! pulls (`wait`, then `next_event` until `None`), as one pulls from h11.
//!
//! One turn:
//! ```text
//! prepare() -> timeout   epoll wait, without the engine    woken(reports)
//!      ^                                                        |
//!      +------------- next_event() until None <-----------------+
//! ```

use crate::buffers::Buffers;
use crate::clock::Clock;
use crate::connection::Conn;
use crate::event::Event;
use crate::exchange::{ConnectionId, ExchangeId};
use crate::guard::{Rest, Watch};
use crate::listener::{Listener, Supply};
use crate::poll_set::{ALARM, GATE, NESTED, PollSet, Report, SPECIAL, Waiter};
use crate::queue::Queue;
use crate::scoreboard::{Counters, Slot};
use crate::timers::Timers;
use rustix::event::epoll::EventFlags;
use std::collections::VecDeque;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};

/// A client that lets this much of its answers wait asks no further.
pub const HIGH_WATER: usize = 64 * 1024;
/// How many clients one listener may bring in a turn.
pub(crate) const ACCEPTS_PER_TURN: u32 = 16;
/// How many requests one client may bring in a turn; the others come next.
pub(crate) const HEADS_PER_TURN: u32 = 32;
pub(crate) const NEVER: u64 = u64::MAX / 2;

#[derive(Clone, Copy)]
pub(crate) enum Current {
    Nothing,
    Connection(u32),
    /// Came in this turn through a door, named as in the epoll set, that may
    /// have more.
    Newcomer(u32, u64),
}

pub struct Reactor {
    pub(crate) set: PollSet,
    pub(crate) clock: Clock,
    pub(crate) conns: Vec<Option<Box<Conn>>>,
    pub(crate) free: Vec<u32>,
    /// Keys of connections that ended in this turn. None is given to another
    /// before the next: whoever still works on the old one would take it for his.
    pub(crate) spent: Vec<u32>,
    pub(crate) open: usize,
    pub(crate) next_serial: u32,
    pub(crate) listeners: Vec<Listener>,
    pub(crate) timers: Timers,
    pub(crate) buffers: Buffers,

    pub(crate) reports: VecDeque<Report>,
    /// Connections to look at in the next turn.
    pub(crate) touched: Vec<ConnectionId>,
    pub(crate) expired: Vec<u32>,
    pub(crate) events: VecDeque<Event>,
    pub(crate) current: Current,
    pub(crate) accepts_left: u32,
    /// Requests that the current connection may still bring in this turn.
    pub(crate) heads_left: u32,
    /// What the current connection has sent, from `at` on not yet understood.
    pub(crate) work: Vec<u8>,
    pub(crate) at: usize,

    pub(crate) nested_ready: bool,
    pub(crate) supply: Supply,
    pub(crate) rest: Rest,
    /// Counts how far the main thread has got.
    pub(crate) steps: u64,
    pub(crate) watch: Option<Watch>,
    pub(crate) in_flight: u32,
    /// More than this many in flight, and no new client is accepted.
    pub(crate) concurrency: u32,
    pub(crate) max_requests: u64,
    pub(crate) gate: Option<OwnedFd>,
    pub(crate) gate_watched: bool,
    /// When to look at it again, if it was open and not heeded.
    pub(crate) gate_again_ms: Option<u64>,
    pub(crate) slot: Option<Slot>,
    pub(crate) queue: Option<Queue>,
    pub(crate) counters: Counters,
}

impl Reactor {
    /// # Errors
    /// When the process has no descriptor for the epoll set or the alarm.
    pub fn new() -> io::Result<Self> {
        let clock = Clock::new();
        Ok(Reactor {
            set: PollSet::new(ALARM)?,
            timers: Timers::new(clock.now_ms),
            clock,
            conns: Vec::new(),
            free: Vec::new(),
            spent: Vec::new(),
            open: 0,
            next_serial: 1,
            listeners: Vec::new(),
            buffers: Buffers::default(),
            reports: VecDeque::new(),
            touched: Vec::new(),
            expired: Vec::new(),
            events: VecDeque::new(),
            current: Current::Nothing,
            accepts_left: 0,
            heads_left: 0,
            work: Vec::new(),
            at: 0,
            nested_ready: false,
            supply: Supply::Enough,
            rest: Rest::Busy,
            steps: 0,
            watch: None,
            in_flight: 0,
            concurrency: u32::MAX,
            max_requests: u64::MAX,
            gate: None,
            gate_watched: false,
            gate_again_ms: None,
            slot: None,
            queue: None,
            counters: Counters::default(),
        })
    }

    /// Closes every listener and connection of this process, and nothing
    /// else: a forked child may call it on the copy that it was born with.
    pub fn close(&mut self) {
        if self.watch.is_some() {
            self.set.ring(); // the guard may wait for it
        }
        self.set.close();
        self.listeners.clear();
        self.conns.clear();
        self.free.clear();
        self.spent.clear();
        self.open = 0;
        self.in_flight = 0;
        self.timers = Timers::new(self.clock.now_ms);
        self.reports.clear();
        self.touched.clear();
        self.expired.clear();
        self.events.clear();
        self.current = Current::Nothing;
        self.gate = None;
        self.slot = None;
        self.queue = None;
        self.watch = None;
    }

    // ---- what it watches ------------------------------------------------

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
    /// the pool is full: then `gate` is readable. Connections come from other
    /// workers, and go there, through `queue`.
    pub fn join_pool(&mut self, slot: Slot, concurrency: u32, gate: OwnedFd) {
        self.slot = Some(slot);
        self.concurrency = concurrency;
        self.gate = Some(gate);
    }

    /// From now on connections go to the pool's other workers, and come from
    /// them, through `queue`.
    pub fn join_queue(&mut self, queue: Queue) {
        self.queue = Some(queue);
    }

    pub fn slot(&self) -> Option<&Slot> {
        self.slot.as_ref()
    }

    /// [`Event::Exhausted`] comes after this many requests.
    pub fn set_max_requests(&mut self, requests: u64) {
        self.max_requests = requests;
    }

    /// Open connections.
    pub fn connections(&self) -> usize {
        self.open
    }

    /// Requests that the application has and has not answered.
    pub fn in_flight(&self) -> u32 {
        self.in_flight
    }

    // ---- one turn ---------------------------------------------------------

    /// What another loop may wait for instead: readable when a turn has
    /// something to do. `None` once the engine is closed.
    pub fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.set.fd()
    }

    pub fn waiter(&self) -> Waiter {
        self.set.waiter()
    }

    /// How long the owner may wait at most, in milliseconds; `None`: for ever.
    pub fn prepare(&mut self) -> Option<u64> {
        if !self.events.is_empty() || !self.touched.is_empty() {
            return Some(0);
        }
        self.rest = Rest::Asleep;
        let due = [
            self.timers.next_ms(),
            self.supply.due_ms(),
            self.gate_again_ms,
        ]
        .into_iter()
        .flatten()
        .min()?;
        Some(due.saturating_sub(self.clock.read_ms()))
    }

    /// The same for an owner that waits in another loop, which comes back
    /// when the set is readable.
    pub fn prepare_elsewhere(&mut self) -> Option<u64> {
        let most_ms = self.prepare();
        if self.rest == Rest::Asleep {
            self.rest = Rest::Elsewhere;
        }
        most_ms
    }

    /// Takes what the wait brought.
    pub fn woken(&mut self, reports: &[Report]) {
        self.clock.tick();
        self.rest = Rest::Busy;
        self.steps += 1;
        if let Some(watch) = &mut self.watch {
            watch.resume();
        }
        self.nested_ready = false;
        self.free.append(&mut self.spent);
        // First what was answered: it leaves even if the client is just going.
        for id in self.touched.drain(..) {
            if let Some(Some(conn)) = self.conns.get_mut(id.key as usize) {
                conn.touched &= conn.serial != id.serial;
            }
            self.reports.push_back((id.to_u64(), EventFlags::empty()));
        }
        // Then whoever is at a door: nobody else was woken for it, while a
        // connection that waits behind a slow handler is passed on (`guard.rs`).
        for &(data, flags) in reports {
            match data {
                NESTED => self.nested_ready = true,
                GATE => self.listen_again(),
                ALARM => {}
                _ if data & SPECIAL != 0 => self.reports.push_back((data, flags)),
                _ => {}
            }
        }
        let connections = reports.iter().filter(|(data, _)| data & SPECIAL == 0);
        self.reports.extend(connections);
        self.timers.expire(self.clock.now_ms, &mut self.expired);
        self.mind_the_supply();
    }

    /// Has the owner's wait end, if it waits: for another thread.
    pub fn wake(&mut self) {
        if matches!(self.rest, Rest::Asleep | Rest::Elsewhere) {
            self.rest = Rest::Rung;
            self.set.ring();
            // What is stamped until then is of now, not of when the wait began.
            self.clock.tick();
        }
    }

    /// The next thing that happened, until the turn is over.
    pub fn next_event(&mut self) -> Option<Event> {
        self.steps += 1;
        // None of them can lead to another for ever: what their hearer writes
        // is looked at in the next turn.
        if let Some(event) = self.events.pop_front() {
            return Some(event);
        }
        loop {
            match self.current {
                Current::Nothing => {}
                Current::Connection(key) => {
                    if let Some(event) = self.step(key) {
                        return Some(event);
                    }
                    self.settle(key);
                    self.current = Current::Nothing;
                }
                Current::Newcomer(key, door) => {
                    if let Some(event) = self.step(key) {
                        return Some(event);
                    }
                    // One that has asked nothing yet ends the series: what
                    // else waits at the door is for a worker with less to do.
                    let asked = self.conn(key).is_none() || self.heads_left < HEADS_PER_TURN;
                    self.settle(key);
                    self.current = Current::Nothing;
                    if asked {
                        self.let_in(door);
                        continue;
                    }
                }
            }
            if let Some((data, flags)) = self.reports.pop_front() {
                if data & SPECIAL == 0 {
                    self.begin(ConnectionId::from_u64(data), flags);
                } else {
                    self.accepts_left = ACCEPTS_PER_TURN;
                    self.let_in(data);
                }
            } else if let Some(key) = self.expired.pop() {
                self.expire(key);
            } else {
                return self.events.pop_front();
            }
        }
    }

    /// Closes the connection that is being worked on: for an owner that
    /// caught a panic of [`Reactor::next_event`], which would meet it again.
    pub fn abort_current(&mut self) {
        if let Current::Connection(key) | Current::Newcomer(key, _) =
            std::mem::replace(&mut self.current, Current::Nothing)
        {
            self.lose(key, "an error of the server");
        }
    }

    /// Ends the turn; true when the nested set has something to report.
    pub fn end_turn(&mut self) -> bool {
        self.mind_the_door();
        self.counters.connections = self.open as u64;
        self.counters.busy_ns += self.clock.since_tick_ns();
        self.tell_counters();
        self.nested_ready
    }

    pub(crate) fn tell_counters(&self) {
        if let Some(slot) = &self.slot {
            slot.turn(self.clock.now_ns, &self.counters);
        }
    }

    // ---- one connection -------------------------------------------------------

    pub(crate) fn conn(&self, key: u32) -> Option<&Conn> {
        self.conns.get(key as usize)?.as_deref()
    }

    pub(crate) fn conn_mut(&mut self, key: u32) -> Option<&mut Conn> {
        self.conns.get_mut(key as usize)?.as_deref_mut()
    }

    /// The connection of that name, if it is still open.
    pub(crate) fn named(&mut self, id: ExchangeId) -> Option<&mut Conn> {
        self.conn_mut(id.connection.key)
            .filter(|conn| conn.serial == id.connection.serial)
    }

    /// Has the next turn look at a connection that somebody else changed.
    pub(crate) fn touch(&mut self, key: u32) {
        if !self.is_current(key) {
            self.postpone(key);
        }
    }

    pub(crate) fn is_current(&self, key: u32) -> bool {
        matches!(self.current, Current::Connection(now) | Current::Newcomer(now, _) if now == key)
    }

    /// Has the next turn look at a connection.
    pub(crate) fn postpone(&mut self, key: u32) {
        let Some(Some(conn)) = self.conns.get_mut(key as usize) else {
            return;
        };
        if !std::mem::replace(&mut conn.touched, true) {
            let serial = conn.serial;
            self.touched.push(ConnectionId { key, serial });
            self.wake();
        }
    }
}
