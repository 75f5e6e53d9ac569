//! Connections that wait until the application can be called, or another worker
//! takes them.
//!
//! Always holds: what such a connection has sent stays in the kernel, and no time
//! limit runs for it.

use super::Core;
use crate::exchange::ConnectionId;
use rustix::event::epoll::EventFlags;

/// How long a connection that the queue had no room for waits for the next try.
const HAND_OFF_AGAIN_MS: u64 = 20;

impl Core {
    /// Leaves a connection as it is until the application can be called. Its
    /// input stays in the kernel, and no time limit runs.
    pub(crate) fn make_wait(&mut self, key: u32) {
        if let Some(connection) = self.connections.get(key) {
            self.waiting.push(connection.link.id);
            self.begin_waiting(key);
            self.set_interest(key, EventFlags::empty());
            self.set_deadline(key);
        }
    }

    /// Whether connections wait although the application can be called.
    pub(crate) fn may_end_waiting(&self) -> bool {
        !self.waiting.is_empty() && self.cx.load.may_begin()
    }

    /// When connections that wait are due to be handed off.
    pub(crate) fn hand_off_again_ms(&self) -> Option<u64> {
        self.hand_off_again_ms
    }

    pub(crate) fn is_hand_off_due(&self) -> bool {
        let due_ms = self.hand_off_again_ms;
        due_ms.is_some_and(|due_ms| due_ms <= self.cx.clock.now_ms)
    }

    /// Hands off connections that wait because the queue was full, as many as it
    /// takes now.
    pub(crate) fn hand_off_waiting(&mut self) {
        self.hand_off_again_ms = None;
        let mut waiting = std::mem::take(&mut self.waiting);
        waiting.retain(|&id| {
            let found = self.connections.find_mut(id);
            if self.hand_off_again_ms.is_some() {
                return found.is_ok();
            }
            if !found.is_ok_and(|connection| connection.end_waiting(&self.cx))
                || self.hand_off(id.key)
            {
                return false;
            }
            self.begin_waiting(id.key);
            true
        });
        self.waiting = waiting;
    }

    fn begin_waiting(&mut self, key: u32) {
        let Some(connection) = self.connections.get_mut(key) else {
            return;
        };
        if self.transfer.lacks_room(connection, &self.cx.load) {
            self.hand_off_again_ms = Some(self.cx.clock.now_ms + HAND_OFF_AGAIN_MS);
        }
        connection.begin_waiting(&self.cx);
    }

    /// Passes each connection that has waited to `look_at`. It has input.
    pub(crate) fn end_waiting(&mut self, mut look_at: impl FnMut(ConnectionId)) {
        self.hand_off_again_ms = None;
        for id in std::mem::take(&mut self.waiting) {
            let connection = self.connections.find_mut(id);
            if connection.is_ok_and(|connection| connection.end_waiting(&self.cx)) {
                look_at(id);
            }
        }
    }
}
