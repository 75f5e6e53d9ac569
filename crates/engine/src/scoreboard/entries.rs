//! The entries of a page: which requests of a worker are in flight.
//!
//! Owns: the words of an entry, and which entry a request has. Always holds: what an entry shows has
//! begun and has not ended; the request that began last has one. The last entry is for all others
//! when those before it are in use: each request that begins then takes it from the one before,
//! which has none from then on.

use super::word::{Text, TextCopy, Word};

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
    /// Cut to 256 bytes.
    pub path: Vec<u8>,
    pub started_ns: u64,
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
        let index = id.0.checked_sub(1)?;
        if index < LAST {
            self.free |= 1 << index;
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
    method: Text<METHOD_WORDS>,
    path: Text<PATH_WORDS>,
}

impl Entry {
    #[inline]
    pub fn set(&self, method: &[u8], path: &[u8], now_ns: u64) {
        self.started_ns.set(now_ns);
        self.method.set(method);
        self.path.set(path);
    }

    #[inline]
    pub fn clear(&self) {
        self.started_ns.set(0);
    }

    pub fn started_ns(&self) -> u64 {
        self.started_ns.get()
    }

    /// A copy without an allocation, for `Sequence::read`.
    pub fn copy(&self) -> EntryCopy {
        EntryCopy {
            started_ns: self.started_ns.get(),
            method: self.method.copy(),
            path: self.path.copy(),
        }
    }
}

pub(super) struct EntryCopy {
    started_ns: u64,
    method: TextCopy<METHOD_WORDS>,
    path: TextCopy<PATH_WORDS>,
}

impl EntryCopy {
    pub fn to_request(&self) -> Request {
        Request {
            method: self.method.to_vec(),
            path: self.path.to_vec(),
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
