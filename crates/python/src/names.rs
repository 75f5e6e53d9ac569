//! Names as Python objects. Each is made once per thread, because clients send
//! the same few names again and again.

use pyo3::prelude::*;
use std::cell::RefCell;
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

/// No more names than this are kept: a client that invents names must not fill
/// the memory.
const MAX_NAMES: usize = 256;

/// A hash that takes eight bytes at once. Collisions do not matter in a table this small.
#[derive(Clone, Copy, Default)]
struct WordHash(u64);

impl WordHash {
    #[inline]
    fn add(&mut self, word: u64) {
        // An odd number with bits all over, here that of the golden ratio.
        self.0 = (self.0.rotate_left(5) ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}

impl Hasher for WordHash {
    #[inline]
    fn write(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        while let Some((word, others)) = rest.split_first_chunk() {
            self.add(u64::from_le_bytes(*word));
            rest = others;
        }
        let mut word = 0;
        for byte in rest {
            word = word << 8 | u64::from(*byte);
        }
        self.add(word);
    }

    /// The length of a name.
    #[inline]
    fn write_usize(&mut self, number: usize) {
        self.add(number as u64);
    }

    #[inline]
    fn finish(&self) -> u64 {
        self.0 ^ self.0 >> 32
    }
}

type Known<T> = HashMap<Box<[u8]>, Py<T>, BuildHasherDefault<WordHash>>;

/// The object of each name, by the received bytes. It belongs to one thread: a
/// lock would cost more than the table saves.
pub(crate) struct Names<T>(RefCell<Known<T>>);

impl<T> Names<T> {
    pub(crate) const fn new() -> Self {
        Names(RefCell::new(
            HashMap::with_hasher(BuildHasherDefault::new()),
        ))
    }

    pub(crate) fn get(
        &self,
        py: Python<'_>,
        name: &[u8],
        make: impl FnOnce(&[u8]) -> Py<T>,
    ) -> Py<T> {
        let mut known = self.0.borrow_mut();
        if let Some(made) = known.get(name) {
            return made.clone_ref(py);
        }
        let made = make(name);
        if known.len() < MAX_NAMES {
            known.insert(name.into(), made.clone_ref(py));
        }
        made
    }
}
