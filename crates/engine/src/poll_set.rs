//! The epoll set, and the wakeup descriptor with which another thread ends a
//! wait.
//!
//! Always holds: after `close` no call reaches the kernel. A forked child
//! shares the set with its parent: a change would affect the parent, closing
//! the descriptor does not.

use crate::orphan;
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};
use rustix::io::{Errno, Result};
use rustix::time::Timespec;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, IntoRawFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

/// Set in the epoll data of everything that is not a connection.
pub(crate) const SPECIAL: u64 = 1 << 63;
pub(crate) const NESTED: u64 = SPECIAL | 1 << 32;
pub(crate) const OVERCOMMIT: u64 = SPECIAL | 2 << 32;
pub(crate) const WAKEUP: u64 = SPECIAL | 3 << 32;
pub(crate) const QUEUE: u64 = SPECIAL | 4 << 32;
pub(crate) const MANAGER: u64 = SPECIAL | 5 << 32;

/// With `SPECIAL`: a carrier, which belongs to a stream of a connection.
const CARRIER: u64 = SPECIAL | 1 << 62;
/// The numbers of streams have 31 bits (RFC 9113, section 5.1.1).
const STREAM_BITS: u32 = 31;

/// The epoll data of the carrier of a stream. A key that was given to another connection meanwhile
/// costs that connection a look.
pub(crate) fn carrier_data(key: u32, stream: u32) -> u64 {
    CARRIER | u64::from(key & 0x7fff_ffff) << STREAM_BITS | u64::from(stream & 0x7fff_ffff)
}

/// The key of the connection, and its stream, if the data is that of a carrier.
pub(crate) fn carrier_of(data: u64) -> Option<(u32, u32)> {
    let place = data & !CARRIER;
    let (key, stream) = ((place >> STREAM_BITS) as u32, place as u32 & 0x7fff_ffff);
    (data & CARRIER == CARRIER).then_some((key, stream))
}

/// Whether a report is of a listener or of the queue: any worker may take those
/// clients.
pub(crate) fn brings_clients(data: u64) -> bool {
    data & SPECIAL != 0
        && !matches!(data, NESTED | OVERCOMMIT | WAKEUP)
        && carrier_of(data).is_none()
}

/// One event out of `epoll_wait`: data and flags.
pub type Report = (u64, EventFlags);

pub(crate) const REPORTS: usize = 512;

struct Descriptors {
    epoll: OwnedFd,
    wakeup: OwnedFd,
}

