//! One connection: frames in, what they mean for its streams, and frames out (RFC 9113).
//!
//! It owns the state of the connection and of each stream, both windows of each, and the budget.
//! Always holds: each frame is judged by the state that the frames before it have made; a stream
//! that the caller knows ends for it exactly once, by [`Incoming::Reset`] or by what the caller
//! does. It knows no socket and no clock, and keeps no data: the caller has the bytes.

use super::budget::{Budget, Cost};
use super::frame::{self, ErrorCode, FrameHead, HEAD_BYTES, Kind, PREFACE};
use super::hpack::{Decoder, Encoder, List, ListBounds};
use super::priority::Priority;
use super::request::{self, Refusal};
use super::response::{self, Fields, ResponseHead};
use super::streams::{Stream, Streams};
use crate::errors::{LocalError, RemoteError};
use crate::http1::{BODY_TOO_LARGE, BodyEncoder, Framing, Head, Length, RequestContext};
use crate::limits::Limits;
use crate::status::Status;
use std::ops::Range;

/// The default of each window (RFC 9113 6.9.2), which ours keep for each stream.
const WINDOW: u32 = 65_535;
const LARGEST_WINDOW: i64 = 0x7fff_ffff;
/// Our window of the connection. What comes is given back at once: the streams' windows bound
/// what may wait, so no stream can take the connection from the others.
const CONNECTION_WINDOW: u32 = 1024 * 1024;
/// The window of a stream whose body the application reads.
const WIDE_WINDOW: u32 = 256 * 1024;
/// The default of SETTINGS_MAX_FRAME_SIZE, which we do not change.
const FRAME_BYTES: usize = 16_384;
/// How large a frame of ours may be, whatever the peer allows: a more urgent response can go between
/// two.
const MOST_FRAME_BYTES: usize = 16_384;
/// A frame of data that a window makes smaller than this costs the peer.
const SMALL_BYTES: usize = 512;
/// What may wait of header blocks before their end, beside the size of the list.
const BLOCK_BYTES: usize = 16 * 1024;

/// The connection ends: the peer broke the protocol, or has spent its budget.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fault {
    pub code: ErrorCode,
    pub reason: &'static str,
}

const fn fault(code: ErrorCode, reason: &'static str) -> Fault {
    Fault { code, reason }
}

const NO_PREFACE: Fault = fault(ErrorCode::Protocol, "no HTTP/2 preface");
const NO_SETTINGS: Fault = fault(ErrorCode::Protocol, "the first frame is no SETTINGS");
const BAD_SIZE: Fault = fault(ErrorCode::FrameSize, "a frame of a wrong size");
const BAD_STREAM: Fault = fault(ErrorCode::Protocol, "a frame on a stream that cannot have it");
const IDLE_STREAM: Fault = fault(ErrorCode::Protocol, "a frame on a stream that is not open yet");
const CLOSED_STREAM: Fault = fault(ErrorCode::StreamClosed, "a frame on a closed stream");
const BAD_PADDING: Fault = fault(ErrorCode::Protocol, "more padding than frame");
const INTERRUPTED: Fault = fault(ErrorCode::Protocol, "a header block that is not continued");
const NOT_BEGUN: Fault = fault(ErrorCode::Protocol, "CONTINUATION without a header block");
const PUSHED: Fault = fault(ErrorCode::Protocol, "a client cannot push");
const BAD_BLOCK: Fault = fault(ErrorCode::Compression, "a header block that cannot be read");
const BAD_SETTING: Fault = fault(ErrorCode::Protocol, "a setting out of its range");
const BAD_WINDOW: Fault = fault(ErrorCode::FlowControl, "a window out of its range");
const OVER_WINDOW: Fault = fault(ErrorCode::FlowControl, "more data than the window allows");
const NO_INCREMENT: Fault = fault(ErrorCode::Protocol, "a window is increased by 0");
const BLOCK_TOO_LONG: Fault = fault(ErrorCode::EnhanceYourCalm, "a header block too large");
const SPENT: Fault = fault(
    ErrorCode::EnhanceYourCalm,
    "too many resets or frames without work",
);

/// What the peer has sent, for the caller.
#[derive(Debug)]
pub enum Incoming {
    /// A request. `ended`: it has no body.
    Request {
        stream: u32,
        /// The spans of `head` point into it.
        bytes: Vec<u8>,
        head: Head,
        ended: bool,
    },
    /// A request that is refused by a response. The stream is open for it, and nothing more of the
    /// request comes.
    Refused { stream: u32, error: RemoteError },
    /// Some of a body, which may be empty.
    Data {
        stream: u32,
        /// A place in the input.
        data: Range<usize>,
        ended: bool,
    },
    /// The body cannot be accepted: the client may get this as a response.
    BodyRefused { stream: u32, error: RemoteError },
    /// The stream is closed: the client has reset it, or it was reset for this fault of it.
    Reset {
        stream: u32,
        fault: Option<&'static str>,
    },
}

