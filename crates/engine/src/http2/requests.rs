//! Reads HTTP/2 requests as they arrive, and what their time limits do.
//!
//! Always holds: a request is begun when the application can be called, and until then costs its head and
//! what the window of its stream lets in.

use super::{Http2, Late, PATIENCE_MS, Waiting};
use crate::context::Context;
use crate::deadlines::OVERDUE;
use crate::event::{Client, Event, Overdue};
use crate::link::{Link, Stage};
use crate::phase::Step;
use crate::progress::{HIGH_WATER, Progress};
use crate::request::Request;
use crate::request_body::Incoming as IncomingBody;
use crate::scoreboard::Limit;
use prefork_wire::http2::{Fault, Incoming, Read};
use prefork_wire::{BodyDecoder, BodyEncoder, RemoteError, RequestKind, Version};
use std::ops::Range;

// ---- what the peer sends -------------------------------------------------------

impl Http2 {
    /// Reads the current input.
    pub(crate) fn read(&mut self, link: &mut Link, cx: &mut Context) -> Progress {
        loop {
            if let Some(event) = self.begin_request(link, cx) {
                return Progress::Event(event);
            }
            if link.stage != Stage::Serving {
                return Progress::Wait;
            }
            while let Some(stream) = self.has_message() {
                if let Some(event) = self.read_messages(link, cx, stream) {
                    return Progress::Event(event);
                }
            }
            if link.pending() > HIGH_WATER {
                return Progress::Flush;
            }
            match self.read_frames(link, cx) {
                Ok(Some(event)) => return Progress::Event(event),
                Ok(None) if self.may_begin(cx) || self.has_message().is_some() => {}
                Ok(None) => return Progress::Wait,
                Err(fault) => return self.fail(link, cx, fault),
            }
        }
    }

    /// Whether a request can begin now.
    fn may_begin(&self, cx: &Context) -> bool {
        let Some(first) = self.waiting.front() else {
            return false;
        };
        let is_due = cx.clock.now_ms >= first.since_ms + PATIENCE_MS;
        cx.work.has_share_left(cx.clock.now_ns)
            && (cx.load.may_begin_stream() || is_due && cx.load.may_begin())
    }

    /// Reads frames without calling the application: what they mean for it becomes events of the
    /// next turn. Returns whether there was any input.
    pub(crate) fn read_aside(&mut self, link: &mut Link, cx: &mut Context) -> Progress {
        loop {
            match self.read_frames(link, cx) {
                Ok(Some(event)) => cx.events.push_back(event),
                Ok(None) => return Progress::Wait,
                Err(fault) => return self.fail(link, cx, fault),
            }
        }
    }

    /// Reads frames until one is an event for the application.
    fn read_frames(&mut self, link: &mut Link, cx: &mut Context) -> Result<Option<Event>, Fault> {
        if let Some(fault) = self.fault {
            return Err(fault);
        }
        let mut replies = std::mem::take(&mut cx.frames);
        let event = loop {
            let input = cx.work.unparsed();
            let limits = &link.settings.limits;
            let read = self.wire.read(input, &mut replies, limits, cx.clock.now_ms);
            let Read { consumed, incoming } = match read {
                Ok(read) => read,
                Err(fault) => break Err(fault),
            };
            let event = incoming.and_then(|incoming| self.take(link, cx, incoming, &mut replies));
            cx.work.consume(consumed);
            if event.is_some() || consumed == 0 {
                break Ok(event);
            }
        };
        self.note_head(cx.clock.now_ms);
        if !replies.is_empty() {
            link.output
                .append(&mut cx.buffers, |out| out.extend_from_slice(&replies));
            replies.clear();
        }
        cx.frames = replies;
        self.pump(link, cx);
        event
    }

    fn note_head(&mut self, now_ms: u64) {
        let awaits = self.wire.awaits_head();
        if awaits && !self.awaits_head {
            self.head_since_ms = now_ms;
        }
        self.awaits_head = awaits;
    }

