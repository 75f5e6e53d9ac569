//! For an application that blocks until its client has read what it was sent:
//! a thread that makes a body part by part.
//!
//! Always holds: the thread waits on a descriptor of its own, without the
//! reactor, which may close the connection meanwhile.

use crate::errors::LocalError;
use crate::exchange::ExchangeId;
use crate::handoff::main_thread::Rest;
use crate::reactor::Reactor;
use crate::transport::{Room, Transport};
use rustix::time::Timespec;

/// Where one connection's responses leave, to wait there for room.
pub struct BlockingSend {
    transport: Transport,
    timeout: Timespec,
}

impl Reactor {
    /// Sends at once what waits for a client; returns how many bytes still do.
    ///
    /// # Errors
    /// [`LocalError::Closed`].
    pub fn send_now(&mut self, id: ExchangeId) -> Result<usize, LocalError> {
        self.connections.find(id.connection)?;
        let clock = &mut self.cx.clock;
        // Long may have passed since the turn began, and deadlines are set.
        if self.main_thread.rest == Rest::Busy {
            self.cx.load.counters.busy_ns += clock.since_tick_ns();
        }
        clock.tick();
        self.flush(id.connection.key);
        let connection = self.connections.find(id.connection)?;
        Ok(connection.link.output.pending())
    }

    /// # Errors
    /// [`LocalError::Closed`], also if the process has no descriptor left.
    pub fn blocking_send(&mut self, id: ExchangeId) -> Result<BlockingSend, LocalError> {
        let link = &self.connections.find(id.connection)?.link;
        let timeout_ms = link.settings.send_timeout_ms;
        let Ok(transport) = link.transport.try_clone() else {
            let reason = "no descriptor was left to wait for the client";
            self.close_connection(id.connection.key, Some(reason));
            return Err(LocalError::Closed);
        };
        Ok(BlockingSend {
            transport,
            timeout: Timespec {
                tv_sec: (timeout_ms / 1000) as i64,
                tv_nsec: (timeout_ms % 1000 * 1_000_000) as _,
            },
        })
    }
}

impl BlockingSend {
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
                Room::Failed => return Err("the connection could not be watched"),
                // As for a deadline: a slow reader shows only in the queue.
                Room::TimedOut if self.transport.queued() < queued => {}
                Room::TimedOut => return Err("the client did not read its answer"),
            }
        }
    }
}