/// The result of [`Connection::read`].
#[derive(Debug, Default)]
pub struct Read {
    /// How many bytes to drop from the front of the input.
    pub consumed: usize,
    pub incoming: Option<Incoming>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Preface,
    Settings,
    Open,
}

/// A header block that is not complete.
struct Block {
    stream: u32,
    end_stream: bool,
    /// The stream depends on itself.
    is_knotted: bool,
    bytes: Vec<u8>,
}

/// One connection, as the server sees it.
pub struct Connection {
    stage: Stage,
    decoder: Decoder,
    encoder: Encoder,
    streams: Streams,
    max_streams: usize,
    block: Option<Box<Block>>,
    /// The highest stream that the peer has opened.
    highest: u32,
    /// Streams above this one are not served (GOAWAY).
    last: Option<u32>,
    send_window: i64,
    receive_window: i64,
    /// The windows of new streams, and the largest frame, as the peer wants them.
    peer_window: i64,
    peer_frame: usize,
    budget: Budget,
}

impl Connection {
    /// A new connection. Writes our preface, the SETTINGS, to `out`.
    #[must_use]
    pub fn new(out: &mut Vec<u8>, max_streams: u32, limits: &Limits) -> Self {
        let list_bytes = u32::try_from(limits.head).unwrap_or(u32::MAX);
        frame::write_settings(
            out,
            &[
                (MAX_CONCURRENT_STREAMS, max_streams),
                (MAX_HEADER_LIST_SIZE, list_bytes),
                (ENABLE_CONNECT_PROTOCOL, 1),
                (NO_RFC7540_PRIORITIES, 1),
            ],
        );
        frame::write_window(out, 0, CONNECTION_WINDOW - WINDOW);
        Self {
            stage: Stage::Preface,
            decoder: Decoder::new(),
            encoder: Encoder::new(),
            streams: Streams::default(),
            max_streams: max_streams as usize,
            block: None,
            highest: 0,
            last: None,
            send_window: i64::from(WINDOW),
            receive_window: i64::from(CONNECTION_WINDOW),
            peer_window: i64::from(WINDOW),
            peer_frame: FRAME_BYTES,
            budget: Budget::new(),
        }
    }

    /// Whether the input begins as HTTP/2 does; `None`: more is needed to tell.
    #[must_use]
    pub fn is_preface(input: &[u8]) -> Option<bool> {
        let len = input.len().min(PREFACE.len());
        let is_same = input.get(..len) == PREFACE.get(..len);
        (!is_same || len == PREFACE.len()).then_some(is_same)
    }

    /// Whether the peer has yet to complete its preface or a header block.
    #[must_use]
    pub fn awaits_head(&self) -> bool {
        self.stage != Stage::Open || self.block.is_some()
    }

    /// Reads frames until one concerns the caller, and writes the replies to the others to `out`.
    /// `input` begins where the last call has ended. The next call needs more input if nothing was
    /// consumed.
    ///
    /// # Errors
    /// [`Fault`]: write [`Self::write_goaway`] and close the connection.
    pub fn read(
        &mut self,
        input: &[u8],
        out: &mut Vec<u8>,
        limits: &Limits,
        now_ms: u64,
    ) -> Result<Read, Fault> {
        self.budget.pass(now_ms);
        let mut at = 0;
        if self.stage == Stage::Preface {
            match Self::is_preface(input) {
                Some(true) => {
                    self.stage = Stage::Settings;
                    at = PREFACE.len();
                }
                Some(false) => return Err(NO_PREFACE),
                None => return Ok(Read::default()),
            }
        }
        let mut incoming = None;
        while incoming.is_none() {
            let rest = input.get(at..).unwrap_or_default();
            let Some(head) = FrameHead::read(rest) else {
                break;
            };
            self.judge(&head)?;
            let Some(payload) = rest.get(HEAD_BYTES..HEAD_BYTES + head.len) else {
                break;
            };
            at += HEAD_BYTES;
            incoming = self.frame(&head, payload, at, out, limits)?;
            at += head.len;
        }
        Ok(Read {
            consumed: at,
            incoming,
        })
    }

    /// Judges a frame by its head, before its payload has come.
    fn judge(&mut self, head: &FrameHead) -> Result<(), Fault> {
        if self.stage == Stage::Settings && head.kind != Kind::Settings {
            return Err(NO_SETTINGS);
        }
        if head.len > FRAME_BYTES {
            return Err(BAD_SIZE);
        }
        match &self.block {
            Some(block) if head.kind != Kind::Continuation || head.stream != block.stream => {
                Err(INTERRUPTED)
            }
            None if head.kind == Kind::Continuation => Err(NOT_BEGUN),
            _ => Ok(()),
        }
    }

