//! The application's side of the engine: what it may do about a request.
//!
//! Every call names a connection. One that is gone, or owes no answer, says
//! so; nothing here can disturb another connection or the next request.

use crate::connection::{Conn, ConnId, Phase};
use crate::content::Content;
use crate::engine::Engine;
use crate::listener::Peer;
use prefork_wire::{
    BodyEncoder, CONTINUE, Invalid, Length, Reject, Version, write_head, write_interim,
    write_reject,
};
use std::fmt;

/// Why an answer was not taken.
#[derive(Debug)]
pub enum Refusal {
    /// The connection is closed.
    Gone,
    /// It has no request that waits for this.
    OutOfTurn,
    /// The answer cannot be sent; nothing of it was.
    Invalid(Invalid),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::Gone => f.write_str("the client is gone"),
            Refusal::OutOfTurn => f.write_str("no request waits for this"),
            Refusal::Invalid(invalid) => invalid.fmt(f),
        }
    }
}

impl std::error::Error for Refusal {}

/// The connection of that name, with the rest of the engine still at hand.
pub(crate) fn find(conns: &mut [Option<Box<Conn>>], id: ConnId) -> Result<&mut Conn, Refusal> {
    conns
        .get_mut(id.key as usize)
        .and_then(Option::as_deref_mut)
        .filter(|conn| conn.serial == id.serial)
        .ok_or(Refusal::Gone)
}

