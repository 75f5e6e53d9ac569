//! The layout of the pages, and their contents as values.

use super::addresses::AddressTable;
use super::entries::{ENTRIES, Entry, Request};
use super::figures::{Figures, MOST, MOST_NS, SharedFigures};
use super::header::SharedHeader;
use super::sequence::Sequence;
use super::state::State;
use super::word::Word;

/// The size of a slot, and of the manager's page: a whole page of the system, because the kernel
/// protects whole pages. Other architectures than x86 may have pages of 64 KiB. An unused part
/// of a slot takes no memory.
pub(super) const PAGE_BYTES: usize = if cfg!(target_arch = "x86_64") {
    4096
} else {
    65536
};

/// The pages of the manager: its words, and what the workers have counted that have ended.
pub(super) const MANAGER_PAGES: usize = 1 + FIGURES_PAGES;

/// The pages of one slot: its words, its table of client addresses, and what it counts for people.
pub(super) const SLOT_PAGES: usize = 1 + ADDRESS_PAGES + FIGURES_PAGES;
pub(super) const ADDRESS_PAGES: usize = size_of::<AddressTable>().div_ceil(PAGE_BYTES);
pub(super) const FIGURES_PAGES: usize = size_of::<SharedFigures>().div_ceil(PAGE_BYTES);

/// "prefork", as a number. A reader refuses memory that does not start with it.
pub(super) const MAGIC: u64 = u64::from_le_bytes(*b"prefork\0");
/// The version of this layout.
pub(super) const LAYOUT: u32 = 9;

/// The reader has read the clock before the page.
const LATE_NS: u64 = 1_000_000_000;
/// No worker has so many requests in flight, nor a system so many processes.
const MOST_SHORT: u64 = 1 << 30;

const _: () =
    assert!(size_of::<ManagerPage>() <= PAGE_BYTES && size_of::<SlotPage>() <= PAGE_BYTES);

#[repr(C)]
pub(super) struct ManagerPage {
    pub magic: Word<u64>,
    pub layout: Word<u32>,
    /// One past the highest slot that was ever claimed. Readers stop there, so that unused
    /// slots of a large pool take neither memory nor time.
    pub reach: Word<u32>,
    /// Of the names of client addresses.
    pub seed: Word<u64>,
    pub header: SharedHeader,
}

/// What a worker has done since it was forked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    pub requests: u64,
    pub bytes_in: u64,
    pub bytes_out: u64,
    /// Connections that are open now.
    pub connections: u64,
    /// Time not spent waiting.
    pub busy_ns: u64,
    /// Connections that were handed off to other workers.
    pub handed_off: u64,
    /// Connections that came from other workers.
    pub adopted: u64,
    /// Responses to which the application has given the head.
    pub responses: u64,
    /// Those with a status of 500 or more, and those that the server has made in its place.
    pub errors: u64,
    /// The sum of the times of all responses, each from the last part of the request that the
    /// application was given to the head of the response.
    pub response_ns: u64,
    /// Lines of the access log that were lost.
    pub log_lost: u64,
    /// How often each limit was applied, in the order of [`Limit::ALL`].
    pub limited: [u64; Limit::ALL.len()],
}

/// A limit on what clients send, or on how many there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// Connections of one client address.
    Address,
    /// Connections of one worker.
    Connections,
    /// Requests that wait for a worker.
    Queue,
    /// Requests of one connection.
    Requests,
    /// The length of a request line.
    Line,
    /// The size of a head and of its fields, and their number.
    Head,
    /// The size of a body.
    Body,
    /// The time of a head, and the rate of a body.
    Rate,
}

impl Limit {
    pub const ALL: [Limit; 8] = [
        Limit::Address,
        Limit::Connections,
        Limit::Queue,
        Limit::Requests,
        Limit::Line,
        Limit::Head,
        Limit::Body,
        Limit::Rate,
    ];

