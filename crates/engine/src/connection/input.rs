//! What comes from the peer: its input, the protocol that this begins, and the end of its side.
//!
//! Always holds: the protocol is chosen once, by the first input.

use super::{Connection, Protocol};
use crate::body::Store;
use crate::context::Context;
use crate::event::Event;
use crate::exchange::ExchangeId;
use crate::http2::{HALF_PREFACE, Http2};
use crate::link::{PeerEnd, PeerSide, Stage};
use crate::progress::{Progress, READING};
use rustix::event::epoll::EventFlags;

impl Connection {
    /// Reads the current input.
    #[inline(always)]
    pub(crate) fn read(&mut self, cx: &mut Context) -> Progress {
        if matches!(&self.protocol, Protocol::Http1(http1) if http1.is_fresh())
            && !self.choose_protocol(cx)
        {
            return Progress::Wait;
        }
        let Connection { link, protocol, .. } = self;
        if link.stage == Stage::Serving {
            let progress = match protocol {
                Protocol::Http1(http1) => http1.read(link, cx),
                Protocol::Http2(http2) => http2.read(link, cx),
                Protocol::WebSocket(websocket) => websocket.read(link, cx),
                Protocol::TakenOver(_) => Progress::Wait,
            };
            if link.stage == Stage::Serving || !matches!(progress, Progress::Wait) {
                return progress;
            }
        }
        // Input after the last exchange is dropped, and noted: it decides how
        // the connection is closed.
        self.link.unread |= cx.work.discard();
        Progress::Wait
    }

    /// Decides by the first input whether the connection speaks HTTP/2: by what the client has
    /// chosen in the handshake of TLS, or without TLS by its preface (RFC 9113, section 3). False:
    /// more of it must come.
    fn choose_protocol(&mut self, cx: &mut Context) -> bool {
        let (link, input) = (&mut self.link, cx.work.unparsed());
        let is_chosen = link.transport.is_http2();
        if input.is_empty() || link.stage != Stage::Serving || !(is_chosen || link.settings.h2c) {
            return true;
        }
        let is_http2 = match is_chosen {
            true => Some(true),
            false => prefork_wire::http2::Connection::is_preface(input),
        };
        if let (Some(true), Protocol::Http1(http1)) = (is_http2, &self.protocol) {
            let http2 = Http2::new(link, cx, http1.since_ms());
            self.protocol = Protocol::Http2(Box::new(http2));
            link.count_handshake(cx);
            if let Some(figures) = cx.load.shown_figures() {
                figures.count_http2_connection();
            }
        }
        is_http2.is_some()
    }

    /// Whether it has input from which the next request can be read.
    #[inline]
    pub(crate) fn has_backlog(&self) -> bool {
        let input = &self.link.input;
        self.is_between_requests() && !input.is_empty() && !self.awaits_preface(input)
    }

    /// Whether more than `input` must come to tell which protocol the client speaks.
    pub(super) fn awaits_preface(&self, input: &[u8]) -> bool {
        let is_fresh = matches!(&self.protocol, Protocol::Http1(http1) if http1.is_fresh());
        is_fresh
            && !input.is_empty()
            && self.link.settings.h2c
            && prefork_wire::http2::Connection::is_preface(input).is_none()
    }

    /// Reads from the socket into the current input.
    #[inline]
    pub(crate) fn receive(&mut self, cx: &mut Context) -> Progress {
        let Connection { link, protocol, .. } = self;
        match link.receive(cx) {
            Ok(0) => Progress::Wait,
            Ok(_) => {
                if let Protocol::Http1(http1) = protocol {
                    // While a body is received, the time does not count for the
                    // application.
                    http1.exchange.given_ns = cx.clock.now_ns;
                    if http1.is_pulled() {
                        let outruns = link.unread.then(|| http1.exchange.body.outruns());
                        if let Some(least) = outruns.flatten() {
                            link.take_ahead(least);
                        }
                        if let Err(how) = link.receive_more(cx) {
                            return self.peer_ended(cx, how);
                        }
                    }
                }
                Progress::Wait
            }
            Err(how) => self.peer_ended(cx, how),
        }
    }

    /// Reads input without the application, for a response that waits for it.
    pub(crate) fn receive_aside(&mut self, cx: &mut Context, is_current: bool) -> Progress {
        let Connection { link, protocol, .. } = self;
        let Protocol::Http2(http2) = protocol else {
            return Progress::Wait;
        };
        let current = (!is_current).then(|| std::mem::take(&mut cx.work));
        if !is_current {
            link.restore_input(cx);
        }
        let received = link.receive(cx);
        let progress = match received {
            _ if link.stage != Stage::Serving => {
                // As in `read`: input after the last exchange is dropped.
                link.unread |= cx.work.discard();
                match received {
                    Ok(_) => Progress::Wait,
                    Err(_) => Progress::Close(None),
                }
            }
            Ok(_) => http2.read_aside(link, cx),
            Err(how) => http2.peer_ended(link, cx, how),
        };
        // The main thread may be stuck for long, and much may come meanwhile.
        cx.work.drop_parsed();
        if let Some(current) = current {
            link.keep_input(cx);
            cx.work = current;
        }
        progress
    }

