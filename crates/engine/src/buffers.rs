//! Buffers that connections use while they have input or output.
//!
//! Owns: a few empty vectors. An idle connection holds none, so ten thousand of
//! them cost little. A busy worker reuses them, without an allocation for each
//! request.

/// The capacity of a new buffer: a response head and a small body fit.
const FRESH_BYTES: usize = 4096;
/// A buffer that has grown beyond this is freed.
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
