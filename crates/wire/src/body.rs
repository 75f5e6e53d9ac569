//! A request's body: bytes to runs of data (RFC 9112 6.2 and 7.1).
//!
//! It owns the chunked coding. It always holds that a body ends at one byte and no other, and never
//! exceeds `max_body`. It must not know where the data goes.

use std::ops::Range;

use crate::fields::{Bounds, FieldLines, Line};
use crate::framing::BODY_TOO_LARGE;
use crate::tokens::{self, TEXT};
use crate::{Framing, Limits, RemoteError, Underscore};

/// Reads one request's body.
#[derive(Debug)]
pub enum BodyDecoder {
    Length { left: u64 },
    Chunked(Chunked),
}

/// One step of a body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decoded {
    /// Bytes to drop from the front of `input`.
    pub consumed: usize,
    /// The run of data among them; may be empty.
    pub data: Range<usize>,
    /// The body is whole: what follows in `input` is the next request.
    pub done: bool,
}

impl BodyDecoder {
    /// The decoder for a body framed so; `None` when there is nothing to read (no framing, or
    /// length 0).
    #[must_use]
    pub fn new(framing: Framing) -> Option<Self> {
        match framing {
            Framing::None | Framing::Length(0) => None,
            Framing::Length(left) => Some(Self::Length { left }),
            Framing::Chunked => Some(Self::Chunked(Chunked::default())),
        }
    }

    /// Takes one step: at most one run of data. Drop `consumed` bytes and call again while
    /// `consumed > 0 && !done`.
    ///
    /// A trailer section is consumed whole: until its end has come, its bytes must stay at the
    /// front of `input`.
    ///
    /// # Errors
    /// The [`RemoteError`] to answer: 413 when chunks add up to more than `max_body`, 431 for too many
    /// trailers, else 400.
    pub fn decode(&mut self, input: &[u8], limits: &Limits) -> Result<Decoded, RemoteError> {
        match self {
            Self::Length { left } => {
                let data = take(left, input.len());
                Ok(Decoded {
                    consumed: data,
                    data: 0..data,
                    done: *left == 0,
                })
            }
            Self::Chunked(chunked) => chunked.decode(input, limits),
        }
    }
}

/// Takes what there is of what is left.
fn take(left: &mut u64, available: usize) -> usize {
    let taken = usize::try_from(*left).map_or(available, |left| left.min(available));
    *left -= taken as u64;
    taken
}

/// The state of a chunked body.
#[derive(Debug, Default)]
pub struct Chunked {
    phase: Phase,
    /// The size of the current chunk, then what is left of it.
    left: u64,
    /// Sum of the chunk sizes so far.
    total: u64,
}

#[derive(Debug)]
enum Phase {
    /// In the size, `digits` of it read.
    Size {
        digits: usize,
    },
    /// In an extension, `line` bytes into the line.
    Extension {
        line: usize,
    },
    SizeEnd,
    Data,
    DataCr,
    DataLf,
    Trailers(FieldLines),
}

impl Default for Phase {
    fn default() -> Self {
        Self::Size { digits: 0 }
    }
}

const BAD_SIZE: RemoteError = RemoteError::bad("chunk size is not 1 to 16 hexadecimal digits");
const BAD_EXTENSION: RemoteError = RemoteError::bad("control byte in a chunk extension");
const LINE_TOO_LONG: RemoteError = RemoteError::bad("chunk line too long");
const BARE_CR: RemoteError = RemoteError::bad("bare CR in a chunk line");
const NO_CRLF: RemoteError = RemoteError::bad("chunk data not followed by CRLF");
const BAD_TRAILER: RemoteError = RemoteError::bad("field that must not be a trailer");
const UNDERSCORE: RemoteError = RemoteError::bad("underscore in a trailer name");

/// As many as a `u64` holds.
const MOST_DIGITS: usize = 16;

/// Framing, routing, authentication and what a message is read by: RFC 9110 6.5.1 keeps these out
/// of trailers.
const NEVER_TRAILERS: [&[u8]; 20] = [
    b"authorization",
    b"cache-control",
    b"connection",
    b"content-encoding",
    b"content-length",
    b"content-range",
    b"content-type",
    b"cookie",
    b"expect",
    b"forwarded",
    b"host",
    b"keep-alive",
    b"max-forwards",
    b"proxy-authorization",
    b"proxy-connection",
    b"range",
    b"te",
    b"trailer",
    b"transfer-encoding",
    b"upgrade",
];

