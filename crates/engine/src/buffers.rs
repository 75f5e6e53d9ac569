//! Buffers that connections borrow while they have bytes in hand.
//!
//! Owns: a few emptied vectors. An idle connection holds none, so ten
//! thousand of them cost little; a busy worker reuses the same few and does
//! not ask the allocator for each request.

/// What one buffer begins with: a response head and a small body fit.
const FRESH_BYTES: usize = 4096;
/// A buffer that has grown past this goes back to the allocator.
const KEEP_BYTES: usize = 128 * 1024;
const KEEP: usize = 64;

#[derive(Default)]
pub(crate) struct Buffers {
    spare: Vec<Vec<u8>>,
}

impl Buffers {
    pub(crate) fn take(&mut self) -> Vec<u8> {
        self.spare
            .pop()
            .unwrap_or_else(|| Vec::with_capacity(FRESH_BYTES))
    }

    pub(crate) fn give(&mut self, mut buffer: Vec<u8>) {
        if (1..=KEEP_BYTES).contains(&buffer.capacity()) && self.spare.len() < KEEP {
            buffer.clear();
            self.spare.push(buffer);
        }
    }
}
