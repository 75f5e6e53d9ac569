//! The mapping of the memory file, and all unsafe code of the scoreboard.
//!
//! It returns references to pages. They are sound whatever other processes do,
//! because
//! * a page is made of atomics only, and every bit pattern of them is valid;
//! * the mapping lives as long as the `SharedMemory` the reference borrows from;
//! * the file can no longer shrink (`F_SEAL_SHRINK`, checked here before mapping), so no page
//!   can vanish under a reader as SIGBUS.
//!
//! It does not know what the words mean.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ptr::{NonNull, null_mut};
#[cfg(test)]
use std::sync::atomic::AtomicU64;

use rustix::fs::{MemfdFlags, SealFlags, SeekFrom};
use rustix::io::Errno;
use rustix::mm::{MapFlags, MprotectFlags, MremapFlags, ProtFlags};

use super::addresses::AddressTable;
use super::figures::SharedFigures;
use super::page::{
    ADDRESS_PAGES, FIGURES_PAGES, MANAGER_PAGES, ManagerPage, PAGE_BYTES, SLOT_PAGES, SlotPage,
};
use super::word::Word;

/// Size and seals cannot change any more, and no new mapping can be writable.
pub(super) fn seals() -> SealFlags {
    SealFlags::SHRINK | SealFlags::GROW | SealFlags::FUTURE_WRITE | SealFlags::SEAL
}

pub(super) struct SharedMemory {
    start: NonNull<u8>,
    /// `MANAGER_PAGES`, and `SLOT_PAGES` for each slot, of which there is at least one.
    pages: usize,
    /// How many there are.
    slots: usize,
    /// Where this process's slot begins; before `narrow` the first one.
    own: NonNull<u8>,
}

// SAFETY: a `SharedMemory` gives access to nothing but atomics, which threads may share as processes
// do.
unsafe impl Send for SharedMemory {}
// SAFETY: as above.
unsafe impl Sync for SharedMemory {}

impl SharedMemory {
    /// A new, sealed file of zeros for `slots` slots. This mapping is the last writable one.
    pub fn create(slots: usize) -> io::Result<(Self, OwnedFd)> {
        let pages = slots
            .checked_mul(SLOT_PAGES)
            .and_then(|pages| pages.checked_add(MANAGER_PAGES))
            .filter(|&pages| pages > MANAGER_PAGES && pages <= u32::MAX as usize);
        let pages = pages.ok_or(io::ErrorKind::InvalidInput)?;
        let file = create_file("prefork-scoreboard")?;
        rustix::fs::ftruncate(&file, (pages * PAGE_BYTES) as u64)?;
        let memory = Self::map(file.as_fd(), pages, ProtFlags::READ | ProtFlags::WRITE)?;
        rustix::fs::fcntl_add_seals(&file, seals())?;
        Ok((memory, file))
    }

    /// Maps a file of another process to read. Refuses a file that can still be truncated or
    /// written.
    pub fn attach(file: BorrowedFd<'_>) -> io::Result<Self> {
        let size = usize::try_from(rustix::fs::fstat(file)?.st_size).unwrap_or(0);
        let sealed = rustix::fs::fcntl_get_seals(file)?.contains(seals());
        let pages = size / PAGE_BYTES;
        let of_slots = pages.saturating_sub(MANAGER_PAGES);
        let is_whole =
            size % PAGE_BYTES == 0 && of_slots % SLOT_PAGES == 0 && pages > MANAGER_PAGES;
        if !sealed || !is_whole {
            return Err(io::ErrorKind::InvalidData.into());
        }
        Self::map(file, pages, ProtFlags::READ)
    }

    fn map(file: BorrowedFd<'_>, pages: usize, access: ProtFlags) -> io::Result<Self> {
        // SAFETY: without an address the kernel picks unused room; nothing else can lie there.
        let start = unsafe {
            rustix::mm::mmap(
                null_mut(),
                pages * PAGE_BYTES,
                access,
                MapFlags::SHARED,
                file,
                0,
            )
        }?;
        let start = NonNull::new(start.cast()).ok_or(io::ErrorKind::AddrNotAvailable)?;
        Ok(Self::at(start, pages))
    }

    /// The memory that is mapped there. It has at least one slot.
    fn at(start: NonNull<u8>, pages: usize) -> Self {
        Self {
            start,
            pages,
            slots: (pages - MANAGER_PAGES) / SLOT_PAGES,
            // SAFETY: the first slot is within the mapping.
            own: unsafe { start.add(offset(0)) },
        }
    }

