//! HTTP/2: many exchanges on a connection, each a stream (RFC 9113).
//!
//! Owns: the exchange of each stream, what of its request's body is not taken, and what of its
//! response is not framed. The protocol itself is a state machine of the wire: this file and its
//! rooms connect it to the exchanges, as `http1` does. `requests` reads, `responses` writes. Always
//! holds: a stream is in the table until its exchange is over and its response is framed; nothing
//! that one client's stream waits for stops another stream. Knows no epoll, no timer and no other
//! connection.

mod bodies;
pub(crate) mod carrier;
mod conversations;
mod lending;
mod limit;
mod queue;
mod requests;
mod responses;
mod stream;

use crate::context::Context;
use crate::deadlines::Wait;
use crate::disk::{DiskTask, DiskWork};
use crate::errors::LocalError;
use crate::event::Event;
use crate::exchange::{Exchange, ExchangeId};
use crate::link::{Link, PeerEnd, PeerSide, Stage};
use crate::phase::{Phase, Step};
use crate::progress::{HIGH_WATER, Progress, READING};
use carrier::Carrier;
use prefork_wire::Head;
use prefork_wire::http2::{Connection as Wire, ErrorCode};
use queue::StreamPipe;
use rustix::event::epoll::EventFlags;
use std::collections::VecDeque;
use stream::{Ending, Late, Stream};

/// A table with room for more streams is made smaller when the last one ends.
const KEPT_STREAMS: usize = 16;

/// With so little in the queue of its stream an application goes on that has waited for its client. Not with
/// nothing: a less urgent response would take the place of what it writes next.
const LOW_WATER: usize = HIGH_WATER / 2;

/// Why the connection ends.
pub(crate) const HALF_PREFACE: &str = "the client left in the middle of the HTTP/2 preface";

/// How long a stream waits if the worker has as many requests in flight as it should, and can have
/// more. They may last: no other stream can depend on their end.
const PATIENCE_MS: u64 = 1_000;

/// A request that waits until the application can be called.
struct Waiting {
    since_ms: u64,
    /// Since when it could be read.
    ready_ns: u64,
    stream: u32,
    bytes: Vec<u8>,
    head: Head,
}

pub(crate) struct Http2 {
    wire: Wire,
    /// In the order of their numbers. Those that end are mostly near one of its ends.
    streams: VecDeque<Stream>,
    waiting: VecDeque<Waiting>,
    /// When the first of them is begun, whatever the worker has in flight.
    patient_until_ms: u64,
    /// How many streams have something in their queue.
    queued: usize,
    /// When the socket last took no more output, and the client had read before.
    blocked_ms: u64,
    /// How many carriers are not read, because the client takes nothing.
    held: usize,
    requests: u32,
    /// When the application got the requests whose responses are complete, and of which a part is unsent.
    ended: Vec<u64>,
    /// Since when the peer has to complete its preface or a header block.
    head_since_ms: u64,
    awaits_head: bool,
    /// GOAWAY is to follow the end of a stream that is lent.
    drain_is_due: bool,
    /// The list of connections whose streams wait has it.
    pub(crate) is_noted: bool,
    /// Why the connection ends, if the peer broke the protocol.
    pub(crate) failed: Option<&'static str>,
    /// Its budget was spent while a response was written.
    fault: Option<prefork_wire::http2::Fault>,
}

impl Http2 {
    /// Begins with our SETTINGS.
    pub(crate) fn new(link: &mut Link, cx: &mut Context, since_ms: u64) -> Self {
        link.transport.hold_back();
        let settings = &link.settings;
        let max_streams = limit::max_streams(settings.max_streams, cx.load.pool_capacity());
        let wire = link.output.append(&mut cx.buffers, |out| {
            Wire::new(out, max_streams, &settings.limits)
        });
        Http2 {
            wire,
            streams: VecDeque::new(),
            waiting: VecDeque::new(),
            patient_until_ms: 0,
            queued: 0,
            blocked_ms: since_ms,
            held: 0,
            requests: 0,
            ended: Vec::new(),
            head_since_ms: since_ms,
            awaits_head: true,
            drain_is_due: false,
            is_noted: false,
            failed: None,
            fault: None,
        }
    }

