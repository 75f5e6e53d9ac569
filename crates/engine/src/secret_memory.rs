//! The memory in which a manager publishes certificates, keys and the keys of session
//! tickets to the processes that serve.
//!
//! Owns: one sealed memory file without a name, and all unsafe code about it. Always
//! holds: its maker alone writes, and readers never wait. It is made of atomic words, and
//! the file cannot shrink: whatever a process does, a reader gets wrong numbers at worst.
//! It is in no core dump. Knows no content.
//!
//! Page 0 has the words below. Two halves follow: of generation `n`, what is published is
//! in half `n % 2`. So a reader has the time between two changes to read one.

use crate::scoreboard::create_file;
use prefork_tls::{Published, TICKET_KEYS_BYTES, TicketKeys};
use rustix::fs::SealFlags;
use rustix::mm::{Advice, MapFlags, ProtFlags};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ptr::{NonNull, null_mut};
use std::sync::atomic::{
    AtomicU64,
    Ordering::{Acquire, Relaxed, Release},
    fence,
};
use zeroize::Zeroizing;

const WORD: usize = size_of::<u64>();
const PAGE_BYTES: usize = 4096;
/// Only what is used takes memory.
const HALF_BYTES: usize = 32 << 20;
const FILE_BYTES: usize = PAGE_BYTES + 2 * HALF_BYTES;

const GENERATION: usize = 0;
/// Of each half.
const LENGTHS: usize = 1;
/// Odd while the keys of tickets are written.
const SEQUENCE: usize = 3;
const TICKET_KEYS: usize = 4;
const TICKET_WORDS: usize = TICKET_KEYS_BYTES / WORD;
const _: () = assert!(TICKET_KEYS_BYTES % WORD == 0);
const _: () = assert!((TICKET_KEYS + TICKET_WORDS) * WORD <= PAGE_BYTES);

/// How often a reader tries again that met a writer.
const TRIES: usize = 1000;

pub struct SecretMemory {
    start: NonNull<AtomicU64>,
    file: OwnedFd,
}

// SAFETY: it gives access to nothing but atomics, which threads may share as processes do.
unsafe impl Send for SecretMemory {}
// SAFETY: as above.
unsafe impl Sync for SecretMemory {}

impl SecretMemory {
    /// Generation 0 has nothing. Processes that are forked from now on share it.
    ///
    /// # Errors
    /// Those of the system calls.
    pub fn create() -> io::Result<Self> {
        let file = create_file("prefork-certificates")?;
        rustix::fs::ftruncate(&file, FILE_BYTES as u64)?;
        let access = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: without an address the kernel picks unused room; nothing else can lie there.
        let start = unsafe {
            rustix::mm::mmap(
                null_mut(),
                FILE_BYTES,
                access,
                MapFlags::SHARED,
                file.as_fd(),
                0,
            )
        }?;
        let start = NonNull::new(start.cast()).ok_or(io::ErrorKind::AddrNotAvailable)?;
        let memory = SecretMemory { start, file };
        let seals = SealFlags::SHRINK | SealFlags::GROW | SealFlags::FUTURE_WRITE | SealFlags::SEAL;
        rustix::fs::fcntl_add_seals(&memory.file, seals)?;
        memory.advise_dump()?;
        Ok(memory)
    }

    /// In a process that serves: it cannot write any more. A read-only mapping takes the
    /// place, and the seals of the file keep it so.
    ///
    /// # Errors
    /// Those of mmap(2).
    pub fn make_read_only(&self) -> io::Result<()> {
        let flags = MapFlags::SHARED | MapFlags::FIXED;
        // SAFETY: the same pages of the same file take the place of the whole mapping, which
        // is ours. A reference into it goes on to be valid for reads, and nothing in this
        // process writes: only the maker publishes.
        unsafe {
            let start = self.start.as_ptr().cast();
            rustix::mm::mmap(start, FILE_BYTES, ProtFlags::READ, flags, self.file(), 0)?;
        }
        self.advise_dump()
    }

    fn file(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }

    fn advise_dump(&self) -> io::Result<()> {
        // SAFETY: the range is ours, and the advice changes nothing that it holds.
        unsafe {
            let start = self.start.as_ptr().cast();
            rustix::mm::madvise(start, FILE_BYTES, Advice::LinuxDontDump)?;
        }
        Ok(())
    }

    fn words(&self) -> &[AtomicU64] {
        // SAFETY: the whole range is mapped as long as `self` lives, no byte of the file can
        // go away, and atomics alias atomics.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), FILE_BYTES / WORD) }
    }

    fn word(&self, index: usize) -> &AtomicU64 {
        self.words().get(index).unwrap_or(&EMPTY)
    }

    fn half(&self, generation: u64) -> &[AtomicU64] {
        let start = PAGE_BYTES + (generation % 2) as usize * HALF_BYTES;
        let range = start / WORD..(start + HALF_BYTES) / WORD;
        self.words().get(range).unwrap_or_default()
    }

    // ---- the maker ---------------------------------------------------------------

