//! HTTP/1: one exchange after another on a connection (RFC 9112).
//!
//! Owns: the exchange, and the parser of the next request's head. A state
//! machine over the current input (`Context::work`), the output of the link, and
//! the phase of the exchange. Always holds: the last exchange finishes the link.
//! Knows no epoll, no timer and no other connection.

use crate::content::Content;
use crate::context::Context;
use crate::deadlines::{NEVER, Wait};
use crate::errors::LocalError;
use crate::event::Event;
use crate::exchange::{Exchange, ExchangeId};
use crate::link::{Link, PeerEnd};
use crate::phase::{Phase, Step};
use crate::progress::{HIGH_WATER, Progress, READING};
use crate::request_body::{BodyPart, Collected, Incoming, RequestBody};
use prefork_wire::{
    BodyDecoder, BodyEncoder, CONTINUE, HeadParser, Length, RemoteError, RequestContext, Version,
    write_error, write_head, write_interim,
};
use rustix::event::epoll::EventFlags;

pub(crate) struct Http1 {
    pub(crate) exchange: Exchange,
    /// The parser of an incomplete head.
    parser: Option<Box<HeadParser>>,
    /// When the first byte of that head came; before the first request, when
    /// the connection was accepted.
    head_since_ms: u64,
    pub(crate) requests: u32,
    /// The idle deadline of a connection that came from another worker.
    idles_until_ms: u64,
}

// ---- what the peer sends -------------------------------------------------------

impl Http1 {
    pub(crate) fn new(now_ms: u64) -> Self {
        Http1 {
            exchange: Exchange::default(),
            parser: None,
            head_since_ms: now_ms,
            requests: 0,
            idles_until_ms: NEVER,
        }
    }

    /// Continues a connection of another worker, with the number of its
    /// requests and its idle deadline.
    pub(crate) fn resume(&mut self, requests: u32, idles_until_ms: u64) {
        self.requests = requests;
        self.idles_until_ms = idles_until_ms;
    }

    /// Reads the current input.
    #[inline(always)]
    pub(crate) fn read(&mut self, link: &mut Link, cx: &mut Context) -> Progress {
        match self.exchange.phase() {
            Phase::Idle => self.read_head(link, cx),
            Phase::Collecting => self.read_body(link, cx),
            Phase::Handling | Phase::Streaming => self.read_part(link, cx),
            Phase::Offered | Phase::Open | Phase::Done => Progress::Wait,
        }
    }

