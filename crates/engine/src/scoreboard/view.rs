//! The reader's side, for the manager and for `status` in another process.

use std::io;
use std::os::fd::BorrowedFd;

use rustix::time::{ClockId, clock_gettime};

use super::figures::{COARSE, Figures, Time};
use super::header::Header;
use super::memory::SharedMemory;
use super::page::Record;
use super::page::{LAYOUT, MAGIC, SlotPage};
use super::state::State;

/// A scoreboard to read.
pub struct View {
    memory: SharedMemory,
}

impl View {
    pub(super) fn new(memory: SharedMemory) -> Self {
        Self { memory }
    }

    /// Maps the scoreboard of another process, given its memory file.
    ///
    /// # Errors
    /// `InvalidData` if it is not a scoreboard of this version, or not sealed; otherwise those
    /// of the system calls.
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

    /// The state of each slot, by index.
    pub fn states(&self) -> Vec<State> {
        let pages = (0..self.capacity()).map_while(|index| self.page(index));
        let mut states: Vec<_> = pages.map(|page| page.state.get_ordered()).collect();
        states.resize(self.capacity(), State::Empty);
        states
    }

    /// When each worker last showed that its process runs, by index: its loop
    /// turned, or its guard ticked. 0: it has no request in flight.
    pub fn signs_ns(&self) -> Vec<u64> {
        let pages = (0..self.capacity()).map_while(|index| self.page(index));
        pages.map(SlotPage::sign_ns).collect()
    }

    /// The slots whose workers have served as many requests as they may, and have written what can be.
    pub fn asking_for_successors(&self) -> Vec<usize> {
        let asks = |index: &usize| {
            self.page(*index)
                .is_some_and(|page| page.asks_for_successor.get())
                && self.read(*index).is_some_and(|record| !record.is_garbled)
        };
        (0..self.capacity())
            .take_while(|index| self.page(*index).is_some())
            .filter(asks)
            .collect()
    }

    /// The contents of a slot. None if the slot is empty or does not exist.
    pub fn read(&self, index: usize) -> Option<Record> {
        let page = self.page(index)?;
        let figures = self.figures(index).unwrap_or_default();
        let record = page.record(figures, now_ns());
        (record.state != State::Empty).then_some(record)
    }

    /// How many responses of a slot's worker took how long, by the buckets of
    /// [`super::coarse_bounds_ns`]. None as for [`View::read`].
    pub fn times(&self, index: usize) -> Option<[u64; COARSE]> {
        let page = self.page(index)?;
        let figures = || self.figures(index).unwrap_or_default();
        (page.state.get() != State::Empty).then(|| figures().time(Time::Application).coarse())
    }

    /// What all workers have counted, also those that have ended, but not those that have written what cannot
    /// be true.
    pub fn totals(&self) -> Figures {
        let mut totals = self.memory.retired().copy();
        for index in 0..self.capacity() {
            let Some(page) = self.page(index) else {
                break;
            };
            let figures = self.figures(index);
            let figures = figures.filter(|figures| figures.is_plausible());
            if let Some(figures) = figures.filter(|_| page.is_plausible(now_ns())) {
                totals.add(&figures);
            }
        }
        totals
    }

    /// What a slot's worker has counted; `None` if it has counted nothing.
    pub(super) fn figures(&self, index: usize) -> Option<Figures> {
        let counts = self.page(index)?.counts_figures.get();
        let figures = self.memory.figures(index).filter(|_| counts)?;
        Some(figures.copy())
    }

    /// The page of a slot that was claimed before. Reading any other page would make the
    /// kernel allocate memory for it.
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

pub(super) fn now_ns() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    (now.tv_sec as u64).wrapping_mul(1_000_000_000) + now.tv_nsec as u64
}
