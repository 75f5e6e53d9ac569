//! The calls of the application for a request.
//!
//! Every call names an exchange, or a connection for what concerns all of its
//! exchanges. A call is an error if that is closed or does not expect it. No
//! call can disturb another connection or the next request.

mod connection;
mod upgrade;

use crate::blocking_send::BlockingSend;
use crate::connection::Connection;
use crate::content::Content;
use crate::context::Context;
use crate::core::Core;
use crate::disk::DiskTask;
use crate::errors::LocalError;
use crate::exchange::ExchangeId;
use crate::peer::Peer;
use crate::request_body::BodyPart;
use prefork_wire::{Length, RemoteError, Status};

pub use connection::ConnectionHandle;

/// A request and its response, as the application uses them:
/// [`crate::Reactor::exchange`].
pub struct ExchangeHandle<'a> {
    core: &'a mut Core,
    id: ExchangeId,
}

impl<'a> ExchangeHandle<'a> {
    #[inline]
    pub(crate) fn new(core: &'a mut Core, id: ExchangeId) -> Self {
        ExchangeHandle { core, id }
    }

    #[inline]
    fn key(&self) -> u32 {
        self.id.connection.key
    }

    #[inline]
    fn find(&self) -> Result<&Connection, LocalError> {
        self.core.connections.find(self.id.connection)
    }

    /// As [`ExchangeHandle::open`], for a call that stores a time.
    fn open_now(&mut self) -> Result<(&mut Connection, &mut Context, u32), LocalError> {
        self.core.cx.clock.tick();
        self.open()
    }

    /// The connection, the context, and the number of the exchange on the
    /// connection.
    #[inline]
    fn open(&mut self) -> Result<(&mut Connection, &mut Context, u32), LocalError> {
        let connection = self.core.connections.find_mut(self.id.connection)?;
        Ok((connection, &mut self.core.cx, self.id.stream))
    }
}

// ---- responses -------------------------------------------------------------------

impl ExchangeHandle<'_> {
    /// Sends a whole response: head and body.
    ///
    /// Returns by how much the body differs from the Content-Length in the
    /// headers. A body that is too long is cut; one that is too short closes
    /// the connection.
    ///
    /// # Errors
    /// [`LocalError`]; after `Invalid` the request still waits for its response.
    pub fn respond<'a>(
        &mut self,
        status: impl Into<Status<'a>>,
        headers: impl Iterator<Item = (&'a [u8], &'a [u8])>,
        content: Content<'_>,
    ) -> Result<i64, LocalError> {
        self.start(status, headers, Length::Known(content.len() as u64))?;
        let surplus = self.write(content)?;
        let missing = self.finish()?;
        Ok(surplus as i64 - missing as i64)
    }

    /// Sends an interim response, such as 103, before the final one. An
    /// HTTP/1.0 client gets none, because it could not read it.
    ///
    /// # Errors
    /// [`LocalError`]; after `Invalid` nothing was sent.
    pub fn inform<'a>(
        &mut self,
        status: u16,
        headers: impl Iterator<Item = (&'a [u8], &'a [u8])>,
    ) -> Result<(), LocalError> {
        let (connection, cx, stream) = self.open()?;
        connection.inform(cx, stream, status, headers)?;
        self.core.schedule(self.key());
        Ok(())
    }

    /// Writes the head of a response whose body follows.
    ///
    /// # Errors
    /// [`LocalError`]; after `Invalid` the request still waits for its response.
    pub fn start<'a>(
        &mut self,
        status: impl Into<Status<'a>>,
        headers: impl Iterator<Item = (&'a [u8], &'a [u8])>,
        length: Length,
    ) -> Result<(), LocalError> {
        let last = self.core.is_last_response(self.find()?);
        let (connection, cx, stream) = self.open()?;
        connection.start(cx, stream, last, status.into(), headers, length)?;
        self.core.schedule(self.key());
        Ok(())
    }

    /// Queues a part of the body. Returns how many bytes were cut because they
    /// exceed the declared length.
    ///
    /// # Errors
    /// [`LocalError`].
    pub fn write(&mut self, content: Content<'_>) -> Result<usize, LocalError> {
        let (connection, cx, stream) = self.open()?;
        let surplus = connection.write(cx, stream, content)?;
        self.core.schedule(self.key());
        Ok(surplus)
    }

    /// Writes the trailers of a complete body, if its coding can carry them.
    /// [`ExchangeHandle::finish`] must follow.
    ///
    /// # Errors
    /// [`LocalError`]; after `Invalid` nothing was sent.
    pub fn trail<'a>(
        &mut self,
        fields: impl Iterator<Item = (&'a [u8], &'a [u8])> + Clone,
    ) -> Result<(), LocalError> {
        let (connection, cx, stream) = self.open()?;
        connection.trail(cx, stream, fields)
    }

    /// Ends the response. Returns how many bytes of the declared length are
    /// missing.
    ///
    /// # Errors
    /// [`LocalError`].
    pub fn finish(&mut self) -> Result<u64, LocalError> {
        let (connection, cx, stream) = self.open()?;
        let missing = connection.finish(cx, stream)?;
        self.core.schedule(self.key());
        Ok(missing)
    }

    /// Sends the engine's own response, and then closes the connection. False:
    /// no head is owed.
    pub fn reject(&mut self, error: &RemoteError) -> bool {
        let open = self.open();
        let rejected =
            open.is_ok_and(|(connection, cx, stream)| connection.reject(cx, stream, error));
        if rejected {
            self.core.schedule(self.key());
        }
        rejected
    }

    /// Closes the connection at once, or over HTTP/2 the stream, even in the middle of a response. Queued
    /// output is sent as far as the socket takes it. `reason` goes to
    /// [`crate::Event::Closed`].
    pub fn abort(&mut self, reason: Option<&'static str>) {
        if self.find().is_err() {
            return;
        }
        self.core.flush(self.key());
        let is_reset = self
            .open()
            .is_ok_and(|(connection, cx, stream)| connection.reset_stream(cx, stream));
        match is_reset {
            true => self.core.schedule(self.key()),
            false => self.core.close_connection(self.key(), reason),
        }
    }
}