    fn spend(&mut self, cost: Cost) -> Result<(), Fault> {
        match self.budget.spend(cost) {
            true => Err(SPENT),
            false => Ok(()),
        }
    }

    /// Reads one frame. `at`: where its payload begins in the input.
    fn frame(
        &mut self,
        head: &FrameHead,
        payload: &[u8],
        at: usize,
        out: &mut Vec<u8>,
        limits: &Limits,
    ) -> Result<Option<Incoming>, Fault> {
        match head.kind {
            Kind::Data => self.data(head, payload, at, out, limits),
            Kind::Headers => self.headers(head, payload, out, limits),
            Kind::Continuation => self.continuation(head, payload, out, limits),
            Kind::Priority => self.priority(head, payload, out),
            Kind::Reset => self.reset_by_peer(head, payload),
            Kind::Settings => self.settings(head, payload, out).map(|()| None),
            Kind::Push => Err(PUSHED),
            Kind::Ping => self.ping(head, payload, out).map(|()| None),
            Kind::GoAway if head.stream != 0 => Err(BAD_STREAM),
            Kind::GoAway if head.len < 8 => Err(BAD_SIZE),
            // The client opens no more streams. What is open goes on.
            Kind::GoAway => self.spend(Cost::Ping).map(|()| None),
            Kind::Window => self.window(head, payload, out),
            Kind::PriorityUpdate => self.priority_update(head, payload).map(|()| None),
            Kind::Unknown => self.spend(Cost::Unknown).map(|()| None),
        }
    }
}

/// Names of settings (RFC 9113 6.5.2, RFC 8441 3, RFC 9218 2.1).
const HEADER_TABLE_SIZE: u16 = 1;
const ENABLE_PUSH: u16 = 2;
const MAX_CONCURRENT_STREAMS: u16 = 3;
const INITIAL_WINDOW_SIZE: u16 = 4;
const MAX_FRAME_SIZE: u16 = 5;
const MAX_HEADER_LIST_SIZE: u16 = 6;
const ENABLE_CONNECT_PROTOCOL: u16 = 8;
const NO_RFC7540_PRIORITIES: u16 = 9;

// ---- frames of the connection --------------------------------------------------------

impl Connection {
    fn settings(&mut self, head: &FrameHead, payload: &[u8], out: &mut Vec<u8>) -> Result<(), Fault> {
        let is_ack = head.has(frame::ACK);
        if head.stream != 0 {
            return Err(BAD_STREAM);
        }
        if (is_ack && head.len > 0) || head.len % 6 != 0 {
            return Err(BAD_SIZE);
        }
        if self.stage == Stage::Settings {
            if is_ack {
                return Err(NO_SETTINGS);
            }
            self.stage = Stage::Open;
        } else if !is_ack {
            self.spend(Cost::Settings)?;
        }
        if is_ack {
            return Ok(());
        }
        for setting in payload.chunks_exact(6) {
            let [a, b, rest @ ..] = setting else { continue };
            let value = frame::number(rest).unwrap_or(0);
            self.set(u16::from_be_bytes([*a, *b]), value)?;
        }
        frame::write_settings_ack(out);
        Ok(())
    }

    fn set(&mut self, name: u16, value: u32) -> Result<(), Fault> {
        match name {
            HEADER_TABLE_SIZE => self.encoder.limit(value as usize),
            ENABLE_PUSH if value > 1 => return Err(BAD_SETTING),
            INITIAL_WINDOW_SIZE => {
                let window = i64::from(value);
                if window > LARGEST_WINDOW {
                    return Err(BAD_WINDOW);
                }
                let change = window - self.peer_window;
                self.peer_window = window;
                for stream in self.streams.iter_mut() {
                    stream.send_window += change;
                    if stream.send_window > LARGEST_WINDOW {
                        return Err(BAD_WINDOW);
                    }
                }
            }
            MAX_FRAME_SIZE if !(16_384..=0xff_ffff).contains(&value) => return Err(BAD_SETTING),
            MAX_FRAME_SIZE => self.peer_frame = (value as usize).min(MOST_FRAME_BYTES),
            ENABLE_CONNECT_PROTOCOL | NO_RFC7540_PRIORITIES if value > 1 => {
                return Err(BAD_SETTING);
            }
            _ => {}
        }
        Ok(())
    }

    fn ping(&mut self, head: &FrameHead, payload: &[u8], out: &mut Vec<u8>) -> Result<(), Fault> {
        if head.stream != 0 {
            return Err(BAD_STREAM);
        }
        if head.len != 8 {
            return Err(BAD_SIZE);
        }
        self.spend(Cost::Ping)?;
        if !head.has(frame::ACK) {
            frame::write_ping_ack(out, payload);
        }
        Ok(())
    }

