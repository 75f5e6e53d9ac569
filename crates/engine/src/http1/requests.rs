//! Reads HTTP/1 requests: heads as they arrive, bodies as the application asks
//! for them.
//!
//! Always holds: nothing is read after an error of the peer.

use super::Http1;
use crate::body::{Body, Store};
use crate::context::Context;
use crate::deadlines::NEVER;
use crate::disk::{DiskTask, DiskWork};
use crate::errors::LocalError;
use crate::event::{Client, Event, Overdue};
use crate::exchange::ExchangeId;
use crate::link::{Link, PeerEnd, PeerSide};
use crate::phase::{Phase, Step};
use crate::progress::{HIGH_WATER, Progress};
use crate::request::Request;
use crate::request_body::{BodyPart, Collected, Incoming};
use crate::scoreboard::Limit;
use prefork_wire::{
    BodyDecoder, BodyEncoder, CONTINUE, HeadParser, RemoteError, RequestContext, Version,
};
use std::io;

// ---- what the peer sends -------------------------------------------------------

impl Http1 {
    /// Reads the current input.
    #[inline(always)]
    pub(crate) fn read(&mut self, link: &mut Link, cx: &mut Context) -> Progress {
        match self.exchange.phase() {
            // The turn does not begin with such a connection. It may come here with input that was
            // read before.
            Phase::Idle | Phase::Collecting if !cx.load.may_begin() => Progress::Wait,
            Phase::Idle => self.read_head(link, cx),
            Phase::Collecting => self.read_body(link, cx),
            Phase::Handling | Phase::Streaming => self.read_part(link, cx),
            Phase::Lent | Phase::Offered | Phase::Open | Phase::Done => Progress::Wait,
        }
    }

    #[inline(always)]
    fn read_head(&mut self, link: &mut Link, cx: &mut Context) -> Progress {
        if link.pending() > HIGH_WATER {
            return Progress::Flush;
        }
        if cx.work.unparsed().is_empty() || !cx.work.take_share(cx.clock.now_ns) {
            return Progress::Wait;
        }
        let input = cx.work.unparsed();
        let mut fresh = HeadParser::default();
        let resumed = self.parser.is_some();
        let parser = self.parser.as_deref_mut().unwrap_or(&mut fresh);
        let (is_lent, limits) = (link.transport.is_lent(), &link.settings.limits);
        let parsed = match is_lent {
            false => parser.parse(input, limits),
            true => parser.parse_lent(input, limits),
        };
        let (mut head, consumed) = match parsed {
            Ok(Some(parsed)) => parsed,
            Ok(None) => {
                if !resumed {
                    self.parser = Some(Box::new(fresh));
                    self.head_since_ms = cx.clock.now_ms;
                }
                return Progress::Wait;
            }
            Err(error) => {
                let line = line_of(input, link);
                return Progress::Event(self.malformed(link, cx, error, line));
            }
        };
        let mut bytes = input.get(..consumed).unwrap_or_default().to_vec();
        cx.work.consume(consumed);
        self.parser = None;
        if is_lent {
            head.restore_lent(&mut bytes);
        }
        let request = Request {
            stream: 0,
            ready_ns: cx.work.ready_ns,
            bytes: &mut bytes,
            head: &mut head,
        };
        let client = self.begin_request(link, cx, request);
        Progress::Event(Event::Request {
            client,
            bytes,
            head,
        })
    }

    /// Gives the exchange to the request whose head is complete.
    #[inline(always)]
    fn begin_request(&mut self, link: &Link, cx: &mut Context, request: Request<'_>) -> Client {
        let is_last = self.count_request(link, cx);
        if self.has_ended() {
            self.count_sent(cx); // of a request that it follows at once
        }
        self.idles_until_ms = NEVER;
        let (head, body) = (&*request.head, &mut self.exchange.body);
        match BodyDecoder::new(head.framing) {
            Some(decoder) => *body = Incoming::new(decoder),
            None => body.complete(),
        }
        // A stream that is lent carries one request, and its response goes to another worker.
        let (version, is_lent) = match head.version {
            Version::Http2 => (Version::Http11, true),
            version => (version, false),
        };
        let keep_alive = head.keep_alive && link.settings.keep_alive && !is_last && !is_lent;
        request.begin(version, keep_alive, &mut self.exchange, link, cx)
    }

