//! Frames: the nine bytes before each one, and what a server writes (RFC 9113 4.1 and 6).
//!
//! It owns the layout of frames. It does not know which frame may come when.

/// The length of the head of a frame.
pub(super) const HEAD_BYTES: usize = 9;

/// What a client sends first (RFC 9113 3.4).
pub(super) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The types of frames that a server reads (RFC 9113 6, RFC 9218 7.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Data,
    Headers,
    Priority,
    Reset,
    Settings,
    Push,
    Ping,
    GoAway,
    Window,
    Continuation,
    PriorityUpdate,
    /// It is ignored.
    Unknown,
}

impl Kind {
    fn of(byte: u8) -> Self {
        match byte {
            0 => Self::Data,
            1 => Self::Headers,
            2 => Self::Priority,
            3 => Self::Reset,
            4 => Self::Settings,
            5 => Self::Push,
            6 => Self::Ping,
            7 => Self::GoAway,
            8 => Self::Window,
            9 => Self::Continuation,
            16 => Self::PriorityUpdate,
            _ => Self::Unknown,
        }
    }

    fn byte(self) -> u8 {
        match self {
            Self::Data => 0,
            Self::Headers => 1,
            Self::Priority => 2,
            Self::Reset => 3,
            Self::Settings => 4,
            Self::Push => 5,
            Self::Ping => 6,
            Self::GoAway => 7,
            Self::Window => 8,
            Self::Continuation => 9,
            Self::PriorityUpdate => 16,
            Self::Unknown => u8::MAX,
        }
    }
}

/// Flags. `ACK` has the bit of `END_STREAM`.
pub(super) const END_STREAM: u8 = 1;
pub(super) const ACK: u8 = 1;
pub(super) const END_HEADERS: u8 = 4;
pub(super) const PADDED: u8 = 8;
pub(super) const PRIORITY: u8 = 32;

/// The head of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FrameHead {
    pub(super) len: usize,
    pub(super) kind: Kind,
    pub(super) flags: u8,
    /// Without its first bit, which is reserved.
    pub(super) stream: u32,
}

impl FrameHead {
    /// `None`: it is not complete.
    pub(super) fn read(input: &[u8]) -> Option<Self> {
        let [a, b, c, kind, flags, stream @ ..] = input.first_chunk::<HEAD_BYTES>()?;
        Some(Self {
            len: u32::from_be_bytes([0, *a, *b, *c]) as usize,
            kind: Kind::of(*kind),
            flags: *flags,
            stream: u32::from_be_bytes(*stream) & STREAM_MASK,
        })
    }

    pub(super) fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }
}

/// Numbers of streams and increments of windows have 31 bits.
const STREAM_MASK: u32 = 0x7fff_ffff;

/// The first four bytes as a number.
pub(super) fn number(payload: &[u8]) -> Option<u32> {
    payload
        .first_chunk::<4>()
        .map(|bytes| u32::from_be_bytes(*bytes))
}

/// The first four bytes as a number of 31 bits.
pub(super) fn number_31(payload: &[u8]) -> Option<u32> {
    number(payload).map(|number| number & STREAM_MASK)
}

/// Why a stream or a connection ends (RFC 9113 7).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorCode {
    NoError,
    Protocol,
    Internal,
    FlowControl,
    StreamClosed,
    FrameSize,
    RefusedStream,
    Cancel,
    Compression,
    EnhanceYourCalm,
}

impl ErrorCode {
    fn number(self) -> u32 {
        match self {
            Self::NoError => 0,
            Self::Protocol => 1,
            Self::Internal => 2,
            Self::FlowControl => 3,
            Self::StreamClosed => 5,
            Self::FrameSize => 6,
            Self::RefusedStream => 7,
            Self::Cancel => 8,
            Self::Compression => 9,
            Self::EnhanceYourCalm => 11,
        }
    }
}

// ---- writing -----------------------------------------------------------------------

pub(super) fn write_head(out: &mut Vec<u8>, len: usize, kind: Kind, flags: u8, stream: u32) {
    let [_, a, b, c] = (len as u32).to_be_bytes();
    let [d, e, f, g] = stream.to_be_bytes();
    out.extend_from_slice(&[a, b, c, kind.byte(), flags, d, e, f, g]);
}

