//! Streams that other workers serve: their requests go out as HTTP/1, and the responses become frames.
//!
//! Always holds: what one side does not take holds the other back, by the windows of the stream and by the
//! buffers of the socket; no call of the application is needed. A request that is lent is not in flight here.

use super::carrier::{Carrier, Next};
use super::{Ending, Http2, Waiting};
use crate::content::Content;
use crate::context::Context;
use crate::event::{Event, Lost};
use crate::link::Link;
use crate::phase::Step;
use crate::progress::HIGH_WATER;
use prefork_wire::http2::ErrorCode;
use prefork_wire::{
    BodyEncoder, Field, Length, RemoteError, RequestContext, RequestKind, ResponsePart, Version,
};
use std::io;

/// How often a carrier is read in one share of a turn.
const READS: u32 = 4;

const NO_RESPONSE: RemoteError = RemoteError {
    status: 502,
    reason: "the worker that served the request has ended",
};

/// The state of a carrier after a step.
enum Carried {
    /// The stream waits for it.
    On,
    /// The response is complete, or the stream is over.
    Done,
}

impl Http2 {
    /// Makes a carrier for the first request that waits. `make` gets its stream, and calls
    /// [`Carrier::new`]. `None`: none waits that can be lent.
    pub(crate) fn offer<R>(
        &self,
        make: impl FnOnce(u32, &prefork_wire::Head, &[u8]) -> io::Result<R>,
    ) -> Option<io::Result<R>> {
        let next = self.waiting.iter().find(|next| next.head.may_be_lent())?;
        Some(make(next.stream, &next.head, &next.bytes))
    }

    /// Another worker has the request of a stream, which comes and goes by `carrier`.
    pub(crate) fn lend(
        &mut self,
        link: &mut Link,
        cx: &mut Context,
        stream: u32,
        carrier: Carrier,
    ) {
        let place = self.waiting.iter().position(|next| next.stream == stream);
        let next = place.and_then(|place| self.waiting.remove(place));
        let (Some(Waiting { head, bytes, .. }), Ok(open)) = (next, self.stream(stream)) else {
            return carrier.close();
        };
        let (method, target) = (head.method.of(&bytes), head.target.of(&bytes));
        let exchange = &mut open.exchange;
        exchange.label.set(method, target);
        exchange.context = RequestContext {
            version: Version::Http2,
            kind: match head.websocket {
                true => RequestKind::Other,
                false => RequestKind::of(method),
            },
            keep_alive: true,
        };
        cx.must_advance(exchange, Step::Lend);
        let has_ended = exchange
            .body
            .coming_mut()
            .is_none_or(|body| body.has_ended());
        exchange.body.complete();
        let input = std::mem::take(&mut open.input);
        open.carrier = Some(Box::new(carrier));
        self.with_frames(link, cx, |http2, _, _, out| {
            http2.upload(stream, &input, has_ended, out)
        });
        self.count_request(link, cx);
    }

    /// Data of a stream that is lent. False: it is not.
    pub(super) fn upload(
        &mut self,
        stream: u32,
        data: &[u8],
        ended: bool,
        out: &mut Vec<u8>,
    ) -> bool {
        let Ok(open) = self.stream(stream) else {
            return false;
        };
        let Some(carrier) = &mut open.carrier else {
            return false;
        };
        carrier.write(data);
        if ended {
            carrier.end_request();
        }
        let given = carrier.flush();
        carrier.wait(carrier.reads());
        // The other worker's buffers take what comes.
        let widens = given > 0 && !std::mem::replace(&mut open.is_wide, true);
        self.wire.give_back(stream, given, out);
        if widens {
            self.wire.widen(stream, out);
        }
        true
    }

    /// The rest of a request that is lent cannot be accepted.
    pub(super) fn refuse_upload(
        &mut self,
        link: &mut Link,
        cx: &mut Context,
        stream: u32,
        error: &RemoteError,
    ) {
        cx.load.count_refusal(error.status);
        let carrier = self
            .stream(stream)
            .ok()
            .and_then(|open| open.carrier.take());
        let has_head = carrier.is_some_and(|carrier| {
            let has_head = carrier.has_head();
            carrier.close();
            has_head
        });
        if has_head || !self.reject(link, cx, stream, error) {
            self.reset_with(link, cx, stream, ErrorCode::Cancel);
        }
    }

    /// Goes on with a stream that is lent, in both directions.
    pub(crate) fn carry(&mut self, link: &mut Link, cx: &mut Context, stream: u32) {
        let Ok(open) = self.stream(stream) else {
            return;
        };
        let Some(mut carrier) = open.carrier.take() else {
            return;
        };
        let given = carrier.flush();
        self.with_frames(link, cx, |http2, _, _, out| {
            http2.wire.give_back(stream, given, out);
        });
        let carried = self.relay(link, cx, stream, &mut carrier);
        let reads = self.takes_more(stream);
        match (carried, self.stream(stream)) {
            (Carried::On, Ok(open)) => {
                carrier.wait(reads);
                open.carrier = Some(carrier);
            }
            _ => {
                carrier.close();
                if self.drain_is_due {
                    self.drain_now(link, cx);
                }
                return;
            }
        }
        if !reads {
            self.held += 1;
        }
    }

    /// Whether there is room for more of the response of a stream.
    fn takes_more(&self, stream: u32) -> bool {
        self.unsent(stream) < HIGH_WATER
    }

