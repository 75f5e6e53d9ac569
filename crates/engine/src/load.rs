//! Requests in flight and totals of this process, for its pool.
//!
//! Owns: the count of requests in flight, the totals, and this process's slot
//! on the scoreboard. Always holds: the count changes only in
//! [`Load::changed`], by the phases of an exchange before and after a step.

use crate::lag::Lag;
use crate::peer::Peer;
use crate::phase::Phase;
use crate::scoreboard::{Counters, EntryId, Limit, RequestPhase, SharedFigures, Slot, Time};

/// A request that begins.
pub(crate) struct Begun<'a> {
    pub(crate) method: &'a [u8],
    pub(crate) target: &'a [u8],
    pub(crate) client: Peer,
    /// How long it could be read before.
    pub(crate) wait_ns: u64,
}

pub(crate) struct Load {
    in_flight: u32,
    /// With this many requests in flight, the process accepts no client.
    concurrency: u32,
    /// How many workers the pool may have; 0 without a pool.
    workers: u32,
    max_requests: u64,
    pub(crate) counters: Counters,
    /// When the application got the requests to which it has responded since the clock was read.
    responded: Vec<u64>,
    pub(crate) lag: Lag,
    slot: Option<Slot>,
    /// How many requests the application can serve at once.
    capacity: u32,
    /// As `capacity`; 0 while the main thread is in the middle of a response: it
    /// is called for no other request before that one is over.
    most: u32,
}

impl Default for Load {
    fn default() -> Self {
        Load {
            in_flight: 0,
            concurrency: u32::MAX,
            workers: 0,
            max_requests: u64::MAX,
            counters: Counters::default(),
            responded: Vec::new(),
            lag: Lag::default(),
            slot: None,
            capacity: u32::MAX,
            most: u32::MAX,
        }
    }
}

impl Load {
    pub(crate) fn join_pool(&mut self, slot: Slot, concurrency: u32, workers: u32) {
        self.slot = Some(slot);
        self.concurrency = concurrency;
        self.workers = workers;
    }

    /// How many requests the pool can serve at once, if all of its workers are like this one; 0 without a
    /// pool. A worker whose number of requests is not limited counts with `concurrency`.
    pub(crate) fn pool_capacity(&self) -> u32 {
        let own = match self.capacity {
            u32::MAX => self.concurrency,
            capacity => capacity,
        };
        self.workers.saturating_mul(own)
    }

    pub(crate) fn leave_pool(&mut self) {
        self.slot = None;
        self.in_flight = 0;
        self.set_occupied(false);
    }

    pub(crate) fn slot(&self) -> Option<&Slot> {
        self.slot.as_ref()
    }

    pub(crate) fn set_max_requests(&mut self, requests: u64) {
        self.max_requests = requests;
    }

    pub(crate) fn in_flight(&self) -> u32 {
        self.in_flight
    }

    pub(crate) fn set_capacity(&mut self, requests: u32) {
        self.capacity = requests;
        self.set_occupied(self.most == 0);
    }

    pub(crate) fn set_occupied(&mut self, yes: bool) {
        self.most = if yes { 0 } else { self.capacity };
    }

    /// Whether the application may be called for another request now.
    #[inline]
    pub(crate) fn may_begin(&self) -> bool {
        self.in_flight < self.most
    }

    /// Whether the application may be called for a stream, which no other worker can serve. Beyond
    /// `concurrency` it waits.
    #[inline]
    pub(crate) fn may_begin_stream(&self) -> bool {
        !self.is_full()
    }

    /// Whether the number of requests in flight is limited at all.
    pub(crate) fn is_limited(&self) -> bool {
        self.concurrency != u32::MAX
    }

    /// This worker is not spare, and need not overcommit, or cannot.
    #[inline]
    pub(crate) fn is_full(&self) -> bool {
        let is_active = self.in_flight >= self.concurrency;
        !self.may_begin() || is_active && !self.slot().is_some_and(Slot::must_overcommit)
    }

    /// The pool replaces workers that exit.
    pub(crate) fn pool_is_kept(&self) -> bool {
        self.slot().is_some_and(Slot::pool_is_kept)
    }