    /// The limit that a request broke which was refused with this status.
    pub(crate) fn of_status(status: u16) -> Option<Self> {
        Some(match status {
            408 => Limit::Rate,
            413 => Limit::Body,
            414 => Limit::Line,
            431 => Limit::Head,
            _ => return None,
        })
    }
}

/// A slot as a value, to be displayed and not relied on: the worker could have written
/// anything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    pub state: State,
    pub pid: u32,
    pub generation: u32,
    /// When the slot was claimed.
    pub started_ns: u64,
    /// When the last turn of the worker's loop began.
    pub turned_ns: u64,
    /// When its guard last saw that the process runs, at least each second while a
    /// request is in flight. 0: it has no guard.
    pub beat_ns: u64,
    pub in_flight: u32,
    /// Requests that its guard has found waiting for it.
    pub waiting: u32,
    /// How long its loop was busy between two waits, at most, in the last seconds.
    pub lag_ns: u64,
    pub counters: Counters,
    pub figures: Figures,
    /// The worker has written what cannot be true. It counts for no total.
    pub is_garbled: bool,
    /// Of the requests in flight that have an entry, the one that began last. It can be missing
    /// while `in_flight` is not 0.
    pub request: Option<Request>,
}

/// The words of one slot. Written by its worker; by the manager only while the slot has none.
#[repr(C)]
pub(super) struct SlotPage {
    pub sequence: Sequence,
    pub state: Word<State>,
    pub pid: Word<u32>,
    pub generation: Word<u32>,
    pub started_ns: Word<u64>,
    pub turned_ns: Word<u64>,
    pub beat_ns: Word<u64>,
    pub in_flight: Word<u32>,
    requests: Word<u64>,
    bytes_in: Word<u64>,
    bytes_out: Word<u64>,
    connections: Word<u64>,
    busy_ns: Word<u64>,
    handed_off: Word<u64>,
    adopted: Word<u64>,
    responses: Word<u64>,
    errors: Word<u64>,
    response_ns: Word<u64>,
    log_lost: Word<u64>,
    pub limited: [Word<u64>; Limit::ALL.len()],
    /// When the worker reported each of them last, in milliseconds of the monotonic clock.
    pub reported_ms: [Word<u64>; Limit::ALL.len()],
    /// The worker has written to its table of client addresses. Without that, its memory is
    /// not touched, so that the kernel need not allocate it.
    pub counts_addresses: Word<bool>,
    /// Requests that its guard has found waiting for it.
    pub waiting: Word<u32>,
    /// When a request began last. It may be over.
    pub began_ns: Word<u64>,
    /// How long its loop was busy between two waits, at most, in the last seconds.
    pub lag_ns: Word<u64>,
    /// It has served as many requests as it may, and goes on until another worker is ready.
    pub asks_for_successor: Word<bool>,
    /// The worker has written to its figures. Without that, their memory is not touched.
    pub counts_figures: Word<bool>,
    /// Of requests in flight. If there are more requests, the others have none.
    entries: [Entry; ENTRIES],
}

impl SlotPage {
    /// Resets the slot for a new worker, or empties it. The sequence is not reset: a reader
    /// that began before must notice the change.
    pub fn reset(&self, state: State, generation: u32, now_ns: u64) {
        self.sequence.write(|| {
            self.pid.set(0);
            self.generation.set(generation);
            self.started_ns.set(now_ns);
            self.turned_ns.set(now_ns);
            self.beat_ns.set(0);
            self.in_flight.set(0);
            self.set_counters(&Counters::default());
            self.limited.iter().for_each(|word| word.set(0));
            self.reported_ms.iter().for_each(|word| word.set(0));
            self.counts_addresses.set(false);
            self.waiting.set(0);
            self.lag_ns.set(0);
            self.asks_for_successor.set(false);
            self.entries.iter().for_each(Entry::clear);
            self.counts_figures.set(false);
            self.state.set_ordered(state);
        });
    }