// ---- request bodies --------------------------------------------------------------

impl ExchangeHandle<'_> {
    /// Asks for the body of an offered request: [`crate::Event::Body`] follows.
    ///
    /// # Errors
    /// [`LocalError`].
    pub fn collect(&mut self) -> Result<(), LocalError> {
        let (connection, cx, stream) = self.open_now()?;
        connection.collect(cx, stream)?;
        self.core.schedule(self.key());
        Ok(())
    }

    /// Begins a request whose body the application will [`ExchangeHandle::pull`].
    /// Returns the part that came together with the head.
    ///
    /// # Errors
    /// [`LocalError`], also if that part is malformed: then [`crate::Event::Malformed`]
    /// follows.
    pub fn begin_pulling(&mut self) -> Result<Option<BodyPart>, LocalError> {
        let is_current = self.core.is_current(self.key());
        let (connection, cx, stream) = self.open()?;
        connection.begin_pulling(cx, stream, is_current)
    }

    /// Asks for more of the body: [`crate::Event::BodyPart`] follows, once.
    ///
    /// # Errors
    /// [`LocalError`]; `OutOfTurn` if there is no more.
    pub fn pull(&mut self) -> Result<(), LocalError> {
        let (connection, cx, stream) = self.open_now()?;
        connection.pull(cx, stream)?;
        self.core.schedule(self.key());
        Ok(())
    }

    /// Withdraws [`ExchangeHandle::pull`]. What has come of the body stays, and
    /// the client may take its time.
    pub fn hold_body(&mut self) {
        if let Ok((connection, cx, stream)) = self.open_now() {
            connection.hold_body(cx, stream);
            self.core.schedule(self.key());
        }
    }
}

// ---- notifications and state -----------------------------------------------------

