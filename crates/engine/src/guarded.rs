//! The reactor, as its guard uses it (`handoff/guard.rs`).

use crate::connection::Connection;
use crate::exchange::ConnectionId;
use crate::handoff::guard::{Guarded, Stuck};
use crate::handoff::main_thread::MainThread;
use crate::poll_set::{Report, SPECIAL, WAKEUP, Waiter, carrier_of};
use crate::reactor::Reactor;
use crate::scoreboard::Slot;
use rustix::event::epoll::EventFlags;
use rustix::time::Timespec;
use std::time::Duration;

/// After this time a stuck main thread is worse than a busy one: connections go also
/// to workers that are not spare. They take them between two requests.
const LONG: Duration = Duration::from_millis(100);
/// A worker that has begun a request within this time is busy, and not stuck.
const BUSY_NS: u64 = 10_000_000;

/// The main thread closes a connection for these.
const GONE: EventFlags = EventFlags::HUP.union(EventFlags::ERR);

/// How late the main thread may wake up.
const GRACE: Duration = Duration::from_millis(500);

impl Reactor {
    /// Serves a connection of HTTP/2, for a report of it or of a stream that is lent. False: it is neither.
    fn serve_aside(&mut self, data: u64, flags: EventFlags) -> bool {
        if let Some((key, stream)) = carrier_of(data) {
            self.core.carry_aside(key, stream);
            return true;
        }
        let id = ConnectionId::from_u64(data);
        let is_its = data & SPECIAL == 0;
        let connection = self.core.connections.find(id).ok().filter(|_| is_its);
        let is_http2 = connection.is_some_and(Connection::is_http2);
        if is_http2 {
            self.core.serve_aside(id.key, flags);
        }
        is_http2
    }
}

impl Guarded for Reactor {
    fn main_thread(&mut self) -> &mut MainThread {
        &mut self.core.main_thread
    }

    fn may_wait(&self) -> Option<Duration> {
        let due = Duration::from_millis(self.core.timers.next_ms()?) + GRACE;
        let now = Duration::from_millis(self.core.cx.clock.read_ms());
        Some(due.saturating_sub(now))
    }

    fn beat(&mut self) -> bool {
        let load = &self.core.cx.load;
        let in_flight = load.in_flight() > 0;
        if let Some(slot) = load.slot() {
            slot.beat(self.core.cx.clock.read_ns());
        }
        in_flight
    }

    fn waiter(&self) -> Waiter {
        self.core.set.waiter()
    }

    /// Output is sent, and handshakes go on: then the connection can be handed off. One of HTTP/2 that
    /// has begun stays: the guard serves it, except for the application, and lends the streams that the
    /// application has not begun. Hands off no more connections and streams than there are spares, or after
    /// `LONG` than there are workers that are not stuck. The others are looked at again at the next call.
    /// The wait takes no report from the main thread: all but the wakeup are level-triggered, and the wakeup
    /// is written again.
    fn hand_off_waiting(&mut self, reports: &mut Vec<Report>, stuck: Duration) -> bool {
        reports.clear();
        // If the set is unusable, the main thread finds that too.
        let waiter = self.core.set.waiter();
        let _ = waiter.wait(Some(&Timespec::default()), reports);
        if reports.iter().any(|&(data, _)| data == WAKEUP) {
            let _ = self.core.set.wake();
        }
        let began_ns = self.core.cx.clock.read_ns().saturating_sub(BUSY_NS);
        let takers = |slot: &Slot| match stuck < LONG {
            true => slot.spares_elsewhere(),
            false => slot.moving_elsewhere(began_ns),
        };
        let mut waiting = Vec::new();
        let mut room = self.core.transfer.room(&self.core.cx.load, takers);
        for id in self.core.connections.backlogs() {
            if room > 0 && self.core.hand_off_outside(id.key) {
                room -= 1;
            }
        }
        reports.retain(|&(data, flags)| !self.serve_aside(data, flags));
        for &(data, flags) in reports.iter() {
            let id = ConnectionId::from_u64(data);
            let is_known = data & SPECIAL == 0 && self.core.connections.find(id).is_ok();
            if is_known && flags.contains(EventFlags::OUT) && !flags.intersects(GONE) {
                self.core.flush_outside(id.key);
            }
            // A connection whose peer also closed its side is left to the main
            // thread.
            let is_open = is_known && flags == EventFlags::IN;
            if is_open {
                self.core.shake_hands_outside(id.key);
            }
            if room > 0 && is_open && self.core.hand_off_outside(id.key) {
                room -= 1;
            } else if is_open {
                waiting.push(id.key);
            }
        }
        let streams_wait = self.core.lend_waiting(room);
        self.core.refuse_surplus(&mut waiting);
        let now_ms = self.core.cx.clock.read_ms();
        self.core.cx.flush_log(now_ms);
        self.core.publish_totals(); // the main thread does when its turn ends
        streams_wait
    }

    fn note_blocked(&mut self, blocked: Duration) -> bool {
        let load = &mut self.core.cx.load;
        let blocked_ns = u64::try_from(blocked.as_nanos()).unwrap_or(u64::MAX);
        load.note_blocked(blocked_ns, self.core.cx.clock.read_ns());
        load.slot().is_some_and(Slot::serves)
    }

    fn respond_for_stuck(&mut self, step: Duration, is_dead: bool) -> Option<Stuck> {
        let step_ms = u64::try_from(step.as_millis()).unwrap_or(u64::MAX);
        let mut connections = self.core.connections.keys();
        let request = connections.find_map(|key| {
            let connection = self.core.connections.get(key)?;
            connection.stuck_request(step_ms, is_dead)
        });
        let (request, request_id) = match request {
            None if !is_dead => return None,
            request => request.unwrap_or_else(|| ("no request".to_owned(), None)),
        };
        self.core.cx.clock.tick();
        for key in self.core.connections.keys() {
            if self.core.hand_off_outside(key) {
                continue;
            }
            if let Some(connection) = self.core.connections.get_mut(key) {
                connection.write_overdue_response(&mut self.core.cx);
                // The process ends in any case.
                let _ = connection.link.flush(&mut self.core.cx);
                connection.link.end_sending();
            }
        }
        self.core.cx.flush_log(self.core.cx.clock.now_ms);
        Some(Stuck {
            request,
            request_id,
        })
    }
}