    /// Another mapping of the same pages, which can be made writable although no new one can: the
    /// kernel copies this one (mremap(2), an old size of 0).
    pub fn twin(&self) -> io::Result<Closed> {
        let length = self.pages * PAGE_BYTES;
        // SAFETY: the kernel picks unused room for the copy, and leaves this mapping as it is.
        let start = unsafe {
            let start = self.start.as_ptr().cast();
            rustix::mm::mremap(start, 0, length, MremapFlags::MAYMOVE)
        }?;
        let start = NonNull::new(start.cast()).ok_or(io::ErrorKind::AddrNotAvailable)?;
        let twin = Self::at(start, self.pages);
        twin.protect(MprotectFlags::empty())?;
        Ok(Closed(twin))
    }

    fn protect(&self, access: MprotectFlags) -> io::Result<()> {
        // SAFETY: the range is our own mapping, and no reference into it is alive: `twin` and
        // `Closed::open`, the only callers, have given none out.
        unsafe {
            let start = self.start.as_ptr().cast();
            rustix::mm::mprotect(start, self.pages * PAGE_BYTES, access)?;
        }
        Ok(())
    }

    pub fn slots(&self) -> usize {
        self.slots
    }

    pub fn manager(&self) -> &ManagerPage {
        // SAFETY: page 0 is mapped as long as `self` lives and is large and aligned enough for
        // a `ManagerPage` (asserted where PAGE_BYTES is), which is made of atomics only.
        unsafe { self.start.cast().as_ref() }
    }

    pub fn slot(&self, index: usize) -> Option<&SlotPage> {
        if index >= self.slots() {
            return None;
        }
        // SAFETY: the slot's first page is within the mapping, by the line above; the rest
        // as in `manager`.
        Some(unsafe { self.start.add(offset(index)).cast().as_ref() })
    }

    /// The slot that this process has. A request asks for it several times, so it is at hand.
    #[inline]
    pub fn own_slot(&self) -> &SlotPage {
        // SAFETY: `at` and `narrow` have set it to a slot within the mapping; the rest as in `manager`.
        unsafe { self.own.cast().as_ref() }
    }

    /// A slot's table of client addresses.
    pub fn addresses(&self, index: usize) -> Option<&AddressTable> {
        if index >= self.slots() {
            return None;
        }
        // SAFETY: the table is behind the slot's first page and within its pages (by what
        // SLOT_PAGES is); the rest as in `manager`.
        Some(unsafe { self.start.add(offset(index) + PAGE_BYTES).cast().as_ref() })
    }

    /// What a slot's worker counts for people.
    #[inline]
    pub fn figures(&self, index: usize) -> Option<&SharedFigures> {
        if index >= self.slots() {
            return None;
        }
        // SAFETY: the figures are the last of the slot's pages (by what SLOT_PAGES is); the rest
        // as in `manager`.
        Some(unsafe { self.start.add(offset_of_figures(index)).cast().as_ref() })
    }

    /// What the worker counts that has that slot.
    #[inline]
    pub fn own_figures(&self) -> &SharedFigures {
        // SAFETY: as in `own_slot`; the figures are the last of the slot's pages.
        unsafe { self.own.add(FIGURES_OFFSET).cast().as_ref() }
    }

    /// What the workers have counted that have ended.
    pub fn retired(&self) -> &SharedFigures {
        // SAFETY: the figures are behind the manager's first page (by what MANAGER_PAGES is); the
        // rest as in `manager`.
        unsafe { self.start.add(PAGE_BYTES).cast().as_ref() }
    }

    /// Sets the figures of a slot to zeros (manager). What has no memory is left alone. Which pages those are
    /// is asked of the kernel: a worker could have written anything.
    pub fn clear_figures(&self, file: BorrowedFd<'_>, index: usize) {
        if index >= self.slots() {
            return;
        }
        let end = offset_of_figures(index) + FIGURES_PAGES * PAGE_BYTES;
        let mut at = offset_of_figures(index);
        while let Ok(data) = rustix::fs::seek(file, SeekFrom::Data(at as u64)) {
            let page = data as usize / PAGE_BYTES * PAGE_BYTES;
            if page >= end {
                break;
            }
            self.words_at(page).iter().for_each(|word| word.set(0));
            at = page + PAGE_BYTES;
        }
    }

