//! A request's head: the request line, the field lines, and what those fields mean for the
//! connection.
//!
//! It owns the meaning of Host, Connection, Expect and Upgrade. A head that it returns can be read in one
//! way only: a head that a proxy in front could read differently is refused. It does not know what
//! happens to the request.

use super::fields::{Bounds, Field, FieldLines, Line, Span};
use super::framing::Framing;
use super::request_line::{Request, RequestLine};
use super::target::{self, Authority, Target, TargetForm};
use super::version::Version;
use crate::errors::RemoteError;
use crate::limits::{Limits, Underscore};
use crate::proxy::names::is_forwarded;
use crate::tokens::{is_name, members};

/// The head of a request. Every [`Span`] is a place in the `input` that it was parsed from.
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
    /// In the order in which they came, without those that have `_` in their name.
    pub fields: Vec<Field>,
    /// The value of Host, which is valid and not empty. `None` only in HTTP/1.0.
    pub host: Option<Span>,
    pub framing: Framing,
    /// The client may send another request on this connection (RFC 9112 9.3).
    pub keep_alive: bool,
    /// The client waits for [`CONTINUE`](crate::CONTINUE) before it sends the body. Always false if there
    /// is no body.
    pub expect_continue: bool,
    /// The client asks for a WebSocket: a GET of HTTP/1.1 without a body, with the right Upgrade and
    /// Connection (RFC 6455 4.2.1). [`Opening::read`](crate::websocket::Opening::read) checks the rest.
    pub websocket: bool,
    /// There are fields that proxies send. [`Proxies::resolve`](crate::proxy::Proxies::resolve) says
    /// what they mean.
    pub forwarded: bool,
    /// The part of the client's path that a proxy has removed, without a slash at its end.
    pub prefix: Option<Span>,
    /// The port that the client has connected to, if a proxy says so.
    pub port: Option<u16>,
}

/// Reads heads, resumably: no byte is looked at twice. After it has returned a head, it is ready for the
/// next.
#[derive(Debug, Default)]
pub struct HeadParser {
    stage: Stage,
    head: Head,
    seen: Seen,
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

/// What the fields have said so far.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    connection: Connection,
    /// The first value of each field that must not stand twice with different values. A proxy may have
    /// read the other one.
    content_type: Option<Span>,
    authorization: Option<Span>,
    content_encoding: Option<Span>,
}

/// What the Connection fields have said so far (RFC 9112 9.3). `Close` wins over `KeepAlive`, in either
/// order.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Connection {
    #[default]
    Unset,
    KeepAlive,
    Close,
}

const NO_HOST: RemoteError = RemoteError::bad_request("HTTP/1.1 without Host");
const TWO_HOSTS: RemoteError = RemoteError::bad_request("more than one Host");
const BAD_HOST: RemoteError = RemoteError::bad_request("invalid Host");
const OTHER_HOST: RemoteError = RemoteError::bad_request("Host differs from the request target");
const TWO_VALUES: RemoteError = RemoteError::bad_request(
    "Content-Type, Content-Encoding or Authorization with two different values",
);
const UNDERSCORE: RemoteError = RemoteError::bad_request("underscore in a header name");
const EXPECTATION: RemoteError = RemoteError {
    status: 417,
    reason: "only 100-continue can be expected",
};

/// Enough for the heads of browsers, in one allocation.
const USUAL_FIELDS: usize = 16;

