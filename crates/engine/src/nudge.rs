//! Ends the wait of a thread that sends and blocks, when another thread has read what the client sent.
//!
//! Always holds: a nudge that comes before the wait ends it at once.

use rustix::event::{EventfdFlags, eventfd};
use rustix::io::Result;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

#[derive(Clone)]
pub(crate) struct Nudge(Arc<OwnedFd>);

impl Nudge {
    /// # Errors
    /// If the process has no free descriptor.
    pub(crate) fn new() -> Result<Self> {
        let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
        Ok(Nudge(Arc::new(eventfd(0, flags)?)))
    }

    pub(crate) fn give(&self) {
        let _ = rustix::io::write(&self.0, &1u64.to_ne_bytes()); // a full counter is readable too
    }

    /// Forgets those that have come.
    pub(crate) fn take(&self) {
        let _ = rustix::io::read(&self.0, &mut [0; 8]);
    }
}

impl AsFd for Nudge {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
