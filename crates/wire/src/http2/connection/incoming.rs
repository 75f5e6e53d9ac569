//! Frames of a stream: what they mean for the stream, and whether it may have them.
//!
//! Always holds: what breaks a rule of the stream ends the stream alone, if RFC 9113 lets it; a
//! request that is malformed is never told to the caller.

use super::{
    BAD_BLOCK, BAD_PADDING, BAD_SIZE, BAD_STREAM, BLOCK_BYTES, BLOCK_TOO_LONG, Block,
    CLOSED_STREAM, CONNECTION_WINDOW, Connection, Fault, IDLE_STREAM, Incoming, NOT_BEGUN,
    OVER_WINDOW, WINDOW, fault,
};
use crate::http1::{BODY_TOO_LARGE, Framing};
use crate::http2::budget::Cost;
use crate::http2::frame::{self, ErrorCode, FrameHead};
use crate::http2::hpack::{List, ListBounds};
use crate::http2::priority::Priority;
use crate::http2::request::{self, Refusal};
use crate::http2::streams::{Stream, Told};
use crate::limits::Limits;
use std::ops::Range;

impl Connection {
    fn is_idle(&self, stream: u32) -> bool {
        // Streams with even numbers are ours, and we open none.
        stream % 2 == 0 || stream > self.highest
    }

    pub(super) fn must_not_be_idle(&self, stream: u32) -> Result<(), Fault> {
        match self.is_idle(stream) {
            true => Err(IDLE_STREAM),
            false => Ok(()),
        }
    }

    pub(super) fn data(
        &mut self,
        head: &FrameHead,
        payload: &[u8],
        at: usize,
        out: &mut Vec<u8>,
        limits: &Limits,
    ) -> Result<Option<Incoming>, Fault> {
        if head.stream == 0 {
            return Err(BAD_STREAM);
        }
        let data = unpad(head, payload)?;
        let padding = head.len - data.len();
        self.must_not_be_idle(head.stream)?;
        self.receive_window -= head.len as i64;
        if self.receive_window < 0 {
            return Err(OVER_WINDOW);
        }
        if self.receive_window < i64::from(CONNECTION_WINDOW / 2) {
            let increment = i64::from(CONNECTION_WINDOW) - self.receive_window;
            self.receive_window = i64::from(CONNECTION_WINDOW);
            frame::write_window(out, 0, increment as u32);
        }
        let ended = head.has(frame::END_STREAM);
        if data.is_empty() && !ended || padding > data.len() {
            self.spend(Cost::Empty)?;
        }
        let Some(stream) = self.streams.get_mut(head.stream) else {
            return match self.streams.was_reset(head.stream) {
                true => Ok(None),
                false => Err(CLOSED_STREAM),
            };
        };
        if stream.ended {
            let reason = "data after the end of the stream";
            return self.fail(head.stream, ErrorCode::StreamClosed, reason, out);
        }
        stream.receive_window -= head.len as i64;
        stream.received += data.len() as u64;
        if stream.receive_window < 0 {
            let reason = "more data than the window allows";
            return self.fail(head.stream, ErrorCode::FlowControl, reason, out);
        }
        if let Some(error) = stream.count(data.len() as u64, ended) {
            return self.fail(head.stream, ErrorCode::Protocol, error, out);
        }
        stream.ended = ended;
        match stream.told {
            Told::Nothing => return Ok(None),
            Told::Body if stream.received > limits.max_body => {
                stream.told = Told::Nothing;
                let (stream, error) = (head.stream, BODY_TOO_LARGE);
                return Ok(Some(Incoming::BodyRefused { stream, error }));
            }
            Told::Body | Told::Messages => {}
        }
        self.give_back(head.stream, padding, out);
        let start = at + data.start;
        Ok(Some(Incoming::Data {
            stream: head.stream,
            data: start..start + data.len(),
            ended,
        }))
    }

