//! The entries of a page: which requests of a worker are in flight.
//!
//! Owns: the words of an entry, and which entry a request has. Always holds: what an entry shows has
//! begun and has not ended; the request that began last has one. The last entry is for all others
//! when those before it are in use: each request that begins then takes it from the one before,
//! which has none from then on.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::word::{Text, TextCopy, Word};
use crate::peer::Peer;
use crate::phase::Phase;

/// How many a page has.
pub(super) const ENTRIES: usize = 8;
/// The index of the last one, and how many are before it.
const LAST: u8 = ENTRIES as u8 - 1;

const METHOD_WORDS: usize = 2;
const PATH_WORDS: usize = 32;

/// A request that is in flight.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Cut to 16 bytes.
    pub method: Vec<u8>,
    /// Cut to 256 bytes. Empty if the pool does not show paths.
    pub path: Vec<u8>,
    /// Without its port.
    pub client: Peer,
    pub phase: RequestPhase,
    pub started_ns: u64,
}

/// What is done for a request that is in flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestPhase {
    /// The application owes the head of the response.
    Handling,
    /// The head is written, and the body is not complete.
    Streaming,
    /// A WebSocket is open, or the application has taken the connection over.
    Open,
}

impl RequestPhase {
    pub(crate) fn of(phase: Phase) -> Self {
        match phase {
            Phase::Streaming => RequestPhase::Streaming,
            Phase::Open => RequestPhase::Open,
            _ => RequestPhase::Handling,
        }
    }

    /// Of any number: a worker has written it.
    fn of_number(number: u64) -> Self {
        match number {
            1 => RequestPhase::Streaming,
            2 => RequestPhase::Open,
            _ => RequestPhase::Handling,
        }
    }
}

/// Which entry a request has: 0 is none. Up to `LAST` it is an index plus 1, and beyond a number by
/// which the requests are told apart that have had the last entry. A byte: an idle connection has
/// no room for more. If a request lasts so long that its number comes again, the other one can lose
/// the entry too early.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EntryId(u8);

impl EntryId {
    #[inline]
    pub(crate) fn is_some(self) -> bool {
        self != EntryId::default()
    }
}

/// What a worker keeps for itself: which entries are in use.
pub(super) struct Entries {
    /// A bit for each that is free, but the last one.
    free: u8,
    /// The request that has had the last entry last.
    last: EntryId,
}

impl Entries {
    pub fn new() -> Self {
        Entries {
            free: (1 << LAST) - 1,
            last: EntryId::default(),
        }
    }

    /// Returns the entry of a request that begins, and its index.
    #[inline]
    pub fn take(&mut self) -> (EntryId, usize) {
        if self.free == 0 {
            self.last = EntryId(self.last.0.wrapping_add(1).max(LAST + 1));
            return (self.last, LAST.into());
        }
        let index = self.free.trailing_zeros() as u8;
        self.free &= self.free - 1;
        (EntryId(index + 1), index.into())
    }

    /// A request has ended. Returns the index of its entry, if it still has one.
    #[inline]
    pub fn give_back(&mut self, id: EntryId) -> Option<usize> {
        let index = self.index_of(id)?;
        if index < LAST.into() {
            self.free |= 1 << index;
        }
        Some(index)
    }

    /// The index of the entry that a request still has.
    #[inline]
    pub fn index_of(&self, id: EntryId) -> Option<usize> {
        let index = id.0.checked_sub(1)?;
        if index < LAST {
            return Some(index.into());
        }
        (id == self.last).then_some(LAST.into())
    }
}

/// The words of an entry.
#[repr(C)]
pub(super) struct Entry {
    /// 0: the entry is free.
    started_ns: Word<u64>,
    phase: Word<u64>,
    client: ClientWords,
    method: Text<METHOD_WORDS>,
    path: Text<PATH_WORDS>,
}

