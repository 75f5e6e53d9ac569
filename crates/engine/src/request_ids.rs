//! Ids for requests that bring none, and the field of responses that has them.
//!
//! Always holds: two processes make different ids, and so does one process twice. An id costs no system call:
//! the system's random numbers are asked for once, when a process makes its first one. A process makes its own
//! `Context`, and never uses that of the process that it was forked from. Ids can be told from each other, and
//! not from chance; they are no secrets.

use prefork_wire::proxy::{MADE_ID_BYTES, REQUEST_ID, is_request_id};
use rustix::rand::{GetRandomFlags, getrandom};

const SEED_BYTES: usize = 32;
const HEX: &[u8; 16] = b"0123456789abcdef";

/// A generator of 256 bits (xoshiro256++ of Blackman and Vigna); none before the first id.
#[derive(Default)]
pub(crate) struct RequestIds(Option<[u64; 4]>);

impl RequestIds {
    /// Another id, in the form of a random UUID (RFC 9562, section 5.4): what reads ids often expects one.
    pub(crate) fn make(&mut self) -> [u8; MADE_ID_BYTES] {
        let state = self.0.get_or_insert_with(seed);
        let (high, low) = (next(state), next(state));
        let version = high & !0xf000 | 0x4000;
        let variant = low & !(0b11 << 62) | 0b10 << 62;
        let mut bits = u128::from(version) << 64 | u128::from(variant);
        let mut id = [b'-'; MADE_ID_BYTES];
        for (at, digit) in id.iter_mut().enumerate() {
            if !matches!(at, 8 | 13 | 18 | 23) {
                let highest = (bits >> 124) as usize;
                *digit = HEX.get(highest).copied().unwrap_or(b'0');
                bits <<= 4;
            }
        }
        id
    }
}

fn seed() -> [u64; 4] {
    let mut bytes = [0; SEED_BYTES];
    let got = getrandom(&mut bytes[..], GetRandomFlags::empty());
    if got.is_ok_and(|got| got == SEED_BYTES) {
        let mut words = bytes
            .chunks_exact(8)
            .map(|word| word.try_into().unwrap_or([1; 8]));
        return std::array::from_fn(|_| u64::from_le_bytes(words.next().unwrap_or([1; 8])));
    }
    // A sandbox may refuse that. What differs between processes is mixed by the first steps.
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Realtime);
    let pid = rustix::process::getpid().as_raw_nonzero().get();
    let mut state = [
        now.tv_sec as u64,
        now.tv_nsec as u64,
        u64::from(pid as u32),
        1,
    ];
    for _ in 0..64 {
        next(&mut state);
    }
    state
}

fn next(state: &mut [u64; 4]) -> u64 {
    let [a, b, c, d] = state;
    let result = a.wrapping_add(*d).rotate_left(23).wrapping_add(*a);
    let shifted = *b << 17;
    *c ^= *a;
    *d ^= *b;
    *b ^= *c;
    *a ^= *d;
    *c ^= shifted;
    *d = d.rotate_left(45);
    result
}

/// The fields of a response, with the id of its request instead of what the application says of that.
#[derive(Clone)]
pub(crate) struct Named<'a, F> {
    fields: F,
    /// Empty without one.
    id: &'a [u8],
    is_told: bool,
}

impl<'a, F> Named<'a, F> {
    /// These fields, as they are if the id is empty.
    #[inline]
    pub(crate) fn with(id: &'a [u8], fields: F) -> Self {
        let is_told = id.is_empty();
        Named {
            fields,
            id,
            is_told,
        }
    }
}

impl<'a, 'b: 'a, F: Iterator<Item = (&'b [u8], &'b [u8])>> Iterator for Named<'a, F> {
    type Item = (&'a [u8], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let has_id = !self.id.is_empty();
        let next = self
            .fields
            .find(|(name, _)| !(has_id && is_request_id(name)));
        if next.is_none() && !self.is_told {
            self.is_told = true;
            return Some((REQUEST_ID, self.id));
        }
        next
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn an_id_has_the_form_of_a_random_uuid() {
        let mut ids = RequestIds::default();
        for _ in 0..1000 {
            let id = ids.make();
            let text = std::str::from_utf8(&id).unwrap();
            let parts: Vec<&str> = text.split('-').collect();
            let lengths: Vec<usize> = parts.iter().map(|part| part.len()).collect();
            assert_eq!(lengths, [8, 4, 4, 4, 12], "{text}");
            assert!(
                parts.concat().bytes().all(|byte| HEX.contains(&byte)),
                "{text}"
            );
            assert!(parts[2].starts_with('4'), "{text}");
            assert!(parts[3].starts_with(['8', '9', 'a', 'b']), "{text}");
        }
    }

    #[test]
    fn a_response_has_the_id_of_its_request_once() {
        let fields = [
            (&b"A"[..], &b"1"[..]),
            (b"x-request-ID", b"other"),
            (b"B", b"2"),
        ];
        let all: Vec<_> = Named::with(b"7", fields.into_iter()).collect();
        assert_eq!(all, [fields[0], fields[2], (REQUEST_ID, b"7")]);
        let all: Vec<_> = Named::with(b"", fields.into_iter()).collect();
        assert_eq!(all, fields);
    }

    #[test]
    fn no_id_comes_twice_and_no_two_processes_make_the_same() {
        let mut processes = [
            RequestIds::default(),
            RequestIds::default(),
            RequestIds::default(),
        ];
        let made: HashSet<_> = (0..30_000)
            .map(|number| processes[number % 3].make())
            .collect();
        assert_eq!(made.len(), 30_000);
    }
}
