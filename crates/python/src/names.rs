//! Names as Python objects. Each is made once per thread, because clients send
//! the same few names again and again.

use pyo3::prelude::*;
use std::cell::RefCell;
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

/// No more names than this are kept: a client that invents names must not fill
/// the memory.
const MAX_NAMES: usize = 256;

/// The hash of Fowler, Noll and Vo (FNV-1a). Collisions do not matter in a table this
/// small.
#[derive(Clone, Copy)]
struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Self {
        Fnv(0xcbf2_9ce4_8422_2325)
    }
}

impl Hasher for Fnv {
    fn write(&mut self, bytes: &[u8]) {
        self.0 = bytes.iter().fold(self.0, |hash, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
        });
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

type Known<T> = HashMap<Box<[u8]>, Py<T>, BuildHasherDefault<Fnv>>;

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