    /// Counts a request. Returns whether it is the last one that the connection may bring.
    #[inline(always)]
    fn count_request(&mut self, link: &Link, cx: &mut Context) -> bool {
        self.requests += 1;
        if self.requests == 1 {
            link.count_handshake(cx);
        }
        let is_last = self.is_last(link);
        if is_last {
            cx.load.count_limit(Limit::Requests);
        }
        is_last
    }

    /// Whether the connection has brought as many requests as it may.
    #[inline]
    fn is_last(&self, link: &Link) -> bool {
        let most = link.settings.max_requests_per_connection;
        most > 0 && u64::from(self.requests) >= most
    }

    /// Reads a body that the application wants whole.
    fn read_body(&mut self, link: &mut Link, cx: &mut Context) -> Progress {
        let exchange = &mut self.exchange;
        let Some(incoming) = exchange.body.coming_mut() else {
            return Progress::Wait;
        };
        let settings = &link.settings;
        let collected = incoming.collect(cx.work.unparsed(), &settings.limits, &settings.spool);
        let (used, collected) = match collected {
            Ok(collected) => collected,
            Err(error) => return Progress::Event(self.malformed(link, cx, error, None)),
        };
        cx.work.consume(used);
        match collected {
            Collected::More => Progress::Wait,
            Collected::Store(store) => Progress::Event(Event::Disk(DiskTask {
                connection: link.id,
                stream: 0,
                work: DiskWork::Store(store),
            })),
            Collected::All(body) => Progress::Event(self.collected(link, cx, Ok(body))),
        }
    }

    /// Bytes of the body are stored, or cannot be. Returns the event if it is
    /// complete.
    pub(crate) fn stored(&mut self, link: &Link, cx: &mut Context, store: Store) -> Option<Event> {
        let body = self.exchange.body.coming_mut()?.stored(store).transpose()?;
        Some(self.collected(link, cx, body))
    }

    fn collected(&mut self, link: &Link, cx: &mut Context, body: io::Result<Body>) -> Event {
        let exchange = &mut self.exchange;
        match body {
            Ok(_) => exchange.body.complete(),
            Err(_) => exchange.body.drop_rest(),
        }
        exchange.given_ns = cx.clock.now_ns;
        cx.must_advance(exchange, Step::Collected);
        Event::Body {
            exchange: ExchangeId::only(link.id),
            body,
        }
    }

    /// Reads a part of the body, if the application waits for one.
    fn read_part(&mut self, link: &mut Link, cx: &mut Context) -> Progress {
        if !self.exchange.body.is_wanted() {
            return Progress::Wait;
        }
        match self.take_part(link, cx) {
            Ok(Some(part)) => Progress::Event(Event::BodyPart {
                exchange: ExchangeId::only(link.id),
                part,
            }),
            Ok(None) => Progress::Wait,
            Err(error) => self.fail_body(link, cx, error),
        }
    }

    /// Takes the part of the body that is in the current input.
    fn take_part(
        &mut self,
        link: &Link,
        cx: &mut Context,
    ) -> Result<Option<BodyPart>, RemoteError> {
        let exchange = &mut self.exchange;
        let Some(incoming) = exchange.body.coming_mut() else {
            return Ok(None);
        };
        let (used, part) = incoming.take_part(cx.work.unparsed(), &link.settings.limits)?;
        cx.work.consume(used);
        let Some(part) = part else {
            return Ok(None);
        };
        incoming.part_given(&part, cx.clock.now_ms);
        if incoming.nears_end() {
            link.await_anything();
        }
        exchange.given_ns = cx.clock.now_ns; // `request_timeout` begins again with each part
        if part.last {
            exchange.body.complete();
        }
        Ok(Some(part))
    }

