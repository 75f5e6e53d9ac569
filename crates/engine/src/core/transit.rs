//! Connections that go to other workers, and what the guard does for those that stay.
//!
//! Always holds: a connection that was handed off is in this process no more; the current one is left alone, except
//! where the turn itself hands it off.

use super::Core;
use crate::deadlines::{self, Wait};
use crate::handoff::queue::Sent;
use crate::link::Stage;

impl Core {
    /// Sends a connection to a spare worker. False: it stays here. A handshake goes on
    /// here first, as far as the client has sent it.
    pub(crate) fn hand_off(&mut self, key: u32) -> bool {
        let Some(connection) = self.connections.get_mut(key) else {
            return false;
        };
        connection.link.transport.shake_hands();
        // The guard may call this while a handler takes long.
        self.cx.clock.tick();
        let due_ms = self.moved_due_ms(key);
        let Some(connection) = self.connections.get(key) else {
            return false;
        };
        match self.transfer.send(connection, &self.cx.load, due_ms) {
            Sent::Yes => {
                self.cx.load.counters.handed_off += 1;
                self.remove_connection(key, None, false);
                return true;
            }
            Sent::No => {}
            Sent::Closed => self.lose_queue(None),
            Sent::Broken(error) => self.lose_queue(Some(error)),
        }
        false
    }

    /// The deadline with which a connection goes to another worker.
    fn moved_due_ms(&self, key: u32) -> u64 {
        let Some(connection) = self.connections.get(key) else {
            return 0;
        };
        let link = &connection.link;
        let now_ms = self.cx.clock.now_ms;
        let wait = connection.waits_for();
        let set_ms = match wait {
            // Draining has shortened it.
            Wait::NextRequest { .. } if !self.acceptor.is_draining(link.listener) => {
                self.timers.due_ms(key)
            }
            _ => None,
        };
        let due_ms = set_ms.or_else(|| deadlines::due_ms(wait, &link.settings, now_ms, None));
        due_ms.unwrap_or(now_ms)
    }

    /// Sends output of a connection for which the socket has room again. What follows from that is
    /// left to the next turn, but an end.
    pub(crate) fn flush_outside(&mut self, key: u32) {
        if self.is_current(key) || !self.flush_output(key) {
            return;
        }
        let Some(connection) = self.connections.get(key) else {
            return; // it was closed
        };
        if connection.link.stage == Stage::Finishing {
            return self.end_connection(key);
        }
        let wanted = connection.interest(false);
        self.set_interest(key, wanted);
        self.schedule(key);
    }

    /// Continues the handshake of a connection that another worker may take over after it.
    pub(crate) fn shake_hands_outside(&mut self, key: u32) {
        if self.is_current(key) {
            return;
        }
        if let Some(connection) = self.connections.get_mut(key) {
            let transport = &mut connection.link.transport;
            transport.shake_hands();
            if transport.unsent() > 0 {
                self.schedule(key);
            }
        }
    }

    /// As [`Core::hand_off`], but leaves the current connection alone: the turn
    /// works on it.
    pub(crate) fn hand_off_outside(&mut self, key: u32) -> bool {
        !self.is_current(key) && self.hand_off(key)
    }
}