    /// What the wire has read. `out`: for what the peer is to know of it.
    fn take(
        &mut self,
        link: &mut Link,
        cx: &mut Context,
        incoming: Incoming,
        out: &mut Vec<u8>,
    ) -> Option<Event> {
        match incoming {
            Incoming::Request {
                stream,
                bytes,
                head,
                ended,
            } => {
                let request = Waiting {
                    since_ms: cx.clock.now_ms,
                    ready_ns: cx.work.ready_ns,
                    stream,
                    bytes,
                    head,
                };
                self.take_request(request, ended);
                None
            }
            Incoming::Refused { stream, error } => {
                self.open(stream, cx.clock.now_ms);
                self.malformed(link, cx, stream, error)
            }
            Incoming::Data {
                stream,
                data,
                ended,
            } => self.take_data(link, cx, stream, data, ended, out),
            Incoming::BodyRefused { stream, error } => self.refuse_body(link, cx, stream, error),
            Incoming::Reset { stream, .. } => {
                self.abort_stream(link, cx, stream);
                if self.drain_is_due {
                    self.drain(link, cx);
                }
                None
            }
        }
    }

    /// It waits: the others of this input are read first. They may be more urgent, or resets.
    fn take_request(&mut self, request: Waiting, ended: bool) {
        let open = self.open(request.stream, request.since_ms);
        if !ended {
            open.exchange.body = IncomingBody::new(BodyDecoder::Frames { ended: false });
        }
        if self.waiting.is_empty() {
            self.patient_until_ms = request.since_ms + PATIENCE_MS;
        }
        self.waiting.push_back(request);
    }

    /// `data`: where it stands in the input.
    fn take_data(
        &mut self,
        link: &mut Link,
        cx: &mut Context,
        stream: u32,
        data: Range<usize>,
        ended: bool,
        out: &mut Vec<u8>,
    ) -> Option<Event> {
        let data = cx.work.unparsed().get(data).unwrap_or_default();
        if self.upload(stream, data, ended, out) {
            return None;
        }
        let open = self.stream(stream).ok()?;
        if open.websocket.is_some() {
            open.input.extend_from_slice(data);
            open.has_ended |= ended;
            open.is_looked_at = false;
            return None; // `read` goes on with it
        }
        if let Some(body) = open.exchange.body.coming_mut() {
            open.input.extend_from_slice(data);
            if ended {
                body.end_frames();
            }
        } else {
            let len = data.len();
            self.wire.give_back(stream, len, out);
        }
        self.read_body(link, cx, stream, out)
    }

    fn refuse_body(
        &mut self,
        link: &mut Link,
        cx: &mut Context,
        stream: u32,
        error: RemoteError,
    ) -> Option<Event> {
        match self.stream(stream) {
            Ok(open) if open.carrier.is_some() => {
                self.refuse_upload(link, cx, stream, &error);
                None
            }
            Ok(open) if open.exchange.body.coming().is_none() => None, // it is not read any more
            Ok(open) if open.exchange.phase().is_in_flight() => {
                self.fail_body(link, cx, stream, error)
            }
            _ => self.malformed(link, cx, stream, error),
        }
    }

    /// Begins the next request that waits, if the application can be called.
    fn begin_request(&mut self, link: &mut Link, cx: &mut Context) -> Option<Event> {
        if !self.may_begin(cx) || !cx.work.take_share(cx.clock.now_ns) {
            return None;
        }
        let Waiting {
            stream,
            ready_ns,
            mut bytes,
            mut head,
            ..
        } = self.waiting.pop_front()?;
        self.count_request(link, cx);
        let exchange = &mut self.stream(stream).ok()?.exchange;
        let request = Request {
            stream,
            ready_ns,
            bytes: &mut bytes,
            head: &mut head,
        };
        let client = request.begin(Version::Http2, true, exchange, link, cx);
        Some(Event::Request {
            client,
            bytes,
            head,
        })
    }

    /// Counts a request. The last one that the connection may bring drains it.
    pub(super) fn count_request(&mut self, link: &mut Link, cx: &mut Context) {
        self.requests += 1;
        if let Some(figures) = cx.load.shown_figures() {
            figures.count_http2_stream();
        }
        let most = link.settings.max_requests_per_connection;
        if most > 0 && u64::from(self.requests) >= most && !self.wire.is_draining() {
            cx.load.count_limit(Limit::Requests);
            self.drain(link, cx);
        }
    }

    /// The client of a stream.
    fn client(&self, link: &Link, stream: u32) -> Client {
        let exchange = self.exchange(stream);
        let origin = exchange.and_then(|exchange| exchange.origin.as_deref());
        link.client(stream).behind(origin)
    }