impl Engine {
    /// Answers a request whole: head and body.
    ///
    /// Returns by how much the body differs from the Content-Length that the
    /// headers declared: what was too much is cut, what is missing closes the
    /// connection.
    ///
    /// # Errors
    /// [`Refusal`]; after `Invalid` the request still waits for its answer.
    pub fn answer<'a>(
        &mut self,
        id: ConnId,
        status: u16,
        headers: impl Iterator<Item = (&'a [u8], &'a [u8])>,
        content: Content<'_>,
    ) -> Result<i64, Refusal> {
        self.start(id, status, headers, Length::Known(content.len() as u64))?;
        let surplus = self.write(id, content)?;
        let missing = self.finish(id)?;
        Ok(surplus as i64 - missing as i64)
    }

    /// Sends an interim answer, such as 103, before the real one. A client of
    /// HTTP/1.0 could not read it, and gets none.
    ///
    /// # Errors
    /// [`Refusal`]; after `Invalid` nothing was sent.
    pub fn inform<'a>(
        &mut self,
        id: ConnId,
        status: u16,
        headers: impl Iterator<Item = (&'a [u8], &'a [u8])>,
    ) -> Result<(), Refusal> {
        let Engine { conns, buffers, .. } = self;
        let conn = find(conns, id)?;
        if !matches!(conn.phase, Phase::Offered | Phase::Handling) {
            return Err(Refusal::OutOfTurn);
        }
        if conn.asked.version == Version::Http11 {
            conn.output
                .append(buffers, |out| write_interim(out, status, headers))
                .map_err(Refusal::Invalid)?;
            self.touch(id.key);
        }
        Ok(())
    }

    /// Writes the head of an answer whose body comes in pieces.
    ///
    /// # Errors
    /// [`Refusal`]; after `Invalid` the request still waits for its answer.
    pub fn start<'a>(
        &mut self,
        id: ConnId,
        status: u16,
        headers: impl Iterator<Item = (&'a [u8], &'a [u8])>,
        length: Length,
    ) -> Result<(), Refusal> {
        let date = self.clock.date();
        let conn = self.conn(id.key).filter(|conn| conn.serial == id.serial);
        let last =
            conn.is_some_and(|conn| self.draining(conn.listener) && !self.goes_on_elsewhere(conn));
        let Engine { conns, buffers, .. } = self;
        let conn = find(conns, id)?;
        if !matches!(conn.phase, Phase::Offered | Phase::Handling) {
            return Err(Refusal::OutOfTurn);
        }
        // What was not read of this request cannot be told from the next one.
        conn.asked.keep_alive &= !conn.body_unread && !last;
        let asked = conn.asked;
        let answer = conn
            .output
            .append(buffers, |out| {
                write_head(out, &asked, status, headers, length, &date)
            })
            .map_err(Refusal::Invalid)?;
        conn.encoder = answer.body;
        conn.asked.keep_alive = answer.keep_alive;
        let offered = conn.phase == Phase::Offered;
        conn.phase = Phase::Streaming;
        if offered {
            self.take_on(b"", b"");
        }
        self.touch(id.key);
        Ok(())
    }

    /// Queues a piece of the body; returns how many bytes of it the declared
    /// length had no room for.
    ///
    /// # Errors
    /// [`Refusal`].
    pub fn write(&mut self, id: ConnId, content: Content<'_>) -> Result<usize, Refusal> {
        let Engine { conns, buffers, .. } = self;
        let conn = find(conns, id)?;
        if conn.phase != Phase::Streaming {
            return Err(Refusal::OutOfTurn);
        }
        // A HEAD request gets none of it, and nobody is to blame for that.
        if conn.encoder == BodyEncoder::Nothing {
            return Ok(0);
        }
        let offered = content.len();
        let admitted = conn.encoder.admit(offered);
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
            self.touch(id.key);
        }
        Ok(offered - admitted.len)
    }

    /// Writes the trailers of a body that is complete, if its coding has room
    /// for them; [`Engine::finish`] is still to come.
    ///
    /// # Errors
    /// [`Refusal`]; after `Invalid` nothing was sent.
    pub fn trail<'a>(
        &mut self,
        id: ConnId,
        fields: impl Iterator<Item = (&'a [u8], &'a [u8])> + Clone,
    ) -> Result<(), Refusal> {
        let Engine { conns, buffers, .. } = self;
        let conn = find(conns, id)?;
        if conn.phase != Phase::Streaming {
            return Err(Refusal::OutOfTurn);
        }
        let Conn {
            output, encoder, ..
        } = conn;
        output
            .append(buffers, |out| encoder.trail(out, fields))
            .map_err(Refusal::Invalid)
    }

    /// Ends the answer; returns how many bytes the declared length misses.
    ///
    /// # Errors
    /// [`Refusal`].
    pub fn finish(&mut self, id: ConnId) -> Result<u64, Refusal> {
        let Engine { conns, buffers, .. } = self;
        let conn = find(conns, id)?;
        if conn.phase != Phase::Streaming {
            return Err(Refusal::OutOfTurn);
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
        self.let_go();
        self.touch(id.key);
        Ok(missing)
    }

    /// Asks for the body of an offered request: [`crate::Event::Body`] follows.
    ///
    /// # Errors
    /// [`Refusal`].
    pub fn collect(&mut self, id: ConnId) -> Result<(), Refusal> {
        let Engine { conns, buffers, .. } = self;
        let conn = find(conns, id)?;
        if conn.phase != Phase::Offered {
            return Err(Refusal::OutOfTurn);
        }
        if std::mem::take(&mut conn.expects_continue) {
            conn.output
                .append(buffers, |out| out.extend_from_slice(CONTINUE));
        }
        self.begin_collecting(id.key);
        Ok(())
    }

    /// The engine's own answer, to a request that broke the rules for one; the
    /// connection ends. False: none is owed.
    pub fn reject(&mut self, id: ConnId, reject: &Reject) -> bool {
        let date = self.clock.date();
        let Engine { conns, buffers, .. } = self;
        let Ok(conn) = find(conns, id) else {
            return false;
        };
        if !matches!(conn.phase, Phase::Offered | Phase::Handling) {
            return false;
        }
        let head_only = conn.asked.head_only;
        conn.output
            .append(buffers, |out| write_reject(out, reject, &date, head_only));
        if conn.phase == Phase::Handling {
            self.let_go();
        }
        if let Some(conn) = self.conn_mut(id.key) {
            conn.phase = Phase::Leaving;
        }
        self.touch(id.key);
        true
    }

    /// Closes the connection at once, whatever it owes. What was written to
    /// it before is sent as far as the socket takes it.
    pub fn hang_up(&mut self, id: ConnId) {
        if self.named(id).is_none() {
            return;
        }
        self.flush(id.key);
        self.remove(id.key, None);
    }

    /// [`crate::Event::Drained`] comes once, when all that was written so far
    /// has left. False: the connection is gone or streams nothing.
    pub fn tell_drained(&mut self, id: ConnId) -> bool {
        let Some(conn) = self
            .named(id)
            .filter(|conn| matches!(conn.phase, Phase::Streaming | Phase::Open))
        else {
            return false;
        };
        conn.tell_drained = true;
        self.touch(id.key);
        true
    }

    /// [`crate::Event::Closed`] comes when the connection is gone. False: it is.
    pub fn tell_closed(&mut self, id: ConnId, yes: bool) -> bool {
        match self.named(id) {
            Some(conn) => {
                conn.watched = yes;
                true
            }
            None => false,
        }
    }

    pub fn is_open(&mut self, id: ConnId) -> bool {
        self.named(id).is_some_and(|conn| !conn.eof)
    }

    /// Whether the application owes an answer on it, or the rest of one, and
    /// somebody is there for it.
    pub fn owes(&mut self, id: ConnId) -> bool {
        self.named(id).is_some_and(|conn| {
            let owed = conn.phase == Phase::Offered || conn.phase.in_flight();
            owed && !conn.eof
        })
    }

    /// Whether the answer that is being streamed has no body.
    pub fn is_bodiless(&mut self, id: ConnId) -> bool {
        self.named(id)
            .is_some_and(|conn| conn.encoder == BodyEncoder::Nothing)
    }

    /// Bytes that were written to the connection and have not left yet.
    pub fn unsent(&mut self, id: ConnId) -> usize {
        self.named(id).map_or(0, |conn| conn.output.pending())
    }

    /// Who is at the other end, while the connection is open.
    pub fn peer(&mut self, id: ConnId) -> Option<Peer> {
        self.named(id).map(|conn| conn.peer)
    }

    /// Our address on that connection.
    pub fn local_address(&mut self, id: ConnId) -> Option<Peer> {
        let conn = self.named(id)?;
        let address = rustix::net::getsockname(&conn.socket).ok();
        Some(Peer::from_any(address))
    }
}
