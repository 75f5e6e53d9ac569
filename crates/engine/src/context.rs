//! What every connection of a process shares while it is worked on.
//!
//! Owns: the time, the lent buffers, the load, the events that wait to be
//! told, and the bytes of the connection that is being read. Knows no
//! connection and no socket.

use crate::buffers::Buffers;
use crate::clock::Clock;
use crate::errors::LocalError;
use crate::event::Event;
use crate::exchange::Exchange;
use crate::load::Load;
use crate::phase::{Phase, Step};
use std::collections::VecDeque;

/// How many requests one client may bring in a turn; the others come next.
const HEADS_PER_TURN: u32 = 32;

/// What the connection that is being read has sent, and how much of it is understood.
#[derive(Default)]
pub(crate) struct Work {
    pub(crate) bytes: Vec<u8>,
    at: usize,
    /// Requests that the connection may still bring in this turn.
    heads_left: u32,
}

impl Work {
    /// Another connection gets its share of the turn.
    pub(crate) fn begin(&mut self) {
        self.heads_left = HEADS_PER_TURN;
        self.at = 0;
        self.bytes.clear();
    }

    /// What is not understood yet.
    #[inline]
    pub(crate) fn rest(&self) -> &[u8] {
        self.bytes.get(self.at..).unwrap_or_default()
    }

    #[inline]
    pub(crate) fn consume(&mut self, len: usize) {
        self.at += len;
    }

    /// Drops the rest; whether there was any.
    pub(crate) fn discard(&mut self) -> bool {
        let any = !self.rest().is_empty();
        self.at = self.bytes.len();
        any
    }

    /// Whether a head may be read now. If so, it counts.
    #[inline]
    pub(crate) fn may_read_head(&mut self) -> bool {
        if self.rest().is_empty() || self.heads_left == 0 {
            return false;
        }
        self.heads_left -= 1;
        true
    }

    /// The connection has not asked for anything in this turn.
    pub(crate) fn is_untouched(&self) -> bool {
        self.heads_left == HEADS_PER_TURN
    }
}

pub(crate) struct Context {
    pub(crate) clock: Clock,
    pub(crate) buffers: Buffers,
    pub(crate) load: Load,
    pub(crate) events: VecDeque<Event>,
    pub(crate) work: Work,
}

impl Context {
    pub(crate) fn new() -> Self {
        Context {
            clock: Clock::new(),
            buffers: Buffers::default(),
            load: Load::default(),
            events: VecDeque::new(),
            work: Work::default(),
        }
    }

    /// An exchange takes a step: the only place where its phase changes, and
    /// with it what is in flight.
    ///
    /// # Errors
    /// `OutOfTurn` if the step has no place in its phase. Nothing has changed then.
    #[inline(always)]
    pub(crate) fn advance(
        &mut self,
        exchange: &mut Exchange,
        step: Step,
    ) -> Result<(), LocalError> {
        let change = exchange.advance(step).ok_or(LocalError::OutOfTurn)?;
        let request = (step != Step::Malformed).then(|| exchange.label.parts());
        self.count(change, request);
        Ok(())
    }

    /// The same for a step that the engine takes of itself.
    #[inline]
    pub(crate) fn must_advance(&mut self, exchange: &mut Exchange, step: Step) {
        let before = exchange.phase();
        let taken = self.advance(exchange, step);
        debug_assert!(taken.is_ok(), "{step:?} in {before:?}");
    }

    /// The same for a request whose label nothing will ask for later.
    #[inline]
    pub(crate) fn start_request(&mut self, exchange: &mut Exchange, method: &[u8], target: &[u8]) {
        let change = exchange.advance(Step::Request);
        debug_assert!(change.is_some(), "a request in {:?}", exchange.phase());
        if let Some(change) = change {
            self.count(change, Some((method, target)));
        }
    }

    #[inline]
    fn count(&mut self, change: (Phase, Phase), request: Option<(&[u8], &[u8])>) {
        if self.load.changed(change, request, self.clock.now_ns) {
            self.events.push_back(Event::Exhausted);
        }
    }
}