    #[inline(always)]
    fn read_head(&mut self, link: &mut Link, cx: &mut Context) -> Progress {
        if link.output.pending() > HIGH_WATER {
            return Progress::Flush;
        }
        if !cx.work.may_read_head() {
            return Progress::Wait;
        }
        let input = cx.work.unparsed();
        let mut fresh = HeadParser::default();
        let resumed = self.parser.is_some();
        let parser = self.parser.as_deref_mut().unwrap_or(&mut fresh);
        let (head, consumed) = match parser.parse(input, &link.settings.limits) {
            Ok(Some(parsed)) => parsed,
            Ok(None) => {
                if !resumed {
                    self.parser = Some(Box::new(fresh));
                    self.head_since_ms = cx.clock.now_ms;
                }
                return Progress::Wait;
            }
            Err(error) => return Progress::Event(self.malformed(link, cx, error)),
        };
        let bytes = input.get(..consumed).unwrap_or_default().to_vec();
        cx.work.consume(consumed);
        self.parser = None;
        self.requests += 1;
        self.idles_until_ms = NEVER;
        let (method, target) = (head.method.of(&bytes), head.target.of(&bytes));
        let exchange = &mut self.exchange;
        exchange.context = RequestContext {
            version: head.version,
            head_only: method == b"HEAD",
            keep_alive: head.keep_alive && link.settings.keep_alive,
        };
        exchange.expects_continue = head.expect_continue;
        exchange.given_ms = cx.clock.now_ms;
        let decoder = BodyDecoder::new(head.framing);
        if decoder.is_some() || link.settings.request_timeout_ms > 0 {
            exchange.label.set(method, target);
        }
        match decoder {
            Some(decoder) => {
                exchange.body = Incoming::new(decoder);
                cx.must_advance(exchange, Step::RequestWithBody);
            }
            None => {
                exchange.body.complete();
                cx.start_request(exchange, method, target);
            }
        }
        let client = link.client(0);
        Progress::Event(Event::Request {
            client,
            bytes,
            head,
        })
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
            Err(error) => return Progress::Event(self.malformed(link, cx, error)),
        };
        cx.work.consume(used);
        let Collected::All(body) = collected else {
            return Progress::Wait;
        };
        match body {
            Ok(_) => exchange.body.complete(),
            Err(_) => exchange.body.drop_rest(),
        }
        exchange.given_ms = cx.clock.now_ms;
        cx.must_advance(exchange, Step::Collected);
        Progress::Event(Event::Body {
            exchange: ExchangeId::only(link.id),
            body,
        })
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
        exchange.given_ms = cx.clock.now_ms; // `request_timeout` begins again with each part
        if part.last {
            exchange.body.complete();
        }
        Ok(Some(part))
    }

    /// The peer broke the protocol: nothing more is read.
    pub(crate) fn malformed(
        &mut self,
        link: &mut Link,
        cx: &mut Context,
        error: RemoteError,
    ) -> Event {
        cx.work.discard();
        link.unread = true;
        self.parser = None;
        self.requests += 1;
        let exchange = &mut self.exchange;
        exchange.context = RequestContext::default();
        exchange.encoder = BodyEncoder::Nothing;
        exchange.body.drop_rest();
        exchange.given_ms = cx.clock.now_ms;
        exchange.label.set(b"a malformed", b"request");
        cx.must_advance(exchange, Step::Malformed);
        Event::Malformed {
            client: link.client(0),
            error,
        }
    }

    /// Fails a body that the application waits for. The client gets the error,
    /// unless its response has begun: then the connection is closed.
    fn fail_body(&mut self, link: &mut Link, cx: &mut Context, error: RemoteError) -> Progress {
        cx.work.discard();
        self.exchange.body.drop_rest();
        let event = Event::BodyFailed {
            client: link.client(0),
            error,
        };
        match self.reject(link, cx, &error) {
            true => Progress::Event(event),
            false => Progress::Abort(event),
        }
    }

    /// Responds with 408 (RFC 9110, section 15.5.9).
    pub(crate) fn time_out(
        &mut self,
        link: &mut Link,
        cx: &mut Context,
        reason: &'static str,
    ) -> Progress {
        link.discard_input(&mut cx.buffers);
        let error = RemoteError {
            status: 408,
            reason,
        };
        match self.exchange.phase().is_in_flight() {
            true => self.fail_body(link, cx, error),
            false => Progress::Event(self.malformed(link, cx, error)),
        }
    }

    /// The application exceeded `request_timeout`.
    pub(crate) fn overdue(
        &mut self,
        link: &mut Link,
        cx: &mut Context,
        error: &RemoteError,
    ) -> Progress {
        let event = Event::Overdue {
            client: link.client(0),
            request: self.exchange.label.line(),
            after_ms: link.settings.request_timeout_ms,
        };
        self.reject(link, cx, error);
        Progress::Event(event)
    }

    /// Whether the body has come at the minimum rate.
    pub(crate) fn keeps_pace(&mut self, rate: u64, now_ms: u64) -> bool {
        let incoming = self.exchange.body.coming_mut();
        incoming.is_none_or(|incoming| incoming.keeps_pace(rate, now_ms))
    }

    /// The peer has closed its side.
    pub(crate) fn peer_ended(&self, link: &mut Link, how: PeerEnd) -> Progress {
        let unsent = link.output.pending() > 0;
        match (self.exchange.phase(), how) {
            (Phase::Idle, _) if self.parser.is_some() => {
                Progress::Close(Some("the client left in the middle of a request head"))
            }
            (Phase::Collecting | Phase::Handling | Phase::Streaming, _) => {
                Progress::Close(Some("the client left in the middle of a request body"))
            }
            (Phase::Idle, PeerEnd::Closed) if unsent => {
                link.eof = true;
                Progress::Wait
            }
            (Phase::Idle, PeerEnd::Reset) if unsent => {
                Progress::Close(Some("the client reset the connection"))
            }
            _ => Progress::Close(None),
        }
    }
}

