//! The reactor of one process, as its owner uses it.
//!
//! Owns: everything that is open ([`Core`]), and the turn. Always holds: an
//! event borrows nothing, so the owner may call any method before it takes the
//! next one; one connection never disturbs another. Knows no protocol, no
//! Python and no callback: the owner waits and then calls `next_event` until it
//! returns `None`, as with h11.
//!
//! One turn:
//! ```text
//! prepare() -> timeout   epoll wait, without the reactor   woken(reports)
//!      ^                                                        |
//!      +------------- next_event() until None <-----------------+
//! ```

use crate::access_log::{AccessLog, AccessLogSettings, Entry};
use crate::application::{ConnectionHandle, ExchangeHandle};
use crate::context::Context;
use crate::core::{Core, Current};
use crate::disk::DiskTask;
use crate::event::Event;
use crate::exchange::{ConnectionId, ExchangeId};
use crate::handoff::guard::{self, EndStuck};
use crate::handoff::main_thread::Activity;
use crate::handoff::queue::Queue;
use crate::lag::Lag;
use crate::listening::ListenerHandle;
use crate::poll_set::{NESTED, Report, Waiter};
use crate::scoreboard::{Slot, State};
use crate::settings::ListenerSettings;
use crate::turn::{Turn, TurnEnd};
use prefork_tls::Config as TlsConfig;
use rustix::event::epoll::EventFlags;
use rustix::io::Errno;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

pub struct Reactor {
    pub(crate) core: Core,
    turn: Turn,
}

impl Reactor {
    /// # Errors
    /// If the process has no descriptor for the epoll set or the wakeup.
    pub fn new() -> io::Result<Self> {
        Ok(Reactor {
            core: Core::new()?,
            turn: Turn::default(),
        })
    }

    /// Closes the descriptors of this process: every listener, every connection
    /// and the epoll set.
    pub fn close(&mut self) {
        self.core.close();
        self.turn = Turn::default();
    }

    /// As [`Reactor::close`], in a forked child: neither its parent nor a
    /// client notices. No other thread may have existed since the fork.
    pub fn discard(&mut self) {
        self.core.discard();
        self.turn = Turn::default();
    }

    /// Adds the epoll set of another loop. Only [`Reactor::end_turn`] reports
    /// that it is ready.
    ///
    /// # Errors
    /// Those of `epoll_ctl(2)`.
    pub fn nest(&mut self, fd: BorrowedFd<'_>) -> io::Result<()> {
        self.core.set.add(fd, NESTED, EventFlags::IN)?;
        Ok(())
    }

    /// Makes this process the worker of `slot`. While `concurrency` requests
    /// are in flight, it accepts no client, unless the pool is full: then
    /// `overcommit` is readable. `workers` is the maximum number of workers.
    pub fn join_pool(&mut self, slot: Slot, concurrency: u32, workers: u32, overcommit: OwnedFd) {
        self.core.cx.load.join_pool(slot, concurrency, workers);
        self.core.acceptor.join_pool(overcommit);
    }

    /// Hands connections off to the pool's other workers through `queue`, and
    /// adopts theirs.
    pub fn join_queue(&mut self, queue: Queue) {
        self.core.transfer.join(queue);
    }

    /// Has this process killed when the process `manager` has ended: by the main
    /// thread, or by the guard while that is stuck.
    ///
    /// # Errors
    /// If there is no such process, or no free descriptor.
    pub fn end_with(&mut self, manager: i32) -> io::Result<()> {
        self.core.end_with(manager)
    }

    /// The worker is ready: it becomes a spare, and wakes the manager.
    pub fn enter_pool(&mut self) {
        let load = &mut self.core.cx.load;
        load.lag = Lag::default(); // its start is no turn
        if let Some(slot) = load.slot() {
            slot.set_lag(0);
            slot.set_state(State::Spare);
            slot.wake_manager();
        }
    }

    pub fn slot(&self) -> Option<&Slot> {
        self.core.cx.load.slot()
    }

    /// Sets the number of requests after which [`Event::RequestLimitReached`]
    /// comes.
    pub fn set_max_requests(&mut self, requests: u64) {
        self.core.cx.load.set_max_requests(requests);
    }

    /// Sets how many requests the application can serve at once: no more are
    /// begun. Others are handed off, or wait.
    pub fn set_capacity(&mut self, requests: u32) {
        self.core.cx.load.set_capacity(requests);
    }

    /// While set, no request is begun: the application has returned to the
    /// owner in the middle of a response.
    pub fn set_occupied(&mut self, yes: bool) {
        self.core.cx.load.set_occupied(yes);
        // Between two turns, the next one may be a long wait.
        self.core.follow_load();
        if self.core.may_end_waiting() || self.core.may_begin_streams() {
            self.core.wake(); // the owner may wait in another loop
        }
    }

    /// Reads the monotonic clock, in ns.
    pub fn tick(&mut self) -> u64 {
        self.core.cx.clock.tick();
        self.now_ns()
    }

    /// The monotonic clock when it was last read, such as by [`ExchangeHandle::send_now`], in ns.
    #[inline]
    pub fn now_ns(&self) -> u64 {
        self.core.cx.clock.now_ns
    }

    /// Open connections.
    pub fn connections(&self) -> usize {
        self.core.connections.len()
    }

    /// Requests that the application has and whose response is not complete.
    pub fn in_flight(&self) -> u32 {
        self.core.cx.load.in_flight()
    }

