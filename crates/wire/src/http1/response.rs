//! The head of a response, and the responses that the server writes by itself (RFC 9110, RFC 9112 4
//! and 6).
//!
//! It owns what a response says about its framing and about the connection; the application can only ask
//! for either. A head is written as a whole or not at all.

use super::body_encoder::BodyEncoder;
use super::response_fields::{FieldSummary, write_field, write_fields};
use super::version::Version;
use crate::errors::{LocalError, RemoteError};
use crate::status::{Status, reason_phrase};
use crate::tokens::is_text;

/// The interim response that lets a waiting client send its body (RFC 9110 15.2.1).
pub const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// What a response depends on of its request. The default is for a request that could not be read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RequestContext {
    pub version: Version,
    pub kind: RequestKind,
    /// Client and server agree so far to keep the connection open.
    pub keep_alive: bool,
}

/// The methods whose responses are framed in a way of their own (RFC 9112 6.3).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum RequestKind {
    Head,
    Connect,
    #[default]
    Other,
}

impl RequestKind {
    /// The kind of a request with this method.
    #[inline]
    #[must_use]
    pub fn of(method: &[u8]) -> Self {
        match method {
            b"HEAD" => Self::Head,
            b"CONNECT" => Self::Connect,
            _ => Self::Other,
        }
    }
}

/// What the server knows of the length of the body when it writes the head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Length {
    /// The body has this many bytes.
    Known(u64),
    /// The body is a stream.
    Unknown,
}

/// How a response ends, as its head says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResponseFraming {
    /// Frames the body as the head says.
    pub body: BodyEncoder,
    /// Whether the connection stays open after this response.
    pub keep_alive: bool,
}

/// Appends the head of a response to `out`.
///
/// Its code is 200 to 999: a class that is not defined yet is passed on (RFC 9110 15). The server writes
/// Date, Content-Length, Transfer-Encoding and Connection. It respects the application's Date,
/// Content-Length and `Connection: close`, and leaves out its other connection options, Keep-Alive and
/// Transfer-Encoding (RFC 9110 7.6.1).
///
/// # Errors
/// [`LocalError`] if the head would break the rules of HTTP. `out` is then unchanged.
pub fn write_head<'a>(
    out: &mut Vec<u8>,
    request: &RequestContext,
    status: impl Into<Status<'a>>,
    headers: impl Iterator<Item = (&'a [u8], &'a [u8])>,
    length: Length,
    date: &[u8; 29],
) -> Result<ResponseFraming, LocalError> {
    let status = status.into();
    if !(200..=999).contains(&status.code) {
        return Err(LocalError::Status(status.code));
    }
    if let Some(reason) = status.reason.filter(|reason| !is_text(reason)) {
        return Err(LocalError::Reason(reason.into()));
    }
    let before = out.len();
    write_status_line(out, status);
    let summary = write_fields(out, headers).inspect_err(|_| out.truncate(before))?;
    if !summary.dated {
        write_field(out, b"Date", date);
    }
    let (body, content_length) = frame(request, status.code, summary.content_length, length);
    if let Some(length) = content_length {
        write_length(out, length);
    }
    if body == BodyEncoder::Chunked {
        out.extend_from_slice(b"Transfer-Encoding: chunked\r\n");
    }
    // What a client sends after CONNECT is meant for the tunnel, whether it opens or not.
    let keep_alive = request.keep_alive
        && !summary.close
        && body != BodyEncoder::Close
        && request.kind != RequestKind::Connect;
    write_connection(out, request.version, keep_alive);
    out.extend_from_slice(b"\r\n");
    Ok(ResponseFraming { body, keep_alive })
}

/// Writes an interim response, such as 103: a head of its own before the final one (RFC 9110 15.2).
///
/// # Errors
/// [`LocalError`] if the head would break the rules of HTTP. `out` is then unchanged.
pub fn write_interim<'a>(
    out: &mut Vec<u8>,
    status: u16,
    headers: impl Iterator<Item = (&'a [u8], &'a [u8])>,
) -> Result<(), LocalError> {
    let before = out.len();
    write_status_line(out, status.into());
    write_fields(out, headers).inspect_err(|_| out.truncate(before))?;
    out.extend_from_slice(b"\r\n");
    Ok(())
}

