//! What the application does about a request.
//!
//! Every call names an exchange, or a connection for what concerns all of it.
//! One that is closed, or does not expect the call, is an error; nothing here
//! can disturb another connection or the next request.

use crate::content::Content;
use crate::errors::LocalError;
use crate::exchange::{ConnectionId, ExchangeId};
use crate::peer::Peer;
use crate::reactor::Reactor;
use crate::request_body::BodyPart;
use crate::settings::WebSocketSettings;
use prefork_wire::websocket::{CloseCode, Opening};
use prefork_wire::{Length, RemoteError};

// ---- responses -------------------------------------------------------------------

impl Reactor {
    /// Responds whole: head and body.
    ///
    /// Returns by how much the body differs from the Content-Length that the
    /// headers declared: what was too much is cut, what is missing closes the
    /// connection.
    ///
    /// # Errors
    /// [`LocalError`]; after `Invalid` the request still waits for its response.
    pub fn respond<'a>(
        &mut self,
        id: ExchangeId,
        status: u16,
        headers: impl Iterator<Item = (&'a [u8], &'a [u8])>,
        content: Content<'_>,
    ) -> Result<i64, LocalError> {
        self.start(id, status, headers, Length::Known(content.len() as u64))?;
        let surplus = self.write(id, content)?;
        let missing = self.finish(id)?;
        Ok(surplus as i64 - missing as i64)
    }

    /// Sends an interim response, such as 103, before the real one. A client
    /// of HTTP/1.0 could not read it, and gets none.
    ///
    /// # Errors
    /// [`LocalError`]; after `Invalid` nothing was sent.
    pub fn inform<'a>(
        &mut self,
        id: ExchangeId,
        status: u16,
        headers: impl Iterator<Item = (&'a [u8], &'a [u8])>,
    ) -> Result<(), LocalError> {
        let connection = self.connections.find_mut(id.connection)?;
        connection.inform(&mut self.cx, id.stream, status, headers)?;
        self.touch(id.connection.key);
        Ok(())
    }

    /// Writes the head of a response whose body follows.
    ///
    /// # Errors
    /// [`LocalError`]; after `Invalid` the request still waits for its response.
    pub fn start<'a>(
        &mut self,
        id: ExchangeId,
        status: u16,
        headers: impl Iterator<Item = (&'a [u8], &'a [u8])>,
        length: Length,
    ) -> Result<(), LocalError> {
        let last = self.is_last_response(self.connections.find(id.connection)?);
        let connection = self.connections.find_mut(id.connection)?;
        connection.start(&mut self.cx, id.stream, last, status, headers, length)?;
        self.touch(id.connection.key);
        Ok(())
    }

    /// Queues a part of the body; returns how many bytes of it the declared
    /// length had no room for.
    ///
    /// # Errors
    /// [`LocalError`].
    pub fn write(&mut self, id: ExchangeId, content: Content<'_>) -> Result<usize, LocalError> {
        let connection = self.connections.find_mut(id.connection)?;
        let surplus = connection.write(&mut self.cx, id.stream, content)?;
        self.touch(id.connection.key);
        Ok(surplus)
    }

    /// Writes the trailers of a body that is complete, if its coding has room
    /// for them; [`Reactor::finish`] is still to come.
    ///
    /// # Errors
    /// [`LocalError`]; after `Invalid` nothing was sent.
    pub fn trail<'a>(
        &mut self,
        id: ExchangeId,
        fields: impl Iterator<Item = (&'a [u8], &'a [u8])> + Clone,
    ) -> Result<(), LocalError> {
        let connection = self.connections.find_mut(id.connection)?;
        connection.trail(&mut self.cx, id.stream, fields)
    }

    /// Ends the response; returns how many bytes the declared length misses.
    ///
    /// # Errors
    /// [`LocalError`].
    pub fn finish(&mut self, id: ExchangeId) -> Result<u64, LocalError> {
        let connection = self.connections.find_mut(id.connection)?;
        let missing = connection.finish(&mut self.cx, id.stream)?;
        self.touch(id.connection.key);
        Ok(missing)
    }

    /// The engine's own response, to a request that broke the rules for one;
    /// the connection ends. False: none is owed.
    pub fn reject(&mut self, id: ExchangeId, reject: &RemoteError) -> bool {
        let connection = self.connections.find_mut(id.connection);
        let rejected =
            connection.is_ok_and(|connection| connection.reject(&mut self.cx, id.stream, reject));
        if rejected {
            self.touch(id.connection.key);
        }
        rejected
    }

    /// Ends an exchange at once, whatever is owed, and with it the connection.
    /// What was written before is sent as far as the client takes it.
    /// `reason` goes to [`crate::Event::Closed`].
    pub fn abort(&mut self, id: ExchangeId, reason: Option<&'static str>) {
        if self.connections.find(id.connection).is_ok() {
            self.flush(id.connection.key);
            self.close_connection(id.connection.key, reason);
        }
    }
}