    /// The descriptor for another loop to wait on. It is readable when a turn
    /// has something to do. `None` once the reactor is closed.
    pub fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.core.set.fd()
    }

    pub fn waiter(&self) -> Waiter {
        self.core.set.waiter()
    }

    /// Begins a wait. Returns its longest duration in milliseconds; `None`: no
    /// limit.
    pub fn prepare(&mut self) -> Option<u64> {
        let Context {
            load,
            clock,
            arrival,
            ..
        } = &mut self.core.cx;
        let now_ns = clock.read_ns();
        load.end_lag(now_ns);
        arrival.begin_wait(now_ns);
        self.core.resume_websockets();
        self.core.cx.flush_log(now_ns / 1_000_000);
        let core = &self.core;
        let is_due = !core.cx.events.is_empty() || core.connections.any_scheduled();
        if is_due || core.may_end_waiting() || core.may_begin_streams() || core.broken.is_some() {
            return Some(0);
        }
        self.core.main_thread.activity = Activity::Waiting;
        let core = &self.core;
        let due_ms = [
            core.timers.next_ms(),
            core.acceptor.due_ms(),
            core.hand_off_again_ms(),
            core.lend_again_ms(),
            core.queue_due_ms(),
            core.log_due_ms(),
        ];
        let due_ms = due_ms.into_iter().flatten().min()?;
        Some(due_ms.saturating_sub(now_ns / 1_000_000))
    }

    /// As [`Reactor::prepare`], for an owner that waits for `fd` in another
    /// loop.
    pub fn prepare_elsewhere(&mut self) -> Option<u64> {
        let most_ms = self.prepare();
        if self.core.main_thread.activity == Activity::Waiting {
            self.core.main_thread.activity = Activity::WaitingElsewhere;
        }
        most_ms
    }

    /// Begins a turn with the reports of the wait.
    pub fn woken(&mut self, reports: &[Report]) {
        self.turn.begin(&mut self.core, reports);
    }

    /// The wait has failed: no turn is possible any more. [`Event::Broken`]
    /// follows.
    pub fn lose_set(&mut self, error: Errno) {
        self.core.report_broken("the epoll set", error, false);
    }

    /// Ends the owner's wait, if it waits. May be called on any thread.
    pub fn wake(&mut self) {
        self.core.wake();
    }

    /// The next event; `None` when the turn is over.
    pub fn next_event(&mut self) -> Option<Event> {
        self.turn.next_event(&mut self.core)
    }

    /// Closes the current connection. An owner calls it after a panic of
    /// [`Reactor::next_event`], which would otherwise continue with that
    /// connection.
    pub fn abort_current(&mut self) {
        if let Current::Connection(key) | Current::New(key, _) =
            std::mem::replace(&mut self.core.current, Current::Nothing)
        {
            self.core
                .close_connection(key, Some("an error of the server"));
        }
    }

    /// Ends the turn.
    pub fn end_turn(&mut self) -> TurnEnd {
        self.turn.end(&mut self.core)
    }

    // ---- the access log
    // ------------------------------------------------------------------

    /// Has a line written for each response. It is that of all listeners.
    pub fn log_to(&mut self, settings: &Arc<AccessLogSettings>) {
        let log = &mut self.core.cx.log;
        if !log.as_ref().is_some_and(|log| log.is_of(settings)) {
            *log = Some(Box::new(AccessLog::new(settings)));
        }
    }

    /// Logs a response. The line is written before the next wait, together with others.
    pub fn log(&mut self, entry: &Entry<'_>) {
        self.core.cx.log(entry);
        self.core.wake(); // on another thread, the loop may wait
    }

    /// Opens the file of the access log again, because it was renamed.
    pub fn reopen_log(&mut self) {
        self.core.cx.reopen_log();
        self.core.wake();
    }

    /// Takes back the work of [`Event::Disk`], which is done.
    pub fn disk_done(&mut self, task: DiskTask) {
        self.core.disk_done(task);
    }

    // ---- listeners, connections, exchanges
    // ------------------------------------------

    /// Serves the clients of a listening, non-blocking socket. Returns the
    /// listener's number.
    ///
    /// # Errors
    /// Those of `epoll_ctl(2)`.
    pub fn listen(
        &mut self,
        socket: OwnedFd,
        settings: ListenerSettings,
        tls: Option<TlsConfig>,
    ) -> io::Result<u32> {
        let Core { acceptor, set, .. } = &mut self.core;
        let number = acceptor.listen(set, socket, settings, tls)?;
        self.core.register_queue();
        Ok(number)
    }

    /// The calls of the owner for a listener.
    pub fn listener(&mut self, number: u32) -> ListenerHandle<'_> {
        ListenerHandle::new(&mut self.core, number)
    }

    /// The calls of the application for a connection.
    pub fn connection(&mut self, id: ConnectionId) -> ConnectionHandle<'_> {
        ConnectionHandle::new(&mut self.core, id)
    }

    /// The calls of the application for a request and its response.
    pub fn exchange(&mut self, id: ExchangeId) -> ExchangeHandle<'_> {
        ExchangeHandle::new(&mut self.core, id)
    }

    /// Starts the guard of a worker. `heartbeat`: how long the main thread may be blocked. The guard inherits the caller's signal mask,
    /// which must block all signals that the main thread handles.
    ///
    /// # Errors
    /// If the thread cannot be created.
    pub fn start_guard(
        reactor: &Arc<Mutex<Self>>,
        heartbeat: Option<Duration>,
        end_stuck: EndStuck,
    ) -> io::Result<()> {
        let mut locked = reactor.lock().unwrap_or_else(PoisonError::into_inner);
        locked.core.cx.names_requests = heartbeat.is_some();
        drop(locked);
        guard::start(reactor, heartbeat, end_stuck)
    }
}
