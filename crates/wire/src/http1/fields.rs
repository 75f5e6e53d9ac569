//! Field lines, of a head or of a trailer section: `*( name ":" OWS value OWS CRLF ) CRLF` (RFC
//! 9112 5).
//!
//! It owns the grammar of the lines and their limits. However the input is split, no byte is looked at
//! twice, and an error is found at the byte that causes it. It does not know what any field means.

use crate::errors::RemoteError;
use crate::tokens::{self, NAME};

/// A place in the caller's buffer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Span {
    /// First byte.
    pub start: u32,
    /// One past the last byte.
    pub end: u32,
}

impl Span {
    /// Positions in a head or trailer section. Their length is bounded to 32 bits before a span is made.
    #[inline]
    pub(crate) const fn new(start: usize, end: usize) -> Self {
        Self {
            start: start as u32,
            end: end as u32,
        }
    }

    /// The part of this span from `from` to `to`, both counted from its start.
    pub(crate) const fn part(self, from: usize, to: usize) -> Self {
        Self {
            start: self.start + from as u32,
            end: self.start + to as u32,
        }
    }

    /// The bytes of this span in `input`, the buffer that it was made from; empty if they are not there.
    #[inline]
    #[must_use]
    pub fn of<'a>(&self, input: &'a [u8]) -> &'a [u8] {
        input
            .get(self.start as usize..self.end as usize)
            .unwrap_or_default()
    }
}

/// One field line: the name as it came, the value without the white space around it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field {
    pub name: Span,
    pub value: Span,
}

/// What a section of field lines may cost.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    /// Where the section must end at the latest, counted from the start of `input`.
    pub(crate) section: usize,
    /// Longest line, in bytes.
    pub(crate) line: usize,
    /// Most lines.
    pub(crate) fields: usize,
}

/// One line of a section.
#[derive(Debug)]
pub(crate) enum Line {
    Field { field: Field, underscored: bool },
    End { consumed: usize },
}

/// Reads a section line by line, resumably: `input` starts at the same byte in each call and only
/// grows.
#[derive(Debug, Default)]
pub(crate) struct FieldLines {
    stage: Stage,
    /// The next byte to look at.
    pos: usize,
    /// Where the current line, and in it the value, begins.
    line: usize,
    value: usize,
    name: Span,
    underscored: bool,
    count: usize,
}

#[derive(Debug, Clone, Copy, Default)]
enum Stage {
    #[default]
    LineStart,
    Name,
    BeforeValue,
    Value,
    LineEnd,
    SectionEnd,
}

const BARE_CR: RemoteError = RemoteError::bad_request("bare CR");
const BARE_LF: RemoteError = RemoteError::bad_request("bare LF");
const FOLDED: RemoteError = RemoteError::bad_request("folded header line");
const NO_NAME: RemoteError = RemoteError::bad_request("header line without a name");
const NO_COLON: RemoteError = RemoteError::bad_request("header line without a colon");
const BLANK_NAME: RemoteError =
    RemoteError::bad_request("white space in a header name or before its colon");
const BAD_NAME: RemoteError = RemoteError::bad_request("header name is not a token");
const BAD_VALUE: RemoteError = RemoteError::bad_request("control byte in a header value");
const TOO_MANY: RemoteError = RemoteError {
    status: 431,
    reason: "more header lines than max_fields",
};
const LINE_TOO_LONG: RemoteError = RemoteError {
    status: 431,
    reason: "header line longer than max_line",
};
const SECTION_TOO_LONG: RemoteError = RemoteError {
    status: 431,
    reason: "head longer than max_head, or trailers longer than 16 KiB",
};

impl FieldLines {
    /// A section that begins at `pos` in `input`.
    pub(crate) fn at(pos: usize) -> Self {
        Self {
            pos,
            ..Self::default()
        }
    }