    fn place(&self, stream: u32) -> Result<usize, LocalError> {
        let place = self.streams.binary_search_by_key(&stream, |open| open.id);
        place.map_err(|_| LocalError::Closed)
    }

    fn stream(&mut self, stream: u32) -> Result<&mut Stream, LocalError> {
        let place = self.place(stream)?;
        self.streams.get_mut(place).ok_or(LocalError::Closed)
    }

    pub(crate) fn exchange(&self, stream: u32) -> Option<&Exchange> {
        let open = self.streams.get(self.place(stream).ok()?);
        open.map(Stream::exchange)
    }

    pub(crate) fn exchange_mut(&mut self, stream: u32) -> Option<&mut Exchange> {
        let open = self.stream(stream).ok()?;
        Some(match &mut open.websocket {
            Some(websocket) => &mut websocket.exchange,
            None => &mut open.exchange,
        })
    }

    pub(crate) fn exchanges(&self) -> impl Iterator<Item = (u32, &Exchange)> {
        self.streams.iter().map(|open| (open.id, open.exchange()))
    }

    pub(crate) fn has_websocket(&self) -> bool {
        self.streams.iter().any(|open| open.websocket.is_some())
    }

    pub(crate) fn requests(&self) -> u32 {
        self.requests
    }

    /// Bytes of a response that are not framed.
    pub(crate) fn unsent(&self, stream: u32) -> usize {
        let place = self.place(stream).ok();
        let open = place.and_then(|place| self.streams.get(place));
        open.map_or(0, |open| open.queue.len())
    }

    /// A thread of the application waits until there is room in the queue of a stream. Returns since when the
    /// peer lets nothing of it be sent.
    pub(crate) fn await_client(&mut self, stream: u32) -> Option<u64> {
        let open = self.stream(stream).ok()?;
        open.is_awaited = true;
        (open.queue.len() > 0).then_some(open.moved_ms)
    }

    /// Adds a stream with a higher number than all before.
    fn open(&mut self, id: u32, now_ms: u64) -> &mut Stream {
        let place = self.streams.partition_point(|open| open.id < id);
        self.streams.insert(place, Stream::new(id, now_ms));
        #[expect(clippy::indexing_slicing, reason = "it was inserted there")]
        &mut self.streams[place]
    }

    /// Calls `act` with a buffer, and queues the frames that it has written there.
    pub(super) fn with_frames<R>(
        &mut self,
        link: &mut Link,
        cx: &mut Context,
        act: impl FnOnce(&mut Self, &mut Link, &mut Context, &mut Vec<u8>) -> R,
    ) -> R {
        let mut out = std::mem::take(&mut cx.frames);
        let result = act(self, link, cx, &mut out);
        if !out.is_empty() {
            link.output
                .append(&mut cx.buffers, |output| output.extend_from_slice(&out));
            out.clear();
        }
        cx.frames = out;
        result
    }

    /// Whether other workers serve some streams.
    pub(crate) fn has_lent(&self) -> bool {
        self.streams.iter().any(|open| open.carrier.is_some())
    }

    /// Removes a stream that is over for both sides.
    fn forget_if_over(&mut self, link: &mut Link, stream: u32) {
        let is_over = self.stream(stream).is_ok_and(|open| {
            matches!(open.ending, Ending::Ended) && !open.exchange().phase().owes_response()
        });
        if is_over {
            let open = self.forget(stream);
            // A stream that another worker serves, and a WebSocket, have no time here.
            let given_ns = open.map_or(0, |open| open.exchange().given_ns);
            if given_ns > 0 {
                self.ended.push(given_ns);
            }
            self.finish_if_drained(link);
        }
    }

    /// Whether responses are complete of which a part is unsent.
    pub(crate) fn has_ended(&self) -> bool {
        !self.ended.is_empty()
    }

    /// The responses that were complete are sent.
    pub(crate) fn count_sent(&mut self, cx: &mut Context) {
        for given_ns in self.ended.drain(..) {
            cx.count_sent(1, given_ns);
        }
    }

