//! How long the application took to respond: a histogram in a worker's page.
//!
//! Always holds: a bucket is as wide as a quarter of the power of two that it is in, so a time that is
//! read from it is wrong by less than a quarter. What is shorter than the first bucket, or longer than
//! the last, is counted there.

use super::word::Word;

/// How many buckets there are.
pub const TIMES: usize = PARTS * 24;

/// The first bucket begins at 2^12 ns, 4 us; the last one ends at 2^36 ns, 69 s.
const FIRST_BITS: u32 = 12;
/// A power of two is divided into so many.
const PARTS: usize = 1 << PART_BITS;
const PART_BITS: u32 = 2;

#[repr(C)]
pub(crate) struct Times {
    buckets: [Word<u64>; TIMES],
}

impl Times {
    /// The writer only.
    #[inline]
    pub fn count(&self, time_ns: u64) {
        if let Some(word) = self.buckets.get(bucket_of(time_ns)) {
            word.set(word.get().wrapping_add(1));
        }
    }

    pub fn clear(&self) {
        self.buckets.iter().for_each(|word| word.set(0));
    }

    pub fn copy(&self) -> [u64; TIMES] {
        self.buckets.each_ref().map(Word::get)
    }
}

#[inline]
fn bucket_of(time_ns: u64) -> usize {
    let time_ns = time_ns.max(1 << FIRST_BITS);
    let bits = time_ns.ilog2();
    let part = (time_ns >> (bits - PART_BITS)) as usize & (PARTS - 1);
    ((bits - FIRST_BITS) as usize * PARTS + part).min(TIMES - 1)
}

/// Where each bucket begins, in nanoseconds. It ends where the next one begins.
#[must_use]
pub fn time_bounds_ns() -> [u64; TIMES] {
    std::array::from_fn(|index| {
        let bits = FIRST_BITS as usize + index / PARTS;
        ((PARTS + index % PARTS) as u64) << (bits - PART_BITS as usize)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_counted_in_the_bucket_that_begins_at_it_or_before() {
        let bounds = time_bounds_ns();
        assert_eq!((bounds[0], bounds[1], bounds[4]), (4096, 5120, 8192));
        for (index, bound) in bounds.into_iter().enumerate() {
            assert_eq!(bucket_of(bound), index);
            assert_eq!(bucket_of(bound - 1), index.saturating_sub(1));
        }
        assert_eq!(bucket_of(0), 0);
        assert_eq!(bucket_of(u64::MAX), TIMES - 1);
        assert!(bounds.windows(2).all(|pair| pair[1] * 4 <= pair[0] * 5));
    }
}