pub(crate) fn is_never_trailer(name: &[u8]) -> bool {
    NEVER_TRAILERS
        .iter()
        .any(|never| name.eq_ignore_ascii_case(never))
}

impl Chunked {
    fn decode(&mut self, input: &[u8], limits: &Limits) -> Result<Decoded, RemoteError> {
        let mut pos = 0;
        while let Some(byte) = input.get(pos) {
            match &mut self.phase {
                Phase::Data => {
                    let start = pos;
                    pos += take(&mut self.left, input.len() - pos);
                    if self.left == 0 {
                        self.phase = Phase::DataCr;
                    }
                    return Ok(Decoded {
                        consumed: pos,
                        data: start..pos,
                        done: false,
                    });
                }
                Phase::Trailers(lines) => {
                    let section = input.get(pos..).unwrap_or_default();
                    let end = read_trailers(lines, section, limits)?;
                    let consumed = pos + end.unwrap_or(0);
                    return Ok(Decoded {
                        consumed,
                        data: consumed..consumed,
                        done: end.is_some(),
                    });
                }
                _ => {
                    self.phase = self.after(*byte, limits)?;
                    pos += 1;
                }
            }
        }
        Ok(Decoded {
            consumed: pos,
            data: pos..pos,
            done: false,
        })
    }

    /// The phase after one byte of framing.
    fn after(&mut self, byte: u8, limits: &Limits) -> Result<Phase, RemoteError> {
        match (&self.phase, byte) {
            (Phase::Size { digits: 1.. }, b'\r') => {
                self.announce(limits.max_body).map(|()| Phase::SizeEnd)
            }
            (
                Phase::Size {
                    digits: digits @ 1..,
                },
                b';',
            ) => {
                let line = digits + 1;
                self.announce(limits.max_body)?;
                within(line, limits)
            }
            (Phase::Size { digits }, byte) => {
                let digit = char::from(byte)
                    .to_digit(16)
                    .filter(|_| *digits < MOST_DIGITS)
                    .ok_or(BAD_SIZE)?;
                self.left = self.left << 4 | u64::from(digit);
                Ok(Phase::Size { digits: digits + 1 })
            }
            (Phase::Extension { .. }, b'\r') => Ok(Phase::SizeEnd),
            (Phase::Extension { line }, byte) if tokens::is(TEXT, byte) => within(line + 1, limits),
            (Phase::Extension { .. }, _) => Err(BAD_EXTENSION),
            (Phase::SizeEnd, b'\n') if self.left == 0 => Ok(Phase::Trailers(FieldLines::default())),
            (Phase::SizeEnd, b'\n') => Ok(Phase::Data),
            (Phase::SizeEnd, _) => Err(BARE_CR),
            (Phase::DataCr, b'\r') => Ok(Phase::DataLf),
            (Phase::DataLf, b'\n') => Ok(Phase::default()),
            (Phase::DataCr | Phase::DataLf | Phase::Data | Phase::Trailers(_), _) => Err(NO_CRLF),
        }
    }

    /// Counts a chunk whose size is known, before any of its data.
    fn announce(&mut self, max_body: u64) -> Result<(), RemoteError> {
        self.total = self
            .total
            .checked_add(self.left)
            .filter(|total| *total <= max_body)
            .ok_or(BODY_TOO_LARGE)?;
        Ok(())
    }
}

fn within(line: usize, limits: &Limits) -> Result<Phase, RemoteError> {
    if line > limits.chunk_line {
        Err(LINE_TOO_LONG)
    } else {
        Ok(Phase::Extension { line })
    }
}

/// Checks a trailer section and drops it; returns where it ended once it has.
fn read_trailers(
    lines: &mut FieldLines,
    section: &[u8],
    limits: &Limits,
) -> Result<Option<usize>, RemoteError> {
    let bounds = Bounds {
        section: limits.trailers.min(u32::MAX as usize),
        line: limits.field_line,
        fields: limits.fields,
    };
    while let Some(line) = lines.read(section, &bounds)? {
        match line {
            Line::End { consumed } => return Ok(Some(consumed)),
            Line::Field {
                underscored: true, ..
            } if limits.underscore == Underscore::Reject => return Err(UNDERSCORE),
            Line::Field { field, .. } => {
                if is_never_trailer(field.name.of(section)) {
                    return Err(BAD_TRAILER);
                }
            }
        }
    }
    Ok(None)
}
