//! How many connections each client address has open in one worker.
//!
//! A table of fixed size in shared memory, with one writer: its worker. The others read
//! it, to know what an address has in the whole pool. Always holds: a read or a write
//! touches one set, which is one cache line; an address that finds its set full is not
//! counted, so an error is in favour of a client. It does not know what is done about an
//! address that has too many.

use std::hash::{DefaultHasher, Hasher};
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

const SETS: usize = 256;
const WAYS: usize = 16;

/// Names an address in every table of a pool: of an IPv4 client its address, of an IPv6
/// client its /64, which is what one customer has (RFC 6177).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AddressKey(NonZeroU32);

impl AddressKey {
    /// `seed`: the pool's, so that a client cannot choose addresses that share a set.
    pub fn new(address: IpAddr, seed: u64) -> Self {
        let mut hasher = DefaultHasher::new();
        hasher.write_u64(seed);
        match address {
            IpAddr::V4(address) => hasher.write(&address.octets()),
            IpAddr::V6(address) => {
                let [network @ .., _, _, _, _, _, _, _, _] = address.octets();
                hasher.write(&network);
            }
        }
        let hash = hasher.finish();
        Self::of(hash as u8, (hash >> 48) as u16)
    }

    fn of(set: u8, tag: u16) -> Self {
        AddressKey(NonZeroU32::MIN | u32::from(set) << 24 | u32::from(tag) << 8)
    }

    fn set(self) -> usize {
        (self.0.get() >> 24) as usize
    }

    fn tag(self) -> u32 {
        self.0.get() >> 8 & 0xffff
    }
}

const _: () = assert!(SETS == 1 << 8);

/// A word has a tag above the number of connections. With the number 0 it is free.
#[repr(C, align(64))]
struct Set([AtomicU32; WAYS]);

/// The open connections of one worker by address. All zeros is an empty table.
#[repr(C)]
pub(crate) struct AddressTable {
    sets: [Set; SETS],
}

const COUNT: u32 = 0xffff;

impl AddressTable {
    /// A table of a process that has no pool.
    pub fn boxed() -> Box<Self> {
        let sets = std::array::from_fn(|_| Set(std::array::from_fn(|_| AtomicU32::new(0))));
        Box::new(AddressTable { sets })
    }

    pub fn count(&self, key: AddressKey) -> u32 {
        self.find(key).map_or(0, |word| word.load(Relaxed) & COUNT)
    }

    /// The writer only, as are the next two.
    pub fn add(&self, key: AddressKey) {
        let word = self.find(key).or_else(|| {
            let free = |word: &&AtomicU32| word.load(Relaxed) & COUNT == 0;
            self.set(key).iter().find(free)
        });
        if let Some(word) = word {
            let count = (word.load(Relaxed) & COUNT).saturating_add(1).min(COUNT);
            word.store(key.tag() << 16 | count, Relaxed);
        }
    }

    pub fn remove(&self, key: AddressKey) {
        if let Some(word) = self.find(key) {
            word.store(word.load(Relaxed) - 1, Relaxed);
        }
    }

    pub fn clear(&self) {
        for word in self.sets.iter().flat_map(|set| &set.0) {
            word.store(0, Relaxed);
        }
    }

    fn set(&self, key: AddressKey) -> &[AtomicU32] {
        self.sets.get(key.set()).map_or(&[], |set| &set.0)
    }

    /// The word of an address that has connections.
    fn find(&self, key: AddressKey) -> Option<&AtomicU32> {
        self.set(key).iter().find(|word| {
            let bits = word.load(Relaxed);
            bits & COUNT > 0 && bits >> 16 == key.tag()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(address: &str) -> AddressKey {
        AddressKey::new(address.parse().unwrap(), 7)
    }

    #[test]
    fn an_ipv6_client_is_its_network_and_an_ipv4_client_its_address() {
        assert_eq!(key("2001:db8:1:2::1"), key("2001:db8:1:2:ffff::9"));
        assert_ne!(key("2001:db8:1:2::1"), key("2001:db8:1:3::1"));
        assert_ne!(key("192.0.2.1"), key("192.0.2.2"));
        let same_in_another_pool = AddressKey::new("192.0.2.1".parse().unwrap(), 8);
        assert_ne!(key("192.0.2.1"), same_in_another_pool);
    }

    #[test]
    fn an_address_has_what_was_added_and_not_removed() {
        let table = AddressTable::boxed();
        let (one, other) = (key("192.0.2.1"), key("192.0.2.2"));
        for _ in 0..3 {
            table.add(one);
        }
        table.add(other);
        table.remove(one);
        assert_eq!((table.count(one), table.count(other)), (2, 1));
        for _ in 0..5 {
            table.remove(one);
        }
        assert_eq!((table.count(one), table.count(other)), (0, 1));
        table.clear();
        assert_eq!(table.count(other), 0);
    }

    #[test]
    fn two_thousand_clients_are_counted_and_a_full_set_counts_no_stranger() {
        let table = AddressTable::boxed();
        let keys: Vec<_> = (0..2000_u32)
            .map(|number| AddressKey::new(IpAddr::from(number.to_be_bytes()), 7))
            .collect();
        keys.iter().for_each(|key| table.add(*key));
        let exact = keys.iter().filter(|key| table.count(**key) == 1).count();
        assert!(exact >= 1980, "{exact}");
        let crowded = |tag| AddressKey::of(3, tag);
        let table = AddressTable::boxed();
        (0..20).for_each(|tag| table.add(crowded(tag)));
        assert_eq!(table.count(crowded(15)), 1);
        assert_eq!(table.count(crowded(19)), 0);
        table.remove(crowded(19));
        table.remove(crowded(4));
        table.add(crowded(19));
        assert_eq!(table.count(crowded(19)), 1);
    }

    #[test]
    fn a_count_stops_at_its_maximum() {
        let table = AddressTable::boxed();
        (0..70_000).for_each(|_| table.add(key("192.0.2.1")));
        assert_eq!(table.count(key("192.0.2.1")), COUNT);
        assert_eq!(table.count(key("192.0.2.2")), 0);
    }
}