impl ExchangeHandle<'_> {
    /// Asks for one [`crate::Event::Drained`], when all queued output is sent.
    /// False: no response is being sent.
    pub fn want_drained(&mut self) -> bool {
        let connection = self.core.connections.find_mut(self.id.connection);
        let asked = connection.is_ok_and(|connection| connection.want_drained(self.id.stream));
        if asked {
            self.core.schedule(self.key());
        }
        asked
    }

    /// Asks for one [`crate::Event::Gone`], if the client leaves before the
    /// response is complete; `false` withdraws that. Returns false if the
    /// client has left or the response is complete.
    pub fn want_gone(&mut self, yes: bool) -> bool {
        let connection = self.core.connections.find_mut(self.id.connection);
        connection.is_ok_and(|connection| connection.want_gone(self.id.stream, yes))
    }

    /// Whether the response is not complete and the client is still connected.
    pub fn owes(&self) -> bool {
        let connection = self.find();
        connection.is_ok_and(|connection| connection.owes_response(self.id.stream))
    }

    /// Whether the client has closed its sending side after this request. It may
    /// still read the response.
    pub fn is_half_closed(&self) -> bool {
        let connection = self.find();
        connection.is_ok_and(|connection| connection.is_half_closed(self.id.stream))
    }

    /// Whether the listener of the connection drains.
    pub fn is_draining(&self) -> bool {
        let connection = self.find();
        connection.is_ok_and(|connection| {
            let listener = connection.link.listener;
            self.core.acceptor.is_draining(listener)
        })
    }

    /// Whether the method of the request is HEAD.
    pub fn asks_head(&self) -> bool {
        let connection = self.find();
        connection.is_ok_and(|connection| connection.asks_head(self.id.stream))
    }

    /// Whether the response that is being sent has no body.
    pub fn is_bodiless(&self) -> bool {
        let connection = self.find();
        connection.is_ok_and(|connection| connection.is_bodiless(self.id.stream))
    }

    /// Bytes of the connection that are queued and unsent.
    pub fn unsent(&self) -> usize {
        let connection = self.find();
        connection.map_or(0, |connection| connection.unsent(self.id.stream))
    }

    /// The address of the other end, while the connection is open, and the stream if it is one.
    pub fn peer(&self) -> Option<Peer> {
        let connection = self.find().ok()?;
        connection.exchange(self.id.stream)?;
        Some(connection.link.peer)
    }

    // ---- blocking
    // ---------------------------------------------------------------------

    /// Sends queued output at once. Returns how many bytes are still unsent.
    ///
    /// # Errors
    /// [`LocalError::Closed`].
    pub fn send_now(&mut self) -> Result<usize, LocalError> {
        self.open_now()?;
        // A head leaves now, and the application may take long to make the rest before the turn ends.
        self.core.cx.time_responses();
        self.core.flush(self.key());
        let connection = self.find()?;
        let unsent = connection.unsent(self.id.stream);
        if unsent == 0 || !connection.is_http2() || connection.link.pending() > 0 {
            return Ok(unsent);
        }
        // The peer may have opened its window.
        self.core.receive_aside(self.key());
        self.core.flush(self.key());
        Ok(self.find()?.unsent(self.id.stream))
    }

    /// The work that sends some of a file, if one is next in the queue. Run it
    /// without the reactor, and give it back by [`crate::Reactor::disk_done`].
    pub fn lend_file(&mut self) -> Option<DiskTask> {
        let (connection, ..) = self.open().ok()?;
        connection.link.may_send_file();
        self.core.lend_file(self.key())
    }

    /// # Errors
    /// [`LocalError::Closed`], also if the process has no free descriptor.
    pub fn blocking_send(&mut self) -> Result<BlockingSend, LocalError> {
        self.core.cx.clock.tick();
        let connection = self.core.connections.find_mut(self.id.connection)?;
        let stalled_ms = connection.await_client(self.id.stream);
        let stalled_ms = stalled_ms.map_or(0, |since_ms| {
            self.core.cx.clock.now_ms.saturating_sub(since_ms)
        });
        let nudge = match connection.is_http2() {
            true => self.core.nudge().map(Some),
            false => Ok(None),
        };
        let link = &self.find()?.link;
        let blocking = nudge.and_then(|nudge| BlockingSend::of(link, stalled_ms, nudge));
        blocking.map_err(|_| {
            let reason = "no descriptor was left to wait for the client";
            self.core.close_connection(self.key(), Some(reason));
            LocalError::Closed
        })
    }
}

#[cfg(test)]
mod tests;
