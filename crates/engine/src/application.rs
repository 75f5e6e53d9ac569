//! The calls of the application for a request.
//!
//! Every call names an exchange, or a connection for what concerns all of its
//! exchanges. A call is an error if that is closed or does not expect it. No
//! call can disturb another connection or the next request.

use crate::blocking_send::BlockingSend;
use crate::connection::Connection;
use crate::content::Content;
use crate::context::Context;
use crate::core::Core;
use crate::disk::DiskTask;
use crate::errors::LocalError;
use crate::exchange::{ConnectionId, ExchangeId};
use crate::peer::Peer;
use crate::request_body::BodyPart;
use crate::settings::WebSocketSettings;
use crate::unread::Unread;
use prefork_tls::Session;
use prefork_wire::proxy::Extensions;
use prefork_wire::websocket::{CloseCode, Opening};
use prefork_wire::{Length, RemoteError, Status};
use std::os::fd::OwnedFd;
use std::sync::Arc;

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

// ---- notifications and state
// ---------------------------------------------------------

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
        self.find()?;
        self.core.cx.clock.tick();
        self.core.flush(self.key());
        let connection = self.find()?;
        let unsent = connection.unsent(self.id.stream);
        if unsent > 0 && connection.is_http2() && connection.link.pending() == 0 {
            // The peer may have opened its window.
            self.core.receive_aside(self.key());
            self.core.flush(self.key());
        }
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
        let blocking = BlockingSend::of(&self.find()?.link);
        blocking.map_err(|_| {
            let reason = "no descriptor was left to wait for the client";
            self.core.close_connection(self.key(), Some(reason));
            LocalError::Closed
        })
    }
}

/// A connection, as the application uses it: [`crate::Reactor::connection`].
pub struct ConnectionHandle<'a> {
    core: &'a mut Core,
    id: ConnectionId,
}

impl<'a> ConnectionHandle<'a> {
    pub(crate) fn new(core: &'a mut Core, id: ConnectionId) -> Self {
        ConnectionHandle { core, id }
    }

    /// Asks for [`crate::Event::Closed`]. False: the connection is closed
    /// already.
    pub fn want_closed(&mut self) -> bool {
        let connection = self.core.connections.find_mut(self.id);
        connection
            .map(|connection| connection.wants_closed = true)
            .is_ok()
    }

    /// Whether it is in the table: a response over it may still arrive.
    pub fn exists(&self) -> bool {
        self.core.connections.find(self.id).is_ok()
    }

    /// Closes the connection after the response that is open; without one, as
    /// soon as what is queued is sent. No further request is read.
    pub fn close_after_response(&mut self) {
        if let Ok(connection) = self.core.connections.find_mut(self.id) {
            connection.close_after_response(&mut self.core.cx);
            self.core.schedule(self.id.key);
        }
    }

    /// Whether the client may still read what is sent.
    pub fn is_open(&self) -> bool {
        self.core.connections.find(self.id).is_ok()
    }

    /// The address of our end, while the connection is open.
    pub fn local_address(&self) -> Option<Peer> {
        let connection = self.core.connections.find(self.id).ok()?;
        Some(connection.link.transport.local_address())
    }

    /// What the handshake of an open, encrypted connection has settled.
    pub fn session(&self) -> Option<Arc<Session>> {
        let connection = self.core.connections.find(self.id).ok()?;
        connection.link.transport.session().cloned()
    }

    /// What the proxy that has introduced an open connection tells besides the client.
    pub fn extensions(&self) -> Option<Arc<Extensions>> {
        let connection = self.core.connections.find(self.id).ok()?;
        connection.link.extensions.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connection::Connection;
    use crate::deadlines::Wait;
    use crate::link::Link;
    use crate::settings::ListenerSettings;
    use crate::transport::Transport;
    use std::io::Write;
    use std::iter::empty;
    use std::os::unix::net::UnixStream;
    use std::sync::Arc;

    const LONG_MS: u64 = 1_000_000;

    /// An exchange whose request was read so long ago, and its client.
    fn stale(request: &[u8]) -> (Core, ExchangeId, UnixStream) {
        let mut core = Core::new().unwrap();
        let (ours, mut client) = UnixStream::pair().unwrap();
        client.write_all(request).unwrap();
        let connection = core.connections.reserve();
        let settings = Arc::new(ListenerSettings::default());
        let link = Link::new(
            Transport::new(ours.into(), None),
            Peer::Unix,
            connection,
            0,
            settings,
        );
        core.connections.insert(Connection::new(link, 0));
        core.cx.clock.now_ms -= LONG_MS;
        let Core {
            connections, cx, ..
        } = &mut core;
        let open = connections.find_mut(connection).unwrap();
        open.link.restore_input(cx);
        open.receive(cx);
        open.read(cx);
        (core, ExchangeId::only(connection), client)
    }

    fn waits_for(core: &Core, id: ExchangeId) -> Wait {
        core.connections.find(id.connection).unwrap().waits_for()
    }

    #[test]
    fn the_pace_of_a_body_is_measured_from_when_it_is_asked_for() {
        let head = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n";
        let begins: [fn(&mut ExchangeHandle<'_>); 2] = [
            |exchange| exchange.collect().unwrap(),
            |exchange| {
                exchange.begin_pulling().unwrap();
                exchange.pull().unwrap();
            },
        ];
        for begin in begins {
            let (mut core, id, _client) = stale(head);
            begin(&mut ExchangeHandle::new(&mut core, id));
            let Wait::Body { due_ms } = waits_for(&core, id) else {
                panic!("no body");
            };
            assert!(due_ms > core.cx.clock.read_ms());
        }
    }

    #[test]
    fn the_times_of_a_websocket_are_those_of_its_calls() {
        let request = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\n\
            Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
            Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
        let (mut core, id, _client) = stale(request);
        let now_ms = core.cx.clock.read_ms();
        let mut parser = prefork_wire::HeadParser::default();
        let limits = prefork_wire::Limits::default();
        let (head, _) = parser.parse(request, &limits).unwrap().unwrap();
        let opening = Opening::read(&head, request).unwrap();
        let settings = WebSocketSettings::default();
        let mut exchange = ExchangeHandle::new(&mut core, id);
        exchange.upgrade(&opening, None, empty(), settings).unwrap();
        core.flush(id.connection.key);
        let Wait::Frame { due_ms } = waits_for(&core, id) else {
            panic!("no WebSocket");
        };
        assert!(due_ms >= now_ms + settings.ping_interval_ms);
        core.cx.clock.now_ms -= LONG_MS;
        let mut exchange = ExchangeHandle::new(&mut core, id);
        exchange.close_websocket(CloseCode::GOING_AWAY, "").unwrap();
        core.flush(id.connection.key);
        let Wait::Close { until_ms } = waits_for(&core, id) else {
            panic!("no closing handshake");
        };
        assert!(until_ms > now_ms);
    }

    #[test]
    fn a_response_has_the_date_of_its_head() {
        let (mut core, _, _client) = stale(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        let (first, began) = (core.cx.clock.date(), std::time::Instant::now());
        while core.cx.clock.date() == first {
            assert!(
                began.elapsed().as_secs() < 10,
                "no turn was needed for that"
            );
        }
    }
}
