//! What the caller does with a stream: windows it opens, responses it writes, and their end.
//!
//! Always holds: a call that fails has written nothing; no more data is written than the windows
//! allow.

use super::{Connection, Fault, SMALL_BYTES, WIDE_WINDOW, WINDOW};
use crate::errors::LocalError;
use crate::http1::{BodyEncoder, Length, RequestContext};
use crate::http2::budget::Cost;
use crate::http2::frame::{self, ErrorCode, Kind};
use crate::http2::response::{self, Fields, ResponseHead};
use crate::status::Status;

impl Connection {
    /// How many streams are open.
    #[must_use]
    pub fn open_streams(&self) -> usize {
        self.streams.len()
    }

    /// The application reads the body of this stream: more of it may come at once.
    pub fn widen(&mut self, stream: u32, out: &mut Vec<u8>) {
        if let Some(stream) = self.streams.get_mut(stream).filter(|stream| !stream.ended) {
            let increment = WIDE_WINDOW - WINDOW;
            stream.receive_window += i64::from(increment);
            frame::write_window(out, stream.id, increment);
        }
    }

    /// The application has taken `len` bytes of a body: the peer may send as many more.
    pub fn give_back(&mut self, stream: u32, len: usize, out: &mut Vec<u8>) {
        let Some(stream) = self.streams.get_mut(stream).filter(|stream| !stream.ended) else {
            return;
        };
        stream.taken = stream.taken.saturating_add(len as u32);
        if stream.taken >= WINDOW / 2 {
            let increment = std::mem::take(&mut stream.taken);
            stream.receive_window += i64::from(increment);
            frame::write_window(out, stream.id, increment);
        }
    }

    /// Writes an interim response, such as 103.
    ///
    /// # Errors
    /// [`LocalError`]. Nothing was written then.
    pub fn write_interim<'a>(
        &mut self,
        out: &mut Vec<u8>,
        stream: u32,
        status: u16,
        headers: impl Iterator<Item = (&'a [u8], &'a [u8])>,
    ) -> Result<(), LocalError> {
        let fields = Fields::check(headers)?;
        let encoder = &mut self.encoder;
        frame::write_block(out, stream, false, self.peer_frame, |out| {
            response::write_interim(encoder, out, status, &fields);
        });
        Ok(())
    }

    /// Writes the head of a response. Returns how its body is framed: if it has none, its stream has
    /// ended with the head.
    ///
    /// # Errors
    /// [`LocalError`]. Nothing was written then.
    #[expect(
        clippy::too_many_arguments,
        reason = "those of the response, and where it goes"
    )]
    pub fn write_response<'a>(
        &mut self,
        out: &mut Vec<u8>,
        stream: u32,
        request: &RequestContext,
        status: Status<'a>,
        headers: impl Iterator<Item = (&'a [u8], &'a [u8])>,
        length: Length,
        date: &[u8; 29],
    ) -> Result<BodyEncoder, LocalError> {
        let head = ResponseHead::check(request, status, headers, length)?;
        let ends = matches!(
            head.body,
            BodyEncoder::Nothing | BodyEncoder::Length { left: 0 }
        );
        let encoder = &mut self.encoder;
        frame::write_block(out, stream, ends, self.peer_frame, |out| {
            head.write(encoder, out, date);
        });
        if ends {
            self.end_stream(out, stream);
            return Ok(BodyEncoder::Nothing);
        }
        Ok(head.body)
    }

    /// Checks the fields of a trailer section, which is written later.
    ///
    /// # Errors
    /// [`LocalError`].
    pub fn check_trailers<'a>(
        fields: impl Iterator<Item = (&'a [u8], &'a [u8])> + Clone,
    ) -> Result<(), LocalError> {
        response::check_trailers(fields)
    }

    /// Writes checked trailers, which end the stream.
    pub fn write_trailers<'a>(
        &mut self,
        out: &mut Vec<u8>,
        stream: u32,
        fields: impl Iterator<Item = (&'a [u8], &'a [u8])>,
    ) {
        let encoder = &mut self.encoder;
        frame::write_block(out, stream, true, self.peer_frame, |out| {
            response::write_trailers(encoder, out, fields);
        });
        self.end_stream(out, stream);
    }

    /// Says whether a stream has data to send.
    pub fn set_ready(&mut self, stream: u32, yes: bool) {
        if let Some(stream) = self.streams.get_mut(stream) {
            stream.is_ready = yes;
        }
    }

    /// The stream that sends next: it is ready, and the windows allow it to send.
    pub fn next_sender(&mut self) -> Option<u32> {
        match self.send_window > 0 {
            true => self.streams.next(),
            false => None,
        }
    }

    /// How many bytes the stream may send in one frame.
    #[must_use]
    pub fn room(&self, stream: u32) -> usize {
        let stream_window = self
            .streams
            .get(stream)
            .map_or(0, |stream| stream.send_window);
        let window = self.send_window.min(stream_window).max(0);
        usize::try_from(window).map_or(0, |window| window.min(self.peer_frame))
    }

    /// Writes the head of a frame of data; its `len` bytes follow. They are at most
    /// [`Self::room`]. `waiting`: how many the stream would have sent without a window. `last`:
    /// they end the stream, and [`Self::end_stream`] follows them.
    ///
    /// # Errors
    /// [`Fault`]: the peer keeps its windows so small that its budget is spent.
    pub fn write_data(
        &mut self,
        out: &mut Vec<u8>,
        stream: u32,
        len: usize,
        waiting: usize,
        last: bool,
    ) -> Result<(), Fault> {
        let flags = if last { frame::END_STREAM } else { 0 };
        frame::write_head(out, len, Kind::Data, flags, stream);
        self.send_window -= len as i64;
        if let Some(stream) = self.streams.get_mut(stream) {
            stream.send_window -= len as i64;
        }
        self.budget.sent_data();
        match len < waiting.min(SMALL_BYTES) {
            true => self.spend(Cost::SmallWindow),
            false => Ok(()),
        }
    }

    /// The last frame of a stream is written. A request that is not whole is not wanted any more (RFC 9113
    /// 8.1).
    pub fn end_stream(&mut self, out: &mut Vec<u8>, stream: u32) {
        self.budget.responded();
        let ended = self.streams.get(stream).is_none_or(|stream| stream.ended);
        match ended {
            true => drop(self.streams.close(stream)),
            false => self.reset(stream, ErrorCode::NoError, out),
        }
    }

    /// Resets a stream.
    pub fn reset(&mut self, stream: u32, code: ErrorCode, out: &mut Vec<u8>) {
        frame::write_reset(out, stream, code);
        self.streams.close(stream);
        self.streams.remember(stream);
    }

    /// Accepts no further stream, and says so. What is open goes on.
    pub fn drain(&mut self, out: &mut Vec<u8>) {
        if self.last.is_none() {
            self.last = Some(self.highest);
            frame::write_goaway(out, self.highest, ErrorCode::NoError, "");
        }
    }

    /// Whether [`Self::drain`] was called.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.last.is_some()
    }

    /// Tells the peer why the connection ends.
    pub fn write_goaway(&self, out: &mut Vec<u8>, fault: Fault) {
        frame::write_goaway(out, self.highest, fault.code, fault.reason);
    }
}
