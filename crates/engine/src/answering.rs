//! The application's side of the engine: what it may do about a request.
//!
//! Every call names a connection. One that is gone, or owes no answer, says
//! so; nothing here can disturb another connection or the next request.

use crate::connection::{Conn, Phase};
use crate::content::Content;
use crate::exchange::{ConnectionId, ExchangeId};
use crate::listener::Peer;
use crate::reactor::Reactor;
use prefork_wire::{
    BodyEncoder, CONTINUE, Length, RemoteError, Version, write_error, write_head, write_interim,
};
use std::fmt;

/// Why an answer was not taken.
#[derive(Debug)]
pub enum LocalError {
    /// The connection is closed.
    Closed,
    /// It has no request that waits for this.
    OutOfTurn,
    /// The answer cannot be sent; nothing of it was.
    Invalid(prefork_wire::LocalError),
}

impl fmt::Display for LocalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LocalError::Closed => f.write_str("the client is gone"),
            LocalError::OutOfTurn => f.write_str("no request waits for this"),
            LocalError::Invalid(invalid) => invalid.fmt(f),
        }
    }
}

impl std::error::Error for LocalError {}

/// The connection of that name, with the rest of the engine still at hand.
pub(crate) fn find(
    conns: &mut [Option<Box<Conn>>],
    id: ExchangeId,
) -> Result<&mut Conn, LocalError> {
    conns
        .get_mut(id.connection.key as usize)
        .and_then(Option::as_deref_mut)
        .filter(|conn| conn.serial == id.connection.serial)
        .ok_or(LocalError::Closed)
}

impl Reactor {
    /// Answers a request whole: head and body.
    ///
    /// Returns by how much the body differs from the Content-Length that the
    /// headers declared: what was too much is cut, what is missing closes the
    /// connection.
    ///
    /// # Errors
    /// [`LocalError`]; after `Invalid` the request still waits for its answer.
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