    /// Reads on from carriers that were held back, if the client has taken enough.
    pub(super) fn resume_carriers(&mut self) {
        if self.held == 0 {
            return;
        }
        self.held = 0;
        for open in &mut self.streams {
            if let Some(carrier) = open.carrier.as_mut().filter(|carrier| !carrier.reads()) {
                match open.queue.len() < HIGH_WATER {
                    true => carrier.wait(true),
                    false => self.held += 1,
                }
            }
        }
    }

    fn relay(
        &mut self,
        link: &mut Link,
        cx: &mut Context,
        stream: u32,
        carrier: &mut Carrier,
    ) -> Carried {
        for _ in 0..READS {
            if !self.takes_more(stream) || !carrier.receive() {
                break;
            }
            loop {
                match carrier.next() {
                    Next::Nothing => break,
                    Next::Lost(reason) => {
                        self.abort_lent(link, cx, stream, carrier.has_head(), reason);
                        return Carried::Done;
                    }
                    Next::Part(part, len) => {
                        let relayed = self.relay_part(link, cx, stream, part, carrier.unread());
                        carrier.consume(len);
                        if let Carried::Done = relayed {
                            return Carried::Done;
                        }
                    }
                }
            }
        }
        Carried::On
    }

    /// Writes one part of a response.
    fn relay_part(
        &mut self,
        link: &mut Link,
        cx: &mut Context,
        stream: u32,
        part: ResponsePart,
        input: &[u8],
    ) -> Carried {
        let of = |field: &Field| (field.name.of(input), field.value.of(input));
        let has_head = matches!(part, ResponsePart::Data(_));
        let written = match part {
            ResponsePart::Interim { status, fields } => {
                let fields = fields.iter().map(of);
                let wire = &mut self.wire;
                let written = link.output.append(&mut cx.buffers, |out| {
                    wire.write_interim(out, stream, status, fields)
                });
                written.is_ok()
            }
            ResponsePart::Head { status, fields } => {
                self.relay_head(link, cx, stream, status, &mut fields.iter().map(of))
            }
            ResponsePart::Switched { fields } => {
                // RFC 8441, section 5: the status accepts.
                let fields = fields.iter().map(of);
                let mut fields =
                    fields.filter(|(name, _)| !name.eq_ignore_ascii_case(b"sec-websocket-accept"));
                self.relay_head(link, cx, stream, 200, &mut fields)
            }
            ResponsePart::Data(range) => {
                let data = input.get(range).unwrap_or_default();
                self.write_content(link, cx, stream, Content::Copied(data))
                    .is_ok()
            }
            ResponsePart::End { trailers } => {
                self.relay_end(link, cx, stream, trailers.iter().map(of));
                return Carried::Done;
            }
        };
        if !written {
            self.abort_lent(link, cx, stream, has_head, "its response cannot be sent");
        }
        match written {
            true => Carried::On,
            false => Carried::Done,
        }
    }

    fn relay_head<'a>(
        &mut self,
        link: &mut Link,
        cx: &mut Context,
        stream: u32,
        status: u16,
        fields: &mut dyn Iterator<Item = (&'a [u8], &'a [u8])>,
    ) -> bool {
        let date = cx.clock.date();
        let Ok(place) = self.place(stream) else {
            return false;
        };
        let Some(open) = self.streams.get_mut(place) else {
            return false;
        };
        let (wire, context) = (&mut self.wire, &open.exchange.context);
        let written = link.output.append(&mut cx.buffers, |out| {
            let (status, length) = (status.into(), Length::Unknown);
            wire.write_response(out, stream, context, status, fields, length, &date)
        });
        let Ok(encoder) = written else {
            return false;
        };
        open.exchange.encoder = encoder;
        if encoder == BodyEncoder::Nothing {
            open.ending = Ending::Ended;
        }
        true
    }

    fn relay_end<'a>(
        &mut self,
        link: &mut Link,
        cx: &mut Context,
        stream: u32,
        trailers: impl Iterator<Item = (&'a [u8], &'a [u8])>,
    ) {
        let Ok(open) = self.stream(stream) else {
            return;
        };
        cx.must_advance(&mut open.exchange, Step::FinishLast);
        if matches!(open.ending, Ending::Open) {
            let trailers = trailers.map(|(name, value)| (name.to_vec(), value.to_vec()));
            let trailers: Vec<_> = trailers.collect();
            open.ending = match trailers.is_empty() {
                true => Ending::Finish,
                false => Ending::Trailers(trailers),
            };
        }
        if open.queue.len() == 0 {
            self.end(link, cx, stream);
        }
        self.forget_if_over(link, stream);
    }

    /// There is no response, or no more of one.
    fn abort_lent(
        &mut self,
        link: &mut Link,
        cx: &mut Context,
        stream: u32,
        has_head: bool,
        reason: &'static str,
    ) {
        let Ok(open) = self.stream(stream) else {
            return;
        };
        cx.events.push_back(Event::Lost(Lost {
            request: open.exchange.label.line(),
            client: link.client(stream),
            reason,
        }));
        if !has_head {
            cx.log_own(link.client(stream), Some(&open.exchange), &NO_RESPONSE);
        }
        if has_head || !self.reject(link, cx, stream, &NO_RESPONSE) {
            self.reset_with(link, cx, stream, ErrorCode::Internal);
        }
    }
}