    fn peer_ended(&mut self, cx: &Context, how: PeerEnd) -> Progress {
        let awaits_preface = self.awaits_preface(cx.work.unparsed());
        let Connection { link, protocol, .. } = self;
        if let PeerEnd::Refused(reason) = how {
            return Progress::Close(Some(reason));
        }
        let progress = match protocol {
            _ if link.stage != Stage::Serving => return Progress::Close(None),
            Protocol::Http1(_) if awaits_preface => Progress::Close(Some(HALF_PREFACE)),
            Protocol::Http1(http1) => http1.peer_ended(link, how),
            Protocol::Http2(http2) => http2.peer_ended(link, cx, how),
            Protocol::WebSocket(websocket) => websocket.peer_ended(how),
            Protocol::TakenOver(_) => Progress::Close(None),
        };
        match progress {
            Progress::Close(None) => Progress::Close(link.transport.cut()),
            progress => progress,
        }
    }

    /// Bytes of a request body are stored. Returns the event if it is complete.
    pub(crate) fn stored(&mut self, cx: &mut Context, stream: u32, store: Store) -> Option<Event> {
        match &mut self.protocol {
            Protocol::Http1(http1) => http1.stored(&self.link, cx, store),
            Protocol::Http2(http2) => http2.stored(&mut self.link, cx, stream, store),
            Protocol::WebSocket(_) | Protocol::TakenOver(_) => None,
        }
    }

    /// Whether input is read now.
    #[inline]
    pub(crate) fn reads(&self) -> bool {
        match (self.link.stage, &self.protocol) {
            (Stage::Serving, Protocol::Http1(http1)) => http1.reads(),
            (Stage::Serving, Protocol::Http2(http2)) => http2.reads(&self.link),
            (Stage::Serving, Protocol::WebSocket(websocket)) => websocket.reads(),
            (Stage::Serving, Protocol::TakenOver(_)) => false,
            (Stage::Waiting | Stage::Finishing, _) => false,
            (Stage::Lingering, _) => true,
        }
    }

    /// What the epoll set should report. `READING` costs nothing while the
    /// peer is silent, so it is dropped only after a report that came too early.
    #[inline]
    pub(crate) fn interest(&self, blocked: bool) -> EventFlags {
        let mut interest = match (self.link.stage, &self.protocol) {
            _ if self.link.peer_side == PeerSide::Ended => EventFlags::empty(),
            (Stage::Serving, Protocol::Http1(http1)) => {
                http1.interest(blocked, self.link.peer_side)
            }
            (Stage::Serving, Protocol::Http2(http2)) => http2.interest(&self.link),
            (Stage::Serving, Protocol::WebSocket(websocket)) => websocket.interest(),
            // The application notices what happens: an error is reported once, and ignored.
            (Stage::Serving, Protocol::TakenOver(_)) => EventFlags::ET,
            (Stage::Lingering, _) if !blocked => READING,
            _ => EventFlags::empty(),
        };
        interest.set(EventFlags::OUT, blocked);
        interest
    }

    /// The reason to close the connection on a report of `flags`, without
    /// reading.
    #[inline]
    pub(crate) fn closing_reason(&self, flags: EventFlags) -> Option<&'static str> {
        // If input is read, the end is found by reading, after what was sent before
        // it.
        let is_reset = flags.intersects(EventFlags::ERR | EventFlags::HUP)
            && !self.reads()
            && !matches!(self.protocol, Protocol::TakenOver(_));
        is_reset.then_some("the client reset the connection")
    }

    /// Notes that the peer has closed its side, for a report of `flags`. It may
    /// still read the response (RFC 9112, section 9.6), so nothing ends. Returns
    /// the exchange for which that is news.
    #[inline]
    pub(crate) fn note_half_close(&mut self, flags: EventFlags) -> Option<ExchangeId> {
        if !flags.contains(EventFlags::RDHUP) || self.link.peer_side != PeerSide::Open {
            return None;
        }
        self.link.peer_side = PeerSide::Closed;
        let id = ExchangeId::only(self.link.id);
        if !self.is_half_closed(id.stream) {
            return None;
        }
        self.link.transport.probe_peer();
        Some(id)
    }

    /// Whether the peer has closed its side after the request of this exchange.
    pub(crate) fn is_half_closed(&self, stream: u32) -> bool {
        self.link.peer_side != PeerSide::Open
            && match &self.protocol {
                Protocol::Http1(http1) => stream == 0 && http1.only_responds(),
                Protocol::Http2(_) | Protocol::WebSocket(_) | Protocol::TakenOver(_) => false,
            }
    }
}