// ---- input and deadlines -------------------------------------------------------

impl Http1 {
    /// Whether input is read now.
    #[inline]
    pub(crate) fn reads(&self) -> bool {
        match self.exchange.phase() {
            Phase::Idle | Phase::Collecting => true,
            Phase::Handling | Phase::Streaming => self.exchange.body.is_wanted(),
            Phase::Offered | Phase::Open | Phase::Done => false,
        }
    }

    /// What the epoll set should report of the peer. `blocked`: output waits
    /// for it to read.
    #[inline]
    pub(crate) fn interest(&self, blocked: bool) -> EventFlags {
        match self.exchange.phase() {
            Phase::Handling | Phase::Streaming if self.exchange.body.coming().is_none() => {
                EventFlags::RDHUP
            }
            // The end of the body and the peer's FIN may be in the socket
            // together.
            Phase::Handling | Phase::Streaming if self.exchange.body.is_wanted() => READING,
            Phase::Idle | Phase::Collecting if !blocked => READING,
            _ => EventFlags::empty(),
        }
    }

    /// Whether only the response is left: nothing is read any more, so a peer
    /// that closes its side counts as gone.
    pub(crate) fn only_responds(&self) -> bool {
        self.exchange.phase().is_in_flight() && self.exchange.body.coming().is_none()
    }

    #[inline]
    pub(crate) fn waits_for(&self) -> Wait {
        match self.exchange.phase() {
            Phase::Idle if self.parser.is_some() => Wait::Head {
                since_ms: self.head_since_ms,
            },
            Phase::Idle if self.requests == 0 => Wait::FirstRequest {
                since_ms: self.head_since_ms,
            },
            Phase::Idle => Wait::NextRequest {
                until_ms: self.idles_until_ms,
            },
            _ if self.reads() => {
                let incoming = self.exchange.body.coming();
                let due_ms = incoming.and_then(RequestBody::due_ms);
                due_ms.map_or(Wait::Nothing, |due_ms| Wait::Body { due_ms })
            }
            Phase::Offered | Phase::Handling => Wait::Application {
                since_ms: self.exchange.given_ms,
            },
            _ => Wait::Nothing,
        }
    }

    /// Whether it is between two requests, with nothing of the next one read.
    #[inline]
    pub(crate) fn is_between_requests(&self) -> bool {
        self.exchange.phase() == Phase::Idle && self.parser.is_none()
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.exchange.phase() == Phase::Idle
    }
}

// ---- what the application does ---------------------------------------------------

