//! One connection of a client: a link and its protocol.
//!
//! Owns: the choice of the protocol. Only this file and its rooms depend on it: another protocol is a file
//! beside `http1.rs` and an arm of [`Protocol`]. `input` reads, `exchanges` has the calls of the application,
//! `streams` those of HTTP/2 that wait or are lent, `expiry` the time limits, `closing` the end.
//! Knows no epoll set, no timer wheel and no other connection: the reactor calls
//! it.

mod closing;
mod exchanges;
mod expiry;
mod input;
mod streams;

use crate::context::Context;
use crate::exchange::Exchange;
use crate::http1::Http1;
use crate::http2::Http2;
use crate::link::{Link, PeerSide, Stage};
use crate::peer::Peer;
use crate::phase::Phase;
use crate::progress::READING;
use crate::websocket::WebSocket;
use prefork_wire::RemoteError;
use rustix::event::epoll::EventFlags;

pub(crate) enum Protocol {
    Http1(Http1),
    Http2(Box<Http2>),
    WebSocket(Box<WebSocket>),
    /// The application has taken the connection over: it reads and writes the
    /// socket itself.
    TakenOver(Box<Exchange>),
}

pub(crate) struct Connection {
    pub(crate) link: Link,
    protocol: Protocol,
    /// The events that the epoll set reports.
    pub(crate) interest: EventFlags,
    /// [`crate::Event::Closed`] is wanted.
    pub(crate) wants_closed: bool,
    /// It is scheduled for the next turn.
    pub(crate) scheduled: bool,
}

// A process may have ten thousand idle connections.
const _: () = assert!(size_of::<Connection>() <= 240);

impl Connection {
    pub(crate) fn new(link: Link, now_ms: u64) -> Self {
        Connection {
            link,
            protocol: Protocol::Http1(Http1::new(now_ms)),
            interest: READING,
            wants_closed: false,
            scheduled: false,
        }
    }

    /// The exchange with that number, if there is one.
    #[inline]
    pub(crate) fn exchange(&self, stream: u32) -> Option<&Exchange> {
        match &self.protocol {
            Protocol::Http2(http2) => http2.exchange(stream),
            _ if stream != 0 => None,
            Protocol::Http1(http1) => Some(&http1.exchange),
            Protocol::WebSocket(websocket) => Some(&websocket.exchange),
            Protocol::TakenOver(exchange) => Some(exchange),
        }
    }

    #[inline]
    fn exchange_mut(&mut self, stream: u32) -> Option<&mut Exchange> {
        match &mut self.protocol {
            Protocol::Http2(http2) => http2.exchange_mut(stream),
            _ if stream != 0 => None,
            Protocol::Http1(http1) => Some(&mut http1.exchange),
            Protocol::WebSocket(websocket) => Some(&mut websocket.exchange),
            Protocol::TakenOver(exchange) => Some(exchange),
        }
    }

    /// Every exchange of the connection.
    fn exchanges(&self) -> impl Iterator<Item = (u32, &Exchange)> {
        let streams = match &self.protocol {
            Protocol::Http2(http2) => Some(http2.exchanges()),
            _ => None,
        };
        let only = self.exchange(0).map(|exchange| (0, exchange));
        only.into_iter().chain(streams.into_iter().flatten())
    }

    /// The address of the client: that of its open exchange, or else the peer's.
    pub(crate) fn client_address(&self) -> Peer {
        let exchange = self.exchange(0);
        let open = exchange.filter(|exchange| exchange.phase() != Phase::Idle);
        let origin = open.and_then(|exchange| exchange.origin.as_deref());
        self.link.client(0).behind(origin).peer
    }
}

// ---- between requests ---------------------------------------------------------

impl Connection {
    pub(crate) fn is_websocket(&self) -> bool {
        match &self.protocol {
            Protocol::WebSocket(_) => true,
            Protocol::Http2(http2) => http2.has_websocket(),
            _ => false,
        }
    }

    /// Whether no exchange is open. The head of the next one may be incomplete.
    #[inline]
    fn has_no_exchange(&self) -> bool {
        match &self.protocol {
            Protocol::Http1(http1) => http1.is_idle() && self.link.stage == Stage::Serving,
            Protocol::Http2(http2) => http2.has_no_exchange() && self.link.stage == Stage::Serving,
            Protocol::WebSocket(_) | Protocol::TakenOver(_) => false,
        }
    }

    /// Whether it has no exchange, no input and no output.
    pub(crate) fn is_idle(&self) -> bool {
        let link = &self.link;
        self.has_no_exchange() && link.input.is_empty() && link.pending() == 0
    }

    #[inline]
    fn is_between_requests(&self) -> bool {
        self.has_no_exchange()
            && matches!(&self.protocol, Protocol::Http1(http1) if http1.is_between_requests())
    }