    pub fn set_counters(&self, counters: &Counters) {
        self.requests.set(counters.requests);
        self.bytes_in.set(counters.bytes_in);
        self.bytes_out.set(counters.bytes_out);
        self.connections.set(counters.connections);
        self.busy_ns.set(counters.busy_ns);
        self.handed_off.set(counters.handed_off);
        self.adopted.set(counters.adopted);
        self.responses.set(counters.responses);
        self.errors.set(counters.errors);
        self.response_ns.set(counters.response_ns);
        self.log_lost.set(counters.log_lost);
    }

    pub fn counters(&self) -> Counters {
        Counters {
            requests: self.requests.get(),
            bytes_in: self.bytes_in.get(),
            bytes_out: self.bytes_out.get(),
            connections: self.connections.get(),
            busy_ns: self.busy_ns.get(),
            handed_off: self.handed_off.get(),
            adopted: self.adopted.get(),
            responses: self.responses.get(),
            errors: self.errors.get(),
            response_ns: self.response_ns.get(),
            log_lost: self.log_lost.get(),
            limited: self.limited.each_ref().map(Word::get),
        }
    }

    /// A limit was applied. Seldom: so it is not written at each turn, as the rest is.
    pub fn count_limit(&self, limit: Limit) {
        if let Some(word) = self.limited.get(limit as usize) {
            word.set(word.get().wrapping_add(1));
        }
    }

    /// When the process of the worker last showed that it runs. 0: no request is in
    /// flight.
    pub fn sign_ns(&self) -> u64 {
        match self.in_flight.get() {
            0 => 0,
            _ => self.turned_ns.get().max(self.beat_ns.get()),
        }
    }

    /// A consistent copy of all words. If the worker stopped during a write: its numbers
    /// without its request. `figures` may be a little older or newer than the rest.
    pub fn record(&self, figures: Figures, now_ns: u64) -> Record {
        let copy = || (self.numbers(), self.last_begun().map(Entry::copy));
        let (numbers, last_begun) = self
            .sequence
            .read(copy)
            .unwrap_or_else(|| (self.numbers(), None));
        let is_garbled = !self.is_plausible(now_ns) || !figures.is_plausible();
        Record {
            request: last_begun.map(|copy| copy.to_request()),
            figures,
            is_garbled,
            ..numbers
        }
    }

    /// Whether a worker can have done what it has written.
    pub fn is_plausible(&self, now_ns: u64) -> bool {
        let counters = self.counters();
        let counts = [
            counters.requests,
            counters.bytes_in,
            counters.bytes_out,
            counters.connections,
            counters.handed_off,
            counters.adopted,
            counters.responses,
            counters.errors,
            counters.log_lost,
        ];
        let short = [
            self.pid.bits(),
            self.generation.bits(),
            self.in_flight.bits(),
            self.waiting.bits(),
        ];
        let moments = [&self.started_ns, &self.turned_ns, &self.beat_ns].map(Word::get);
        let lengths = [counters.busy_ns, counters.response_ns];
        self.state.bits() <= State::Draining as u64
            && counts.into_iter().all(|count| count <= MOST)
            && counters.limited.into_iter().all(|count| count <= MOST)
            && short.into_iter().all(|number| number <= MOST_SHORT)
            && moments.into_iter().all(|moment| moment <= now_ns + LATE_NS)
            && lengths.into_iter().all(|length| length <= MOST_NS)
    }

    #[inline]
    pub fn entry(&self, index: usize) -> Option<&Entry> {
        self.entries.get(index)
    }

    fn last_begun(&self) -> Option<&Entry> {
        let used = self.entries.iter().filter(|entry| entry.started_ns() > 0);
        used.max_by_key(|entry| entry.started_ns())
    }

    fn numbers(&self) -> Record {
        Record {
            state: self.state.get(),
            pid: self.pid.get(),
            generation: self.generation.get(),
            started_ns: self.started_ns.get(),
            turned_ns: self.turned_ns.get(),
            beat_ns: self.beat_ns.get(),
            in_flight: self.in_flight.get(),
            waiting: self.waiting.get(),
            lag_ns: self.lag_ns.get(),
            counters: self.counters(),
            figures: Figures::default(),
            is_garbled: false,
            request: None,
        }
    }
}
