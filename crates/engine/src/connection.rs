//! One connection of a client: a link and its protocol.
//!
//! Owns: the choice of the protocol. Only this file and `exchanges` depend on
//! it: another protocol is a file beside `http1.rs` and an arm of [`Protocol`].
//! Knows no epoll set, no timer wheel and no other connection: the reactor calls
//! it.

mod exchanges;

use crate::body::Store;
use crate::context::Context;
use crate::deadlines::{Expiry, Wait};
use crate::disk::{DiskTask, DiskWork};
use crate::event::{Closed, Event, RequestId};
use crate::exchange::{Exchange, ExchangeId};
use crate::http1::Http1;
use crate::http2::carrier::Carrier;
use crate::http2::{HALF_PREFACE, Http2};
use crate::link::{Link, PeerEnd, PeerSide, Stage};
use crate::peer::Peer;
use crate::phase::{Phase, Step};
use crate::progress::{Progress, READING};
use crate::scoreboard::Limit;
use crate::transport::Transport;
use crate::websocket::WebSocket;
use prefork_wire::{Head, RemoteError};
use rustix::event::epoll::EventFlags;
use std::io;

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

/// RFC 9110, section 15.6.5.
pub const OVERDUE: RemoteError = RemoteError {
    status: 504,
    reason: "the application did not respond in time",
};

const LATE_PREFACE: &str = "the HTTP/2 preface was not complete in time";

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

    /// The address of the client: that of its open exchange, or else the peer's.
    pub(crate) fn client_address(&self) -> Peer {
        let exchange = self.exchange(0);
        let open = exchange.filter(|exchange| exchange.phase() != Phase::Idle);
        let origin = open.and_then(|exchange| exchange.origin.as_deref());
        self.link.client(0).behind(origin).peer
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
}

// ---- input and deadlines ---------------------------------------------------------

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

    /// Frames more output, after all of it was sent. True: there is some.
    #[inline]
    pub(crate) fn refill(&mut self, cx: &mut Context) -> bool {
        match &mut self.protocol {
            Protocol::Http2(http2) => http2.pump(&mut self.link, cx),
            _ => false,
        }
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

    /// Ends the connection for the peer, whatever other process has the socket open.
    ///
    /// A response without a length ends with its connection. One that is cut short must not pass for a
    /// whole one (RFC 9112, section 8): the connection is reset.
    pub(crate) fn end_for_peer(&mut self) {
        let is_cut = match &self.protocol {
            Protocol::Http1(http1) => http1.ends_with_connection(self.link.pending() > 0),
            Protocol::Http2(_) | Protocol::WebSocket(_) | Protocol::TakenOver(_) => false,
        };
        match is_cut {
            true => self.link.transport.reset(),
            false => self.link.end_sending(),
        }
    }

    /// Adds the events of a closed connection: those of its exchanges, then its
    /// own. `interrupted`: the reason, if it had more to do. Returns the
    /// transport, which is closed when it is dropped.
    pub(crate) fn close(
        mut self: Box<Self>,
        cx: &mut Context,
        interrupted: Option<&'static str>,
    ) -> Transport {
        // A WebSocket that has ended was not interrupted.
        let interrupted = interrupted.filter(|_| match &self.protocol {
            Protocol::WebSocket(websocket) => websocket.is_open(),
            Protocol::TakenOver(exchange) => exchange.phase().owes_response(),
            Protocol::Http1(_) | Protocol::Http2(_) => true,
        });
        let failed = match &self.protocol {
            Protocol::Http2(http2) => http2.failed,
            _ => None,
        };
        let failed = failed.or_else(|| self.link.transport.failure());
        let interrupted = failed.or(interrupted);
        let early = interrupted.is_some();
        let peer = self.client_address();
        let connection = self.link.id;
        let open = self
            .exchange(0)
            .filter(|exchange| exchange.phase().is_in_flight());
        let request_id = open.and_then(|exchange| exchange.label.id_text());
        let gone = self
            .exchange(0)
            .filter(|exchange| exchange.must_report_gone(early))
            .map(|exchange| exchange.phase().owes_response());
        match &mut self.protocol {
            Protocol::Http1(http1) => {
                if let Some(file) = http1.exchange.body.take_file() {
                    cx.events.push_back(Event::Disk(DiskTask {
                        connection,
                        stream: 0,
                        work: DiskWork::Discard(Some(file)),
                    }));
                }
                cx.must_advance(&mut http1.exchange, Step::Abort);
            }
            Protocol::Http2(http2) => http2.abort(&self.link, cx, early),
            Protocol::WebSocket(websocket) => websocket.abort(&self.link, cx),
            Protocol::TakenOver(exchange) => {
                // The application has the socket open, and may wait in it.
                self.link.transport.shut_down();
                cx.must_advance(exchange, Step::Abort);
            }
        }
        let is_http = matches!(self.protocol, Protocol::Http1(_));
        let unsent = is_http.then(|| self.link.pending());
        cx.events.extend(gone.into_iter().map(|owed| Event::Gone {
            exchange: ExchangeId::only(connection),
            unsent: unsent.filter(|_| owed && early),
        }));
        if self.wants_closed || early {
            cx.events.push_back(Event::Closed(Closed {
                connection,
                listener: self.link.listener,
                peer,
                interrupted,
                request_id,
            }));
        }
        self.link.transport
    }
}

