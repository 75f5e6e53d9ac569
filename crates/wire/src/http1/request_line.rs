//! The request line: `method SP target SP version CRLF`, one space each (RFC 9112 3).
//!
//! It owns the grammar and the length of the line. As in `fields`, no byte is looked at twice, and the
//! bound is checked before the byte that ended a scan is judged. So it does not matter how the input is
//! split.

use super::fields::Span;
use super::version::Version;
use crate::errors::RemoteError;
use crate::limits::Limits;
use crate::tokens::{self, TARGET, TOKEN};

/// A request line and where it ended.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) method: Span,
    pub(crate) target: Span,
    pub(crate) version: Version,
    pub(crate) consumed: usize,
}

/// Reads one request line, resumably: `input` starts at the same byte in each call and only grows.
#[derive(Debug, Default)]
pub(crate) struct RequestLine {
    stage: Stage,
    /// The next byte to look at.
    pos: usize,
    /// Where the line begins, and where its current word begins.
    line: usize,
    word: usize,
    method: Span,
    target: Span,
    version: Version,
}

#[derive(Debug, Clone, Copy, Default)]
enum Stage {
    #[default]
    Start,
    EmptyLine,
    Method,
    Target,
    Version,
    LineEnd,
}

const BARE_CR: RemoteError = RemoteError::bad_request("bare CR before or after the request line");
const BARE_LF: RemoteError = RemoteError::bad_request("bare LF before or after the request line");
const BAD_METHOD: RemoteError = RemoteError::bad_request("method is not a token and one space");
const BAD_TARGET: RemoteError =
    RemoteError::bad_request("request target is not visible ASCII and one space");
const BAD_VERSION: RemoteError = RemoteError::bad_request("request line does not end in HTTP/x.y");
const OTHER_VERSION: RemoteError = RemoteError {
    status: 505,
    reason: "only HTTP/1.0 and HTTP/1.1 are served",
};
const TOO_LONG: RemoteError = RemoteError {
    status: 414,
    reason: "request line longer than max_line",
};
const HEAD_TOO_LONG: RemoteError = RemoteError {
    status: 431,
    reason: "head longer than max_head",
};

/// The length of `HTTP/x.y`.
const VERSION_BYTES: usize = 8;

impl RequestLine {
    /// The line, or `None` if it is not complete yet.
    #[inline]
    pub(crate) fn read(
        &mut self,
        input: &[u8],
        limits: &Limits,
    ) -> Result<Option<Request>, RemoteError> {
        loop {
            let byte = match self.stage {
                Stage::Start | Stage::EmptyLine | Stage::LineEnd => input.get(self.pos),
                Stage::Method => self.scan(input, limits, TOKEN)?,
                Stage::Target => self.scan(input, limits, TARGET)?,
                // One byte more than a version has is enough to see that the word is too long.
                Stage::Version => {
                    let most = input.len().min(self.word + VERSION_BYTES + 1);
                    self.scan(input.get(..most).unwrap_or_default(), limits, TARGET)?;
                    input.get(self.pos)
                }
            };
            let Some(byte) = byte else { return Ok(None) };
            self.stage = match (self.stage, byte) {
                (Stage::Start, b'\r') => self.step(Stage::EmptyLine),
                (Stage::Start, _) => Stage::Method,
                (Stage::EmptyLine, b'\n') => self.step(Stage::Method),
                (Stage::Method, b' ') if self.pos > self.word => {
                    self.method = Span::new(self.word, self.pos);
                    self.step(Stage::Target)
                }
                (Stage::Target, b' ') if self.pos > self.word => {
                    self.target = Span::new(self.word, self.pos);
                    self.step(Stage::Version)
                }
                (Stage::Version, b'\r') => {
                    self.version = version(input.get(self.word..self.pos).unwrap_or_default())?;
                    self.step(Stage::LineEnd)
                }
                (Stage::LineEnd, b'\n') => return Ok(Some(self.request())),
                (stage, byte) => return Err(refuse(stage, *byte)),
            };
        }
    }

    /// The whole line at the start of `input`, if it can be read. Its version may be one that is not
    /// served.
    pub(crate) fn of<'a>(input: &'a [u8], limits: &Limits) -> Option<&'a [u8]> {
        let mut line = Self::default();
        let end = match line.read(input, limits) {
            Ok(Some(request)) => request.consumed - 2,
            Err(OTHER_VERSION) => line.pos,
            Ok(None) | Err(_) => return None,
        };
        input.get(line.line..end)
    }

    /// Moves past the bytes of `class` and returns the byte after them.
    #[inline]
    fn scan<'a>(
        &mut self,
        input: &'a [u8],
        limits: &Limits,
        class: u8,
    ) -> Result<Option<&'a u8>, RemoteError> {
        self.pos = tokens::skip(input, self.pos, class);
        let bound = self.line.saturating_add(limits.line);
        let head_bound = limits.head_bound();
        if self.pos > bound.min(head_bound) {
            return Err(if bound <= head_bound {
                TOO_LONG
            } else {
                HEAD_TOO_LONG
            });
        }
        Ok(input.get(self.pos))
    }

    /// Moves past the byte that was judged, to `stage`, in which a word begins.
    #[inline]
    fn step(&mut self, stage: Stage) -> Stage {
        self.pos += 1;
        self.word = self.pos;
        if let Stage::Method = stage {
            self.line = self.pos;
        }
        stage
    }

    fn request(&self) -> Request {
        Request {
            method: self.method,
            target: self.target,
            version: self.version,
            consumed: self.pos + 1,
        }
    }
}

fn refuse(stage: Stage, byte: u8) -> RemoteError {
    match (stage, byte) {
        (Stage::EmptyLine | Stage::LineEnd, _) => BARE_CR,
        (_, b'\n') => BARE_LF,
        (Stage::Start | Stage::Method, _) => BAD_METHOD,
        (Stage::Target, _) => BAD_TARGET,
        (Stage::Version, _) => BAD_VERSION,
    }
}

/// The version that the request is served as (RFC 9110 2.5): every 1.x from 1.1 on is 1.1.
fn version(word: &[u8]) -> Result<Version, RemoteError> {
    match word {
        b"HTTP/1.1" => Ok(Version::Http11),
        b"HTTP/1.0" => Ok(Version::Http10),
        b"HTTP/0.9" => Err(BAD_VERSION),
        [b'H', b'T', b'T', b'P', b'/', b'1', b'.', b'2'..=b'9'] => Ok(Version::Http11),
        [b'H', b'T', b'T', b'P', b'/', b'0'..=b'9', b'.', b'0'..=b'9'] => Err(OTHER_VERSION),
        _ => Err(BAD_VERSION),
    }
}
