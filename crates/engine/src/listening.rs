//! The calls of the owner for a listener: pause, drain, close.

use crate::core::Core;
use crate::listener::Listening;
use std::io;

/// A listener, as its owner uses it: [`crate::Reactor::listener`].
pub struct ListenerHandle<'a> {
    core: &'a mut Core,
    number: u32,
}

impl<'a> ListenerHandle<'a> {
    pub(crate) fn new(core: &'a mut Core, number: u32) -> Self {
        ListenerHandle { core, number }
    }

    /// Pauses accepting (`false`) or resumes it (`true`). The socket stays
    /// open.
    ///
    /// # Errors
    /// Those of `epoll_ctl(2)`.
    pub fn set_accepting(&mut self, yes: bool) -> io::Result<()> {
        let state = if yes {
            Listening::On
        } else {
            Listening::Paused
        };
        let result = self
            .core
            .acceptor
            .set_state(&self.core.set, self.number, state);
        self.core.register_queue();
        result.map_err(io::Error::from)
    }

    /// Closes a listener's socket in this process. Its connections stay open.
    pub fn close(&mut self) {
        self.core.acceptor.close(&self.core.set, self.number);
        self.core.register_queue();
    }

    /// Closes a listener and drains its connections: each is handed off, or may
    /// bring one more request within `idle_ms` and is closed after the
    /// response, which says so. [`crate::ListenerNews::Drained`] follows when
    /// all are closed.
    pub fn drain(&mut self, idle_ms: u64) {
        self.close();
        if self.core.acceptor.get(self.number).is_none() {
            return;
        }
        self.core.cx.clock.tick();
        let until_ms = self.core.cx.clock.now_ms.saturating_add(idle_ms);
        for key in self.core.connections.keys_of(self.number) {
            if self.core.hand_off_outside(key) {
                continue;
            }
            match self.core.connections.get_mut(key) {
                Some(connection)
                    if connection.is_idle()
                        && !connection.is_http2()
                        && idle_ms == 0
                        && !connection.link.transport.has_input() =>
                {
                    self.core.close_connection(key, None);
                }
                Some(connection) if connection.is_idle() && !connection.is_http2() => {
                    self.core.timers.set(key, until_ms)
                }
                Some(connection) => {
                    connection.drain(&mut self.core.cx, idle_ms > 0);
                    self.core.schedule(key);
                }
                None => {}
            }
        }
        if let Some(listener) = self.core.acceptor.get_mut(self.number) {
            listener.drains_until_ms = Some(until_ms);
        }
        self.core.adopt_own_streams(self.number);
        self.core.check_drained(self.number);
        self.core.wake(); // the owner may wait in another loop
    }

    /// Closes every connection of a listener at once, even in the middle of a
    /// response. Queued output is sent as far as the socket takes it.
    pub fn abort_connections(&mut self) {
        for key in self.core.connections.keys_of(self.number) {
            self.core.flush(key);
            self.core
                .close_connection(key, Some("the server was shut down"));
        }
    }
}
