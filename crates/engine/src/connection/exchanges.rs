//! The calls of the application for an exchange of a connection.
//!
//! Each call goes to the protocol of the exchange. A call that names no exchange,
//! or one of another protocol, is an error of the application.

use super::{Connection, Protocol};
use crate::content::Content;
use crate::context::Context;
use crate::errors::LocalError;
use crate::event::Event;
use crate::exchange::ExchangeId;
use crate::http1::Http1;
use crate::http2::Http2;
use crate::link::Link;
use crate::phase::Step;
use crate::request_body::BodyPart;
use crate::request_ids::Named;
use crate::settings::WebSocketSettings;
use crate::unread::Unread;
use crate::websocket::WebSocket;
use prefork_wire::websocket::{CloseCode, Opening, write_switching_protocols};
use prefork_wire::{Length, RemoteError, RequestKind, Status};
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

/// A link and the HTTP that is spoken on it.
enum Http<'a> {
    One(&'a mut Link, &'a mut Http1),
    Two(&'a mut Link, &'a mut Http2),
}

impl Connection {
    /// The protocol of the exchange with that number, if it is HTTP.
    #[inline]
    fn http(&mut self, stream: u32) -> Result<Http<'_>, LocalError> {
        match &mut self.protocol {
            Protocol::Http1(http1) if stream == 0 => Ok(Http::One(&mut self.link, http1)),
            Protocol::Http2(http2) => Ok(Http::Two(&mut self.link, http2)),
            _ => Err(LocalError::OutOfTurn),
        }
    }

    /// The link and the protocol, if the exchange with that number is an HTTP/1
    /// exchange.
    #[inline]
    fn http1(&mut self, stream: u32) -> Result<(&mut Link, &mut Http1), LocalError> {
        match &mut self.protocol {
            Protocol::Http1(http1) if stream == 0 => Ok((&mut self.link, http1)),
            _ => Err(LocalError::OutOfTurn),
        }
    }

    fn websocket(&mut self, stream: u32) -> Result<(&mut Link, &mut WebSocket), LocalError> {
        match &mut self.protocol {
            Protocol::WebSocket(websocket) if stream == 0 => Ok((&mut self.link, websocket)),
            _ => Err(LocalError::OutOfTurn),
        }
    }

    pub(crate) fn inform<'a>(
        &mut self,
        cx: &mut Context,
        stream: u32,
        status: u16,
        headers: impl Iterator<Item = (&'a [u8], &'a [u8])>,
    ) -> Result<(), LocalError> {
        match self.http(stream)? {
            Http::One(link, http1) => http1.inform(link, cx, status, headers),
            Http::Two(link, http2) => http2.inform(link, cx, stream, status, headers),
        }
    }

    #[inline]
    pub(crate) fn start<'a>(
        &mut self,
        cx: &mut Context,
        stream: u32,
        last: bool,
        status: Status<'a>,
        headers: impl Iterator<Item = (&'a [u8], &'a [u8])>,
        length: Length,
    ) -> Result<(), LocalError> {
        match self.http(stream)? {
            Http::One(link, http1) => http1.start(link, cx, last, status, headers, length),
            Http::Two(link, http2) => http2.start(link, cx, stream, last, status, headers, length),
        }
    }

    #[inline]
    pub(crate) fn write(
        &mut self,
        cx: &mut Context,
        stream: u32,
        content: Content<'_>,
    ) -> Result<usize, LocalError> {
        match self.http(stream)? {
            Http::One(link, http1) => http1.write(link, cx, content),
            Http::Two(link, http2) => http2.write(link, cx, stream, content),
        }
    }

    pub(crate) fn trail<'a>(
        &mut self,
        cx: &mut Context,
        stream: u32,
        fields: impl Iterator<Item = (&'a [u8], &'a [u8])> + Clone,
    ) -> Result<(), LocalError> {
        match self.http(stream)? {
            Http::One(link, http1) => http1.trail(link, cx, fields),
            Http::Two(link, http2) => http2.trail(link, cx, stream, fields),
        }
    }

    #[inline]
    pub(crate) fn finish(&mut self, cx: &mut Context, stream: u32) -> Result<u64, LocalError> {
        match self.http(stream)? {
            Http::One(link, http1) => http1.finish(link, cx),
            Http::Two(link, http2) => http2.finish(link, cx, stream),
        }
    }

    pub(crate) fn collect(&mut self, cx: &mut Context, stream: u32) -> Result<(), LocalError> {
        match self.http(stream)? {
            Http::One(link, http1) => http1.collect(link, cx),
            Http::Two(link, http2) => http2.collect(link, cx, stream),
        }
    }

    pub(crate) fn begin_pulling(
        &mut self,
        cx: &mut Context,
        stream: u32,
        is_current: bool,
    ) -> Result<Option<BodyPart>, LocalError> {
        match self.http(stream)? {
            Http::One(link, http1) => http1.begin_pulling(link, cx, is_current),
            Http::Two(link, http2) => http2.begin_pulling(link, cx, stream),
        }
    }

    pub(crate) fn pull(&mut self, cx: &mut Context, stream: u32) -> Result<(), LocalError> {
        match self.http(stream)? {
            Http::One(link, http1) => http1.pull(link, cx),
            Http::Two(link, http2) => http2.pull(link, cx, stream),
        }
    }

    pub(crate) fn hold_body(&mut self, cx: &Context, stream: u32) {
        match self.http(stream) {
            Ok(Http::One(_, http1)) => http1.hold_body(cx),
            Ok(Http::Two(_, http2)) => http2.hold_body(cx, stream),
            Err(_) => {}
        }
    }

    pub(crate) fn reject(&mut self, cx: &mut Context, stream: u32, error: &RemoteError) -> bool {
        match self.http(stream) {
            Ok(Http::One(link, http1)) => http1.reject(link, cx, error),
            Ok(Http::Two(link, http2)) => http2.reject(link, cx, stream, error),
            Err(_) => false,
        }
    }

    /// Sends 101. From then on the protocol is WebSocket.
    pub(crate) fn upgrade<'a>(
        &mut self,
        cx: &mut Context,
        stream: u32,
        opening: &Opening,
        subprotocol: Option<&[u8]>,
        headers: impl Iterator<Item = (&'a [u8], &'a [u8])> + Clone,
        settings: WebSocketSettings,
    ) -> Result<Arc<Unread>, LocalError> {
        let date = cx.clock.date();
        let (link, http1) = match self.http(stream)? {
            Http::One(link, http1) => (link, http1),
            Http::Two(link, http2) => {
                return http2.upgrade(link, cx, stream, opening, subprotocol, headers, settings);
            }
        };
        http1.exchange.expects(Step::Upgrade)?;
        let headers = Named::with(http1.exchange.label.id(), headers);
        link.output
            .append(&mut cx.buffers, |out| {
                write_switching_protocols(out, opening, subprotocol, headers, &date)
            })
            .map_err(LocalError::Invalid)?;
        cx.accept_websocket(&mut http1.exchange, 101)?;
        let exchange = std::mem::take(&mut http1.exchange);
        let unread = Unread::new(&cx.unread);
        let handle = Arc::clone(&unread);
        let websocket = WebSocket::new(exchange, opening, settings, unread, cx.clock.now_ms);
        self.protocol = Protocol::WebSocket(Box::new(websocket));
        Ok(handle)
    }

    /// # Errors
    /// It is not the time to take the connection over.
    pub(crate) fn may_take_over(&mut self, stream: u32) -> Result<(), LocalError> {
        let (link, http1) = self.http1(stream)?;
        match link.transport.is_lent() {
            true => Err(LocalError::OutOfTurn), // what is written would not be its response
            false => http1.exchange.expects(Step::Upgrade),
        }
    }

    /// Leaves the connection to the application. Returns a duplicate of the
    /// descriptor, and what the peer has sent after its request.
    pub(crate) fn take_over(
        &mut self,
        cx: &mut Context,
        stream: u32,
        is_current: bool,
    ) -> Result<io::Result<(OwnedFd, Vec<u8>)>, LocalError> {
        let (link, http1) = self.http1(stream)?;
        http1.exchange.expects(Step::Upgrade)?;
        let socket = match link.transport.duplicate() {
            Ok(socket) => socket,
            Err(error) => return Ok(Err(error)),
        };
        let input = match is_current {
            true => cx.work.take(),
            false => std::mem::take(&mut link.input),
        };
        cx.advance(&mut http1.exchange, Step::Upgrade)?;
        let exchange = std::mem::take(&mut http1.exchange);
        self.protocol = Protocol::TakenOver(Box::new(exchange));
        Ok(Ok((socket, input)))
    }

    /// The application has done with a connection that it took over: what it has
    /// sent arrives, then the connection is closed. False: it was closed before.
    pub(crate) fn end_takeover(&mut self, cx: &mut Context) -> bool {
        let Protocol::TakenOver(exchange) = &mut self.protocol else {
            return false;
        };
        let ended = cx.advance(exchange, Step::End).is_ok();
        if ended {
            self.link.transport.unblock();
            // The peer may have sent more, which would reset the connection.
            self.link.unread = true;
            self.link.finish();
        }
        ended
    }

    pub(crate) fn send(
        &mut self,
        cx: &mut Context,
        stream: u32,
        text: bool,
        content: Content<'_>,
    ) -> Result<usize, LocalError> {
        if let Protocol::Http2(http2) = &mut self.protocol {
            return http2.send_message(&mut self.link, cx, stream, text, content);
        }
        let (link, websocket) = self.websocket(stream)?;
        websocket.send(link, cx, text, content)
    }

    pub(crate) fn close_websocket(
        &mut self,
        cx: &mut Context,
        stream: u32,
        code: CloseCode,
        reason: &str,
    ) -> Result<(), LocalError> {
        if let Protocol::Http2(http2) = &mut self.protocol {
            return http2.close_websocket(&mut self.link, cx, stream, code, reason);
        }
        let (link, websocket) = self.websocket(stream)?;
        websocket.close(link, cx, code, reason)
    }

    /// The listener drains: reports it for a response that is owed, and closes an open
    /// WebSocket. `others_stay`: other workers still accept, so the close code
    /// says that the client may connect again.
    pub(crate) fn drain(&mut self, cx: &mut Context, others_stay: bool) {
        let code = match others_stay {
            true => CloseCode::SERVICE_RESTART,
            false => CloseCode::GOING_AWAY,
        };
        if let Protocol::Http2(http2) = &mut self.protocol {
            http2.report_draining(&mut self.link, cx, code);
            return http2.drain(&mut self.link, cx);
        }
        let id = ExchangeId::only(self.link.id);
        if let Protocol::Http1(http1) = &self.protocol {
            if http1.exchange.wants_gone && http1.exchange.phase().owes_response() {
                cx.events.push_back(Event::Draining { exchange: id });
            }
            return;
        }
        let _ = self.close_websocket(cx, 0, code, "");
    }

    /// Closes the connection after its open exchange, or without one soon. A
    /// WebSocket has its own closing handshake.
    pub(crate) fn close_after_response(&mut self, cx: &mut Context) {
        match self.http(0) {
            Ok(Http::One(link, http1)) => http1.close_after_response(link, cx),
            Ok(Http::Two(link, http2)) => http2.drain(link, cx),
            Err(_) => {}
        }
    }

    /// The exchange for which [`crate::Event::Drained`] is wanted. Taken, so that it
    /// comes once. `sent`: all output is sent; with many exchanges, each has its own.
    #[inline]
    pub(crate) fn take_drained(&mut self, sent: bool) -> Option<ExchangeId> {
        if let Protocol::Http2(http2) = &mut self.protocol {
            let (connection, stream) = (self.link.id, http2.take_drained()?);
            return Some(ExchangeId { connection, stream });
        }
        if !sent {
            return None;
        }
        let id = ExchangeId::only(self.link.id);
        let exchange = self.exchange_mut(id.stream)?;
        std::mem::take(&mut exchange.wants_drained).then_some(id)
    }

    /// Asks for [`crate::Event::Drained`]. False: no response is being sent.
    pub(crate) fn want_drained(&mut self, stream: u32) -> bool {
        let exchange = self.exchange_mut(stream);
        exchange.is_some_and(|exchange| {
            exchange.wants_drained = exchange.phase().is_sending();
            exchange.wants_drained
        })
    }

    /// Asks for [`crate::Event::Gone`], or withdraws that. False: the response is
    /// complete.
    pub(crate) fn want_gone(&mut self, stream: u32, yes: bool) -> bool {
        let exchange = self.exchange_mut(stream);
        exchange.is_some_and(|exchange| {
            let owes = exchange.phase().owes_response();
            exchange.wants_gone = yes && owes;
            owes
        })
    }

    /// Whether the response is not complete and the client is still connected.
    pub(crate) fn owes_response(&self, stream: u32) -> bool {
        let exchange = self.exchange(stream);
        exchange.is_some_and(|exchange| exchange.phase().owes_response())
    }

    /// Bytes of a response that are not sent; over HTTP/2, those that are not framed.
    pub(crate) fn unsent(&self, stream: u32) -> usize {
        match &self.protocol {
            Protocol::Http2(http2) => http2.unsent(stream),
            _ => self.link.pending(),
        }
    }

    /// A thread of the application waits until the client has read more of a response. Returns since when
    /// the client lets nothing of its stream be sent.
    pub(crate) fn await_client(&mut self, stream: u32) -> Option<u64> {
        match &mut self.protocol {
            Protocol::Http2(http2) => http2.await_client(stream),
            _ => None,
        }
    }

    /// Ends one exchange of many at once. False: it is the only one, and ends with its connection.
    pub(crate) fn reset_stream(&mut self, cx: &mut Context, stream: u32) -> bool {
        match &mut self.protocol {
            Protocol::Http2(http2) => {
                http2.reset(&mut self.link, cx, stream);
                true
            }
            _ => false,
        }
    }

    /// Whether the method of the request is HEAD.
    pub(crate) fn asks_head(&self, stream: u32) -> bool {
        let exchange = self.exchange(stream);
        exchange.is_some_and(|exchange| exchange.context.kind == RequestKind::Head)
    }

    /// Whether the response that is being sent has no body.
    pub(crate) fn is_bodiless(&self, stream: u32) -> bool {
        let exchange = self.exchange(stream);
        exchange.is_some_and(|exchange| exchange.encoder == prefork_wire::BodyEncoder::Nothing)
    }
}