fn write_number(out: &mut Vec<u8>, kind: Kind, stream: u32, number: u32) {
    write_head(out, 4, kind, 0, stream);
    out.extend_from_slice(&number.to_be_bytes());
}

pub(super) fn write_reset(out: &mut Vec<u8>, stream: u32, code: ErrorCode) {
    write_number(out, Kind::Reset, stream, code.number());
}

pub(super) fn write_window(out: &mut Vec<u8>, stream: u32, increment: u32) {
    write_number(out, Kind::Window, stream, increment);
}

pub(super) fn write_ping_ack(out: &mut Vec<u8>, payload: &[u8]) {
    write_head(out, payload.len(), Kind::Ping, ACK, 0);
    out.extend_from_slice(payload);
}

pub(super) fn write_settings_ack(out: &mut Vec<u8>) {
    write_head(out, 0, Kind::Settings, ACK, 0);
}

pub(super) fn write_settings(out: &mut Vec<u8>, settings: &[(u16, u32)]) {
    write_head(out, settings.len() * 6, Kind::Settings, 0, 0);
    for (name, value) in settings {
        out.extend_from_slice(&name.to_be_bytes());
        out.extend_from_slice(&value.to_be_bytes());
    }
}

pub(super) fn write_goaway(out: &mut Vec<u8>, last: u32, code: ErrorCode, reason: &str) {
    write_head(out, 8 + reason.len(), Kind::GoAway, 0, 0);
    out.extend_from_slice(&last.to_be_bytes());
    out.extend_from_slice(&code.number().to_be_bytes());
    out.extend_from_slice(reason.as_bytes());
}

/// Writes a header block that `encode` appends, in as many frames as it needs.
pub(super) fn write_block<R>(
    out: &mut Vec<u8>,
    stream: u32,
    end_stream: bool,
    max_frame: usize,
    encode: impl FnOnce(&mut Vec<u8>) -> R,
) -> R {
    let flags = if end_stream { END_STREAM } else { 0 };
    let at = out.len();
    write_head(out, 0, Kind::Headers, flags | END_HEADERS, stream);
    let result = encode(out);
    let start = at + HEAD_BYTES;
    let len = out.len().saturating_sub(start);
    if len <= max_frame {
        let [_, a, b, c] = (len as u32).to_be_bytes();
        if let Some(place) = out.get_mut(at..at + 3) {
            place.copy_from_slice(&[a, b, c]);
        }
        return result;
    }
    let block = out.split_off(start);
    out.truncate(at);
    let mut kind = Kind::Headers;
    let mut pieces = block.chunks(max_frame).peekable();
    while let Some(piece) = pieces.next() {
        let first = if kind == Kind::Headers { flags } else { 0 };
        let last = if pieces.peek().is_none() {
            END_HEADERS
        } else {
            0
        };
        write_head(out, piece.len(), kind, first | last, stream);
        out.extend_from_slice(piece);
        kind = Kind::Continuation;
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_read_as_it_was_written() {
        for kind in (0..=16).map(Kind::of) {
            let mut out = Vec::new();
            write_head(&mut out, 0x01_02_03, kind, 0x25, 0x7fff_fffe);
            let head = FrameHead {
                len: 0x01_02_03,
                kind,
                flags: 0x25,
                stream: 0x7fff_fffe,
            };
            assert_eq!(FrameHead::read(&out), Some(head));
            assert_eq!(FrameHead::read(&out[..8]), None);
        }
        let reserved = [0, 0, 0, 6, 0, 0x80, 0, 0, 1];
        assert_eq!(FrameHead::read(&reserved).unwrap().stream, 1);
    }

    #[test]
    fn a_long_block_is_continued() {
        let mut out = b"before".to_vec();
        write_block(&mut out, 5, true, 4, |out| {
            out.extend_from_slice(b"0123456789")
        });
        let frames = b"before\
            \0\0\x04\x01\x01\0\0\0\x050123\
            \0\0\x04\x09\x00\0\0\0\x054567\
            \0\0\x02\x09\x04\0\0\0\x0589";
        assert_eq!(out, frames);
        let mut out = Vec::new();
        write_block(&mut out, 5, false, 4, |out| out.extend_from_slice(b"0123"));
        assert_eq!(out, b"\0\0\x04\x01\x04\0\0\0\x050123");
    }
}
