//! A request body: bytes to runs of data (RFC 9112 6.2 and 7.1).
//!
//! It owns the chunked coding. A body ends at the same byte however the input is split, and never exceeds
//! `max_body`. It does not know where the data goes.

use std::ops::Range;

use super::chunk_extension::Extension;
use super::fields::FieldLines;
use super::framing::{BODY_TOO_LARGE, Framing};
use super::trailers;
use crate::errors::RemoteError;
use crate::limits::Limits;

/// Reads the body of one request.
#[derive(Debug)]
pub enum BodyDecoder {
    Length {
        left: u64,
    },
    Chunked(Chunked),
    /// HTTP/2: the input is data and nothing else. `ended`: no more follows it.
    Frames {
        ended: bool,
    },
}

/// One step of a body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decoded {
    /// How many bytes to drop from the front of `input`.
    pub consumed: usize,
    /// The run of data among them, which may be empty.
    pub data: Range<usize>,
    /// The body is complete: what follows in `input` is the next request.
    pub done: bool,
}

impl BodyDecoder {
    /// The decoder for a body with this framing; `None` if there is no body, or one of length 0.
    #[must_use]
    pub fn new(framing: Framing) -> Option<Self> {
        match framing {
            Framing::None | Framing::Length(0) => None,
            Framing::Length(left) => Some(Self::Length { left }),
            Framing::Chunked => Some(Self::Chunked(Chunked::default())),
        }
    }

    /// Takes one step, with at most one run of data. The caller drops `consumed` bytes and calls again
    /// while `consumed > 0 && !done`.
    ///
    /// A trailer section is consumed as a whole: until its end has come, its bytes must stay at the front
    /// of `input`.
    ///
    /// # Errors
    /// [`RemoteError`]: 413 if the chunks add up to more than `max_body`, 431 for too many trailers, 400
    /// for the rest.
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
            Self::Frames { ended } => Ok(Decoded {
                consumed: input.len(),
                data: 0..input.len(),
                done: *ended,
            }),
        }
    }

    /// The length of the trailer section, of a body that is complete: it is the last of what was consumed.
    pub(super) fn trailer_bytes(&self) -> usize {
        match self {
            Self::Chunked(Chunked {
                phase: Phase::Over { trailers },
                ..
            }) => *trailers,
            _ => 0,
        }
    }
}

/// Takes up to `available` bytes of those that are left, and returns how many.
fn take(left: &mut u64, available: usize) -> usize {
    let taken = usize::try_from(*left).map_or(available, |left| left.min(available));
    *left -= taken as u64;
    taken
}

/// The state of a chunked body.
#[derive(Debug, Default)]
pub struct Chunked {
    phase: Phase,
    /// The size of the current chunk while it is read, then how much of its data is left.
    left: u64,
    /// The sum of the chunk sizes so far.
    total: u64,
    /// How many bytes of extensions have come so far.
    extensions: usize,
}

#[derive(Debug)]
enum Phase {
    /// In the size, of which `digits` are read.
    Size {
        digits: usize,
    },
    /// In an extension, `line` bytes into the line.
    Extension {
        place: Extension,
        line: usize,
    },
    SizeEnd,
    Data,
    DataCr,
    DataLf,
    Trailers(FieldLines),
    Over {
        trailers: usize,
    },
}

impl Default for Phase {
    fn default() -> Self {
        Self::Size { digits: 0 }
    }
}

const BAD_SIZE: RemoteError =
    RemoteError::bad_request("chunk size is not 1 to 16 hexadecimal digits");
const BAD_EXTENSION: RemoteError = RemoteError::bad_request("malformed chunk extension");
const EXTENSIONS_TOO_LONG: RemoteError =
    RemoteError::bad_request("too many bytes of chunk extensions");
const LINE_TOO_LONG: RemoteError = RemoteError::bad_request("chunk line too long");
const BARE_CR: RemoteError = RemoteError::bad_request("bare CR in a chunk line");
const NO_CRLF: RemoteError = RemoteError::bad_request("chunk data not followed by CRLF");

/// A `u64` holds 16 hexadecimal digits.
const MAX_DIGITS: usize = 16;

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
                    let end = trailers::read_section(lines, section, limits)?;
                    let consumed = pos + end.unwrap_or(0);
                    if let Some(trailers) = end {
                        self.phase = Phase::Over { trailers };
                    }
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

    /// The phase after `byte`, which is not data.
    fn after(&mut self, byte: u8, limits: &Limits) -> Result<Phase, RemoteError> {
        match (&self.phase, byte) {
            (Phase::Size { digits: 1.. }, b'\r') => {
                self.count_chunk(limits.max_body).map(|()| Phase::SizeEnd)
            }
            (
                Phase::Size {
                    digits: digits @ 1..,
                },
                b';',
            ) => {
                let line = *digits;
                self.count_chunk(limits.max_body)?;
                self.extend(Extension::BeforeName, line, limits)
            }
            (Phase::Size { digits }, byte) => {
                let digit = char::from(byte)
                    .to_digit(16)
                    .filter(|_| *digits < MAX_DIGITS)
                    .ok_or(BAD_SIZE)?;
                self.left = self.left << 4 | u64::from(digit);
                Ok(Phase::Size { digits: digits + 1 })
            }
            (Phase::Extension { place, .. }, b'\r') if place.may_end() => Ok(Phase::SizeEnd),
            (Phase::Extension { place, line }, byte) => {
                let (place, line) = (place.after(byte).ok_or(BAD_EXTENSION)?, *line);
                self.extend(place, line, limits)
            }
            (Phase::SizeEnd, b'\n') if self.left == 0 => Ok(Phase::Trailers(FieldLines::default())),
            (Phase::SizeEnd, b'\n') => Ok(Phase::Data),
            (Phase::SizeEnd, _) => Err(BARE_CR),
            (Phase::DataCr, b'\r') => Ok(Phase::DataLf),
            (Phase::DataLf, b'\n') => Ok(Phase::default()),
            (
                Phase::DataCr
                | Phase::DataLf
                | Phase::Data
                | Phase::Trailers(_)
                | Phase::Over { .. },
                _,
            ) => Err(NO_CRLF),
        }
    }

    /// Adds the size of a chunk to the total, before any of its data is read.
    fn count_chunk(&mut self, max_body: u64) -> Result<(), RemoteError> {
        self.total = self
            .total
            .checked_add(self.left)
            .filter(|total| *total <= max_body)
            .ok_or(BODY_TOO_LARGE)?;
        Ok(())
    }

    /// Counts a byte of an extension, which leads to `place`, after `line` bytes of its line.
    fn extend(
        &mut self,
        place: Extension,
        line: usize,
        limits: &Limits,
    ) -> Result<Phase, RemoteError> {
        self.extensions += 1;
        if line >= limits.chunk_line {
            Err(LINE_TOO_LONG)
        } else if self.extensions > limits.chunk_extensions {
            Err(EXTENSIONS_TOO_LONG)
        } else {
            let line = line + 1;
            Ok(Phase::Extension { place, line })
        }
    }
}
