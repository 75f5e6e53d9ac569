//! What the owner does about listeners: listen, pause, drain, close.

use crate::listener::Listening;
use crate::reactor::Reactor;
use crate::settings::ListenerSettings;
use std::io;
use std::os::fd::OwnedFd;

impl Reactor {
    /// Accepts clients of a listening, non-blocking socket from now on.
    /// Returns the listener's number.
    ///
    /// # Errors
    /// Those of `epoll_ctl(2)`.
    pub fn listen(&mut self, socket: OwnedFd, settings: ListenerSettings) -> io::Result<u32> {
        let number = self.acceptor.listen(&self.set, socket, settings)?;
        self.register_queue();
        Ok(number)
    }

    /// Stops accepting (`false`) or goes on (`true`); the socket stays open.
    ///
    /// # Errors
    /// Those of `epoll_ctl(2)`.
    pub fn accepting(&mut self, listener: u32, yes: bool) -> io::Result<()> {
        let state = if yes {
            Listening::On
        } else {
            Listening::Paused
        };
        let result = self.acceptor.set_state(&self.set, listener, state);
        self.register_queue();
        result
    }

    /// Closes a listener's socket in this process. Connections that came
    /// through it live on.
    pub fn unlisten(&mut self, listener: u32) {
        self.acceptor.close(&self.set, listener);
        self.register_queue();
    }

    /// Closes a listener for good. Its connections go on in another worker; if
    /// none takes them they may bring one more request within `linger_ms`, and
    /// their clients are told that it was the last. When all are gone,
    /// [`crate::Event::Empty`] comes.
    pub fn drain(&mut self, listener: u32, linger_ms: u64) {
        self.unlisten(listener);
        if self.acceptor.get(listener).is_none() {
            return;
        }
        let until_ms = self.cx.clock.now_ms.saturating_add(linger_ms);
        for key in self.connections.keys_of(listener) {
            if self.hand_off_outside(key) {
                continue;
            }
            match self.connections.get_mut(key) {
                Some(connection) if connection.is_idle() && linger_ms == 0 => {
                    self.close_connection(key, None);
                }
                Some(connection) if connection.is_idle() => self.timers.set(key, until_ms),
                Some(connection) => {
                    connection.drain(&mut self.cx, linger_ms > 0);
                    self.touch(key);
                }
                None => {}
            }
        }
        if let Some(listener) = self.acceptor.get_mut(listener) {
            listener.drains_until_ms = Some(until_ms);
        }
        self.check_drained(listener);
        self.wake(); // an owner that waits in another loop
    }

    /// What is open on a connection of a listener that drains, and would last,
    /// ends. Connections that may bring one more request are those of a worker
    /// that goes alone: then the peer may come again, to another.
    pub(crate) fn drain_connection(&mut self, key: u32) {
        let now_ms = self.cx.clock.now_ms;
        if let Some(connection) = self.connections.get_mut(key) {
            let until_ms = self.acceptor.drains_until_ms(connection.link.listener);
            let others_stay = until_ms.is_some_and(|until_ms| until_ms > now_ms);
            connection.drain(&mut self.cx, others_stay);
        }
    }

    /// Closes every connection of a listener at once, whatever is owed.
    pub fn abort_all(&mut self, listener: u32) {
        for key in self.connections.keys_of(listener) {
            self.close_connection(key, Some("the server was shut down"));
        }
    }
}
