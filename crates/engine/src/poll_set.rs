//! The epoll set, and the wakeup descriptor with which another thread ends a
//! wait.
//!
//! Always holds: after `close` no call reaches the kernel. A forked child
//! shares the set with its parent: a change would affect the parent, closing
//! the descriptor does not.

use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};
use rustix::io::{Errno, Result};
use rustix::time::Timespec;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

/// Set in the epoll data of everything that is not a connection.
pub(crate) const SPECIAL: u64 = 1 << 63;
pub(crate) const NESTED: u64 = SPECIAL | 1 << 32;
pub(crate) const OVERCOMMIT: u64 = SPECIAL | 2 << 32;
pub(crate) const WAKEUP: u64 = SPECIAL | 3 << 32;
pub(crate) const QUEUE: u64 = SPECIAL | 4 << 32;

/// Whether a report is of a listener or of the queue: any worker may take those
/// clients.
pub(crate) fn brings_clients(data: u64) -> bool {
    data & SPECIAL != 0 && !matches!(data, NESTED | OVERCOMMIT | WAKEUP)
}

/// One event out of `epoll_wait`: data and flags.
pub type Report = (u64, EventFlags);

pub(crate) const REPORTS: usize = 512;

struct Descriptors {
    epoll: OwnedFd,
    wakeup: OwnedFd,
}

/// `None` once it is closed.
pub(crate) struct PollSet(Option<Arc<Descriptors>>);

impl PollSet {
    /// A set that reports its wakeup with `data`.
    pub(crate) fn new(data: u64) -> Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let wakeup = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        // Edge-triggered: each write is reported once, so the counter is never
        // read.
        let edges = EventFlags::IN | EventFlags::ET;
        epoll::add(&epoll, &wakeup, EventData::new_u64(data), edges)?;
        Ok(PollSet(Some(Arc::new(Descriptors { epoll, wakeup }))))
    }

    pub(crate) fn add(&self, fd: impl AsFd, data: u64, flags: EventFlags) -> Result<()> {
        epoll::add(&self.open()?.epoll, fd, EventData::new_u64(data), flags)
    }

    pub(crate) fn modify(&self, fd: impl AsFd, data: u64, flags: EventFlags) -> Result<()> {
        epoll::modify(&self.open()?.epoll, fd, EventData::new_u64(data), flags)
    }

    pub(crate) fn remove(&self, fd: impl AsFd) -> Result<()> {
        epoll::delete(&self.open()?.epoll, fd)
    }

    /// Ends the wait that is going on.
    pub(crate) fn wake(&self) {
        if let Ok(open) = self.open() {
            let _ = rustix::io::write(&open.wakeup, &1u64.to_ne_bytes());
        }
    }

    /// Whether the process may open one more descriptor.
    pub(crate) fn can_open_descriptor(&self) -> bool {
        let probe = self
            .open()
            .and_then(|open| rustix::io::fcntl_dupfd_cloexec(&open.epoll, 0));
        !matches!(probe, Err(Errno::MFILE | Errno::NFILE))
    }

    /// The descriptor of the set, which is readable while it has something to
    /// report; `None` once it is closed.
    pub(crate) fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.0.as_deref().map(|open| open.epoll.as_fd())
    }

    pub(crate) fn waiter(&self) -> Waiter {
        Waiter(self.0.clone())
    }

    pub(crate) fn close(&mut self) {
        self.0 = None;
    }

    fn open(&self) -> Result<&Descriptors> {
        self.0.as_deref().ok_or(Errno::BADF)
    }
}

/// Waits on the set without holding the reactor, so that another thread can use
/// the reactor meanwhile.
pub struct Waiter(Option<Arc<Descriptors>>);

impl Waiter {
    /// Waits until there is something to report, and leaves it in the set.
    /// False: there is nothing within `most` (`None`: no limit).
    pub(crate) fn await_readable(&self, most: Option<Duration>) -> bool {
        let Some(open) = &self.0 else {
            return false;
        };
        let most = most.and_then(|most| Timespec::try_from(most).ok());
        let mut readable = [PollFd::new(&open.epoll, PollFlags::IN)];
        poll(&mut readable, most.as_ref()).is_ok_and(|ready| ready > 0)
    }

    /// Appends what is ready within `timeout` (`None`: no limit) to `reports`;
    /// nothing if a signal came first, or the set is closed.
    pub fn wait(&self, timeout: Option<&Timespec>, reports: &mut Vec<Report>) {
        let Some(open) = &self.0 else {
            return;
        };
        let mut room = [MaybeUninit::<epoll::Event>::uninit(); REPORTS];
        // With a valid set the only possible error is EINTR (epoll_wait(2)).
        if let Ok((ready, _)) = epoll::wait(&open.epoll, &mut room, timeout) {
            reports.extend(ready.iter().map(|event| (event.data.u64(), event.flags)));
        }
    }
}
