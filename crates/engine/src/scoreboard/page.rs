//! How the pages are laid out, and what can be read from them.

use super::header::SharedHeader;
use super::sequence::Sequence;
use super::state::State;
use super::word::{Text, Word};

/// Room for one slot or the manager's words: whole pages, the unit in which the kernel grants or
/// refuses writing. Elsewhere than on x86 a kernel may be built for pages of 64 KiB; what is not
/// touched of a slot takes no memory.
pub(super) const PAGE_BYTES: usize = if cfg!(target_arch = "x86_64") {
    4096
} else {
    65536
};

const METHOD_WORDS: usize = 2;
const PATH_WORDS: usize = 32;

/// "prefork", as a number. A reader refuses memory that does not start with it.
pub(super) const MAGIC: u64 = u64::from_le_bytes(*b"prefork\0");
/// Counts the changes of this layout.
pub(super) const LAYOUT: u32 = 2;

const _: () =
    assert!(size_of::<ManagerPage>() <= PAGE_BYTES && size_of::<SlotPage>() <= PAGE_BYTES);

#[repr(C)]
pub(super) struct ManagerPage {
    pub magic: Word<u64>,
    pub layout: Word<u32>,
    /// One past the highest slot that was ever claimed. Readers stop there, so that a large
    /// pool's unused slots take neither memory nor time.
    pub reach: Word<u32>,
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
    /// Time spent outside of waiting.
    pub busy_ns: u64,
    /// Connections that were passed on to other workers.
    pub handed_off: u64,
    /// Connections that came from other workers.
    pub adopted: u64,
}

/// The request that a worker began last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Cut to 16 bytes.
    pub method: Vec<u8>,
    /// Cut to 256 bytes.
    pub path: Vec<u8>,
    pub started_ns: u64,
}

/// A slot as a value: fit to be shown, not to be relied on, for the worker wrote what it liked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    pub state: State,
    pub pid: u32,
    pub generation: u32,
    /// When the slot was claimed.
    pub started_ns: u64,
    /// When the worker's loop last turned.
    pub turned_ns: u64,
    pub in_flight: u32,
    pub counters: Counters,
    /// Present while a request is in flight.
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
    pub in_flight: Word<u32>,
    requests: Word<u64>,
    bytes_in: Word<u64>,
    bytes_out: Word<u64>,
    connections: Word<u64>,
    busy_ns: Word<u64>,
    handed_off: Word<u64>,
    adopted: Word<u64>,
    pub request_started_ns: Word<u64>,
    pub method: Text<METHOD_WORDS>,
    pub path: Text<PATH_WORDS>,
}

impl SlotPage {
    /// Gives the slot to a new worker, or to none. The sequence goes on counting: a reader
    /// that began with the last worker must not take the words of the next one for its own.
    pub fn reset(&self, state: State, generation: u32, now_ns: u64) {
        self.sequence.write(|| {
            self.pid.set(0);
            self.generation.set(generation);
            self.started_ns.set(now_ns);
            self.turned_ns.set(now_ns);
            self.in_flight.set(0);
            self.set_counters(&Counters::default());
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
        }
    }

    /// All words of one moment. If the worker stopped amid a write: its numbers without its
    /// request.
    pub fn record(&self) -> Record {
        let copy = || {
            (
                self.numbers(),
                self.request_started_ns.get(),
                self.method.copy(),
                self.path.copy(),
            )
        };
        let Some((mut record, started_ns, method, path)) = self.sequence.read(copy) else {
            return self.numbers();
        };
        if record.in_flight > 0 {
            record.request = Some(Request {
                method: method.to_vec(),
                path: path.to_vec(),
                started_ns,
            });
        }
        record
    }

    fn numbers(&self) -> Record {
        Record {
            state: self.state.get(),
            pid: self.pid.get(),
            generation: self.generation.get(),
            started_ns: self.started_ns.get(),
            turned_ns: self.turned_ns.get(),
            in_flight: self.in_flight.get(),
            counters: self.counters(),
            request: None,
        }
    }
}
