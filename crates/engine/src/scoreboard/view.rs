//! The reader's side: the manager's own eyes, and those of `status` in another process.

use std::io;
use std::os::fd::BorrowedFd;

use super::header::Header;
use super::memory::SharedMemory;
use super::page::Record;
use super::page::{LAYOUT, MAGIC, SlotPage};
use super::state::State;

/// A scoreboard to look at.
pub struct View {
    memory: SharedMemory,
}

impl View {
    pub(super) fn new(memory: SharedMemory) -> Self {
        Self { memory }
    }

    /// Looks at the scoreboard of another process, through the memory file it handed over.
    ///
    /// # Errors
    /// `InvalidData` when it is no scoreboard, one of another version, or not sealed; else what
    /// the kernel said.
    pub fn attach(file: BorrowedFd<'_>) -> io::Result<Self> {
        let memory = SharedMemory::attach(file)?;
        let page = memory.manager();
        if page.magic.get() != MAGIC || page.layout.get() != LAYOUT {
            return Err(io::ErrorKind::InvalidData.into());
        }
        Ok(Self { memory })
    }

    /// How many slots there are.
    pub fn capacity(&self) -> usize {
        self.memory.slots()
    }

    pub fn header(&self) -> Header {
        self.memory.manager().header.load()
    }

    /// One state a slot, by index.
    pub fn states(&self) -> Vec<State> {
        let pages = (0..self.capacity()).map_while(|index| self.page(index));
        let mut states: Vec<_> = pages.map(|page| page.state.get_ordered()).collect();
        states.resize(self.capacity(), State::Empty);
        states
    }

    /// What a slot's worker told of itself. None when the slot is empty, or there is no such slot.
    pub fn read(&self, index: usize) -> Option<Record> {
        let record = self.page(index)?.record();
        (record.state != State::Empty).then_some(record)
    }

    /// A slot that a worker has had. To look at another one's page would make the kernel find
    /// memory for it.
    fn page(&self, index: usize) -> Option<&SlotPage> {
        let reach = self.memory.manager().reach.get() as usize;
        self.memory.slot(index).filter(|_| index < reach)
    }

    pub(super) fn memory(&self) -> &SharedMemory {
        &self.memory
    }

    pub(super) fn into_memory(self) -> SharedMemory {
        self.memory
    }
}