// ---- request bodies --------------------------------------------------------------

impl Reactor {
    /// Asks for the body of an offered request: [`crate::Event::Body`] follows.
    ///
    /// # Errors
    /// [`LocalError`].
    pub fn collect(&mut self, id: ExchangeId) -> Result<(), LocalError> {
        let connection = self.connections.find_mut(id.connection)?;
        connection.collect(&mut self.cx, id.stream)?;
        self.touch(id.connection.key);
        Ok(())
    }

    /// Takes on a request whose body the application will [`Reactor::pull`].
    /// Returns what came together with the head.
    ///
    /// # Errors
    /// [`LocalError`]; also if that breaks the rules: [`crate::Event::Malformed`] follows.
    pub fn begin_pulling(&mut self, id: ExchangeId) -> Result<Option<BodyPart>, LocalError> {
        let is_current = self.is_current(id.connection.key);
        let connection = self.connections.find_mut(id.connection)?;
        connection.begin_pulling(&mut self.cx, id.stream, is_current)
    }

    /// Asks for more of the body: [`crate::Event::BodyPart`] follows, once.
    ///
    /// # Errors
    /// [`LocalError`]; `OutOfTurn` if there is no more.
    pub fn pull(&mut self, id: ExchangeId) -> Result<(), LocalError> {
        let connection = self.connections.find_mut(id.connection)?;
        connection.pull(&mut self.cx, id.stream)?;
        self.touch(id.connection.key);
        Ok(())
    }
}

// ---- WebSocket -------------------------------------------------------------------

impl Reactor {
    /// Responds with 101: from here on the exchange speaks WebSocket,
    /// [`crate::Event::Message`] brings what the peer says and
    /// [`crate::Event::Ended`] that it is over.
    ///
    /// # Errors
    /// [`LocalError`]; after `Invalid` the request still waits for its response.
    pub fn upgrade<'a>(
        &mut self,
        id: ExchangeId,
        opening: &Opening,
        subprotocol: Option<&[u8]>,
        headers: impl Iterator<Item = (&'a [u8], &'a [u8])> + Clone,
        settings: WebSocketSettings,
    ) -> Result<(), LocalError> {
        let connection = self.connections.find_mut(id.connection)?;
        let cx = &mut self.cx;
        connection.upgrade(cx, id.stream, opening, subprotocol, headers, settings)?;
        let listener = connection.link.listener;
        if self.acceptor.is_draining(listener) {
            self.drain_connection(id.connection.key);
        }
        self.touch(id.connection.key);
        Ok(())
    }

    /// Sends a message, a text if `text` (which must be UTF-8). Returns how
    /// many bytes have not left yet: above a limit of its own the sender
    /// waits for [`Reactor::tell_drained`].
    ///
    /// # Errors
    /// [`LocalError`]: `OutOfTurn` after the WebSocket has ended.
    pub fn send(
        &mut self,
        id: ExchangeId,
        text: bool,
        content: Content<'_>,
    ) -> Result<usize, LocalError> {
        let connection = self.connections.find_mut(id.connection)?;
        let unsent = connection.send(&mut self.cx, id.stream, text, content)?;
        self.touch(id.connection.key);
        Ok(unsent)
    }

    /// Begins the closing handshake; [`crate::Event::Ended`] comes at once.
    ///
    /// # Errors
    /// [`LocalError`]: `OutOfTurn` after the WebSocket has ended.
    pub fn close_websocket(
        &mut self,
        id: ExchangeId,
        code: CloseCode,
        reason: &str,
    ) -> Result<(), LocalError> {
        let connection = self.connections.find_mut(id.connection)?;
        connection.close_websocket(&mut self.cx, id.stream, code, reason)?;
        self.touch(id.connection.key);
        Ok(())
    }

    /// Reads no more for a while (`true`), or goes on: messages stay with the
    /// peer, and its silence does not count against it.
    pub fn pause(&mut self, id: ExchangeId, yes: bool) {
        if let Ok(connection) = self.connections.find_mut(id.connection) {
            connection.pause(id.stream, yes);
            if !yes {
                self.touch(id.connection.key);
            }
        }
    }
}

