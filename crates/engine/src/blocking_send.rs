//! For an application that makes a body part by part on a thread, and blocks
//! until its client has read enough of it.
//!
//! Always holds: the thread waits on a duplicate of the descriptor and does not
//! hold the reactor, which may close the connection meanwhile.

use crate::link::Link;
use crate::nudge::Nudge;
use crate::transport::{Room, RoomWaiter};
use rustix::time::Timespec;
use std::io;

/// Waits for room in the socket of one connection.
pub struct BlockingSend {
    socket: RoomWaiter,
    timeout: Timespec,
    /// The peer must open a window first (HTTP/2).
    input: bool,
    nudge: Option<Nudge>,
}

impl BlockingSend {
    /// `stalled_ms`: how long the client has read nothing. `nudge`: the guard may read what the client sends.
    ///
    /// # Errors
    /// If the process has no free descriptor.
    pub(crate) fn of(link: &Link, stalled_ms: u64, nudge: Option<Nudge>) -> io::Result<Self> {
        // What is left is not in the output.
        let input = link.pending() == 0;
        let timeout_ms = link.settings.send_timeout_ms.saturating_sub(stalled_ms);
        Ok(BlockingSend {
            socket: link.transport.room_waiter()?,
            timeout: Timespec {
                tv_sec: (timeout_ms / 1000) as i64,
                tv_nsec: (timeout_ms % 1000 * 1_000_000) as _,
            },
            input,
            nudge,
        })
    }

    /// Blocks until the client has read something.
    ///
    /// # Errors
    /// The reason for which the connection is to be closed.
    pub fn wait(&self) -> Result<(), &'static str> {
        loop {
            let queued = self.socket.queued();
            match self
                .socket
                .wait_for_room(&self.timeout, self.input, self.nudge.as_ref())
            {
                Room::Yes => return Ok(()),
                Room::PeerGone => return Err("the client closed the connection"),
                Room::Failed => return Err("epoll rejected the connection"),
                // As `Transport::peer_reads`: a slow reader shows only in the queue.
                Room::TimedOut if self.socket.queued() < queued => {}
                Room::TimedOut => return Err("the client did not read its response"),
            }
        }
    }
}
