//! A sequence lock: a reader gets a consistent copy of several words without blocking the
//! writer.
//!
//! The number is odd during a write. A copy is consistent if the number was the same even one
//! before and after it. The writer never waits. A reader gives up after a number of attempts,
//! because a worker may have been killed during a write, and a hostile one can keep the number
//! odd.

use std::hint::spin_loop;
use std::sync::atomic::{
    AtomicU64,
    Ordering::{Acquire, Relaxed, Release},
    fence,
};
use std::thread::yield_now;

/// A write takes about ten nanoseconds, so a few spins are enough unless the writer was
/// descheduled during it.
const SPINS: u32 = 100;
const YIELDS: u32 = 20;

#[repr(transparent)]
pub(super) struct Sequence(AtomicU64);

impl Sequence {
    /// Runs `change` as one write. There is only one writer.
    pub fn write<T>(&self, change: impl FnOnce() -> T) -> T {
        // `| 1`, not `+ 1`: the slot's last worker may have been killed during a
        // write.
        let odd = self.0.load(Relaxed) | 1;
        self.0.store(odd, Relaxed);
        fence(Release); // a reader that sees a word of `change` sees the odd number too
        let result = change();
        self.0.store(odd.wrapping_add(1), Release);
        result
    }

    /// Runs `copy` until no write overlaps it. None if that fails too often.
    pub fn read<T>(&self, copy: impl Fn() -> T) -> Option<T> {
        for attempt in 0..SPINS + YIELDS {
            let before = self.0.load(Acquire);
            if before & 1 == 0 {
                let value = copy();
                fence(Acquire); // the words of `copy` are read before the number is read again
                if self.0.load(Relaxed) == before {
                    return Some(value);
                }
            }
            if attempt < SPINS {
                spin_loop()
            } else {
                yield_now()
            }
        }
        None
    }
}
