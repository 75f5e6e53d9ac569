//! For an application that blocks until its client has read what it was sent:
//! a thread that makes a body part by part.
//!
//! Always holds: the thread waits on a descriptor of its own, without the
//! reactor, which may close the connection meanwhile.

use crate::link::Link;
use crate::transport::{Room, Transport};
use rustix::time::Timespec;
use std::io;

/// Where one connection's responses leave, to wait there for room.
pub struct BlockingSend {
    transport: Transport,
    timeout: Timespec,
}

impl BlockingSend {
    /// # Errors
    /// If the process has no descriptor left.
    pub(crate) fn of(link: &Link) -> io::Result<Self> {
        let timeout_ms = link.settings.send_timeout_ms;
        Ok(BlockingSend {
            transport: link.transport.try_clone()?,
            timeout: Timespec {
                tv_sec: (timeout_ms / 1000) as i64,
                tv_nsec: (timeout_ms % 1000 * 1_000_000) as _,
            },
        })
    }

    /// Blocks until the client has read something.
    ///
    /// # Errors
    /// Why there is no point in waiting any longer.
    pub fn wait(&self) -> Result<(), &'static str> {
        loop {
            let queued = self.transport.queued();
            match self.transport.wait_for_room(&self.timeout) {
                Room::Yes => return Ok(()),
                Room::PeerGone => return Err("the client closed the connection"),
                Room::Failed => return Err("epoll did not take the connection"),
                // As for a deadline: a slow reader shows only in the queue.
                Room::TimedOut if self.transport.queued() < queued => {}
                Room::TimedOut => return Err("the client did not read its response"),
            }
        }
    }
}