    /// Publishes the next generation. What the last but one had is overwritten.
    ///
    /// # Errors
    /// `FileTooLarge`.
    pub fn publish(&self, content: &[u8]) -> io::Result<()> {
        if content.len() > HALF_BYTES {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        let generation = self.word(GENERATION).load(Relaxed) + 1;
        let length = self.word(LENGTHS + (generation % 2) as usize);
        let former = usize::try_from(length.load(Relaxed)).unwrap_or(HALF_BYTES);
        length.store(content.len() as u64, Relaxed);
        let half = self.half(generation);
        store(half, content);
        let used = content.len().div_ceil(WORD)..former.div_ceil(WORD);
        for word in half.get(used).unwrap_or_default() {
            word.store(0, Relaxed);
        }
        self.word(GENERATION).store(generation, Release);
        Ok(())
    }

    pub fn publish_ticket_keys(&self, keys: &TicketKeys) {
        let sequence = self.word(SEQUENCE).load(Relaxed);
        self.word(SEQUENCE).store(sequence + 1, Relaxed);
        fence(Release);
        store(self.ticket_words(), keys.as_bytes());
        self.word(SEQUENCE).store(sequence + 2, Release);
    }

    fn ticket_words(&self) -> &[AtomicU64] {
        let range = TICKET_KEYS..TICKET_KEYS + TICKET_WORDS;
        self.words().get(range).unwrap_or_default()
    }
}

/// What is read where nothing is mapped, which does not happen.
static EMPTY: AtomicU64 = AtomicU64::new(0);

fn store(words: &[AtomicU64], bytes: &[u8]) {
    for (word, chunk) in words.iter().zip(bytes.chunks(WORD)) {
        let mut whole = [0; WORD];
        whole
            .iter_mut()
            .zip(chunk)
            .for_each(|(to, from)| *to = *from);
        word.store(u64::from_le_bytes(whole), Relaxed);
    }
}

fn load(words: &[AtomicU64], bytes: &mut [u8]) {
    for (word, chunk) in words.iter().zip(bytes.chunks_mut(WORD)) {
        let whole = word.load(Relaxed).to_le_bytes();
        chunk
            .iter_mut()
            .zip(whole)
            .for_each(|(to, from)| *to = from);
    }
}

impl Published for SecretMemory {
    #[inline]
    fn generation(&self) -> u64 {
        self.word(GENERATION).load(Acquire)
    }

    fn bundle(&self) -> Option<(u64, Zeroizing<Vec<u8>>)> {
        (0..TRIES).find_map(|_| {
            let generation = self.generation();
            let length = self.word(LENGTHS + (generation % 2) as usize).load(Relaxed);
            let length = usize::try_from(length)
                .ok()
                .filter(|length| *length <= HALF_BYTES)?;
            let mut content = Zeroizing::new(vec![0; length]);
            load(self.half(generation), &mut content);
            fence(Acquire);
            let now = self.word(GENERATION).load(Relaxed);
            (now == generation).then_some((generation, content))
        })
    }

    fn ticket_keys(&self) -> Option<TicketKeys> {
        (0..TRIES).find_map(|_| {
            let before = self.word(SEQUENCE).load(Acquire);
            let mut keys = Zeroizing::new([0; TICKET_KEYS_BYTES]);
            load(self.ticket_words(), keys.as_mut_slice());
            fence(Acquire);
            let after = self.word(SEQUENCE).load(Relaxed);
            let is_whole = before == after && before % 2 == 0 && before > 0;
            is_whole.then(|| TicketKeys::from_bytes(*keys))
        })
    }
}

impl Drop for SecretMemory {
    fn drop(&mut self) {
        // SAFETY: the range is ours, and no reference into it outlives `self`. A failure
        // would only leak it.
        let _ = unsafe { rustix::mm::munmap(self.start.as_ptr().cast(), FILE_BYTES) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_gets_the_newest() {
        let memory = SecretMemory::create().unwrap();
        assert_eq!(memory.generation(), 0);
        for (content, generation) in [(&b"one"[..], 1), (&[7; 5000][..], 2), (&b""[..], 3)] {
            memory.publish(content).unwrap();
            let (found, bytes) = memory.bundle().unwrap();
            assert_eq!((found, bytes.as_slice()), (generation, content));
        }
    }

    #[test]
    fn what_is_replaced_is_overwritten() {
        let memory = SecretMemory::create().unwrap();
        memory.publish(&[0xaa; 9000]).unwrap();
        memory.publish(b"short").unwrap();
        memory.publish(b"short").unwrap();
        let left = memory
            .words()
            .iter()
            .any(|word| word.load(Relaxed) == 0xaaaa_aaaa_aaaa_aaaa);
        assert!(!left);
    }

    #[test]
    fn too_much_is_refused_and_the_old_stays() {
        let memory = SecretMemory::create().unwrap();
        memory.publish(b"old").unwrap();
        assert!(memory.publish(&vec![0; HALF_BYTES + 1]).is_err());
        assert_eq!(memory.bundle().unwrap().1.as_slice(), b"old");
    }

    #[test]
    fn the_keys_of_tickets_are_read_whole_or_not_at_all() {
        let memory = SecretMemory::create().unwrap();
        assert!(memory.ticket_keys().is_none());
        let keys = TicketKeys::generate().unwrap();
        memory.publish_ticket_keys(&keys);
        assert!(memory.ticket_keys() == Some(keys.clone()));
        memory.word(SEQUENCE).store(3, Relaxed); // a writer that was killed
        assert!(memory.ticket_keys().is_none());
    }

    #[test]
    fn a_process_that_serves_reads_and_no_mapping_can_be_made_writable() {
        let memory = SecretMemory::create().unwrap();
        memory.publish(b"content").unwrap();
        memory.make_read_only().unwrap();
        assert_eq!(memory.bundle().unwrap().1.as_slice(), b"content");
        // SAFETY: the kernel refuses it, and nothing changes.
        let writable = unsafe {
            let start = memory.start.as_ptr().cast();
            let access = rustix::mm::MprotectFlags::READ | rustix::mm::MprotectFlags::WRITE;
            rustix::mm::mprotect(start, PAGE_BYTES, access)
        };
        assert!(writable.is_err());
    }
}
