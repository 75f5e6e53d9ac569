//! A request's head: the request line, the field lines, and what those fields mean for the
//! connection.
//!
//! It owns the meaning of Host, Connection and Expect. It always holds that a head it returns has
//! exactly one reading: what a proxy in front could read differently was refused. It must not know
//! what happens to the request.

use crate::fields::{Bounds, FieldLines, Line};
use crate::request_line::{Request, RequestLine};
use crate::target::{self, Authority, Target};
use crate::tokens::members;
use crate::{Field, Framing, Limits, RemoteError, Span, TargetForm, Underscore};

/// The version a request is served as.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Version {
    Http10,
    /// HTTP/1.1, and 1.2 to 1.9, which are to be served as 1.1 (RFC 9110 2.5).
    #[default]
    Http11,
}

/// A request's head. Every [`Span`] is a place in the `input` it was parsed from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Head {
    pub method: Span,
    /// The target as it came.
    pub target: Span,
    pub form: TargetForm,
    /// The target's path, up to the `?`. `*` for asterisk-form; empty for authority-form, and for
    /// an absolute target without one, which means `/` (RFC 9112 3.2.1).
    pub path: Span,
    /// What follows the first `?`; `None` without one.
    pub query: Option<Span>,
    /// Host and port of an absolute or authority target.
    pub authority: Option<Span>,
    pub version: Version,
    /// In the order they came; those with `_` in their name are gone.
    pub fields: Vec<Field>,
    /// The value of Host: valid and not empty; `None` only in HTTP/1.0.
    pub host: Option<Span>,
    pub framing: Framing,
    /// The client asks for, and may have, another request on this connection.
    pub keep_alive: bool,
    /// The client waits for [`CONTINUE`](crate::CONTINUE) before it sends the body; never true
    /// without a body to wait for.
    pub expect_continue: bool,
    /// The client asks for a WebSocket: a GET of HTTP/1.1 without a body, with the right Upgrade and
    /// Connection (RFC 6455 4.2.1). Whether it asks properly is seen by
    /// [`Opening::read`](crate::websocket::Opening::read).
    pub websocket: bool,
}

/// Reads heads, resumably: no byte is looked at twice. When it has returned one it is ready for the
/// next.
#[derive(Debug, Default)]
pub struct HeadParser {
    stage: Stage,
    head: Head,
    connection: Connection,
}

#[derive(Debug)]
enum Stage {
    RequestLine(RequestLine),
    Fields(FieldLines),
}

impl Default for Stage {
    fn default() -> Self {
        Self::RequestLine(RequestLine::default())
    }
}

/// What the Connection fields said so far (RFC 9112 9.3); `Close` wins over `KeepAlive` whichever
/// comes first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Connection {
    #[default]
    Silent,
    KeepAlive,
    Close,
}

const NO_HOST: RemoteError = RemoteError::bad("HTTP/1.1 without Host");
const TWO_HOSTS: RemoteError = RemoteError::bad("more than one Host");
const BAD_HOST: RemoteError = RemoteError::bad("invalid Host");
const OTHER_HOST: RemoteError = RemoteError::bad("Host differs from the request target");
const UNDERSCORE: RemoteError = RemoteError::bad("underscore in a header name");
const EXPECTATION: RemoteError = RemoteError {
    status: 417,
    reason: "only 100-continue can be expected",
};

/// Enough for what browsers send, in one allocation.
const USUAL_FIELDS: usize = 16;

impl HeadParser {
    /// Reads on. Returns the head and how many bytes it took, or `None` when it has not come whole.
    ///
    /// `input` starts at the same byte in each call until a head is returned, and only grows.
    ///
    /// # Errors
    /// The [`RemoteError`] to answer, as early as the bytes show it. The parser must not be used again.
    pub fn parse(
        &mut self,
        input: &[u8],
        limits: &Limits,
    ) -> Result<Option<(Head, usize)>, RemoteError> {
        if let Stage::RequestLine(line) = &mut self.stage {
            let Some(request) = line.read(input, limits)? else {
                return Ok(None);
            };
            self.stage = Stage::Fields(FieldLines::at(request.consumed));
            self.begin(input, &request)?;
        }
        let Stage::Fields(lines) = &mut self.stage else {
            return Ok(None);
        };
        let bounds = Bounds {
            section: limits.head_bound(),
            line: limits.field_line,
            fields: limits.fields,
        };
        while let Some(line) = lines.read(input, &bounds)? {
            match line {
                Line::Field {
                    underscored: true, ..
                } if limits.underscore == Underscore::Drop => {}
                Line::Field {
                    underscored: true, ..
                } => return Err(UNDERSCORE),
                Line::Field { field, .. } => {
                    note(&mut self.head, &mut self.connection, input, field)?
                }
                Line::End { consumed } => {
                    let Self {
                        head, connection, ..
                    } = std::mem::take(self);
                    return Ok(Some((finish(head, connection, input, limits)?, consumed)));
                }
            }
        }
        Ok(None)
    }