    /// Counts an exchange that went from one phase to another. `begun`: what begins then; `None` if it was
    /// malformed. `entry`: that of the exchange on the scoreboard. True: the process has got its maximum
    /// number of requests.
    #[inline(always)]
    pub(crate) fn changed<'a>(
        &mut self,
        (before, after): (Phase, Phase),
        begun: impl FnOnce() -> Option<Begun<'a>>,
        entry: &mut EntryId,
        now_ns: u64,
    ) -> bool {
        match (before.is_in_flight(), after.is_in_flight()) {
            (false, true) => self.request_started(begun(), after, entry, now_ns),
            (true, true) => {
                self.set_phase(*entry, after);
                false
            }
            (true, false) => {
                self.request_ended(std::mem::take(entry));
                false
            }
            _ => false,
        }
    }

    #[inline]
    fn request_started(
        &mut self,
        begun: Option<Begun<'_>>,
        phase: Phase,
        entry: &mut EntryId,
        now_ns: u64,
    ) -> bool {
        self.in_flight += 1;
        let Some(begun) = begun else {
            return false;
        };
        self.counters.requests += 1;
        if let Some(slot) = &mut self.slot {
            let Begun {
                method,
                target,
                client,
                wait_ns,
            } = begun;
            *entry = slot.begin(self.in_flight, method, target, &client, now_ns);
            slot.figures().count_time(Time::Wait, wait_ns);
        }
        if phase != Phase::Handling {
            self.set_phase(*entry, phase); // it responds without the body
        }
        self.counters.requests == self.max_requests
    }

    #[inline]
    fn set_phase(&self, entry: EntryId, phase: Phase) {
        if let Some(slot) = &self.slot {
            slot.set_phase(entry, RequestPhase::of(phase));
        }
    }

    #[inline]
    fn request_ended(&mut self, entry: EntryId) {
        debug_assert!(self.in_flight > 0, "more requests ended than started");
        self.in_flight = self.in_flight.saturating_sub(1);
        if let Some(slot) = &mut self.slot {
            slot.end(self.in_flight, entry);
        }
    }

    /// The head of a response is written, to a request that the application got at `given_ns`. Its
    /// time is known when the clock is read, before the response leaves.
    #[inline]
    pub(crate) fn responded(&mut self, status: u16, given_ns: u64) {
        self.counters.errors += u64::from(status >= 500);
        self.responded.push(given_ns);
    }

    /// Counts the times of the responses since the last call.
    #[inline]
    pub(crate) fn time_responses(&mut self, now_ns: u64) {
        if self.responded.is_empty() {
            return; // as after most events
        }
        let figures = self.figures();
        let mut response_ns = self.counters.response_ns;
        for given_ns in &self.responded {
            let time_ns = now_ns.saturating_sub(*given_ns);
            response_ns = response_ns.wrapping_add(time_ns);
            if let Some(figures) = figures {
                figures.count_time(Time::Application, time_ns);
            }
        }
        self.counters.response_ns = response_ns;
        self.counters.responses += self.responded.len() as u64;
        self.responded.clear();
    }

    /// What the scoreboard has for people; `None` without a pool.
    #[inline]
    pub(crate) fn figures(&self) -> Option<&SharedFigures> {
        self.slot.as_ref().map(Slot::figures)
    }

    /// The client gets a response with this status, whether the application has made it or the server.
    #[inline]
    pub(crate) fn count_status(&self, status: u16) {
        if let Some(figures) = self.figures() {
            figures.count_status(status);
        }
    }

    /// As `figures`, where no request has begun that shows them.
    pub(crate) fn shown_figures(&self) -> Option<&SharedFigures> {
        self.slot.as_ref().inspect(|slot| slot.show_figures())?;
        self.figures()
    }

    /// As `count_status`, of a response that is to no request.
    pub(crate) fn count_refused(&self, status: u16) {
        if let Some(figures) = self.shown_figures() {
            figures.count_status(status);
        }
    }

    /// The socket has taken the last byte of so many responses, to requests that the application got at
    /// `given_ns`.
    #[inline]
    pub(crate) fn count_sent(&self, responses: u16, given_ns: u64, now_ns: u64) {
        if let Some(figures) = self.figures().filter(|_| given_ns > 0) {
            for _ in 0..responses {
                figures.count_time(Time::LastByte, now_ns.saturating_sub(given_ns));
            }
        }
    }

    /// A limit was applied to a client.
    #[cold]
    pub(crate) fn count_limit(&self, limit: Limit) {
        if let Some(slot) = &self.slot {
            slot.count_limit(limit);
        }
    }

    /// A request was refused with this status.
    #[cold]
    pub(crate) fn count_refusal(&self, status: u16) {
        if let Some(limit) = Limit::of_status(status) {
            self.count_limit(limit);
        }
    }

    /// The main thread is blocked, for so long already. Called by the guard.
    pub(crate) fn note_blocked(&mut self, blocked_ns: u64, now_ns: u64) {
        if self.lag.note(blocked_ns, now_ns) {
            self.publish_lag();
        }
    }

    /// The loop is about to wait.
    #[inline]
    pub(crate) fn end_lag(&mut self, now_ns: u64) {
        if self.lag.end(now_ns) {
            self.publish_lag();
        }
    }

    #[cold]
    fn publish_lag(&self) {
        if let Some(slot) = &self.slot {
            slot.set_lag(self.lag.longest_ns());
        }
    }

    /// Writes the totals to the scoreboard, in the middle of a turn.
    pub(crate) fn publish_totals(&self) {
        if let Some(slot) = &self.slot {
            slot.count(&self.counters);
        }
    }

    /// Writes the totals to the scoreboard, at the end of a turn.
    pub(crate) fn publish(&self, now_ns: u64) {
        if let Some(slot) = &self.slot {
            slot.turn(now_ns, &self.counters);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scoreboard::Board;

    #[test]
    fn what_is_in_flight_follows_from_the_phases() {
        let (mut load, mut entry) = (Load::default(), EntryId::default());
        load.set_max_requests(1);
        let get = || {
            Some(Begun {
                method: b"GET",
                target: b"/",
                client: Peer::Unknown,
                wait_ns: 0,
            })
        };
        assert!(!load.changed((Phase::Idle, Phase::Offered), get, &mut entry, 0));
        assert_eq!(load.in_flight(), 0);
        assert!(load.changed((Phase::Offered, Phase::Handling), get, &mut entry, 0));
        assert!(!load.changed((Phase::Handling, Phase::Streaming), get, &mut entry, 0));
        assert_eq!((load.in_flight(), load.counters.requests), (1, 1));
        assert!(!load.changed((Phase::Streaming, Phase::Idle), get, &mut entry, 0));
        assert_eq!(load.in_flight(), 0);
    }

    #[test]
    fn a_request_begins_only_while_the_application_can_be_called() {
        let (mut load, mut entry) = (Load::default(), EntryId::default());
        load.set_capacity(1);
        assert!(load.may_begin() && !load.is_full());
        load.changed((Phase::Idle, Phase::Handling), || None, &mut entry, 0);
        assert!(!load.may_begin() && load.is_full());
        load.set_occupied(true);
        load.changed((Phase::Streaming, Phase::Done), || None, &mut entry, 0);
        assert_eq!(load.in_flight(), 0);
        assert!(!load.may_begin() && load.is_full());
        load.set_occupied(false);
        assert!(load.may_begin() && !load.is_full());
    }

    #[test]
    fn the_pool_serves_as_many_as_its_workers_together() {
        let mut load = Load::default();
        assert_eq!(load.pool_capacity(), 0, "there is no pool");
        let board = Board::create(1).unwrap();
        load.join_pool(board.enter(0, 64).unwrap(), 64, 4);
        assert_eq!(load.pool_capacity(), 256);
        load.set_capacity(100); // with no spare left, it begins requests beyond its concurrency
        assert_eq!(load.pool_capacity(), 400);
        load.set_capacity(u32::MAX - 1);
        assert_eq!(load.pool_capacity(), u32::MAX);
    }

    #[test]
    fn a_response_has_its_time_when_the_clock_is_read() {
        let mut load = Load::default();
        load.responded(200, 1000);
        load.responded(500, 1400);
        assert_eq!((load.counters.errors, load.counters.responses), (1, 0));
        load.time_responses(2000);
        load.time_responses(9000);
        let Counters {
            responses,
            errors,
            response_ns,
            ..
        } = load.counters;
        assert_eq!((responses, errors, response_ns), (2, 1, 1600));
    }

    #[test]
    fn what_is_no_request_is_in_flight_and_not_counted() {
        let (mut load, mut entry) = (Load::default(), EntryId::default());
        assert!(!load.changed((Phase::Collecting, Phase::Handling), || None, &mut entry, 0));
        assert_eq!((load.in_flight(), load.counters.requests), (1, 0));
        assert!(!load.changed((Phase::Handling, Phase::Done), || None, &mut entry, 0));
        assert_eq!(load.in_flight(), 0);
    }
}