impl HeadParser {
    /// Reads on. Returns the head and how many bytes it took, or `None` if it is not complete yet.
    ///
    /// `input` starts at the same byte in each call until a head is returned, and only grows.
    ///
    /// # Errors
    /// [`RemoteError`], as soon as the bytes show it. The parser must not be used again.
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
        self.read_fields(input, limits)
    }

    /// The request line of a head that is refused or incomplete, if the line can be read. For a log.
    pub fn request_line<'a>(input: &'a [u8], limits: &Limits) -> Option<&'a [u8]> {
        RequestLine::of(input, limits)
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

    #[inline]
    fn read_fields(
        &mut self,
        input: &[u8],
        limits: &Limits,
    ) -> Result<Option<(Head, usize)>, RemoteError> {
        let Stage::Fields(lines) = &mut self.stage else {
            return Ok(None);
        };
        let bounds = Bounds {
            section: limits.head_bound(),
            line: limits.line,
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
                    add_field(&mut self.head, &mut self.seen, input, field)?
                }
                Line::End { consumed } => {
                    finish(&mut self.head, self.seen.connection, input, limits)?;
                    return Ok(Some((std::mem::take(self).head, consumed)));
                }
            }
        }
        Ok(None)
    }
}

/// Adds a field to the head, and what it means. Names are compared by length first: most fields match no
/// name of that length.
#[inline]
pub(crate) fn add_field(
    head: &mut Head,
    seen: &mut Seen,
    input: &[u8],
    field: Field,
) -> Result<(), RemoteError> {
    head.fields.push(field);
    let (name, value) = (field.name.of(input), field.value.of(input));
    match name.len() {
        4 if is_name(name, b"host") => {
            if head.host.replace(field.value).is_some() {
                return Err(TWO_HOSTS);
            }
            Authority::parse(value).ok_or(BAD_HOST)?;
        }
        6 if is_name(name, b"expect") => {
            if !value.eq_ignore_ascii_case(b"100-continue") {
                return Err(EXPECTATION);
            }
            head.expect_continue = true;
        }
        7 if is_name(name, b"upgrade") => {
            head.websocket |= members(value).any(|to| to.eq_ignore_ascii_case(b"websocket"));
        }
        10 if is_name(name, b"connection") => {
            seen.connection = seen.connection.with(value);
        }
        12 if is_name(name, b"content-type") => {
            expect_same(&mut seen.content_type, field.value, input)?;
        }
        13 if is_name(name, b"authorization") => {
            expect_same(&mut seen.authorization, field.value, input)?;
        }
        14 if is_name(name, b"content-length") => head.framing = head.framing.with_length(value)?,
        16 if is_name(name, b"content-encoding") => {
            expect_same(&mut seen.content_encoding, field.value, input)?;
        }
        17 if is_name(name, b"transfer-encoding") => {
            head.framing = head.framing.with_encoding(value, head.version)?;
        }
        _ => head.forwarded |= is_forwarded(name),
    }
    Ok(())
}

/// Refuses a value that differs from the first one.
fn expect_same(first: &mut Option<Span>, value: Span, input: &[u8]) -> Result<(), RemoteError> {
    if first.get_or_insert(value).of(input) == value.of(input) {
        Ok(())
    } else {
        Err(TWO_VALUES)
    }
}

/// Checks what needs every field.
fn finish(
    head: &mut Head,
    connection: Connection,
    input: &[u8],
    limits: &Limits,
) -> Result<(), RemoteError> {
    match (head.form, head.authority, head.host) {
        (_, _, None) if head.version == Version::Http11 => return Err(NO_HOST),
        (TargetForm::Absolute, Some(authority), Some(host))
            if !target::is_same_authority(
                head.target.of(input),
                authority.of(input),
                host.of(input),
            ) =>
        {
            return Err(OTHER_HOST);
        }
        _ => {}
    }
    head.framing = head.framing.within(limits.max_body)?;
    head.keep_alive = match head.version {
        Version::Http10 => connection == Connection::KeepAlive,
        Version::Http11 | Version::Http2 => connection != Connection::Close,
    };
    // RFC 9110 10.1.1: a client of 1.0 cannot read an interim response.
    head.expect_continue &= head.version == Version::Http11
        && !matches!(head.framing, Framing::None | Framing::Length(0));
    head.websocket = head.websocket && asks_to_switch(head, input);
    Ok(())
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
