//! Names as Python objects. Each is made once per thread, because clients send
//! the same few names again and again.

use crate::word_hash::BuildWordHash;
use pyo3::prelude::*;
use std::cell::RefCell;
use std::collections::HashMap;

/// No more names than this are kept: a client that invents names must not fill
/// the memory.
const MAX_NAMES: usize = 256;

type Known<T> = HashMap<Box<[u8]>, Py<T>, BuildWordHash>;

/// The object of each name, by the received bytes. It belongs to one thread: a
/// lock would cost more than the table saves.
pub(crate) struct Names<T>(RefCell<Known<T>>);

impl<T> Names<T> {
    pub(crate) const fn new() -> Self {
        Names(RefCell::new(HashMap::with_hasher(BuildWordHash::new())))
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
