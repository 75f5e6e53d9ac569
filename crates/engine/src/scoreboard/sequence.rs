//! A sequence counter: lets a reader copy several words that were written together, without a
//! lock.
//!
//! The number is odd while the writer is at work. A reader that saw the same even number before
//! and after its copy has a whole one. The writer never waits; a reader gives up after a while,
//! because a worker may have been killed amid a write, and a hostile one can keep the number
//! odd for ever.

use std::hint::spin_loop;
use std::sync::atomic::{
    AtomicU64,
    Ordering::{Acquire, Relaxed, Release},
    fence,
};
use std::thread::yield_now;

/// A write takes some ten nanoseconds: looking again soon is enough unless its writer was
/// descheduled amid it.
const SPINS: u32 = 100;
const YIELDS: u32 = 20;

#[repr(transparent)]
pub(super) struct Sequence(AtomicU64);

impl Sequence {
    /// Runs `change` as one write. There must be no other writer.
    pub fn write<T>(&self, change: impl FnOnce() -> T) -> T {
        // `| 1`, not `+ 1`: the slot's last worker may have been killed amid a write.
        let odd = self.0.load(Relaxed) | 1;
        self.0.store(odd, Relaxed);
        fence(Release); // a reader that sees a word of `change` sees the odd number too
        let result = change();
        self.0.store(odd.wrapping_add(1), Release);
        result
    }

    /// Runs `copy` until no write fell into it. None when that did not come to pass.
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