    fn begin(&mut self, input: &[u8], request: &Request) -> Result<(), RemoteError> {
        let target = Target::parse(input, request.method.of(input), request.target)?;
        self.head = Head {
            method: request.method,
            target: request.target,
            form: target.form,
            path: target.path,
            query: target.query,
            authority: target.authority,
            version: request.version,
            fields: Vec::with_capacity(USUAL_FIELDS),
            ..Head::default()
        };
        Ok(())
    }
}

/// Keeps a field, and what it means for this server. Names are told apart by their length first.
#[inline]
fn note(
    head: &mut Head,
    connection: &mut Connection,
    input: &[u8],
    field: Field,
) -> Result<(), RemoteError> {
    head.fields.push(field);
    let (name, value) = (field.name.of(input), field.value.of(input));
    match name.len() {
        4 if name.eq_ignore_ascii_case(b"host") => {
            if head.host.replace(field.value).is_some() {
                return Err(TWO_HOSTS);
            }
            Authority::parse(value).ok_or(BAD_HOST)?;
        }
        6 if name.eq_ignore_ascii_case(b"expect") => {
            if !value.eq_ignore_ascii_case(b"100-continue") {
                return Err(EXPECTATION);
            }
            head.expect_continue = true;
        }
        7 if name.eq_ignore_ascii_case(b"upgrade") => {
            head.websocket |= members(value).any(|to| to.eq_ignore_ascii_case(b"websocket"));
        }
        10 if name.eq_ignore_ascii_case(b"connection") => *connection = connection.with(value),
        14 if name.eq_ignore_ascii_case(b"content-length") => {
            head.framing = head.framing.with_length(value)?
        }
        17 if name.eq_ignore_ascii_case(b"transfer-encoding") => {
            head.framing = head.framing.with_encoding(value, head.version)?;
        }
        _ => {}
    }
    Ok(())
}

/// What can be judged only when every field is known.
fn finish(
    mut head: Head,
    connection: Connection,
    input: &[u8],
    limits: &Limits,
) -> Result<Head, RemoteError> {
    match (head.form, head.authority, head.host) {
        (_, _, None) if head.version == Version::Http11 => return Err(NO_HOST),
        (TargetForm::Absolute, Some(authority), Some(host))
            if !target::agrees(head.target.of(input), authority.of(input), host.of(input)) =>
        {
            return Err(OTHER_HOST);
        }
        _ => {}
    }
    head.framing = head.framing.within(limits.max_body)?;
    head.keep_alive = match head.version {
        Version::Http10 => connection == Connection::KeepAlive,
        Version::Http11 => connection != Connection::Close,
    };
    // RFC 9110 10.1.1: a 1.0 client cannot read the interim answer.
    head.expect_continue &= head.version == Version::Http11
        && !matches!(head.framing, Framing::None | Framing::Length(0));
    head.websocket = head.websocket && asks_to_switch(&head, input);
    Ok(head)
}

/// RFC 6455 4.2.1, 1 and 4; RFC 9110 7.8.
fn asks_to_switch(head: &Head, input: &[u8]) -> bool {
    head.version == Version::Http11
        && head.method.of(input) == b"GET"
        && matches!(head.framing, Framing::None | Framing::Length(0))
        && head.fields.iter().any(|field| {
            field.name.of(input).eq_ignore_ascii_case(b"connection")
                && members(field.value.of(input))
                    .any(|option| option.eq_ignore_ascii_case(b"upgrade"))
        })
}

impl Connection {
    fn with(self, value: &[u8]) -> Self {
        members(value).fold(self, |connection, option| {
            if connection == Self::Close || option.eq_ignore_ascii_case(b"close") {
                Self::Close
            } else if option.eq_ignore_ascii_case(b"keep-alive") {
                Self::KeepAlive
            } else {
                connection
            }
        })
    }
}
