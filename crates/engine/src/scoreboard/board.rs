//! The manager's side: makes the scoreboard, claims slots for workers and clears them.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::EventfdFlags;

use super::header::Header;
use super::memory::{Closed, SharedMemory};
use super::page::{Counters, LAYOUT, Limit, MAGIC};
use super::slot::Slot;
use super::state::State;
use super::view::{View, now_ns};

/// The manager's scoreboard.
pub struct Board {
    view: View,
    file: OwnedFd,
    wakeup: OwnedFd,
}

impl Board {
    /// Makes a scoreboard of `capacity` empty slots.
    ///
    /// # Errors
    /// `InvalidInput` for a capacity of zero; otherwise those of the system
    /// calls.
    pub fn create(capacity: usize) -> io::Result<Self> {
        let wakeup = rustix::event::eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        let (memory, file) = SharedMemory::create(capacity)?;
        let page = memory.manager();
        page.layout.set(LAYOUT);
        page.seed.set(RandomState::new().build_hasher().finish());
        page.magic.set(MAGIC);
        Ok(Self {
            view: View::new(memory),
            file,
            wakeup,
        })
    }

    pub fn view(&self) -> &View {
        &self.view
    }

    /// The memory file. Other processes can map it to read, and not to write.
    pub fn file(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }

    /// An eventfd that becomes readable when a worker finds too few spares.
    pub fn wakeup(&self) -> BorrowedFd<'_> {
        self.wakeup.as_fd()
    }

    /// Writes the header.
    pub fn publish(&self, header: &Header) {
        self.view.memory().manager().header.store(header);
    }

    /// Takes an empty slot for a worker that is about to be forked. False if it is not empty,
    /// or does not exist.
    pub fn claim(&self, index: usize, generation: u32, now_ns: u64) -> bool {
        let memory = self.view.memory();
        let Some(page) = memory
            .slot(index)
            .filter(|page| page.state.get() == State::Empty)
        else {
            return false;
        };
        memory.clear_addresses(index);
        memory.clear_figures(self.file.as_fd(), index);
        page.reset(State::Starting, generation, now_ns);
        let reach = &memory.manager().reach;
        reach.set(reach.get().max(index as u32 + 1));
        true
    }

    /// Empties the slot of a worker that has exited, and adds what it has counted to the `retired` totals,
    /// unless it cannot be true: one such worker would spoil them for good.
    pub fn clear(&self, index: usize) {
        let memory = self.view.memory();
        let Some(page) = memory.slot(index) else {
            return;
        };
        let mut header = self.view.header();
        header.clears |= 1;
        self.publish(&header);
        let figures = self.view.figures(index).unwrap_or_default();
        if page.is_plausible(now_ns()) && figures.is_plausible() {
            add(&mut header, &page.counters());
            memory.retired().add(&figures);
        }
        memory.clear_addresses(index);
        memory.clear_figures(self.file.as_fd(), index);
        page.reset(State::Empty, 0, 0);
        header.clears = header.clears.wrapping_add(1);
        self.publish(&header);
    }

    /// In a forked process that may fork workers later, before `enter`: keeps what they need,
    /// out of reach until it is opened.
    ///
    /// # Errors
    /// Those of the system calls.
    pub fn keep(&self) -> io::Result<KeptBoard> {
        Ok(KeptBoard {
            memory: self.view.memory().twin()?,
            file: self.file.try_clone()?,
            wakeup: self.wakeup.try_clone()?,
        })
    }

    /// Makes a forked process the worker of a slot: from then on it can write the page of
    /// that slot only.
    ///
    /// # Errors
    /// `InvalidInput` if there is no such slot; otherwise those of the system
    /// calls.
    pub fn enter(self, index: usize, concurrency: u32) -> io::Result<Slot> {
        let mut memory = self.view.into_memory();
        memory.narrow(self.file.as_fd(), index)?;
        Ok(Slot::new(memory, self.wakeup, index, concurrency))
    }
}

/// A scoreboard that a worker keeps for the workers that it may fork. It can use nothing of it.
pub struct KeptBoard {
    memory: Closed,
    file: OwnedFd,
    wakeup: OwnedFd,
}

impl KeptBoard {
    /// This process serves no longer, and forks workers.
    ///
    /// # Errors
    /// Those of `mprotect(2)`.
    pub fn open(self) -> io::Result<Board> {
        Ok(Board {
            view: View::new(self.memory.open()?),
            file: self.file,
            wakeup: self.wakeup,
        })
    }
}

/// Adds what a worker has counted to the `retired` totals.
fn add(header: &mut Header, gone: &Counters) {
    let sums = [
        (&mut header.retired_requests, gone.requests),
        (&mut header.retired_bytes_in, gone.bytes_in),
        (&mut header.retired_bytes_out, gone.bytes_out),
        (&mut header.retired_handed_off, gone.handed_off),
        (&mut header.retired_adopted, gone.adopted),
        (&mut header.retired_responses, gone.responses),
        (&mut header.retired_errors, gone.errors),
        (&mut header.retired_log_lost, gone.log_lost),
    ];
    for (sum, count) in sums {
        *sum = sum.saturating_add(count);
    }
    for (limit, count) in Limit::ALL.into_iter().zip(gone.limited) {
        let total = match limit {
            Limit::Address => &mut header.retired_limited_address,
            Limit::Connections => &mut header.retired_limited_connections,
            Limit::Queue => &mut header.retired_limited_queue,
            Limit::Requests => &mut header.retired_limited_requests,
            Limit::Line => &mut header.retired_limited_line,
            Limit::Head => &mut header.retired_limited_head,
            Limit::Body => &mut header.retired_limited_body,
            Limit::Rate => &mut header.retired_limited_rate,
        };
        *total = total.saturating_add(count);
    }
}
