//! What all connections of a process share.
//!
//! Owns: the clock, the buffers, the load, the queue of events, and the input
//! of the current connection. Knows no connection and no socket.

use crate::access_log::{AccessLog, Asked, Entry, LogNews, NoFields};
use crate::admission::Admission;
use crate::arrival::Arrival;
use crate::buffers::Buffers;
use crate::clock::Clock;
use crate::errors::LocalError;
use crate::event::{Client, Event, ListenerNews};
use crate::exchange::Exchange;
use crate::load::{Begun, Load};
use crate::phase::Step;
use crate::request_ids::RequestIds;
use crate::scoreboard::Slot;
use crate::unread::UnreadOfAll;
use prefork_wire::{RemoteError, error_body};
use std::collections::VecDeque;
use std::sync::Arc;

/// How many requests of one connection are begun in a turn. The others wait for the
/// next.
const HEADS_PER_TURN: u32 = 32;

/// After so long no further one is begun: the other connections of the turn wait.
const SHARE_NS: u64 = 1_000_000;

/// The size of the input up to which its memory is kept.
const KEPT_BYTES: usize = 128 * 1024;

/// The input of the current connection, and how much of it is parsed.
#[derive(Default)]
pub(crate) struct Work {
    pub(crate) bytes: Vec<u8>,
    at: usize,
    /// When the connection's share of the turn began.
    began_ns: u64,
    /// Since when the input could be read.
    pub(crate) ready_ns: u64,
    /// How many more requests of the connection may be begun in it.
    heads_left: u32,
}

impl Work {
    /// This input, of which nothing is parsed.
    pub(crate) fn of(bytes: Vec<u8>) -> Self {
        Work {
            bytes,
            ..Work::default()
        }
    }

    /// Begins the share of another connection.
    pub(crate) fn begin(&mut self, now_ns: u64) {
        self.began_ns = now_ns;
        self.ready_ns = now_ns;
        self.heads_left = HEADS_PER_TURN;
        self.at = 0;
        if self.bytes.capacity() > KEPT_BYTES && self.bytes.len() < KEPT_BYTES {
            self.bytes = Vec::new(); // it was so large for a body
        }
        self.bytes.clear();
    }

    /// The input that is not parsed yet.
    #[inline]
    pub(crate) fn unparsed(&self) -> &[u8] {
        self.bytes.get(self.at..).unwrap_or_default()
    }

    #[inline]
    pub(crate) fn consume(&mut self, len: usize) {
        self.at += len;
    }

    /// Drops what is parsed from the buffer.
    pub(crate) fn drop_parsed(&mut self) {
        self.bytes.drain(..self.at.min(self.bytes.len()));
        self.at = 0;
    }

    /// Takes the unparsed input.
    pub(crate) fn take(&mut self) -> Vec<u8> {
        let input = self.unparsed().to_vec();
        self.discard();
        input
    }

    /// Drops the unparsed input. Returns whether there was any.
    pub(crate) fn discard(&mut self) -> bool {
        let any = !self.unparsed().is_empty();
        self.at = self.bytes.len();
        any
    }

    /// Whether a request may be begun now.
    #[inline]
    pub(crate) fn has_share_left(&self, now_ns: u64) -> bool {
        let is_over = now_ns >= self.began_ns + SHARE_NS;
        self.heads_left > 0 && (!is_over || self.has_no_request())
    }

    /// As [`Work::has_share_left`]. If so, it is counted.
    #[inline]
    pub(crate) fn take_share(&mut self, now_ns: u64) -> bool {
        let may = self.has_share_left(now_ns);
        self.heads_left -= u32::from(may);
        may
    }

    /// Whether no request of the connection was begun in this turn.
    pub(crate) fn has_no_request(&self) -> bool {
        self.heads_left == HEADS_PER_TURN
    }
}

pub(crate) struct Context {
    pub(crate) clock: Clock,
    pub(crate) buffers: Buffers,
    pub(crate) load: Load,
    pub(crate) events: VecDeque<Event>,
    pub(crate) admission: Admission,
    pub(crate) arrival: Arrival,
    pub(crate) work: Work,
    /// Frames that are written, before they go to the output of a connection.
    pub(crate) frames: Vec<u8>,
    /// The messages of all WebSockets that their applications have not read.
    pub(crate) unread: Arc<UnreadOfAll>,
    /// The access log, if there is one.
    pub(crate) log: Option<Box<AccessLog>>,
    /// A guard may have to name any request (`heartbeat_timeout`).
    pub(crate) names_requests: bool,
    /// For requests that bring none.
    pub(crate) request_ids: RequestIds,
}

