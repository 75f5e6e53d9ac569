//! One connection: frames in, what they mean for its streams, and frames out (RFC 9113).
//!
//! It owns the state of the connection and of each stream, both windows of each, and the budget.
//! Always holds: each frame is judged by the state that the frames before it have made; a stream
//! that the caller knows ends for it exactly once, by [`Incoming::Reset`] or by what the caller
//! does. `reading` has the frames of the connection, `incoming` those of a stream, `outgoing` what the
//! caller does. It knows no socket and no clock, and keeps no data: the caller has the bytes.

mod incoming;
mod outgoing;
mod reading;

use super::budget::{Budget, Cost};
use super::frame::{self, ErrorCode, PREFACE};
use super::hpack::{Decoder, Encoder};
use super::streams::Streams;
use crate::errors::RemoteError;
use crate::http1::Head;
use crate::limits::Limits;
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
const BAD_STREAM: Fault = fault(
    ErrorCode::Protocol,
    "a frame on a stream that cannot have it",
);
const IDLE_STREAM: Fault = fault(
    ErrorCode::Protocol,
    "a frame on a stream that is not open yet",
);
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
    /// A new connection, with at most `max_streams` streams at once. Writes our preface, the SETTINGS, to
    /// `out`.
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
            streams: Streams::new(max_streams as usize),
            block: None,
            highest: 0,
            last: None,
            send_window: i64::from(WINDOW),
            receive_window: i64::from(CONNECTION_WINDOW),
            peer_window: i64::from(WINDOW),
            peer_frame: FRAME_BYTES,
            budget: Budget::new(max_streams),
        }
    }

    /// Whether the input begins as HTTP/2 does; `None`: more is needed to tell.
    #[must_use]
    pub fn is_preface(input: &[u8]) -> Option<bool> {
        let len = input.len().min(PREFACE.len());
        let is_same = input.get(..len) == PREFACE.get(..len);
        (!is_same || len == PREFACE.len()).then_some(is_same)
    }

    /// Whether the peer has yet to complete its preface, which ends with SETTINGS.
    #[must_use]
    pub fn awaits_preface(&self) -> bool {
        self.stage != Stage::Open
    }

    /// Whether the peer has yet to complete its preface or a header block.
    #[must_use]
    pub fn awaits_head(&self) -> bool {
        self.awaits_preface() || self.block.is_some()
    }

    fn spend(&mut self, cost: Cost) -> Result<(), Fault> {
        match self.budget.spend(cost) {
            true => Err(SPENT),
            false => Ok(()),
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

#[cfg(test)]
mod tests;