    /// The words of the page at this place in the memory, which has it.
    fn words_at(&self, offset: usize) -> &[Word<u64>] {
        debug_assert!(offset % PAGE_BYTES == 0 && offset / PAGE_BYTES < self.pages);
        // SAFETY: the whole page is mapped, as the only caller has checked, and a `Word` is an atomic,
        // for which all bits are valid.
        unsafe {
            let first: *const Word<u64> = self.start.add(offset).cast().as_ptr();
            std::slice::from_raw_parts(first, PAGE_BYTES / size_of::<Word<u64>>())
        }
    }

    /// Forgets what a worker counted there (manager only).
    pub fn clear_addresses(&self, index: usize) {
        let used = self
            .slot(index)
            .is_some_and(|page| page.counts_addresses.get());
        if let (true, Some(table)) = (used, self.addresses(index)) {
            table.clear();
        }
    }

    /// A slot's pages as plain words, to write invalid ones.
    #[cfg(test)]
    pub fn words(&self, index: usize) -> &[AtomicU64] {
        let page: *const SlotPage = self.slot(index).expect("a slot");
        // SAFETY: all pages of the slot are mapped, and atomics alias atomics.
        unsafe { std::slice::from_raw_parts(page.cast(), SLOT_PAGES * PAGE_BYTES / 8) }
    }

    /// Makes all pages but those of one slot read-only for the rest of the process. Read-only
    /// mappings replace those pages: as they are made after the seal, the kernel refuses to
    /// make them writable again. After a mere `mprotect` it would not.
    pub fn narrow(&mut self, file: BorrowedFd<'_>, index: usize) -> io::Result<()> {
        if index >= self.slots() {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        // SAFETY: the slot is within the mapping, by the lines above.
        self.own = unsafe { self.start.add(offset(index)) };
        let own = offset(index) / PAGE_BYTES;
        self.cover(file, 0, own)?;
        self.cover(file, own + SLOT_PAGES, self.pages)
    }

    fn cover(&mut self, file: BorrowedFd<'_>, first: usize, end: usize) -> io::Result<()> {
        if first == end {
            return Ok(());
        }
        let offset = first * PAGE_BYTES;
        let length = (end - first) * PAGE_BYTES;
        // SAFETY: first..end lies within our own mapping (both callers are `narrow`), so
        // no other mapping is replaced, and the same pages of the same file take the
        // place. No reference to a page is alive: we hold `self` mutably.
        unsafe {
            let start = self.start.as_ptr().add(offset).cast();
            let flags = MapFlags::SHARED | MapFlags::FIXED;
            rustix::mm::mmap(start, length, ProtFlags::READ, flags, file, offset as u64)?;
        }
        Ok(())
    }
}

/// A mapping that can neither be read nor written before it is opened: a stray write ends the
/// process, and reaches no page.
pub(super) struct Closed(SharedMemory);

impl Closed {
    pub fn open(self) -> io::Result<SharedMemory> {
        self.0.protect(MprotectFlags::READ | MprotectFlags::WRITE)?;
        Ok(self.0)
    }
}

/// Where a slot's pages begin.
fn offset(index: usize) -> usize {
    (MANAGER_PAGES + index * SLOT_PAGES) * PAGE_BYTES
}

/// Where its figures begin.
#[inline]
fn offset_of_figures(index: usize) -> usize {
    offset(index) + FIGURES_OFFSET
}

/// Within the slot.
const FIGURES_OFFSET: usize = (1 + ADDRESS_PAGES) * PAGE_BYTES;

impl Drop for SharedMemory {
    fn drop(&mut self) {
        // SAFETY: the range is ours, and no reference into it outlives `self`. A failure
        // would only leak it.
        let _ = unsafe { rustix::mm::munmap(self.start.as_ptr().cast(), self.pages * PAGE_BYTES) };
    }
}

/// A file without a name in the file system, which can be sealed. Linux before 6.3 has no
/// MFD_NOEXEC_SEAL.
pub(crate) fn create_file(name: &str) -> Result<OwnedFd, Errno> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    match rustix::fs::memfd_create(name, flags | MemfdFlags::NOEXEC_SEAL) {
        Err(Errno::INVAL) => rustix::fs::memfd_create(name, flags),
        result => result,
    }
}