impl Context {
    pub(crate) fn new() -> Self {
        Context {
            clock: Clock::new(),
            buffers: Buffers::default(),
            load: Load::default(),
            events: VecDeque::new(),
            admission: Admission::default(),
            arrival: Arrival::default(),
            work: Work::default(),
            frames: Vec::new(),
            unread: Arc::default(),
            log: None,
            names_requests: false,
            request_ids: RequestIds::default(),
        }
    }

    /// Counts the times of the responses that the application has begun. The clock was read just now.
    #[inline]
    pub(crate) fn time_responses(&mut self) {
        self.load.time_responses(self.clock.now_ns);
    }

    /// The socket has taken responses just now. Their time is of use to a pool alone.
    #[inline]
    pub(crate) fn read_clock_of_sent(&mut self) {
        if self.load.figures().is_some() {
            self.clock.tick();
            self.time_responses();
        }
    }

    /// Takes a step of an exchange. Only here its phase changes, and with it
    /// the number of requests in flight.
    ///
    /// # Errors
    /// `OutOfTurn` if the phase does not allow the step. Nothing has changed then.
    #[inline(always)]
    pub(crate) fn advance(
        &mut self,
        exchange: &mut Exchange,
        step: Step,
    ) -> Result<(), LocalError> {
        let Some(change) = exchange.advance(step) else {
            return Err(LocalError::OutOfTurn);
        };
        let wait_ns = self.wait_ns();
        let Exchange { label, entry, .. } = exchange;
        let begun = || {
            let begun = (step != Step::Malformed).then(|| label.begun())?;
            Some(match step {
                Step::Collected => Begun { wait_ns, ..begun }, // of the end of the body
                _ => begun,
            })
        };
        let now_ns = self.clock.now_ns;
        if self.load.changed(change, begun, entry, now_ns) {
            self.events.push_back(Event::RequestLimitReached);
        }
        Ok(())
    }

    /// How long the current input could be read before.
    #[inline]
    pub(crate) fn wait_ns(&self) -> u64 {
        self.clock.now_ns.saturating_sub(self.work.ready_ns)
    }

    /// As [`Context::advance`], for a step that the engine takes by itself.
    #[inline]
    pub(crate) fn must_advance(&mut self, exchange: &mut Exchange, step: Step) {
        let before = exchange.phase();
        let taken = self.advance(exchange, step);
        debug_assert!(taken.is_ok(), "{step:?} in {before:?}");
    }

    /// As [`Context::must_advance`], for a request without a label.
    #[inline]
    pub(crate) fn start_request(&mut self, exchange: &mut Exchange, begun: Begun<'_>) {
        let change = exchange.advance(Step::Request);
        debug_assert!(change.is_some(), "a request in {:?}", exchange.phase());
        let Some(change) = change else {
            return;
        };
        let (begun, now_ns) = (|| Some(begun), self.clock.now_ns);
        if self
            .load
            .changed(change, begun, &mut exchange.entry, now_ns)
        {
            self.events.push_back(Event::RequestLimitReached);
        }
    }

    /// The application begins its response.
    ///
    /// # Errors
    /// As [`Context::advance`].
    #[inline(always)]
    pub(crate) fn start_response(
        &mut self,
        exchange: &mut Exchange,
        status: u16,
    ) -> Result<(), LocalError> {
        self.advance(exchange, Step::Start)?;
        self.responded(exchange, status);
        Ok(())
    }

    /// The application accepts a WebSocket, by a response with this status.
    ///
    /// # Errors
    /// As [`Context::advance`].
    pub(crate) fn accept_websocket(
        &mut self,
        exchange: &mut Exchange,
        status: u16,
    ) -> Result<(), LocalError> {
        self.advance(exchange, Step::Upgrade)?;
        self.responded(exchange, status);
        Ok(())
    }

    #[inline]
    fn responded(&mut self, exchange: &Exchange, status: u16) {
        if exchange.is_counted() {
            self.load.count_status(status);
            self.load.responded(status, exchange.given_ns);
        } else {
            self.load.count_refused(status);
        }
    }

    /// The response is complete: [`Context::advance`] by the last step. Its last byte may be unsent.
    ///
    /// # Errors
    /// As [`Context::advance`].
    #[inline]
    pub(crate) fn finish_response(
        &mut self,
        exchange: &mut Exchange,
        step: Step,
    ) -> Result<(), LocalError> {
        let is_counted = exchange.is_counted();
        self.advance(exchange, step)?;
        if !is_counted {
            exchange.given_ns = 0;
        }
        Ok(())
    }