    pub(super) fn headers(
        &mut self,
        head: &FrameHead,
        payload: &[u8],
        out: &mut Vec<u8>,
        limits: &Limits,
    ) -> Result<Option<Incoming>, Fault> {
        let id = head.stream;
        if id % 2 == 0 {
            return Err(BAD_STREAM);
        }
        if id <= self.highest && self.streams.get(id).is_none() && !self.streams.was_reset(id) {
            return Err(CLOSED_STREAM);
        }
        let content = unpad(head, payload)?;
        let mut fragment = payload.get(content).unwrap_or_default();
        let mut is_knotted = false;
        if head.has(frame::PRIORITY) {
            let (priority, rest) = fragment.split_at_checked(5).ok_or(BAD_SIZE)?;
            is_knotted = frame::number_31(priority) == Some(id);
            fragment = rest;
        }
        let block = Block {
            stream: id,
            end_stream: head.has(frame::END_STREAM),
            is_knotted,
            bytes: Vec::new(),
        };
        if head.has(frame::END_HEADERS) {
            return self.end_block(&block, fragment, out, limits);
        }
        let bytes = fragment.to_vec();
        self.block = Some(Box::new(Block { bytes, ..block }));
        Ok(None)
    }

    pub(super) fn continuation(
        &mut self,
        head: &FrameHead,
        payload: &[u8],
        out: &mut Vec<u8>,
        limits: &Limits,
    ) -> Result<Option<Incoming>, Fault> {
        self.spend(Cost::Continuation)?;
        let Some(mut block) = self.block.take() else {
            return Err(NOT_BEGUN);
        };
        if block.bytes.len() + payload.len() > limits.head.saturating_add(BLOCK_BYTES) {
            return Err(BLOCK_TOO_LONG);
        }
        block.bytes.extend_from_slice(payload);
        if !head.has(frame::END_HEADERS) {
            self.block = Some(block);
            return Ok(None);
        }
        self.end_block(&block, &block.bytes, out, limits)
    }

    /// A header block is complete: a request, or trailers.
    fn end_block(
        &mut self,
        block: &Block,
        bytes: &[u8],
        out: &mut Vec<u8>,
        limits: &Limits,
    ) -> Result<Option<Incoming>, Fault> {
        let bounds = ListBounds {
            bytes: limits.head,
            fields: limits.fields.saturating_add(PSEUDO_HEADERS),
        };
        let list = self.decoder.decode(bytes, bounds).map_err(|_| BAD_BLOCK)?;
        self.spend(Cost::List(list.size))?;
        let id = block.stream;
        if let Some(stream) = self.streams.get(id) {
            return match stream.ended {
                true => {
                    let reason = "headers after the end of the stream";
                    self.fail(id, ErrorCode::StreamClosed, reason, out)
                }
                false => self.trailers(block, &list, out, limits),
            };
        }
        if id <= self.highest {
            return Ok(None); // it crossed our reset
        }
        self.highest = id;
        if self.last.is_some() {
            self.reset(id, ErrorCode::RefusedStream, out);
            return Ok(None);
        }
        self.request(block, list, out, limits)
    }

    fn trailers(
        &mut self,
        block: &Block,
        list: &List,
        out: &mut Vec<u8>,
        limits: &Limits,
    ) -> Result<Option<Incoming>, Fault> {
        let id = block.stream;
        let checked = request::check_trailers(list, limits);
        let mut is_told = true;
        let reason = match checked {
            Ok(()) if !block.end_stream => Some("trailers that do not end the stream"),
            Err(Refusal::Malformed(reason)) => Some(reason),
            Err(Refusal::Respond(error)) => Some(error.reason),
            Ok(()) => self.streams.get_mut(id).and_then(|stream| {
                stream.ended = true;
                is_told = stream.told != Told::Nothing;
                stream.count(0, true)
            }),
        };
        match reason {
            Some(reason) => self.fail(id, ErrorCode::Protocol, reason, out),
            None => Ok(is_told.then_some(Incoming::Data {
                stream: id,
                data: 0..0,
                ended: true,
            })),
        }
    }

