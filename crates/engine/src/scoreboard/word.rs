//! The atomic words that shared memory is made of.
//!
//! Another process may change a word at any moment. As each word is an atomic, that is a wrong
//! number at worst, never undefined behaviour. Words are typed, and every bit pattern is a
//! valid value.

use std::marker::PhantomData;
use std::sync::atomic::{
    AtomicU64,
    Ordering::{Relaxed, SeqCst},
};

use super::state::State;

/// A value that fits a word. `from_bits` must accept any bits: another process may have written
/// them.
pub(super) trait Cell: Copy {
    fn to_bits(self) -> u64;
    fn from_bits(bits: u64) -> Self;
}

impl Cell for u64 {
    fn to_bits(self) -> u64 {
        self
    }
    fn from_bits(bits: u64) -> Self {
        bits
    }
}

impl Cell for u32 {
    fn to_bits(self) -> u64 {
        self.into()
    }
    fn from_bits(bits: u64) -> Self {
        bits as u32
    }
}

impl Cell for bool {
    fn to_bits(self) -> u64 {
        self.into()
    }
    fn from_bits(bits: u64) -> Self {
        bits != 0
    }
}

impl Cell for State {
    fn to_bits(self) -> u64 {
        self as u64
    }
    /// An invalid value reads as `Active`: such a worker counts in the pool, and not as a
    /// spare. As `Draining` it would be replaced, so that the pool could grow too large; as
    /// `Spare` it would keep real spares from being forked.
    fn from_bits(bits: u64) -> Self {
        match bits {
            0 => State::Empty,
            1 => State::Starting,
            2 => State::Spare,
            4 => State::Draining,
            _ => State::Active,
        }
    }
}

/// One typed word.
#[repr(transparent)]
pub(super) struct Word<T> {
    bits: AtomicU64,
    kind: PhantomData<T>,
}

impl<T: Cell> Word<T> {
    pub fn get(&self) -> T {
        T::from_bits(self.bits.load(Relaxed))
    }

    pub fn set(&self, value: T) {
        self.bits.store(value.to_bits(), Relaxed);
    }

    /// As it is, whatever its type.
    pub fn bits(&self) -> u64 {
        self.bits.load(Relaxed)
    }

    /// As `get` and `set`, in one order for all processes: `Slot::fewer_spares_than` needs it.
    pub fn get_ordered(&self) -> T {
        T::from_bits(self.bits.load(SeqCst))
    }

    pub fn set_ordered(&self, value: T) {
        self.bits.store(value.to_bits(), SeqCst);
    }
}

/// Up to `8 * WORDS` bytes of text; a longer text is cut.
#[repr(C)]
pub(super) struct Text<const WORDS: usize> {
    length: Word<u64>,
    words: [Word<u64>; WORDS],
}

impl<const WORDS: usize> Text<WORDS> {
    pub fn set(&self, text: &[u8]) {
        self.length.set(text.len() as u64);
        let mut words = self.words.iter();
        let whole = text.chunks_exact(8);
        let rest = whole.remainder();
        for (bytes, word) in whole.zip(words.by_ref()) {
            word.set(bytes.try_into().map_or(0, u64::from_le_bytes));
        }
        if let (false, Some(word)) = (rest.is_empty(), words.next()) {
            word.set(padded(rest));
        }
    }

    /// A copy without an allocation, for `Sequence::read`.
    pub fn copy(&self) -> TextCopy<WORDS> {
        let length = usize::try_from(self.length.get()).unwrap_or(usize::MAX);
        let mut words = [0; WORDS];
        for (to, from) in words.iter_mut().zip(&self.words).take(length.div_ceil(8)) {
            *to = from.get();
        }
        TextCopy { length, words }
    }
}

/// Fewer than eight bytes as a word. A plain loop, because a copy of unknown length would be a
/// function call.
fn padded(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .rev()
        .fold(0, |word, &byte| word << 8 | u64::from(byte))
}

pub(super) struct TextCopy<const WORDS: usize> {
    /// As the writer wrote it: it may exceed the size of `words`.
    length: usize,
    words: [u64; WORDS],
}

impl<const WORDS: usize> TextCopy<WORDS> {
    pub fn to_vec(&self) -> Vec<u8> {
        self.words
            .iter()
            .flat_map(|word| word.to_le_bytes())
            .take(self.length)
            .collect()
    }
}