    fn forget(&mut self, stream: u32) -> Option<Stream> {
        let place = self.place(stream).ok()?;
        let mut open = self.streams.remove(place)?;
        if self.streams.is_empty() {
            self.streams.shrink_to(KEPT_STREAMS);
            self.waiting.shrink_to(KEPT_STREAMS);
            self.ended.shrink_to(KEPT_STREAMS);
        }
        if let Some(carrier) = open.carrier.take() {
            carrier.close();
        }
        if open.queue.len() > 0 {
            self.queued -= 1;
        }
        self.waiting.retain(|waiting| waiting.stream != stream);
        Some(open)
    }

    /// The stream is over before its end: reports that to the application.
    fn abort_stream(&mut self, link: &mut Link, cx: &mut Context, stream: u32) {
        let Some(open) = self.forget(stream) else {
            return;
        };
        self.abort_exchange(link, cx, open, true);
        self.finish_if_drained(link);
    }

    fn abort_exchange(&self, link: &Link, cx: &mut Context, mut open: Stream, early: bool) {
        if let Some(carrier) = open.carrier.take() {
            carrier.close();
        }
        if open.exchange.phase() == Phase::Lent {
            return cx.must_advance(&mut open.exchange, Step::Abort);
        }
        let id = ExchangeId {
            connection: link.id,
            stream: open.id,
        };
        if let Some(websocket) = &mut open.websocket {
            let is_reported = websocket.exchange.must_report_gone(early);
            let pipe = StreamPipe {
                client: link.client(open.id),
                queue: &mut open.queue,
                is_finished: false,
            };
            websocket.abort(&pipe, cx);
            if is_reported {
                let unsent = None;
                cx.events.push_back(Event::Gone {
                    exchange: id,
                    unsent,
                });
            }
            return;
        }
        let exchange = &mut open.exchange;
        let owed = exchange.phase().owes_response();
        let is_reported = exchange.must_report_gone(early);
        if let Some(file) = exchange.body.take_file() {
            cx.events.push_back(Event::Disk(DiskTask {
                connection: link.id,
                stream: open.id,
                work: DiskWork::Discard(Some(file)),
            }));
        }
        cx.must_advance(exchange, Step::Abort);
        if is_reported {
            cx.events.push_back(Event::Gone {
                exchange: ExchangeId {
                    connection: link.id,
                    stream: open.id,
                },
                unsent: (owed && early).then_some(open.queue.len()),
            });
        }
    }

    /// The connection is closed.
    pub(crate) fn abort(&mut self, link: &Link, cx: &mut Context, early: bool) {
        self.waiting.clear();
        for open in std::mem::take(&mut self.streams) {
            self.abort_exchange(link, cx, open, early);
        }
        self.queued = 0;
    }

    /// Ends one exchange at once.
    pub(crate) fn reset(&mut self, link: &mut Link, cx: &mut Context, stream: u32) {
        self.reset_with(link, cx, stream, ErrorCode::Internal);
    }

    fn reset_with(&mut self, link: &mut Link, cx: &mut Context, stream: u32, code: ErrorCode) {
        if let Ok(open) = self.stream(stream) {
            if !matches!(open.ending, Ending::Ended) {
                let wire = &mut self.wire;
                link.output.append(&mut cx.buffers, |out| {
                    wire.reset(stream, code, out);
                });
            }
            self.abort_stream(link, cx, stream);
        }
    }

    // ---- the end -----------------------------------------------------------------

    /// Serves what is open, and no stream after that. GOAWAY waits for a first request, which the client may be
    /// sending, and while streams are lent, for the end of one: some clients (httpcore) take a GOAWAY before
    /// that for the end of what they have asked for.
    pub(crate) fn drain(&mut self, link: &mut Link, cx: &mut Context) {
        match self.requests == 0 && self.streams.is_empty() || self.has_lent() {
            true => self.drain_is_due = true,
            false => self.drain_now(link, cx),
        }
    }

    /// A stream may have ended for which GOAWAY has waited.
    fn drain_after(&mut self, link: &mut Link, cx: &mut Context, stream: u32) {
        if self.drain_is_due && self.stream(stream).is_err() {
            self.drain(link, cx);
        }
    }

    pub(crate) fn drain_now(&mut self, link: &mut Link, cx: &mut Context) {
        self.drain_is_due = false;
        if !self.wire.is_draining() {
            let wire = &mut self.wire;
            link.output.append(&mut cx.buffers, |out| wire.drain(out));
        }
        self.finish_if_drained(link);
    }