    fn request(
        &mut self,
        block: &Block,
        list: List,
        out: &mut Vec<u8>,
        limits: &Limits,
    ) -> Result<Option<Incoming>, Fault> {
        let (id, ended) = (block.stream, block.end_stream);
        if self.streams.are_full() {
            self.spend(Cost::Refused)?;
            frame::write_reset(out, id, ErrorCode::RefusedStream);
            self.streams.remember(id);
            return Ok(None);
        }
        let refused = match request::read(list, ended, limits) {
            _ if block.is_knotted => Refusal::Malformed("a stream that depends on itself"),
            Ok(request) => {
                let windows = (self.peer_window, i64::from(WINDOW));
                let stream = self.streams.open(id, request.priority, windows);
                stream.ended = ended;
                if request.head.websocket {
                    stream.told = Told::Messages;
                }
                stream.length_left = match request.head.framing {
                    Framing::Length(length) => Some(length),
                    _ => None,
                };
                if stream.count(0, ended).is_some() {
                    self.streams.close(id);
                    return self.refuse(id, out).map(|()| None);
                }
                return Ok(Some(Incoming::Request {
                    stream: id,
                    bytes: request.bytes,
                    head: request.head,
                    ended,
                }));
            }
            Err(refusal) => refusal,
        };
        match refused {
            Refusal::Malformed(_) => self.refuse(id, out).map(|()| None),
            Refusal::Respond(error) => {
                let windows = (self.peer_window, i64::from(WINDOW));
                let stream = self.streams.open(id, Priority::default(), windows);
                (stream.ended, stream.told) = (ended, Told::Nothing);
                Ok(Some(Incoming::Refused { stream: id, error }))
            }
        }
    }

    pub(super) fn priority(
        &mut self,
        head: &FrameHead,
        payload: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<Option<Incoming>, Fault> {
        if head.stream == 0 {
            return Err(BAD_STREAM);
        }
        self.spend(Cost::Priority)?;
        let fault = match frame::number_31(payload) {
            _ if head.len != 5 => BAD_SIZE,
            Some(other) if other == head.stream => {
                fault(ErrorCode::Protocol, "a stream that depends on itself")
            }
            _ => return Ok(None),
        };
        match self.streams.get(head.stream) {
            Some(_) => self.fail(head.stream, fault.code, fault.reason, out),
            None => Err(fault),
        }
    }

    pub(super) fn reset_by_peer(
        &mut self,
        head: &FrameHead,
        payload: &[u8],
    ) -> Result<Option<Incoming>, Fault> {
        if head.stream == 0 {
            return Err(BAD_STREAM);
        }
        if payload.len() != 4 {
            return Err(BAD_SIZE);
        }
        self.must_not_be_idle(head.stream)?;
        self.spend(Cost::Reset)?;
        let was_open = self.streams.close(head.stream);
        Ok(was_open.then_some(Incoming::Reset {
            stream: head.stream,
            fault: None,
        }))
    }

    /// Resets a stream for an error of the peer.
    pub(super) fn fail(
        &mut self,
        id: u32,
        code: ErrorCode,
        reason: &'static str,
        out: &mut Vec<u8>,
    ) -> Result<Option<Incoming>, Fault> {
        self.spend(Cost::Reset)?;
        self.reset(id, code, out);
        Ok(Some(Incoming::Reset {
            stream: id,
            fault: Some(reason),
        }))
    }

    /// Resets a stream that the caller does not know.
    fn refuse(&mut self, id: u32, out: &mut Vec<u8>) -> Result<(), Fault> {
        self.spend(Cost::Reset)?;
        self.reset(id, ErrorCode::Protocol, out);
        Ok(())
    }
}

/// `:method`, `:scheme`, `:authority`, `:path` and `:protocol` are not counted as fields.
const PSEUDO_HEADERS: usize = 5;

impl Stream {
    /// Counts data against Content-Length. Returns what is wrong.
    fn count(&mut self, len: u64, ended: bool) -> Option<&'static str> {
        let left = self.length_left.as_mut()?;
        match left.checked_sub(len) {
            Some(rest) if rest == 0 || !ended => {
                *left = rest;
                None
            }
            _ => Some("data that does not match Content-Length"),
        }
    }
}

/// The content of a payload without its padding.
fn unpad(head: &FrameHead, payload: &[u8]) -> Result<Range<usize>, Fault> {
    if !head.has(frame::PADDED) {
        return Ok(0..payload.len());
    }
    let padding = usize::from(*payload.first().ok_or(BAD_SIZE)?);
    let end = payload.len().checked_sub(padding).filter(|end| *end > 0);
    Ok(1..end.ok_or(BAD_PADDING)?)
}
