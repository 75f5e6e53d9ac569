//! Writes HTTP/2 responses: those of the application, and the engine's own.
//!
//! Always holds: a call that fails has written nothing; a head is written when it is made, data when
//! the windows allow it.

use super::{Ending, Http2};
use crate::content::Content;
use crate::context::Context;
use crate::errors::LocalError;
use crate::link::{Link, PeerSide};
use crate::phase::Step;
use crate::progress::HIGH_WATER;
use crate::request_ids::Named;
use prefork_wire::http2::ErrorCode;
use prefork_wire::{BodyEncoder, Length, RemoteError, RequestKind, Status, error_body};

impl Http2 {
    pub(crate) fn inform<'a>(
        &mut self,
        link: &mut Link,
        cx: &mut Context,
        stream: u32,
        status: u16,
        headers: impl Iterator<Item = (&'a [u8], &'a [u8])>,
    ) -> Result<(), LocalError> {
        if !self.stream(stream)?.exchange.phase().owes_head() {
            return Err(LocalError::OutOfTurn);
        }
        let wire = &mut self.wire;
        link.output
            .append(&mut cx.buffers, |out| {
                wire.write_interim(out, stream, status, headers)
            })
            .map_err(LocalError::Invalid)
    }

    /// Writes the head. `last`: the server wants no further request on this connection.
    #[expect(
        clippy::too_many_arguments,
        reason = "those of the call, and where it goes"
    )]
    pub(crate) fn start<'a>(
        &mut self,
        link: &mut Link,
        cx: &mut Context,
        stream: u32,
        last: bool,
        status: Status<'a>,
        headers: impl Iterator<Item = (&'a [u8], &'a [u8])>,
        length: Length,
    ) -> Result<(), LocalError> {
        let date = cx.clock.date();
        let place = self.place(stream)?;
        let open = self.streams.get_mut(place).ok_or(LocalError::Closed)?;
        open.exchange.expects(Step::Start)?;
        let (wire, context) = (&mut self.wire, &open.exchange.context);
        let id = open.exchange.label.id();
        let encoder = link
            .output
            .append(&mut cx.buffers, |out| match id {
                [] => wire.write_response(out, stream, context, status, headers, length, &date),
                _ => {
                    let headers = Named::with(id, headers);
                    wire.write_response(out, stream, context, status, headers, length, &date)
                }
            })
            .map_err(LocalError::Invalid)?;
        open.exchange.encoder = encoder;
        if encoder == BodyEncoder::Nothing {
            open.ending = Ending::Ended;
        }
        cx.start_response(&mut open.exchange, status.code)?;
        if last {
            self.drain_is_due = true; // GOAWAY follows the response: see `drain`
        }
        Ok(())
    }

    pub(crate) fn write(
        &mut self,
        link: &mut Link,
        cx: &mut Context,
        stream: u32,
        content: Content<'_>,
    ) -> Result<usize, LocalError> {
        self.stream(stream)?.exchange.expects_content()?;
        self.write_content(link, cx, stream, content)
    }

    /// As [`Http2::write`], for a response whose head is written.
    #[inline]
    pub(super) fn write_content(
        &mut self,
        link: &mut Link,
        cx: &mut Context,
        stream: u32,
        content: Content<'_>,
    ) -> Result<usize, LocalError> {
        let is_alone = self.queued == 0;
        let place = self.place(stream)?;
        let open = self.streams.get_mut(place).ok_or(LocalError::Closed)?;
        // An empty frame would say nothing.
        if open.exchange.encoder == BodyEncoder::Nothing || content.is_empty() {
            return Ok(0);
        }
        open.is_awaited = false;
        let offered = content.len();
        let len = open.exchange.encoder.encode(offered).len;
        let surplus = offered - len;
        let ends = open.exchange.encoder == BodyEncoder::Length { left: 0 };
        if let Content::Copied(bytes) = content {
            // Most bodies are one frame, for which there is room.
            if is_alone && len <= self.wire.room(stream) && link.pending() < HIGH_WATER {
                let (wire, bytes) = (&mut self.wire, bytes.get(..len).unwrap_or(bytes));
                let framed = link.output.append(&mut cx.buffers, |out| {
                    let framed = wire.write_data(out, stream, len, len, ends);
                    out.extend_from_slice(bytes);
                    if ends {
                        wire.end_stream(out, stream);
                    }
                    framed
                });
                if ends {
                    open.ending = Ending::Ended;
                }
                self.fault = self.fault.or(framed.err());
                return Ok(surplus);
            }
        }
        if ends {
            open.ending = Ending::Finish;
        }
        if len > 0 {
            if open.queue.len() == 0 {
                self.queued += 1;
                open.moved_ms = cx.clock.now_ms;
            }
            open.queue.push(content, len);
            self.wire.set_ready(stream, true);
            self.pump(link, cx);
        }
        Ok(surplus)
    }

    pub(crate) fn trail<'a>(
        &mut self,
        _link: &mut Link,
        _cx: &mut Context,
        stream: u32,
        fields: impl Iterator<Item = (&'a [u8], &'a [u8])> + Clone,
    ) -> Result<(), LocalError> {
        let open = self.stream(stream)?;
        open.exchange.expects_content()?;
        prefork_wire::http2::Connection::check_trailers(fields.clone())
            .map_err(LocalError::Invalid)?;
        // With a length, the stream may have ended with its last byte.
        if matches!(open.ending, Ending::Open) {
            let fields = fields.map(|(name, value)| (name.to_vec(), value.to_vec()));
            open.ending = Ending::Trailers(fields.collect());
        }
        Ok(())
    }

    pub(crate) fn finish(
        &mut self,
        link: &mut Link,
        cx: &mut Context,
        stream: u32,
    ) -> Result<u64, LocalError> {
        let open = self.stream(stream)?;
        open.exchange.expects_content()?;
        let short = open.exchange.encoder.finish(&mut Vec::new());
        let missing = short.err().map_or(0, |short| short.missing);
        open.exchange.body.drop_rest();
        open.exchange.wants_drained = false;
        open.exchange.wants_gone = false;
        open.input = Vec::new();
        cx.finish_response(&mut open.exchange, Step::FinishLast)?;
        if matches!(open.ending, Ending::Open) {
            open.ending = Ending::Finish;
        }
        if missing > 0 {
            let wire = &mut self.wire;
            link.output.append(&mut cx.buffers, |out| {
                wire.reset(stream, ErrorCode::Internal, out);
            });
            self.forget(stream);
            self.finish_if_drained(link);
        } else if open.queue.len() == 0 {
            self.end(link, cx, stream);
        }
        self.forget_if_over(link, stream);
        self.drain_after(link, cx, stream);
        Ok(missing)
    }

    /// Writes the end of a response whose content is framed.
    pub(super) fn end(&mut self, link: &mut Link, cx: &mut Context, stream: u32) {
        let Ok(open) = self.stream(stream) else {
            return;
        };
        let ending = std::mem::replace(&mut open.ending, Ending::Ended);
        let wire = &mut self.wire;
        link.output.append(&mut cx.buffers, |out| match &ending {
            // It is not framed: nothing was taken from a window.
            Ending::Finish => {
                let _ = wire.write_data(out, stream, 0, 0, true);
                wire.end_stream(out, stream);
            }
            Ending::Trailers(fields) => {
                let fields = fields.iter();
                let fields = fields.map(|(name, value)| (name.as_slice(), value.as_slice()));
                wire.write_trailers(out, stream, fields);
            }
            Ending::Open | Ending::Ended => {}
        });
        if let (Ending::Open, Ok(open)) = (ending, self.stream(stream)) {
            open.ending = Ending::Open;
        }
    }

    /// Frames what the windows and the output have room for, the most urgent first. True: there is
    /// more output.
    pub(crate) fn pump(&mut self, link: &mut Link, cx: &mut Context) -> bool {
        let mut any = false;
        while self.queued > 0 && link.pending() < HIGH_WATER {
            let Some(stream) = self.wire.next_sender() else {
                break;
            };
            any = true;
            self.pump_frame(link, cx, stream);
            if link.pending() > 0 && self.lacks_content(stream) {
                break; // less urgent ones do not take its place
            }
        }
        if link.peer_side == PeerSide::Ended && link.pending() < HIGH_WATER {
            self.abort_stuck(link, cx);
        }
        self.resume_carriers();
        any
    }

    /// Whether all of a response is framed that the application has given, and more follows at once.
    fn lacks_content(&self, stream: u32) -> bool {
        let place = self.place(stream).ok();
        let open = place.and_then(|place| self.streams.get(place));
        open.is_some_and(|open| open.queue.len() == 0 && open.is_continued())
    }

    /// The peer has closed its side, so it opens no window: what waits for one never leaves.
    fn abort_stuck(&mut self, link: &mut Link, cx: &mut Context) {
        let stuck = self.streams.iter().filter(|open| open.queue.len() > 0);
        let stuck: Vec<u32> = stuck.map(|open| open.id).collect();
        for stream in stuck {
            self.reset_with(link, cx, stream, ErrorCode::Cancel);
        }
    }

    fn pump_frame(&mut self, link: &mut Link, cx: &mut Context, stream: u32) {
        let Ok(place) = self.place(stream) else {
            return self.wire.set_ready(stream, false);
        };
        let Some(open) = self.streams.get_mut(place) else {
            return;
        };
        let waiting = open.queue.len();
        let len = waiting.min(self.wire.room(stream));
        let is_all = len == waiting;
        let last = is_all && matches!(open.ending, Ending::Finish);
        let wire = &mut self.wire;
        let framed = link.output.append(&mut cx.buffers, |out| {
            wire.write_data(out, stream, len, waiting, last)
        });
        open.queue.take(len, &mut link.output, &mut cx.buffers);
        open.moved_ms = cx.clock.now_ms;
        if is_all {
            self.queued -= 1;
            self.wire.set_ready(stream, false);
        }
        if last {
            open.ending = Ending::Ended;
            let wire = &mut self.wire;
            link.output
                .append(&mut cx.buffers, |out| wire.end_stream(out, stream));
        } else if is_all {
            self.end(link, cx, stream);
        }
        self.fault = self.fault.or(framed.err());
        self.forget_if_over(link, stream);
        self.drain_after(link, cx, stream);
    }

    /// Writes the engine's own response. False: no head is owed.
    pub(crate) fn reject(
        &mut self,
        link: &mut Link,
        cx: &mut Context,
        stream: u32,
        error: &RemoteError,
    ) -> bool {
        let Ok(open) = self.stream(stream) else {
            return false;
        };
        if cx.reject(&mut open.exchange, error.status).is_err() {
            return false;
        }
        open.exchange.body.drop_rest();
        open.input = Vec::new();
        self.write_error(link, cx, stream, error);
        if let Ok(open) = self.stream(stream) {
            open.ending = match open.queue.len() {
                0 => Ending::Ended,
                _ => Ending::Finish,
            };
        }
        self.forget_if_over(link, stream);
        true
    }

    /// Writes an error response, and leaves the phase of the exchange as it is.
    fn write_error(&mut self, link: &mut Link, cx: &mut Context, stream: u32, error: &RemoteError) {
        let date = cx.clock.date();
        let Ok(place) = self.place(stream) else {
            return;
        };
        let Some(open) = self.streams.get_mut(place) else {
            return;
        };
        let body = error_body(error);
        let length = Length::Known(body.len() as u64);
        let settings = std::sync::Arc::clone(&link.settings);
        let is_own = |name: &[u8]| {
            name.eq_ignore_ascii_case(b"content-type")
                || name.eq_ignore_ascii_case(b"content-length")
        };
        let own = [(&b"content-type"[..], &b"text/plain"[..])];
        let given = settings.headers.iter();
        let given = given.map(|(name, value)| (name.as_slice(), value.as_slice()));
        let given = given.filter(|(name, _)| !is_own(name));
        let (wire, context) = (&mut self.wire, &open.exchange.context);
        let status = error.status;
        let is_head = context.kind == RequestKind::Head;
        let id = open.exchange.label.id();
        let written = link.output.append(&mut cx.buffers, |out| {
            let headers = Named::with(id, given.chain(own));
            let written =
                wire.write_response(out, stream, context, status.into(), headers, length, &date);
            // A field that cannot be sent must not keep the client from its response.
            written.or_else(|_| {
                let headers = own.into_iter();
                wire.write_response(out, stream, context, status.into(), headers, length, &date)
            })
        });
        if written.is_err() || is_head {
            return;
        }
        if body.len() <= self.wire.room(stream) {
            let wire = &mut self.wire;
            let framed = link.output.append(&mut cx.buffers, |out| {
                let framed = wire.write_data(out, stream, body.len(), body.len(), true);
                out.extend_from_slice(body.as_bytes());
                wire.end_stream(out, stream);
                framed
            });
            self.fault = self.fault.or(framed.err());
        } else {
            self.queued += 1;
            open.queue
                .push(Content::Copied(body.as_bytes()), body.len());
            self.wire.set_ready(stream, true);
        }
    }

    /// Writes and logs a 504 for each response whose head is owed, and changes no phase: for a process
    /// that ends next.
    pub(crate) fn write_overdue(&mut self, link: &mut Link, cx: &mut Context, error: &RemoteError) {
        let owing: Vec<u32> = self
            .exchanges()
            .filter(|(_, exchange)| exchange.holds_up_head())
            .map(|(stream, _)| stream)
            .collect();
        for stream in &owing {
            self.write_error(link, cx, *stream, error);
            cx.load.count_refused(error.status);
            if let Some(exchange) = self.exchange(*stream) {
                let client = link.client(*stream).behind(exchange.origin.as_deref());
                cx.log_own(client, Some(exchange), error);
            }
        }
    }
}