    /// The socket has taken the last byte of so many responses just now.
    #[inline]
    pub(crate) fn count_sent(&mut self, responses: u16, given_ns: u64) {
        self.load.count_sent(responses, given_ns, self.clock.now_ns);
    }

    /// The engine responds instead of the application.
    ///
    /// # Errors
    /// As [`Context::advance`].
    pub(crate) fn reject(
        &mut self,
        exchange: &mut Exchange,
        status: u16,
    ) -> Result<(), LocalError> {
        let fails = exchange.is_counted() && status >= 500; // below it is the client's fault
        self.advance(exchange, Step::Reject)?;
        self.load.count_refused(status);
        if fails {
            self.load.responded(status, exchange.given_ns);
        } else {
            exchange.given_ns = 0;
        }
        Ok(())
    }

    /// Logs a response.
    #[inline]
    pub(crate) fn log(&mut self, entry: &Entry<'_>) {
        if let Some(log) = &mut self.log {
            let worker = self.load.slot().map(Slot::index);
            log.add(entry, worker);
        }
    }

    /// Logs a response that the server has made without the application. `exchange`: the request, if it
    /// was read.
    #[cold]
    pub(crate) fn log_own(
        &mut self,
        client: Client,
        exchange: Option<&Exchange>,
        error: &RemoteError,
    ) {
        let Some(log) = &self.log else {
            return;
        };
        let asked = exchange.map_or(Asked::Unread(None), |exchange| {
            let (method, target) = exchange.label.parts();
            Asked::of(method, target, exchange.context.version.name())
        });
        if matches!(asked, Asked::Request { path, .. } if log.settings().skips(path)) {
            return;
        }
        let request_id = exchange.and_then(|exchange| exchange.label.id_text());
        self.log(&Entry {
            client: client.peer,
            asked,
            scheme: client.scheme,
            tls: client.tls,
            status: error.status,
            received: 0,
            sent: Some(error_body(error).len() as u64),
            ready_ns: 0,
            given_ns: exchange.map_or(0, |exchange| exchange.given_ns),
            ended_ns: self.clock.now_ns,
            request_id: request_id.as_deref().map(str::as_bytes),
            fields: &NoFields,
        });
    }

    /// Writes the lines of the access log.
    #[inline]
    pub(crate) fn flush_log(&mut self, now_ms: u64) {
        if self.log.as_ref().is_some_and(|log| log.has_work()) {
            self.write_log(now_ms);
        }
    }

    fn write_log(&mut self, now_ms: u64) {
        if let Some(log) = &mut self.log {
            let news = log.flush(now_ms);
            if self.load.counters.log_lost != log.lost() {
                self.load.counters.log_lost = log.lost();
                self.load.publish(self.clock.now_ns);
            }
            self.tell_of_log(news);
        }
    }

    /// Opens the file of the access log again.
    pub(crate) fn reopen_log(&mut self) {
        self.clock.tick();
        if let Some(log) = &mut self.log {
            let news = log.reopen(self.clock.now_ms);
            self.tell_of_log(news);
        }
    }

    fn tell_of_log(&mut self, news: Option<LogNews>) {
        self.events.extend(news.map(|news| Event::Listener {
            listener: 0, // it is of all of them
            news: ListenerNews::AccessLog(news),
        }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_has_one_request_and_as_many_as_can_be_begun_soon() {
        let mut work = Work::default();
        work.begin(5);
        assert!(work.take_share(5 + 7 * SHARE_NS), "the first, however late");
        assert!(!work.take_share(5 + SHARE_NS));
        assert!(work.take_share(4 + SHARE_NS));
        work.begin(5);
        let taken = (0..100).filter(|_| work.take_share(6)).count();
        assert_eq!(taken, HEADS_PER_TURN as usize);
    }

    #[test]
    fn the_memory_of_large_input_is_kept_while_it_is_used() {
        let mut work = Work::default();
        for (used, is_kept) in [
            (2 * KEPT_BYTES, true),
            (2 * KEPT_BYTES, true),
            (100, false),
            (100, true),
        ] {
            work.bytes.resize(used, 0);
            let before = work.bytes.capacity();
            work.begin(0);
            assert!(work.bytes.is_empty());
            assert_eq!(work.bytes.capacity() == before, is_kept, "{used}");
        }
    }
}