// ---- what it wants to hear and to know ---------------------------------------------

impl Reactor {
    /// Asks for [`crate::Event::Drained`], once, when all that was written so
    /// far has left. False: no response is being sent.
    pub fn tell_drained(&mut self, id: ExchangeId) -> bool {
        let connection = self.connections.find_mut(id.connection);
        let asked = connection.is_ok_and(|connection| connection.tell_drained(id.stream));
        if asked {
            self.touch(id.connection.key);
        }
        asked
    }

    /// Asks for [`crate::Event::Gone`], once, if the client of an exchange is
    /// gone before its response is complete; or (`yes` is false) takes that
    /// back. False: it is gone, or the response is complete.
    pub fn tell_gone(&mut self, id: ExchangeId, yes: bool) -> bool {
        let connection = self.connections.find_mut(id.connection);
        connection.is_ok_and(|connection| connection.tell_gone(id.stream, yes))
    }

    /// Asks for [`crate::Event::Closed`] when the connection is closed.
    /// False: it is.
    pub fn tell_closed(&mut self, id: ConnectionId) -> bool {
        let connection = self.connections.find_mut(id);
        connection
            .map(|connection| connection.wants_closed = true)
            .is_ok()
    }

    /// Whether the client may still read what is sent.
    pub fn is_open(&self, id: ConnectionId) -> bool {
        let connection = self.connections.find(id);
        connection.is_ok_and(|connection| !connection.link.eof)
    }

    /// Whether the application owes a response, or the rest of one, and the
    /// client is there for it.
    pub fn owes(&self, id: ExchangeId) -> bool {
        let connection = self.connections.find(id.connection);
        connection.is_ok_and(|connection| connection.owes_response(id.stream))
    }

    /// Whether the response that is being sent has no body.
    pub fn is_bodiless(&self, id: ExchangeId) -> bool {
        let connection = self.connections.find(id.connection);
        connection.is_ok_and(|connection| connection.is_bodiless(id.stream))
    }

    /// Bytes that were written to the connection and have not left yet.
    pub fn unsent(&self, id: ExchangeId) -> usize {
        let connection = self.connections.find(id.connection);
        connection.map_or(0, |connection| connection.link.output.pending())
    }

    /// The address of the other end, while the connection is open.
    pub fn peer(&self, id: ExchangeId) -> Option<Peer> {
        let connection = self.connections.find(id.connection);
        connection.ok().map(|connection| connection.link.peer)
    }

    /// The address of our end, while the connection is open.
    pub fn local_address(&self, id: ConnectionId) -> Option<Peer> {
        let connection = self.connections.find(id).ok()?;
        Some(connection.link.transport.local_address())
    }

    /// The scheme of a URI that leads to that connection.
    pub fn scheme(&self, id: ConnectionId) -> Option<&'static str> {
        let connection = self.connections.find(id).ok()?;
        Some(connection.link.transport.scheme())
    }
}
