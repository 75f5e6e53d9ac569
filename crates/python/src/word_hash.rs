//! A fast hash for tables in which collisions do no harm: their keys are numbers that the server
//! gives, or they are small.

use std::hash::{BuildHasherDefault, Hasher};

/// A hash that takes eight bytes at once.
#[derive(Clone, Copy, Default)]
pub(crate) struct WordHash(u64);

pub(crate) type BuildWordHash = BuildHasherDefault<WordHash>;

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

    #[inline]
    fn write_u32(&mut self, number: u32) {
        self.add(u64::from(number));
    }

    #[inline]
    fn write_usize(&mut self, number: usize) {
        self.add(number as u64);
    }

    #[inline]
    fn finish(&self) -> u64 {
        self.0 ^ self.0 >> 32
    }
}