    /// The peer broke the protocol: nothing more is read. `line`: the request line, if
    /// it is known and the application has not got the request.
    pub(crate) fn malformed(
        &mut self,
        link: &mut Link,
        cx: &mut Context,
        error: RemoteError,
        line: Option<Box<[u8]>>,
    ) -> Event {
        cx.load.count_refusal(error.status);
        cx.work.discard();
        link.unread = true;
        self.parser = None;
        self.requests += 1;
        let exchange = &mut self.exchange;
        if exchange.phase() == Phase::Idle {
            exchange.origin = None; // of the request before
            link.identify_malformed(&mut cx.request_ids, &mut exchange.label);
        }
        exchange.context = RequestContext::default();
        exchange.encoder = BodyEncoder::Nothing;
        exchange.body.drop_rest();
        exchange.given_ns = cx.clock.now_ns;
        exchange.label.set(b"a malformed", b"request");
        cx.must_advance(exchange, Step::Malformed);
        Event::Malformed {
            client: link.client(0).behind(self.exchange.origin.as_deref()),
            error,
            line,
            request_id: self.exchange.label.id_text(),
        }
    }

    /// The request line of a request that has a body.
    fn line(&self) -> Box<[u8]> {
        let (method, target) = self.exchange.label.parts();
        let version = self.exchange.context.version.name();
        [method, target, version.as_bytes()].join(&b' ').into()
    }

    /// Fails a body that the application waits for. The client gets the error,
    /// unless its response has begun: then the connection is closed.
    fn fail_body(&mut self, link: &mut Link, cx: &mut Context, error: RemoteError) -> Progress {
        cx.load.count_refusal(error.status);
        cx.work.discard();
        self.exchange.body.drop_rest();
        let event = Event::BodyFailed {
            client: link.client(0).behind(self.exchange.origin.as_deref()),
            error,
            request_id: self.exchange.label.id_text(),
        };
        match self.reject(link, cx, &error) {
            true => Progress::Event(event),
            false => Progress::Abort(event),
        }
    }

    /// Responds with 408 (RFC 9110, section 15.5.9).
    pub(crate) fn reject_late(
        &mut self,
        link: &mut Link,
        cx: &mut Context,
        reason: &'static str,
    ) -> Progress {
        let is_head = self.parser.is_some();
        let line = line_of(&link.input, link).filter(|_| is_head);
        link.discard_input(&mut cx.buffers);
        let error = RemoteError {
            status: 408,
            reason,
        };
        match self.exchange.phase().is_in_flight() {
            true => self.fail_body(link, cx, error),
            false => Progress::Event(self.malformed(link, cx, error, line)),
        }
    }

    /// The application exceeded `request_timeout`.
    pub(crate) fn overdue(
        &mut self,
        link: &mut Link,
        cx: &mut Context,
        error: &RemoteError,
    ) -> Progress {
        let event = Event::Overdue(Overdue {
            client: link.client(0).behind(self.exchange.origin.as_deref()),
            request: self.exchange.label.line(),
            after_ms: link.settings.request_timeout_ms,
            request_id: self.exchange.label.id_text(),
        });
        self.reject(link, cx, error);
        Progress::Event(event)
    }

    /// The body has been waited for to a deadline: that of a large part, or that of the minimum rate.
    pub(crate) fn judge_pace(&mut self, link: &mut Link, cx: &mut Context) -> Progress {
        let (rate, now_ms) = (link.settings.body_min_rate, cx.clock.now_ms);
        let Some(incoming) = self.exchange.body.coming_mut() else {
            return Progress::Wait;
        };
        if incoming.waited_in_vain(now_ms) {
            link.await_anything();
        } else if !incoming.keeps_pace(rate, now_ms) {
            return self.reject_late(link, cx, "the request body came too slowly");
        }
        Progress::Wait
    }