/// The body of the response to a refused request: a line that says why.
#[must_use]
pub fn error_body(error: &RemoteError) -> String {
    let phrase = reason_phrase(error.status);
    format!("{} {}: {}\n", error.status, phrase, error.reason)
}

/// Writes the whole response to a refused request: the head and, unless `head_only`, a line that says
/// why. `headers` are those of every response. Its own Content-Type and Content-Length win.
pub fn write_error<'a>(
    out: &mut Vec<u8>,
    error: &RemoteError,
    headers: impl Iterator<Item = (&'a [u8], &'a [u8])>,
    date: &[u8; 29],
    head_only: bool,
) {
    let body = error_body(error);
    write_status_line(out, error.status.into());
    let before = out.len();
    let others = headers.filter(|(name, _)| {
        !name.eq_ignore_ascii_case(b"content-type") && !name.eq_ignore_ascii_case(b"content-length")
    });
    // A field that cannot be sent must not keep the client from its response.
    let summary = write_fields(out, others).unwrap_or_else(|_| {
        out.truncate(before);
        FieldSummary::default()
    });
    if !summary.dated {
        write_field(out, b"Date", date);
    }
    write_field(out, b"Content-Type", b"text/plain");
    write_length(out, body.len() as u64);
    write_connection(out, Version::Http11, false);
    out.extend_from_slice(b"\r\n");
    if !head_only {
        out.extend_from_slice(body.as_bytes());
    }
}

/// How the body is framed, and the Content-Length to write (RFC 9112 6.3). `declared` is the
/// application's Content-Length.
pub(crate) fn frame(
    request: &RequestContext,
    status: u16,
    declared: Option<u64>,
    length: Length,
) -> (BodyEncoder, Option<u64>) {
    let known = match length {
        Length::Known(length) => Some(length),
        Length::Unknown => None,
    };
    match (status, declared.or(known)) {
        // A tunnel instead of content: what is written is its data (RFC 9110 9.3.6).
        (200..=299, _) if request.kind == RequestKind::Connect => (BodyEncoder::Close, None),
        (204, _) => (BodyEncoder::Nothing, None),
        (205, _) => (BodyEncoder::Nothing, Some(0)),
        // Only the application knows the length of the response to a GET (RFC 9110 8.6).
        (304, _) => (BodyEncoder::Nothing, declared),
        (_, length) if request.kind == RequestKind::Head => (
            BodyEncoder::Nothing,
            length.filter(|length| *length > 0 || declared.is_some()),
        ),
        (_, Some(left)) => (BodyEncoder::Length { left }, Some(left)),
        (_, None) if request.version == Version::Http10 => (BodyEncoder::Close, None),
        (_, None) => (BodyEncoder::Chunked, None),
    }
}

fn write_status_line(out: &mut Vec<u8>, status: Status<'_>) {
    let Status { code, reason } = status;
    if code == 200 && reason.is_none() {
        out.extend_from_slice(b"HTTP/1.1 200 OK\r\n"); // the most frequent status line, in one copy
        return;
    }
    out.extend_from_slice(b"HTTP/1.1 ");
    out.extend_from_slice(itoa::Buffer::new().format(code).as_bytes());
    out.push(b' ');
    out.extend_from_slice(reason.unwrap_or_else(|| reason_phrase(code).as_bytes()));
    out.extend_from_slice(b"\r\n");
}

fn write_length(out: &mut Vec<u8>, length: u64) {
    write_field(
        out,
        b"Content-Length",
        itoa::Buffer::new().format(length).as_bytes(),
    );
}

/// Writes Connection where the version alone does not imply what happens (RFC 9112 9.3).
fn write_connection(out: &mut Vec<u8>, version: Version, keep_alive: bool) {
    match (version, keep_alive) {
        (_, false) => out.extend_from_slice(b"Connection: close\r\n"),
        (Version::Http10, true) => out.extend_from_slice(b"Connection: keep-alive\r\n"),
        (Version::Http11 | Version::Http2, true) => {}
    }
}