    /// The request is refused by a response.
    fn malformed(
        &mut self,
        link: &Link,
        cx: &mut Context,
        stream: u32,
        error: RemoteError,
    ) -> Option<Event> {
        cx.load.count_refusal(error.status);
        self.waiting.retain(|waiting| waiting.stream != stream);
        self.requests += 1;
        let open = self.stream(stream).ok()?;
        open.input = Vec::new();
        let exchange = &mut open.exchange;
        let line = match exchange.label.parts() {
            ([], _) => None,
            (method, target) => Some([method, target, b"HTTP/2"].join(&b' ').into()),
        };
        if exchange.label.id().is_empty() {
            link.identify_malformed(&mut cx.request_ids, &mut exchange.label);
        }
        exchange.context.kind = RequestKind::Other;
        exchange.encoder = BodyEncoder::Nothing;
        exchange.body.drop_rest();
        exchange.given_ns = cx.clock.now_ns;
        exchange.label.set(b"a malformed", b"request");
        cx.must_advance(exchange, Step::Malformed);
        Some(Event::Malformed {
            client: link.client(stream).behind(exchange.origin.as_deref()),
            error,
            line,
            request_id: exchange.label.id_text(),
        })
    }

    /// Fails a body that the application waits for. The client gets the error, unless its response
    /// has begun: then the stream is reset.
    fn fail_body(
        &mut self,
        link: &mut Link,
        cx: &mut Context,
        stream: u32,
        error: RemoteError,
    ) -> Option<Event> {
        cx.load.count_refusal(error.status);
        if let Ok(open) = self.stream(stream) {
            open.input = Vec::new();
            open.exchange.body.drop_rest();
        }
        cx.events.push_back(Event::BodyFailed {
            client: self.client(link, stream),
            error,
            request_id: self.exchange(stream).and_then(|open| open.label.id_text()),
        });
        if !self.reject(link, cx, stream, &error) {
            self.reset(link, cx, stream);
        }
        None
    }

    /// The peer broke the protocol: the connection ends.
    fn fail(&mut self, link: &mut Link, cx: &mut Context, fault: Fault) -> Progress {
        cx.work.discard();
        let wire = &self.wire;
        link.output
            .append(&mut cx.buffers, |out| wire.write_goaway(out, fault));
        self.failed = Some(fault.reason);
        self.abort(link, cx, true);
        // What the client is sending would reset the connection, and destroy the GOAWAY.
        link.unread = true;
        link.finish();
        Progress::Wait
    }

    /// A limit of the connection or of a stream may be over.
    pub(crate) fn expire(&mut self, link: &mut Link, cx: &mut Context) -> Progress {
        let now_ms = cx.clock.now_ms;
        if self
            .reader_due_ms(link)
            .is_some_and(|due_ms| due_ms <= now_ms)
        {
            if !link.transport.peer_reads() {
                return Progress::Close(Some("the client did not read its response"));
            }
            self.blocked_ms = now_ms;
        }
        if now_ms >= self.patient_until_ms {
            // The next turn begins what has waited so long, if the application can be called.
            self.patient_until_ms = now_ms + PATIENCE_MS;
        }
        let due: Vec<(u32, Late)> = self
            .streams
            .iter()
            .filter_map(|open| Some((open.id, open.due(link)?)))
            .filter(|(_, (due_ms, _))| *due_ms <= now_ms)
            .map(|(stream, (_, late))| (stream, late))
            .collect();
        for (stream, late) in due {
            let event = match late {
                Late::Body => self.judge_pace(link, cx, stream),
                Late::Application => self.overdue(link, cx, stream),
                Late::Message => {
                    self.expire_websocket(link, cx, stream);
                    None
                }
                Late::Window => {
                    self.reset(link, cx, stream);
                    None
                }
            };
            cx.events.extend(event);
        }
        Progress::Wait
    }

    fn judge_pace(&mut self, link: &mut Link, cx: &mut Context, stream: u32) -> Option<Event> {
        let rate = link.settings.body_min_rate;
        let exchange = &mut self.stream(stream).ok()?.exchange;
        let body = exchange.body.coming_mut()?;
        if body.keeps_pace(rate, cx.clock.now_ms) {
            return None;
        }
        let error = RemoteError {
            status: 408,
            reason: "the request body came too slowly",
        };
        match exchange.phase().is_in_flight() {
            true => self.fail_body(link, cx, stream, error),
            false => self.malformed(link, cx, stream, error),
        }
    }

    fn overdue(&mut self, link: &mut Link, cx: &mut Context, stream: u32) -> Option<Event> {
        let client = self.client(link, stream);
        let label = &self.stream(stream).ok()?.exchange.label;
        let event = Event::Overdue(Overdue {
            client,
            request: label.line(),
            after_ms: link.settings.request_timeout_ms,
            request_id: label.id_text(),
        });
        self.reject(link, cx, stream, &OVERDUE);
        Some(event)
    }
}
