//! The calls by which an exchange becomes something else than a request and its response: a WebSocket, or a
//! socket of the application's own.

use super::ExchangeHandle;
use crate::content::Content;
use crate::errors::LocalError;
use crate::settings::WebSocketSettings;
use crate::unread::Unread;
use prefork_wire::websocket::{CloseCode, Opening};
use std::os::fd::OwnedFd;
use std::sync::Arc;

// ---- WebSocket -------------------------------------------------------------------

impl ExchangeHandle<'_> {
    /// Sends 101. From then on the exchange is a WebSocket:
    /// [`crate::Event::Message`] brings each message, [`crate::Event::Ended`]
    /// the end. Returns what says how much of them waits.
    ///
    /// # Errors
    /// [`LocalError`]; after `Invalid` the request still waits for its response.
    pub fn upgrade<'a>(
        &mut self,
        opening: &Opening,
        subprotocol: Option<&[u8]>,
        headers: impl Iterator<Item = (&'a [u8], &'a [u8])> + Clone,
        settings: WebSocketSettings,
    ) -> Result<Arc<Unread>, LocalError> {
        let (connection, cx, stream) = self.open_now()?;
        let unread = connection.upgrade(cx, stream, opening, subprotocol, headers, settings)?;
        let listener = connection.link.listener;
        if self.core.acceptor.is_draining(listener) {
            self.core.drain_connection(self.key());
        }
        self.core.schedule(self.key());
        Ok(unread)
    }

    /// Sends a message: a text, which must be UTF-8, or binary. Returns how
    /// many bytes of the connection are unsent. A sender with too many waits
    /// for [`crate::Event::Drained`] ([`ExchangeHandle::want_drained`]).
    ///
    /// # Errors
    /// [`LocalError`]: `OutOfTurn` after the WebSocket has ended.
    pub fn send(&mut self, text: bool, content: Content<'_>) -> Result<usize, LocalError> {
        let (connection, cx, stream) = self.open()?;
        let unsent = connection.send(cx, stream, text, content)?;
        self.core.schedule(self.key());
        Ok(unsent)
    }

    /// Begins the closing handshake; [`crate::Event::Ended`] comes at once.
    ///
    /// # Errors
    /// [`LocalError`]: `OutOfTurn` after the WebSocket has ended.
    pub fn close_websocket(&mut self, code: CloseCode, reason: &str) -> Result<(), LocalError> {
        let (connection, cx, stream) = self.open_now()?;
        connection.close_websocket(cx, stream, code, reason)?;
        self.core.schedule(self.key());
        Ok(())
    }

    /// Reads on after [`crate::Held::release`] or [`Unread::want`]: this connection, and
    /// all WebSockets if they were stopped.
    pub fn resume_reading(&mut self) {
        if self.find().is_ok() {
            self.core.schedule(self.key());
        }
        self.core.resume_websockets();
    }
}

// ---- the connection as a socket ------------------------------------------------------

impl ExchangeHandle<'_> {
    /// Leaves the connection to the application, which owes no response then. The
    /// exchange is in flight until [`ExchangeHandle::end_takeover`]. Returns a
    /// duplicate of its descriptor (of an encrypted one: a descriptor on which the bytes
    /// are plain), and what the client has sent after its request. All output must be
    /// sent.
    ///
    /// # Errors
    /// [`LocalError`], also if the process has no free descriptor.
    pub fn take_over(&mut self) -> Result<(OwnedFd, Vec<u8>), LocalError> {
        let is_current = self.core.is_current(self.key());
        let (connection, _, stream) = self.open()?;
        if connection.link.pending() > 0 {
            return Err(LocalError::OutOfTurn);
        }
        connection.may_take_over(stream)?;
        let relayed = self.core.relay(self.key());
        let (connection, cx, stream) = self.open()?;
        let taken = connection.take_over(cx, stream, is_current)?;
        let wanted = connection.interest(false);
        match relayed.and(taken) {
            Ok(taken) => {
                self.core.set_interest(self.key(), wanted);
                self.core.set_deadline(self.key());
                Ok(taken)
            }
            Err(_) => {
                let reason = "no descriptor was left for the application";
                self.core.close_connection(self.key(), Some(reason));
                Err(LocalError::Closed)
            }
        }
    }

    /// The application has done with a connection that it took over. It is closed.
    pub fn end_takeover(&mut self) {
        let ended = self
            .open()
            .is_ok_and(|(connection, cx, _)| connection.end_takeover(cx));
        if ended {
            self.core.schedule(self.key());
        }
    }
}
