//! A response of another process, as [`write_head`](crate::write_head) and those beside it write it: bytes to
//! the parts of a message.
//!
//! It owns where such a response ends. Whatever an application has made of it (it may have written to the
//! socket itself), a response that is returned has one meaning: anything else is refused. It is read the same
//! way however the input is split.

use super::body_decoder::BodyDecoder;
use super::fields::{Bounds, Field, FieldLines, Line};
use super::framing::Framing;
use crate::limits::{Limits, Underscore};
use crate::tokens::{decimal, is_text};
use std::ops::Range;

/// The longest head or trailer section.
const MOST_BYTES: usize = 1024 * 1024;
const MOST_FIELDS: usize = 4096;
/// The longest status line.
const MOST_LINE: usize = 64 * 1024;

const BOUNDS: Bounds = Bounds {
    section: MOST_BYTES,
    line: MOST_BYTES,
    fields: MOST_FIELDS,
};

const LIMITS: Limits = Limits {
    line: MOST_BYTES,
    head: MOST_BYTES,
    fields: MOST_FIELDS,
    chunk_line: 64,
    chunk_extensions: 0,
    trailers: MOST_BYTES,
    max_body: u64::MAX,
    underscore: Underscore::Drop,
};

/// Why the bytes are no response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BadResponse(pub &'static str);

const BAD_LINE: BadResponse = BadResponse("no status line of HTTP/1.1");
const BAD_FIELDS: BadResponse = BadResponse("malformed fields");
const BAD_FRAMING: BadResponse = BadResponse("a length that is missing, doubled or malformed");
const BAD_BODY: BadResponse = BadResponse("a malformed chunk");
const BAD_SWITCH: BadResponse = BadResponse("a change of the protocol that was not asked for");

/// What the request expects.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Expected {
    #[default]
    Content,
    /// It was a HEAD: no content follows the head.
    Nothing,
    /// A WebSocket, or a response that refuses it.
    WebSocket,
}

/// A part of a response. Each place is one in the input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ResponsePart {
    /// A head before the final one.
    Interim {
        status: u16,
        fields: Vec<Field>,
    },
    /// The final head. The end follows.
    Head {
        status: u16,
        fields: Vec<Field>,
    },
    /// The WebSocket is accepted: only data follows.
    Switched {
        fields: Vec<Field>,
    },
    Data(Range<usize>),
    /// The response is complete.
    End {
        trailers: Vec<Field>,
    },
}

#[derive(Debug)]
enum Stage {
    StatusLine,
    Fields {
        status: u16,
        lines: FieldLines,
        fields: Vec<Field>,
    },
    /// `None`: it is complete.
    Body(Option<BodyDecoder>),
    Switched,
    Over,
}

/// Reads one response.
#[derive(Debug)]
pub struct ResponseReader {
    expected: Expected,
    stage: Stage,
}

impl ResponseReader {
    #[must_use]
    pub fn new(expected: Expected) -> Self {
        Self {
            expected,
            stage: Stage::StatusLine,
        }
    }

    /// Whether the final head was read.
    #[must_use]
    pub fn has_head(&self) -> bool {
        !matches!(self.stage, Stage::StatusLine | Stage::Fields { .. })
    }

    /// Whether the end of the input is one of the response: a WebSocket ends so.
    #[must_use]
    pub fn may_end(&self) -> bool {
        matches!(self.stage, Stage::Switched | Stage::Over)
    }

    /// Reads on. Returns how many bytes to drop from the front of `input`, and the part that they end.
    /// Without one, more has to come.
    ///
    /// # Errors
    /// [`BadResponse`]. The reader must not be used again.
    pub fn read(&mut self, input: &[u8]) -> Result<(usize, Option<ResponsePart>), BadResponse> {
        loop {
            match &mut self.stage {
                Stage::StatusLine => match status_line(input)? {
                    Some((status, end)) => {
                        self.stage = Stage::Fields {
                            status,
                            lines: FieldLines::at(end),
                            fields: Vec::new(),
                        }
                    }
                    None => return Ok((0, None)),
                },
                Stage::Fields { .. } => return self.read_fields(input),
                Stage::Body(None) => {
                    self.stage = Stage::Over;
                    let trailers = Vec::new();
                    return Ok((0, Some(ResponsePart::End { trailers })));
                }
                Stage::Body(Some(_)) => return self.read_body(input),
                Stage::Switched if input.is_empty() => return Ok((0, None)),
                Stage::Switched => {
                    let all = 0..input.len();
                    return Ok((input.len(), Some(ResponsePart::Data(all))));
                }
                // What follows a response is no part of it.
                Stage::Over => return Ok((0, None)),
            }
        }
    }