// ---- input and deadlines -----------------------------------------------------------

impl Connection {
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

    #[inline]
    pub(crate) fn waits_for(&self) -> Wait {
        match (self.link.stage, &self.protocol) {
            (Stage::Serving, Protocol::Http2(http2)) => http2.waits_for(&self.link),
            _ if self.link.pending() > 0 => Wait::Reader,
            (Stage::Lingering, _) => Wait::Linger,
            (Stage::Waiting | Stage::Finishing, _) => Wait::Nothing,
            (Stage::Serving, Protocol::Http1(http1)) => http1.waits_for(),
            (Stage::Serving, Protocol::WebSocket(websocket)) => websocket.waits_for(),
            (Stage::Serving, Protocol::TakenOver(_)) => Wait::Nothing,
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

    /// Its deadline has passed.
    pub(crate) fn expire(&mut self, cx: &mut Context, expiry: Expiry) -> Progress {
        let awaits_preface = self.awaits_preface(&self.link.input);
        let Connection { link, protocol, .. } = self;
        match (expiry, protocol) {
            (Expiry::JudgeReader, _) if !link.transport.peer_reads() => {
                Progress::Close(Some("the client did not read its response"))
            }
            (Expiry::HeadTimeout, Protocol::Http1(http1)) => {
                http1.reject_late(link, cx, "the request head did not arrive in time")
            }
            (Expiry::JudgePace, Protocol::Http1(http1)) => {
                match http1.keeps_pace(link.settings.body_min_rate, cx.clock.now_ms) {
                    true => Progress::Wait,
                    false => http1.reject_late(link, cx, "the request body came too slowly"),
                }
            }
            (Expiry::Overdue, Protocol::Http1(http1)) => http1.overdue(link, cx, &OVERDUE),
            (Expiry::JudgeStreams, Protocol::Http2(http2)) => http2.expire(link, cx),
            (Expiry::HeadTimeout, Protocol::Http2(http2)) => {
                cx.load.count_limit(Limit::Rate);
                Progress::Close(Some(match http2.is_in_preface() {
                    true => LATE_PREFACE,
                    false => "the request head did not arrive in time",
                }))
            }
            (Expiry::Close, Protocol::Http2(http2)) if link.stage == Stage::Serving => {
                http2.drain_now(link, cx);
                Progress::Wait
            }
            (Expiry::Ping, Protocol::WebSocket(websocket)) => websocket.ping(link, cx),
            (Expiry::Close, _) if link.transport.is_in_handshake() => {
                cx.load.count_limit(Limit::Rate);
                Progress::Close(Some("the TLS handshake was not complete in time"))
            }
            (Expiry::Close, _) if awaits_preface => {
                cx.load.count_limit(Limit::Rate);
                Progress::Close(Some(LATE_PREFACE))
            }
            (Expiry::Close, _) => Progress::Close(None),
            _ => Progress::Wait,
        }
    }

    /// The socket takes no more output now.
    pub(crate) fn note_blocked(&mut self, now_ms: u64) {
        self.link.transport.note_queued();
        if let Protocol::Http2(http2) = &mut self.protocol {
            http2.note_blocked(now_ms);
        }
    }

    pub(crate) fn is_http2(&self) -> bool {
        matches!(&self.protocol, Protocol::Http2(_))
    }

    /// Whether requests of its streams wait until the application can be called.
    #[inline]
    pub(crate) fn has_waiting_streams(&self) -> bool {
        matches!(&self.protocol, Protocol::Http2(http2) if http2.has_waiting())
    }

    /// Makes a carrier for the first of them that can be lent, with its stream.
    pub(crate) fn offer_stream<R>(
        &self,
        make: impl FnOnce(u32, &Head, &[u8]) -> io::Result<R>,
    ) -> Option<io::Result<R>> {
        match &self.protocol {
            Protocol::Http2(http2) => http2.offer(make),
            _ => None,
        }
    }

    /// Whether other workers serve some of its streams.
    pub(crate) fn has_lent_streams(&self) -> bool {
        matches!(&self.protocol, Protocol::Http2(http2) if http2.has_lent())
    }

    /// Another worker serves a stream.
    pub(crate) fn lend_stream(&mut self, cx: &mut Context, stream: u32, carrier: Carrier) {
        if let Protocol::Http2(http2) = &mut self.protocol {
            http2.lend(&mut self.link, cx, stream, carrier);
        }
    }

    /// Something has come of a stream that another worker serves, or can be sent to it.
    pub(crate) fn carry(&mut self, cx: &mut Context, stream: u32) {
        if let Protocol::Http2(http2) = &mut self.protocol {
            http2.carry(&mut self.link, cx, stream);
        }
    }

    /// Notes that they are in the list of those that wait. False: they were.
    pub(crate) fn note_waiting_streams(&mut self) -> bool {
        match &mut self.protocol {
            Protocol::Http2(http2) => !std::mem::replace(&mut http2.is_noted, true),
            _ => false,
        }
    }

    pub(crate) fn forget_waiting_streams(&mut self) {
        if let Protocol::Http2(http2) = &mut self.protocol {
            http2.is_noted = false;
        }
    }

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

    /// Whether it has input from which the next request can be read.
    #[inline]
    pub(crate) fn has_backlog(&self) -> bool {
        let input = &self.link.input;
        self.is_between_requests() && !input.is_empty() && !self.awaits_preface(input)
    }

    /// Whether more than `input` must come to tell which protocol the client speaks.
    fn awaits_preface(&self, input: &[u8]) -> bool {
        let is_fresh = matches!(&self.protocol, Protocol::Http1(http1) if http1.is_fresh());
        is_fresh
            && !input.is_empty()
            && self.link.settings.h2c
            && prefork_wire::http2::Connection::is_preface(input).is_none()
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

    /// The request whose response is overdue, if the main thread has been in one step for
    /// `step_ms`, or for longer than it may be blocked at all (`is_dead`).
    pub(crate) fn stuck_request(&self, step_ms: u64, is_dead: bool) -> Option<(String, RequestId)> {
        let timeout_ms = self.link.settings.request_timeout_ms;
        let is_stuck = is_dead || timeout_ms > 0 && step_ms >= timeout_ms;
        let stuck = self
            .exchanges()
            .find(|(_, exchange)| is_stuck && exchange.holds_up_head())?;
        let label = &stuck.1.label;
        Some((label.line(), label.id_text()))
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

    /// Writes and logs a 504 if a head is owed: for a process that ends next.
    pub(crate) fn write_overdue_response(&mut self, cx: &mut Context) {
        let Connection { link, protocol, .. } = self;
        match protocol {
            Protocol::Http1(http1) if http1.exchange.holds_up_head() => {
                http1.write_error(link, cx, &OVERDUE);
                cx.load.count_refused(OVERDUE.status);
                let exchange = &http1.exchange;
                let client = link.client(0).behind(exchange.origin.as_deref());
                cx.log_own(client, Some(exchange), &OVERDUE);
            }
            Protocol::Http2(http2) => http2.write_overdue(link, cx, &OVERDUE),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests;