    fn window(
        &mut self,
        head: &FrameHead,
        payload: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<Option<Incoming>, Fault> {
        if head.len != 4 {
            return Err(BAD_SIZE);
        }
        self.spend(Cost::Window)?;
        let increment = i64::from(frame::number_31(payload).unwrap_or(0));
        if head.stream == 0 {
            self.send_window += increment;
            return match () {
                () if increment == 0 => Err(NO_INCREMENT),
                () if self.send_window > LARGEST_WINDOW => Err(BAD_WINDOW),
                () => Ok(None),
            };
        }
        self.must_not_be_idle(head.stream)?;
        let Some(stream) = self.streams.get_mut(head.stream) else {
            return Ok(None);
        };
        stream.send_window += increment;
        match stream.send_window > LARGEST_WINDOW {
            _ if increment == 0 => {
                let reason = "a window is increased by 0";
                self.fail(head.stream, ErrorCode::Protocol, reason, out)
            }
            true => {
                let reason = "a window out of its range";
                self.fail(head.stream, ErrorCode::FlowControl, reason, out)
            }
            false => Ok(None),
        }
    }

    fn priority_update(&mut self, head: &FrameHead, payload: &[u8]) -> Result<(), Fault> {
        if head.stream != 0 {
            return Err(BAD_STREAM);
        }
        let stream = frame::number_31(payload).ok_or(BAD_SIZE)?;
        if stream == 0 {
            return Err(BAD_STREAM);
        }
        self.spend(Cost::Priority)?;
        if let Some(stream) = self.streams.get_mut(stream) {
            stream.priority = Priority::read(payload.get(4..).unwrap_or_default());
        }
        Ok(())
    }
}

// ---- frames of a stream --------------------------------------------------------------

impl Connection {
    fn is_idle(&self, stream: u32) -> bool {
        // Streams with even numbers are ours, and we open none.
        stream % 2 == 0 || stream > self.highest
    }

    fn must_not_be_idle(&self, stream: u32) -> Result<(), Fault> {
        match self.is_idle(stream) {
            true => Err(IDLE_STREAM),
            false => Ok(()),
        }
    }

    fn data(
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
        if stream.received > limits.max_body {
            let (stream, error) = (head.stream, BODY_TOO_LARGE);
            return Ok(Some(Incoming::BodyRefused { stream, error }));
        }
        self.give_back(head.stream, padding, out);
        let start = at + data.start;
        Ok(Some(Incoming::Data {
            stream: head.stream,
            data: start..start + data.len(),
            ended,
        }))
    }

    fn headers(
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

    fn continuation(
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
        let reason = match checked {
            Ok(()) if !block.end_stream => Some("trailers that do not end the stream"),
            Err(Refusal::Malformed(reason)) => Some(reason),
            Err(Refusal::Respond(error)) => Some(error.reason),
            Ok(()) => self.streams.get_mut(id).and_then(|stream| {
                stream.ended = true;
                stream.count(0, true)
            }),
        };
        match reason {
            Some(reason) => self.fail(id, ErrorCode::Protocol, reason, out),
            None => Ok(Some(Incoming::Data {
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
        if self.streams.len() >= self.max_streams {
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
                self.streams.open(id, Priority::default(), windows).ended = ended;
                Ok(Some(Incoming::Refused { stream: id, error }))
            }
        }
    }

    fn priority(
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

    fn reset_by_peer(
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
    fn fail(
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

// ---- what the caller does --------------------------------------------------------------

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
        let ends = matches!(head.body, BodyEncoder::Nothing | BodyEncoder::Length { left: 0 });
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
    pub fn next(&mut self) -> Option<u32> {
        match self.send_window > 0 {
            true => self.streams.next(),
            false => None,
        }
    }

    /// How many bytes the stream may send in one frame.
    #[must_use]
    pub fn room(&self, stream: u32) -> usize {
        let stream_window = self.streams.get(stream).map_or(0, |stream| stream.send_window);
        let window = self.send_window.min(stream_window).max(0);
        usize::try_from(window).map_or(0, |window| window.min(self.peer_frame))
    }

    /// Writes the head of a frame of data; its `len` bytes follow. They are at most
    /// [`Self::room`]. `waiting`: how many the stream would have sent without a window. `last`:
    /// they end the stream.
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
        if last {
            self.end_stream(out, stream);
        }
        match len < waiting.min(SMALL_BYTES) {
            true => self.spend(Cost::SmallWindow),
            false => Ok(()),
        }
    }

    /// Our side of the stream has ended. A request that is not whole is not wanted any more (RFC 9113
    /// 8.1).
    fn end_stream(&mut self, out: &mut Vec<u8>, stream: u32) {
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

#[cfg(test)]
mod tests;