    fn read_fields(&mut self, input: &[u8]) -> Result<(usize, Option<ResponsePart>), BadResponse> {
        let Stage::Fields {
            status,
            lines,
            fields,
        } = &mut self.stage
        else {
            return Ok((0, None));
        };
        let consumed = loop {
            match lines.read(input, &BOUNDS).map_err(|_| BAD_FIELDS)? {
                None => return Ok((0, None)),
                Some(Line::Field { field, .. }) => fields.push(field),
                Some(Line::End { consumed }) => break consumed,
            }
        };
        let (status, fields) = (*status, std::mem::take(fields));
        let part = match status {
            101 if self.expected == Expected::WebSocket => {
                self.stage = Stage::Switched;
                ResponsePart::Switched { fields }
            }
            101 => return Err(BAD_SWITCH),
            100..=199 => {
                self.stage = Stage::StatusLine;
                ResponsePart::Interim { status, fields }
            }
            // It would accept the WebSocket (RFC 8441 4).
            200..=299 if self.expected == Expected::WebSocket => return Err(BAD_SWITCH),
            _ => {
                let body = body(status, self.expected, &fields, input)?;
                self.stage = Stage::Body(body);
                ResponsePart::Head { status, fields }
            }
        };
        Ok((consumed, Some(part)))
    }

    fn read_body(&mut self, input: &[u8]) -> Result<(usize, Option<ResponsePart>), BadResponse> {
        let Stage::Body(Some(decoder)) = &mut self.stage else {
            return Ok((0, None));
        };
        let decoded = decoder.decode(input, &LIMITS).map_err(|_| BAD_BODY)?;
        if !decoded.data.is_empty() {
            if decoded.done {
                self.stage = Stage::Body(None);
            }
            return Ok((decoded.consumed, Some(ResponsePart::Data(decoded.data))));
        }
        if !decoded.done {
            return Ok((decoded.consumed, None));
        }
        let section = decoded.consumed - decoder.trailer_bytes()..decoded.consumed;
        let trailers = read_trailers(input, section)?;
        self.stage = Stage::Over;
        Ok((decoded.consumed, Some(ResponsePart::End { trailers })))
    }
}

/// Reads the status line. Returns the status, and where the line ends.
fn status_line(input: &[u8]) -> Result<Option<(u16, usize)>, BadResponse> {
    const START: &[u8] = b"HTTP/1.1 ";
    let known = input.len().min(START.len());
    if input.get(..known) != START.get(..known) {
        return Err(BAD_LINE);
    }
    let most = input.get(..MOST_LINE).unwrap_or(input);
    let Some(at) = most.iter().position(|byte| *byte == b'\n') else {
        return match most.len() < MOST_LINE {
            true => Ok(None),
            false => Err(BAD_LINE),
        };
    };
    let line = most
        .get(START.len()..at)
        .and_then(|line| line.strip_suffix(b"\r"));
    let (code, rest) = line
        .and_then(|line| line.split_first_chunk::<3>())
        .ok_or(BAD_LINE)?;
    let status = decimal(code).and_then(|code| u16::try_from(code).ok());
    let status = status.filter(|status| *status >= 100).ok_or(BAD_LINE)?;
    match rest {
        [b' ', reason @ ..] if is_text(reason) => Ok(Some((status, at + 1))),
        _ => Err(BAD_LINE),
    }
}

/// The body that follows the head; `None`: none.
fn body(
    status: u16,
    expected: Expected,
    fields: &[Field],
    input: &[u8],
) -> Result<Option<BodyDecoder>, BadResponse> {
    let mut framing = Framing::None;
    for field in fields {
        let (name, value) = (field.name.of(input), field.value.of(input));
        let is_length = name.eq_ignore_ascii_case(b"content-length");
        let is_coding = name.eq_ignore_ascii_case(b"transfer-encoding");
        framing = match framing {
            Framing::None if is_length => Framing::Length(decimal(value).ok_or(BAD_FRAMING)?),
            Framing::None if is_coding && value.eq_ignore_ascii_case(b"chunked") => {
                Framing::Chunked
            }
            _ if is_length || is_coding => return Err(BAD_FRAMING),
            framing => framing,
        };
    }
    match (framing, status) {
        (_, 204 | 304) => Ok(None),
        _ if expected == Expected::Nothing => Ok(None),
        // The end of the connection would end it: that of a process that was killed looks the same.
        (Framing::None, _) => Err(BAD_FRAMING),
        (framing, _) => Ok(BodyDecoder::new(framing)),
    }
}

fn read_trailers(input: &[u8], section: Range<usize>) -> Result<Vec<Field>, BadResponse> {
    let mut lines = FieldLines::at(section.start);
    let input = input.get(..section.end).unwrap_or_default();
    let bounds = Bounds {
        section: section.end,
        ..BOUNDS
    };
    let mut trailers = Vec::new();
    loop {
        match lines.read(input, &bounds).map_err(|_| BAD_FIELDS)? {
            Some(Line::Field { field, .. }) => trailers.push(field),
            Some(Line::End { .. }) | None => return Ok(trailers),
        }
    }
}

#[cfg(test)]
mod tests;