    /// The next line, or `None` if it is not complete yet.
    ///
    /// The stages follow the grammar. A call continues in the stage in which the bytes ran out.
    #[inline]
    pub(crate) fn read(
        &mut self,
        input: &[u8],
        bounds: &Bounds,
    ) -> Result<Option<Line>, RemoteError> {
        if let Stage::LineStart = self.stage {
            self.line = self.pos;
            let Some(byte) = input.get(self.pos) else {
                return Ok(None);
            };
            self.stage = self.start_line(*byte, bounds)?;
        }
        while let Stage::Name = self.stage {
            let skip = |input: &[u8], from| tokens::skip(input, from, NAME);
            let Some(byte) = self.scan(input, bounds, skip)? else {
                return Ok(None);
            };
            self.stage = self.end_name(*byte)?;
        }
        if let Stage::BeforeValue = self.stage {
            let Some(_) = self.scan(input, bounds, skip_blanks)? else {
                return Ok(None);
            };
            self.value = self.pos;
            self.stage = Stage::Value;
        }
        if let Stage::Value = self.stage {
            let Some(byte) = self.scan(input, bounds, tokens::skip_text)? else {
                return Ok(None);
            };
            self.stage = match byte {
                b'\r' => self.step(Stage::LineEnd),
                b'\n' => return Err(BARE_LF),
                _ => return Err(BAD_VALUE),
            };
        }
        match (self.stage, input.get(self.pos)) {
            (_, None) => Ok(None),
            (Stage::SectionEnd, Some(b'\n')) => self.end_section(bounds).map(Some),
            (_, Some(b'\n')) => Ok(Some(self.end_field(input))),
            (_, Some(_)) => Err(BARE_CR),
        }
    }

    /// Moves past what `skip` skips and returns the byte that it stopped at.
    ///
    /// The bounds are checked before the caller judges that byte. So the result is the same if the bytes
    /// come one by one.
    #[inline]
    fn scan<'a>(
        &mut self,
        input: &'a [u8],
        bounds: &Bounds,
        skip: impl Fn(&[u8], usize) -> usize,
    ) -> Result<Option<&'a u8>, RemoteError> {
        self.pos = skip(input, self.pos);
        let line_bound = self.line.saturating_add(bounds.line);
        if self.pos > line_bound.min(bounds.section) {
            return Err(if line_bound <= bounds.section {
                LINE_TOO_LONG
            } else {
                SECTION_TOO_LONG
            });
        }
        Ok(input.get(self.pos))
    }

    #[inline]
    fn start_line(&mut self, byte: u8, bounds: &Bounds) -> Result<Stage, RemoteError> {
        match byte {
            b'\r' => Ok(self.step(Stage::SectionEnd)),
            b'\n' => Err(BARE_LF),
            b' ' | b'\t' => Err(FOLDED),
            b':' => Err(NO_NAME),
            _ if self.count >= bounds.fields => Err(TOO_MANY),
            _ => {
                self.count += 1;
                self.underscored = false;
                Ok(Stage::Name)
            }
        }
    }

    #[inline]
    fn end_name(&mut self, byte: u8) -> Result<Stage, RemoteError> {
        match byte {
            b':' => {
                self.name = Span::new(self.line, self.pos);
                Ok(self.step(Stage::BeforeValue))
            }
            b'_' => {
                self.underscored = true;
                Ok(self.step(Stage::Name))
            }
            b' ' | b'\t' => Err(BLANK_NAME),
            b'\r' | b'\n' => Err(NO_COLON),
            _ => Err(BAD_NAME),
        }
    }

    #[inline]
    fn end_field(&mut self, input: &[u8]) -> Line {
        let mut end = self.pos - 1;
        while end > self.value && matches!(input.get(end - 1), Some(b' ' | b'\t')) {
            end -= 1;
        }
        self.stage = self.step(Stage::LineStart);
        let field = Field {
            name: self.name,
            value: Span::new(self.value, end),
        };
        Line::Field {
            field,
            underscored: self.underscored,
        }
    }

    fn end_section(&mut self, bounds: &Bounds) -> Result<Line, RemoteError> {
        self.pos += 1;
        if self.pos > bounds.section {
            return Err(SECTION_TOO_LONG);
        }
        Ok(Line::End { consumed: self.pos })
    }

    /// Moves past the byte that was judged, to `stage`.
    #[inline]
    fn step(&mut self, stage: Stage) -> Stage {
        self.pos += 1;
        stage
    }
}

fn skip_blanks(input: &[u8], from: usize) -> usize {
    let rest = input.get(from..).unwrap_or_default();
    from + rest
        .iter()
        .position(|byte| !matches!(byte, b' ' | b'\t'))
        .unwrap_or(rest.len())
}