    fn finish_if_drained(&self, link: &mut Link) {
        if self.wire.is_draining() && self.streams.is_empty() && link.stage == Stage::Serving {
            // What the client has sent meanwhile would reset the connection.
            link.unread = true;
            link.finish();
        }
    }

    /// Whether the client's preface is not complete.
    pub(crate) fn is_in_preface(&self) -> bool {
        self.wire.awaits_preface()
    }

    /// What the client has not completed, if its side has ended. `input`: what was not parsed.
    fn cut(&self, input: &[u8]) -> Option<&'static str> {
        match self.is_in_preface() {
            true => Some(HALF_PREFACE),
            false if self.wire.awaits_head() => {
                Some("the client left in the middle of a request head")
            }
            false => (!input.is_empty()).then_some("the client left in the middle of a frame"),
        }
    }

    /// The peer has closed its side.
    pub(crate) fn peer_ended(&self, link: &mut Link, cx: &Context, how: PeerEnd) -> Progress {
        let is_quiet = self.streams.is_empty() && link.pending() == 0;
        let lacks_body = |open: &Stream| {
            let carrier = open.carrier.as_deref();
            open.exchange.body.coming().is_some() || carrier.is_some_and(Carrier::is_uploading)
        };
        match how {
            _ if is_quiet => Progress::Close(self.cut(cx.work.unparsed())),
            PeerEnd::Refused(reason) => Progress::Close(Some(reason)),
            PeerEnd::Reset => Progress::Close(Some("the client reset the connection")),
            PeerEnd::Closed if self.has_websocket() => {
                Progress::Close(Some("the client left without a close frame"))
            }
            PeerEnd::Closed if self.streams.iter().any(lacks_body) => {
                Progress::Close(Some("the client left in the middle of a request body"))
            }
            PeerEnd::Closed => {
                link.peer_side = PeerSide::Ended;
                Progress::Wait
            }
        }
    }

    // ---- input and deadlines -----------------------------------------------------

    pub(crate) fn has_no_exchange(&self) -> bool {
        self.streams.is_empty()
    }

    /// Whether input is read now: not while the peer does not read.
    pub(crate) fn reads(&self, link: &Link) -> bool {
        link.pending() <= HIGH_WATER && link.peer_side != PeerSide::Ended
    }

    // Not inlined, as what follows: HTTP/1 asks at the same place, and is short.
    #[inline(never)]
    pub(crate) fn interest(&self, link: &Link) -> EventFlags {
        match self.reads(link) {
            true => READING,
            false => EventFlags::empty(),
        }
    }

    #[inline(never)]
    pub(crate) fn waits_for(&self, link: &Link) -> Wait {
        let reader = self.reader_due_ms(link);
        if self.awaits_head && reader.is_none() {
            return Wait::Head {
                since_ms: self.head_since_ms,
            };
        }
        if self.streams.is_empty() && reader.is_none() {
            return Wait::NextRequest {
                until_ms: crate::deadlines::NEVER,
            };
        }
        let due_ms = self.streams.iter().filter_map(|open| open.due_ms(link));
        let waiting = self.has_waiting().then_some(self.patient_until_ms);
        due_ms
            .chain(waiting)
            .chain(reader)
            .min()
            .map_or(Wait::Nothing, |due_ms| Wait::Streams { due_ms })
    }

    /// When the client must have read something of the output.
    fn reader_due_ms(&self, link: &Link) -> Option<u64> {
        let due_ms = self
            .blocked_ms
            .saturating_add(link.settings.send_timeout_ms);
        (link.pending() > 0).then_some(due_ms)
    }

    /// The socket takes no more output, after it took some.
    pub(crate) fn note_blocked(&mut self, now_ms: u64) {
        self.blocked_ms = now_ms;
    }

    /// Whether requests wait for the application.
    pub(crate) fn has_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// The exchange that has room in its queue and wants to know.
    pub(crate) fn take_drained(&mut self) -> Option<u32> {
        let mut drained = self
            .streams
            .iter_mut()
            .filter(|open| open.exchange().wants_drained && open.queue.len() <= LOW_WATER);
        let stream = drained.next()?.id;
        self.exchange_mut(stream)?.wants_drained = false;
        Some(stream)
    }
}