impl Entry {
    #[inline]
    pub fn set(&self, method: &[u8], path: &[u8], client: &Peer, now_ns: u64) {
        self.started_ns.set(now_ns);
        self.phase.set(RequestPhase::Handling as u64);
        self.client.set(client);
        self.method.set(method);
        self.path.set(path);
    }

    #[inline]
    pub fn clear(&self) {
        self.started_ns.set(0);
    }

    /// One word, of which no other depends.
    #[inline]
    pub fn set_phase(&self, phase: RequestPhase) {
        self.phase.set(phase as u64);
    }

    pub fn started_ns(&self) -> u64 {
        self.started_ns.get()
    }

    /// A copy without an allocation, for `Sequence::read`.
    pub fn copy(&self) -> EntryCopy {
        EntryCopy {
            started_ns: self.started_ns.get(),
            phase: RequestPhase::of_number(self.phase.get()),
            client: self.client.copy(),
            method: self.method.copy(),
            path: self.path.copy(),
        }
    }
}

/// The address of a client.
#[repr(C)]
struct ClientWords {
    /// 4 and 6 for the Internet, 1 for a Unix socket, 0 if it is not known.
    kind: Word<u64>,
    high: Word<u64>,
    low: Word<u64>,
}

impl ClientWords {
    #[inline]
    fn set(&self, client: &Peer) {
        let kind = match client {
            Peer::Inet {
                ip: IpAddr::V4(ip), ..
            } => {
                self.low.set(ip.to_bits().into());
                4
            }
            Peer::Inet {
                ip: IpAddr::V6(ip), ..
            } => {
                let bits = ip.to_bits();
                self.high.set((bits >> 64) as u64);
                self.low.set(bits as u64);
                6
            }
            Peer::Unix => 1,
            Peer::Unknown => 0,
        };
        self.kind.set(kind);
    }

    fn copy(&self) -> Peer {
        let (high, low) = (self.high.get(), self.low.get());
        let ip = match self.kind.get() {
            4 => Ipv4Addr::from_bits(low as u32).into(),
            6 => Ipv6Addr::from_bits(u128::from(high) << 64 | u128::from(low)).into(),
            1 => return Peer::Unix,
            _ => return Peer::Unknown,
        };
        Peer::Inet { ip, port: 0 }
    }
}

pub(super) struct EntryCopy {
    started_ns: u64,
    phase: RequestPhase,
    client: Peer,
    method: TextCopy<METHOD_WORDS>,
    path: TextCopy<PATH_WORDS>,
}

impl EntryCopy {
    pub fn to_request(&self) -> Request {
        Request {
            method: self.method.to_vec(),
            path: self.path.to_vec(),
            client: self.client,
            phase: self.phase,
            started_ns: self.started_ns,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn indexes<const COUNT: usize>(entries: &mut Entries) -> [usize; COUNT] {
        [(); COUNT].map(|()| entries.take().1)
    }

    #[test]
    fn the_first_that_is_free_is_taken_and_else_the_last_one() {
        let mut entries = Entries::new();
        assert_eq!(indexes(&mut entries), [0, 1, 2, 3, 4, 5, 6, 7, 7, 7]);
        for index in [3, 1] {
            assert_eq!(entries.give_back(EntryId(index + 1)), Some(index.into()));
        }
        assert_eq!(indexes(&mut entries), [1, 3, 7]);
        assert_eq!(entries.give_back(EntryId::default()), None);
    }

    #[test]
    fn the_last_one_is_that_of_the_request_that_took_it_last() {
        let mut entries = Entries::new();
        let _: [usize; 7] = indexes(&mut entries);
        let mut before = entries.take().0;
        for _ in 0..1000 {
            let (id, index) = entries.take();
            assert_eq!((index, id != before), (7, true));
            assert_eq!(entries.give_back(before), None);
            before = id;
        }
        assert_eq!(entries.give_back(before), Some(7));
    }
}