impl Http1 {
    pub(crate) fn inform<'a>(
        &mut self,
        link: &mut Link,
        cx: &mut Context,
        status: u16,
        headers: impl Iterator<Item = (&'a [u8], &'a [u8])>,
    ) -> Result<(), LocalError> {
        if !self.exchange.phase().owes_head() {
            return Err(LocalError::OutOfTurn);
        }
        if self.exchange.context.version == Version::Http11 {
            link.output
                .append(&mut cx.buffers, |out| write_interim(out, status, headers))
                .map_err(LocalError::Invalid)?;
        }
        Ok(())
    }

    /// Writes the head. Only here it is decided whether this is the last
    /// response. `last`: the server wants that.
    #[inline]
    pub(crate) fn start<'a>(
        &mut self,
        link: &mut Link,
        cx: &mut Context,
        last: bool,
        status: u16,
        headers: impl Iterator<Item = (&'a [u8], &'a [u8])>,
        length: Length,
    ) -> Result<(), LocalError> {
        let date = cx.clock.date();
        let exchange = &mut self.exchange;
        exchange.expects(Step::Start)?;
        // An unread body would be taken for the next request.
        exchange.context.keep_alive &= !last && exchange.body.is_complete();
        let context = exchange.context;
        let framing = link
            .output
            .append(&mut cx.buffers, |out| {
                write_head(out, &context, status, headers, length, &date)
            })
            .map_err(LocalError::Invalid)?;
        exchange.encoder = framing.body;
        exchange.context.keep_alive = framing.keep_alive;
        cx.advance(exchange, Step::Start)
    }

    #[inline]
    pub(crate) fn write(
        &mut self,
        link: &mut Link,
        cx: &mut Context,
        content: Content<'_>,
    ) -> Result<usize, LocalError> {
        let exchange = &mut self.exchange;
        exchange.expects_content()?;
        // The response to a HEAD request has no body, and the application may write one all
        // the same.
        if exchange.encoder == BodyEncoder::Nothing {
            return Ok(0);
        }
        let (output, buffers) = (&mut link.output, &mut cx.buffers);
        let offered = content.len();
        let encoded = exchange.encoder.encode(offered);
        if encoded.len > 0 {
            let prefix = encoded.prefix.as_bytes();
            if !prefix.is_empty() {
                output.append(buffers, |out| out.extend_from_slice(prefix));
            }
            output.push(buffers, content, encoded.len);
            if !encoded.suffix.is_empty() {
                output.append(buffers, |out| out.extend_from_slice(encoded.suffix));
            }
        }
        Ok(offered - encoded.len)
    }

    pub(crate) fn trail<'a>(
        &mut self,
        link: &mut Link,
        cx: &mut Context,
        fields: impl Iterator<Item = (&'a [u8], &'a [u8])> + Clone,
    ) -> Result<(), LocalError> {
        let exchange = &mut self.exchange;
        exchange.expects_content()?;
        link.output
            .append(&mut cx.buffers, |out| {
                exchange.encoder.write_trailers(out, fields)
            })
            .map_err(LocalError::Invalid)
    }

    #[inline]
    pub(crate) fn finish(&mut self, link: &mut Link, cx: &mut Context) -> Result<u64, LocalError> {
        let exchange = &mut self.exchange;
        exchange.expects_content()?;
        let missing = match exchange.encoder {
            BodyEncoder::Chunked => link
                .output
                .append(&mut cx.buffers, |out| exchange.encoder.finish(out))
                .err(),
            _ => exchange.encoder.finish(&mut Vec::new()).err(),
        }
        .map_or(0, |short| short.missing);
        exchange.body.drop_rest();
        exchange.wants_drained = false;
        exchange.wants_gone = false;
        let step = match exchange.context.keep_alive && missing == 0 {
            true => Step::Finish,
            false => Step::FinishLast,
        };
        cx.advance(exchange, step)?;
        self.finish_link(link);
        Ok(missing)
    }

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
            let event = self.malformed(link, cx, error);
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

    /// Writes the engine's own response. False: no head is owed.
    pub(crate) fn reject(
        &mut self,
        link: &mut Link,
        cx: &mut Context,
        error: &RemoteError,
    ) -> bool {
        if cx.advance(&mut self.exchange, Step::Reject).is_err() {
            return false;
        }
        self.exchange.body.drop_rest();
        self.write_error(link, cx, error);
        self.finish_link(link);
        true
    }

    /// Writes an error response and changes no state: for a process that ends
    /// next.
    pub(crate) fn write_error(&self, link: &mut Link, cx: &mut Context, error: &RemoteError) {
        let (date, head_only) = (cx.clock.date(), self.exchange.context.head_only);
        link.output.append(&mut cx.buffers, |out| {
            write_error(out, error, &date, head_only)
        });
    }

    #[inline]
    fn finish_link(&self, link: &mut Link) {
        if self.exchange.phase().was_last() {
            if !self.exchange.body.is_complete() {
                link.unread = true;
            }
            link.finish();
        }
    }
}