/// `None` once it is closed. A clone is the same set.
#[derive(Clone)]
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
    ///
    /// # Errors
    /// The wakeup descriptor is not one any more. The wait ends nevertheless.
    pub(crate) fn wake(&self) -> Result<()> {
        let Ok(open) = self.open() else {
            return Ok(());
        };
        match rustix::io::write(&open.wakeup, &1u64.to_ne_bytes()) {
            // The counter is full, so it is readable.
            Ok(_) | Err(Errno::AGAIN) => Ok(()),
            Err(error) => {
                if let Ok(readable) = eventfd(1, EventfdFlags::CLOEXEC) {
                    let _ = self.add(&readable, WAKEUP, EventFlags::IN | EventFlags::ET);
                    // It has to stay open until it is reported.
                    let _ = readable.into_raw_fd();
                }
                Err(error)
            }
        }
    }

    /// Whether its descriptor is open.
    pub(crate) fn is_usable(&self) -> bool {
        self.open()
            .is_ok_and(|open| rustix::io::fcntl_getfd(&open.epoll).is_ok())
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

    /// As [`PollSet::close`], but leaves the descriptors to the end of the process.
    pub(crate) fn forget(&mut self) {
        std::mem::forget(self.0.take());
    }

    /// In a forked child: closes its copies of the descriptors, even if another
    /// thread waited on the set when its process was forked. That thread does
    /// not exist here, and would never release them.
    pub(crate) fn discard(&mut self) {
        if let Some(shared) = self.0.take().and_then(|open| Arc::try_unwrap(open).err()) {
            for fd in [shared.epoll.as_raw_fd(), shared.wakeup.as_raw_fd()] {
                // SAFETY: the thread that has the other reference does not exist in this process,
                // and this reference is forgotten: nothing uses or closes the descriptors again.
                unsafe { rustix::io::close(fd) };
            }
            std::mem::forget(shared);
        }
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
    /// False: there is nothing within `most` (`None`: no limit), or the set is
    /// unusable.
    pub(crate) fn await_readable(&self, most: Option<Duration>) -> bool {
        let Some(open) = &self.0 else {
            return false;
        };
        let most = most.and_then(|most| Timespec::try_from(most).ok());
        let mut readable = [PollFd::new(&open.epoll, PollFlags::IN)];
        let polled = poll(&mut readable, most.as_ref());
        polled.is_ok()
            && readable
                .iter()
                .any(|fd| fd.revents().contains(PollFlags::IN))
    }

    /// Appends what is ready within `timeout` (`None`: no limit) to `reports`;
    /// nothing if a signal came first, or the set is closed. If the manager has
    /// ended, so does this process, whatever its threads do.
    ///
    /// # Errors
    /// The descriptor is not an epoll set any more: each further call fails.
    pub fn wait(&self, timeout: Option<&Timespec>, reports: &mut Vec<Report>) -> Result<()> {
        let Some(open) = &self.0 else {
            return Ok(());
        };
        let mut room = [MaybeUninit::<epoll::Event>::uninit(); REPORTS];
        match epoll::wait(&open.epoll, &mut room, timeout) {
            Ok((ready, _)) => {
                reports.extend(ready.iter().map(|event| {
                    let data = event.data.u64();
                    if data == MANAGER {
                        orphan::end();
                    }
                    (data, event.flags)
                }));
                Ok(())
            }
            Err(Errno::INTR) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::mem::ManuallyDrop;
    use std::os::fd::{AsRawFd, FromRawFd};

    /// Has a descriptor name another file, as when a program closes the number
    /// and opens it again.
    fn replace(fd: &OwnedFd) {
        let other = File::open("/dev/null").unwrap();
        // SAFETY: the number stays open, and its owner closes it.
        let mut number = ManuallyDrop::new(unsafe { OwnedFd::from_raw_fd(fd.as_raw_fd()) });
        rustix::io::dup2(&other, &mut number).unwrap();
    }

    #[test]
    fn the_data_of_a_carrier_is_that_of_nothing_else() {
        for (key, stream) in [(0, 1), (7, 0x7fff_ffff), (0x7fff_ffff, 3)] {
            let data = carrier_data(key, stream);
            assert_eq!(carrier_of(data), Some((key, stream)));
            assert!(!brings_clients(data));
        }
        for data in [NESTED, OVERCOMMIT, WAKEUP, QUEUE, MANAGER, SPECIAL | 9, 9] {
            assert_eq!(carrier_of(data), None);
        }
    }

    #[test]
    fn a_wakeup_that_is_lost_ends_the_wait_and_says_so() {
        let set = PollSet::new(WAKEUP).unwrap();
        replace(&set.open().unwrap().wakeup);
        assert_eq!(set.wake(), Err(Errno::BADF), "it is open to read only");
        let mut reports = Vec::new();
        set.waiter()
            .wait(Some(&Timespec::default()), &mut reports)
            .unwrap();
        assert_eq!(reports, [(WAKEUP, EventFlags::IN)]);
    }

    #[test]
    fn a_set_that_is_lost_is_an_error() {
        let set = PollSet::new(WAKEUP).unwrap();
        replace(&set.open().unwrap().epoll);
        let waited = set
            .waiter()
            .wait(Some(&Timespec::default()), &mut Vec::new());
        assert_eq!(waited, Err(Errno::INVAL));
    }
}