    /// Whether all input of the peer was read and no exchange is open.
    #[inline]
    pub(crate) fn is_over(&self) -> bool {
        self.link.peer_side == PeerSide::Ended && self.has_no_exchange()
    }

    /// Whether what the peer sends next may call the application.
    pub(crate) fn brings_request(&self) -> bool {
        matches!(&self.protocol, Protocol::Http1(http1) if http1.brings_request())
            && self.link.stage == Stage::Serving
    }

    /// Whether a part of the next request's head was read.
    pub(crate) fn is_in_head(&self) -> bool {
        matches!(&self.protocol, Protocol::Http1(http1) if http1.is_in_head())
    }

    /// How many requests it has sent.
    pub(crate) fn requests(&self) -> u32 {
        match &self.protocol {
            Protocol::Http1(http1) => http1.requests,
            Protocol::Http2(http2) => http2.requests(),
            Protocol::WebSocket(_) | Protocol::TakenOver(_) => 0,
        }
    }

    /// Whether a request that it brings would have to wait for the application.
    pub(crate) fn may_be_refused(&self) -> bool {
        self.is_idle() && self.is_between_requests() && self.link.stage == Stage::Serving
    }

    /// Responds to the next request, which was not read. The connection brings no other.
    pub(crate) fn refuse(&mut self, cx: &mut Context, error: &RemoteError) {
        if let Protocol::Http1(http1) = &mut self.protocol {
            http1.refuse(&mut self.link, cx, error);
        }
    }

    /// Begins to wait until the application can be called.
    pub(crate) fn begin_waiting(&mut self, cx: &Context) {
        self.link.stage = Stage::Waiting;
        if let Protocol::Http1(http1) = &mut self.protocol {
            http1.hold_body(cx);
        }
    }

    /// Ends the wait. False: it does not wait any more.
    pub(crate) fn end_waiting(&mut self, cx: &Context) -> bool {
        if self.link.stage != Stage::Waiting {
            return false;
        }
        self.link.stage = Stage::Serving;
        if let Protocol::Http1(http1) = &mut self.protocol {
            http1.resume_body(cx);
        }
        true
    }

    /// Whether it can be handed off: it has no state in this process but bytes that were read and
    /// not used, and its end need not be reported.
    pub(crate) fn may_move(&self) -> bool {
        self.has_no_exchange()
            && self.link.pending() == 0
            && matches!(self.protocol, Protocol::Http1(_))
            && !self.wants_closed
            && self.link.peer_side == PeerSide::Open
            && self.link.transport.may_move()
    }

    /// Continues a connection of another worker, with the number of its requests and its
    /// deadline: that of the next head if it is the first, or if a part of it was read
    /// (`is_in_head`). `input` is parsed from its beginning.
    pub(crate) fn resume(&mut self, requests: u32, due_ms: u64, is_in_head: bool, input: Vec<u8>) {
        let Connection { link, protocol, .. } = self;
        link.input = input;
        let Protocol::Http1(http1) = protocol else {
            return;
        };
        match is_in_head || requests == 0 {
            true => {
                let since_ms = due_ms.saturating_sub(link.settings.header_timeout_ms);
                http1.resume_head(requests, since_ms, is_in_head);
            }
            false => http1.resume(requests, due_ms),
        }
    }
}

// ---- output -------------------------------------------------------------------

impl Connection {
    /// Frames more output, after all of it was sent. True: there is some.
    #[inline]
    pub(crate) fn refill(&mut self, cx: &mut Context) -> bool {
        match &mut self.protocol {
            Protocol::Http2(http2) => http2.pump(&mut self.link, cx),
            _ => false,
        }
    }

    /// The socket has taken all output: the responses that were complete are sent.
    #[inline]
    pub(crate) fn count_sent(&mut self, cx: &mut Context) {
        match &mut self.protocol {
            Protocol::Http1(http1) if http1.has_ended() => {
                cx.read_clock_of_sent();
                http1.count_sent(cx);
            }
            Protocol::Http2(http2) if http2.has_ended() => {
                cx.read_clock_of_sent();
                http2.count_sent(cx);
            }
            // Until the response that accepts it is sent.
            Protocol::WebSocket(websocket) if websocket.exchange.given_ns > 0 => {
                cx.read_clock_of_sent();
                cx.count_sent(1, std::mem::take(&mut websocket.exchange.given_ns));
            }
            _ => {}
        }
    }

    /// The socket takes no more output now.
    pub(crate) fn note_blocked(&mut self, now_ms: u64) {
        self.link.transport.note_queued();
        if let Protocol::Http2(http2) = &mut self.protocol {
            http2.note_blocked(now_ms);
        }
    }
}

#[cfg(test)]
mod tests;