    /// Sends an interim answer, such as 103, before the real one. A client of
    /// HTTP/1.0 could not read it, and gets none.
    ///
    /// # Errors
    /// [`LocalError`]; after `Invalid` nothing was sent.
    pub fn inform<'a>(
        &mut self,
        id: ExchangeId,
        status: u16,
        headers: impl Iterator<Item = (&'a [u8], &'a [u8])>,
    ) -> Result<(), LocalError> {
        let Reactor { conns, buffers, .. } = self;
        let conn = find(conns, id)?;
        if !matches!(conn.phase, Phase::Offered | Phase::Handling) {
            return Err(LocalError::OutOfTurn);
        }
        if conn.asked.version == Version::Http11 {
            conn.output
                .append(buffers, |out| write_interim(out, status, headers))
                .map_err(LocalError::Invalid)?;
            self.touch(id.connection.key);
        }
        Ok(())
    }

    /// Writes the head of an answer whose body comes in pieces.
    ///
    /// # Errors
    /// [`LocalError`]; after `Invalid` the request still waits for its answer.
    pub fn start<'a>(
        &mut self,
        id: ExchangeId,
        status: u16,
        headers: impl Iterator<Item = (&'a [u8], &'a [u8])>,
        length: Length,
    ) -> Result<(), LocalError> {
        let date = self.clock.date();
        let conn = self
            .conn(id.connection.key)
            .filter(|conn| conn.serial == id.connection.serial);
        let last =
            conn.is_some_and(|conn| self.draining(conn.listener) && !self.goes_on_elsewhere(conn));
        let Reactor { conns, buffers, .. } = self;
        let conn = find(conns, id)?;
        if !matches!(conn.phase, Phase::Offered | Phase::Handling) {
            return Err(LocalError::OutOfTurn);
        }
        // What was not read of this request cannot be told from the next one.
        conn.asked.keep_alive &= !conn.body_unread && !last;
        let asked = conn.asked;
        let answer = conn
            .output
            .append(buffers, |out| {
                write_head(out, &asked, status, headers, length, &date)
            })
            .map_err(LocalError::Invalid)?;
        conn.encoder = answer.body;
        conn.asked.keep_alive = answer.keep_alive;
        let offered = conn.phase == Phase::Offered;
        conn.phase = Phase::Streaming;
        if offered {
            self.take_on(b"", b"");
        }
        self.touch(id.connection.key);
        Ok(())
    }

    /// Queues a piece of the body; returns how many bytes of it the declared
    /// length had no room for.
    ///
    /// # Errors
    /// [`LocalError`].
    pub fn write(&mut self, id: ExchangeId, content: Content<'_>) -> Result<usize, LocalError> {
        let Reactor { conns, buffers, .. } = self;
        let conn = find(conns, id)?;
        if conn.phase != Phase::Streaming {
            return Err(LocalError::OutOfTurn);
        }
        // A HEAD request gets none of it, and nobody is to blame for that.
        if conn.encoder == BodyEncoder::Nothing {
            return Ok(0);
        }
        let offered = content.len();
        let admitted = conn.encoder.encode(offered);
        if admitted.len > 0 {
            let prefix = admitted.prefix.as_bytes();
            if !prefix.is_empty() {
                conn.output
                    .append(buffers, |out| out.extend_from_slice(prefix));
            }
            conn.output.push(buffers, content, admitted.len);
            if !admitted.suffix.is_empty() {
                conn.output
                    .append(buffers, |out| out.extend_from_slice(admitted.suffix));
            }
            self.touch(id.connection.key);
        }
        Ok(offered - admitted.len)
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
        let Reactor { conns, buffers, .. } = self;
        let conn = find(conns, id)?;
        if conn.phase != Phase::Streaming {
            return Err(LocalError::OutOfTurn);
        }
        let Conn {
            output, encoder, ..
        } = conn;
        output
            .append(buffers, |out| encoder.write_trailers(out, fields))
            .map_err(LocalError::Invalid)
    }

    /// Ends the answer; returns how many bytes the declared length misses.
    ///
    /// # Errors
    /// [`LocalError`].
    pub fn finish(&mut self, id: ExchangeId) -> Result<u64, LocalError> {
        let Reactor { conns, buffers, .. } = self;
        let conn = find(conns, id)?;
        if conn.phase != Phase::Streaming {
            return Err(LocalError::OutOfTurn);
        }
        let missing = match conn.encoder {
            BodyEncoder::Chunked => conn
                .output
                .append(buffers, |out| conn.encoder.finish(out))
                .err(),
            _ => conn.encoder.finish(&mut Vec::new()).err(),
        }
        .map_or(0, |short| short.missing);
        conn.phase = if conn.asked.keep_alive && missing == 0 {
            Phase::Waiting
        } else {
            Phase::Leaving
        };
        conn.inbound = None;
        conn.tell_drained = false;
        conn.wants_gone = false;
        self.let_go();
        self.touch(id.connection.key);
        Ok(missing)
    }

    /// Asks for the body of an offered request: [`crate::Event::Body`] follows.
    ///
    /// # Errors
    /// [`LocalError`].
    pub fn collect(&mut self, id: ExchangeId) -> Result<(), LocalError> {
        let Reactor { conns, buffers, .. } = self;
        let conn = find(conns, id)?;
        if conn.phase != Phase::Offered {
            return Err(LocalError::OutOfTurn);
        }
        if std::mem::take(&mut conn.expects_continue) {
            conn.output
                .append(buffers, |out| out.extend_from_slice(CONTINUE));
        }
        self.begin_collecting(id.connection.key);
        Ok(())
    }

    /// The engine's own answer, to a request that broke the rules for one; the
    /// connection ends. False: none is owed.
    pub fn reject(&mut self, id: ExchangeId, reject: &RemoteError) -> bool {
        let date = self.clock.date();
        let Reactor { conns, buffers, .. } = self;
        let Ok(conn) = find(conns, id) else {
            return false;
        };
        if !matches!(conn.phase, Phase::Offered | Phase::Handling) {
            return false;
        }
        let head_only = conn.asked.head_only;
        conn.output
            .append(buffers, |out| write_error(out, reject, &date, head_only));
        if conn.phase == Phase::Handling {
            self.let_go();
        }
        if let Some(conn) = self.conn_mut(id.connection.key) {
            conn.phase = Phase::Leaving;
        }
        self.touch(id.connection.key);
        true
    }

    /// Ends an exchange at once, whatever is owed, and with it the connection.
    /// What was written before is sent as far as the socket takes it.
    /// `reason` goes to [`crate::Event::Closed`].
    pub fn abort(&mut self, id: ExchangeId, reason: Option<&'static str>) {
        if self.named(id).is_none() {
            return;
        }
        self.flush(id.connection.key);
        match reason {
            Some(reason) => self.lose(id.connection.key, reason),
            None => self.remove(id.connection.key, None),
        }
    }

    /// [`crate::Event::Drained`] comes once, when all that was written so far
    /// has left. False: the connection is gone or streams nothing.
    pub fn tell_drained(&mut self, id: ExchangeId) -> bool {
        let Some(conn) = self
            .named(id)
            .filter(|conn| matches!(conn.phase, Phase::Streaming | Phase::Open))
        else {
            return false;
        };
        conn.tell_drained = true;
        self.touch(id.connection.key);
        true
    }

    /// Asks for [`crate::Event::Gone`], once, if the client of an exchange is
    /// gone before its response is complete; or (`yes` is false) takes that
    /// back. False: it is gone, or the response is complete.
    pub fn tell_gone(&mut self, id: ExchangeId, yes: bool) -> bool {
        let Some(conn) = self.named(id) else {
            return false;
        };
        let is_open = conn.phase.is_open();
        conn.wants_gone = yes && is_open;
        is_open
    }

    /// Asks for [`crate::Event::Closed`] when the connection is closed.
    /// False: it is.
    pub fn tell_closed(&mut self, id: ConnectionId) -> bool {
        match self.named(ExchangeId::only(id)) {
            Some(conn) => {
                conn.wants_closed = true;
                true
            }
            None => false,
        }
    }

    pub fn is_open(&mut self, id: ConnectionId) -> bool {
        self.named(ExchangeId::only(id))
            .is_some_and(|conn| !conn.eof)
    }

    /// Whether the application owes an answer on it, or the rest of one, and
    /// somebody is there for it.
    pub fn owes(&mut self, id: ExchangeId) -> bool {
        self.named(id).is_some_and(|conn| {
            let owed = conn.phase == Phase::Offered || conn.phase.in_flight();
            owed && !conn.eof
        })
    }

    /// Whether the answer that is being streamed has no body.
    pub fn is_bodiless(&mut self, id: ExchangeId) -> bool {
        self.named(id)
            .is_some_and(|conn| conn.encoder == BodyEncoder::Nothing)
    }

    /// Bytes that were written to the connection and have not left yet.
    pub fn unsent(&mut self, id: ExchangeId) -> usize {
        self.named(id).map_or(0, |conn| conn.output.pending())
    }

    /// Who is at the other end, while the connection is open.
    pub fn peer(&mut self, id: ExchangeId) -> Option<Peer> {
        self.named(id).map(|conn| conn.peer)
    }

    /// Our address on that connection.
    pub fn local_address(&mut self, id: ConnectionId) -> Option<Peer> {
        let conn = self.named(ExchangeId::only(id))?;
        let address = rustix::net::getsockname(&conn.socket).ok();
        Some(Peer::from_any(address))
    }
}
