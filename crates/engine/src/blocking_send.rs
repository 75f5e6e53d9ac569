//! The engine's part for an application that blocks until its client has
//! taken what it was sent: a thread that makes a body piece by piece.
//!
//! Always holds: who waits does so on a descriptor of its own, without the
//! engine, which may close the connection meanwhile.

use crate::answering::{LocalError, find};
use crate::exchange::ExchangeId;
use crate::guard::Rest;
use crate::output::queued_in;
use crate::reactor::Reactor;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::time::Timespec;
use std::os::fd::{AsFd, OwnedFd};

/// Where one connection's answers leave, to wait there for room.
pub struct BlockingSend {
    socket: OwnedFd,
    timeout: Timespec,
}

impl Reactor {
    /// Sends at once what waits for a client; returns how many bytes still do.
    ///
    /// # Errors
    /// [`LocalError::Closed`].
    pub fn send_now(&mut self, id: ExchangeId) -> Result<usize, LocalError> {
        find(&mut self.conns, id)?;
        // Long may have passed since the turn began, and deadlines are set.
        if self.rest == Rest::Busy {
            self.counters.busy_ns += self.clock.since_tick_ns();
        }
        self.clock.tick();
        self.flush(id.connection.key);
        find(&mut self.conns, id).map(|conn| conn.output.pending())
    }

    /// # Errors
    /// [`LocalError::Closed`], also if the process has no descriptor left.
    pub fn blocking_send(&mut self, id: ExchangeId) -> Result<BlockingSend, LocalError> {
        let conn = find(&mut self.conns, id)?;
        let timeout_ms = conn.settings.send_timeout_ms;
        match conn.socket.try_clone() {
            Ok(socket) => Ok(BlockingSend {
                socket,
                timeout: Timespec {
                    tv_sec: (timeout_ms / 1000) as i64,
                    tv_nsec: (timeout_ms % 1000 * 1_000_000) as _,
                },
            }),
            Err(_) => {
                self.lose(
                    id.connection.key,
                    "no descriptor was left to wait for the client",
                );
                Err(LocalError::Closed)
            }
        }
    }
}

impl BlockingSend {
    /// Blocks until the client has taken something.
    ///
    /// # Errors
    /// Why there is no point in waiting any longer.
    pub fn wait(&self) -> Result<(), &'static str> {
        let gone = PollFlags::RDHUP | PollFlags::HUP | PollFlags::ERR;
        loop {
            let queued = queued_in(self.socket.as_fd());
            let mut fds = [PollFd::new(&self.socket, PollFlags::OUT | PollFlags::RDHUP)];
            let ready = match poll(&mut fds, Some(&self.timeout)) {
                Err(Errno::INTR) => continue,
                Err(_) => return Err("the connection could not be watched"),
                Ok(ready) => ready,
            };
            let [fd] = &fds;
            if fd.revents().intersects(gone) {
                return Err("the client closed the connection");
            }
            if ready > 0 {
                return Ok(());
            }
            // As in `Reactor::expire`: a slow reader shows only in the queue.
            if queued_in(self.socket.as_fd()) >= queued {
                return Err("the client did not read its answer");
            }
        }
    }
}