    /// The peer has closed its side.
    pub(crate) fn peer_ended(&self, link: &mut Link, how: PeerEnd) -> Progress {
        let unsent = link.pending() > 0;
        match (self.exchange.phase(), how) {
            (Phase::Idle, _) if self.parser.is_some() => {
                Progress::Close(Some("the client left in the middle of a request head"))
            }
            (Phase::Collecting | Phase::Handling | Phase::Streaming, _) => {
                Progress::Close(Some("the client left in the middle of a request body"))
            }
            (Phase::Idle, PeerEnd::Closed) if unsent => {
                link.peer_side = PeerSide::Ended;
                Progress::Wait
            }
            (Phase::Idle, PeerEnd::Reset) if unsent => {
                Progress::Close(Some("the client reset the connection"))
            }
            _ => Progress::Close(None),
        }
    }
}

/// The request line of an incomplete head, if it can be read.
#[cold]
fn line_of(head: &[u8], link: &Link) -> Option<Box<[u8]>> {
    HeadParser::request_line(head, &link.settings.limits).map(Box::from)
}

// ---- what the application asks for -----------------------------------------------

impl Http1 {
    pub(crate) fn collect(&mut self, link: &mut Link, cx: &mut Context) -> Result<(), LocalError> {
        cx.advance(&mut self.exchange, Step::Collect)?;
        self.ask_for_body(link, cx);
        Ok(())
    }

    /// Begins without the body. Returns the part that came together with the
    /// head, if this is the current connection.
    pub(crate) fn begin_pulling(
        &mut self,
        link: &mut Link,
        cx: &mut Context,
        is_current: bool,
    ) -> Result<Option<BodyPart>, LocalError> {
        self.exchange.expects(Step::Pull)?;
        let part = match is_current {
            true => self.take_part(link, cx),
            false => Ok(None),
        };
        let part = part.map_err(|error| {
            let line = self.line();
            let event = self.malformed(link, cx, error, Some(line));
            cx.events.push_back(event);
            LocalError::OutOfTurn
        })?;
        cx.advance(&mut self.exchange, Step::Pull)?;
        Ok(part)
    }

    pub(crate) fn pull(&mut self, link: &mut Link, cx: &mut Context) -> Result<(), LocalError> {
        let exchange = &self.exchange;
        if !exchange.phase().is_in_flight() || exchange.body.coming().is_none() {
            return Err(LocalError::OutOfTurn);
        }
        self.ask_for_body(link, cx);
        Ok(())
    }

    /// The body is not wanted for a while. That time does not count for its rate.
    pub(crate) fn hold_body(&mut self, cx: &Context) {
        if let Some(incoming) = self.exchange.body.coming_mut() {
            incoming.hold(cx.clock.now_ms);
        }
    }

    /// The body is read again, after `hold_body`.
    pub(crate) fn resume_body(&mut self, cx: &Context) {
        if let Some(incoming) = self.exchange.body.coming_mut() {
            incoming.want(cx.clock.now_ms);
        }
    }

    /// Wants more of the body, and sends 100 Continue if the client expects it:
    /// not after the response has begun (RFC 9110, section 10.1.1).
    fn ask_for_body(&mut self, link: &mut Link, cx: &mut Context) {
        let exchange = &mut self.exchange;
        if let Some(incoming) = exchange.body.coming_mut() {
            incoming.want(cx.clock.now_ms);
        }
        if std::mem::take(&mut exchange.expects_continue) && exchange.phase() != Phase::Streaming {
            let write = |out: &mut Vec<u8>| out.extend_from_slice(CONTINUE);
            link.output.append(&mut cx.buffers, write);
        }
    }
}
