//! An answer's head, and answers the server gives by itself (RFC 9110, RFC 9112 4 and 6).
//!
//! It owns what an answer says about its own framing and about the connection; what the application
//! says about either is a wish. It always holds that a head is written whole or not at all.

use crate::tokens::{decimal, is_text, is_token, members};
use crate::{BodyEncoder, LocalError, RemoteError, Version, reason_phrase};

/// The interim answer that lets a waiting client send its body (RFC 9110 15.2.1).
pub const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// What a response depends on of its request. The default is for a request that could not be read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RequestContext {
    pub version: Version,
    /// The method was HEAD.
    pub head_only: bool,
    /// The client, and so far the server, would keep the connection.
    pub keep_alive: bool,
}

/// How long the body will be, as far as the server knows when it writes the head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Length {
    /// So many bytes of it are in hand.
    Known(u64),
    /// It comes as a stream.
    Unknown,
}

/// What a written head promised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResponseFraming {
    /// Frames the body the way the head says.
    pub body: BodyEncoder,
    /// Whether the connection lives on after this answer.
    pub keep_alive: bool,
}

/// What the application's own fields asked for.
#[derive(Debug, Default)]
pub(crate) struct Wishes {
    /// Its Content-Length, which counts more than what the server knows.
    length: Option<u64>,
    pub(crate) dated: bool,
    close: bool,
}

/// Writes an answer's head to the end of `out`.
///
/// `status` is 200 to 999: classes unknown today are passed on (RFC 9110 15). Date, Content-Length,
/// Transfer-Encoding and Connection are written as they must be; of the application's own, Date and
/// Content-Length are heeded, and `Connection: close`. Its other connection options, Keep-Alive and
/// Transfer-Encoding are left out (RFC 9110 7.6.1).
///
/// # Errors
/// [`LocalError`] when it cannot be sent; `out` is then as it was.
pub fn write_head<'a>(
    out: &mut Vec<u8>,
    asked: &RequestContext,
    status: u16,
    headers: impl Iterator<Item = (&'a [u8], &'a [u8])>,
    length: Length,
    date: &[u8; 29],
) -> Result<ResponseFraming, LocalError> {
    if !(200..=999).contains(&status) {
        return Err(LocalError::Status(status));
    }
    let before = out.len();
    write_status_line(out, status);
    let wishes = write_fields(out, headers).inspect_err(|_| out.truncate(before))?;
    if !wishes.dated {
        write_field(out, b"Date", date);
    }
    let (body, told) = frame(asked, status, wishes.length, length);
    if let Some(length) = told {
        write_length(out, length);
    }
    if body == BodyEncoder::Chunked {
        out.extend_from_slice(b"Transfer-Encoding: chunked\r\n");
    }
    let keep_alive = asked.keep_alive && !wishes.close && body != BodyEncoder::Close;
    write_connection(out, asked.version, keep_alive);
    out.extend_from_slice(b"\r\n");
    Ok(ResponseFraming { body, keep_alive })
}

/// Writes an interim answer, such as 103: a head of its own before the real one (RFC 9110 15.2).
///
/// # Errors
/// [`LocalError`] when it cannot be sent; `out` is then as it was.
pub fn write_interim<'a>(
    out: &mut Vec<u8>,
    status: u16,
    headers: impl Iterator<Item = (&'a [u8], &'a [u8])>,
) -> Result<(), LocalError> {
    let before = out.len();
    write_status_line(out, status);
    write_fields(out, headers).inspect_err(|_| out.truncate(before))?;
    out.extend_from_slice(b"\r\n");
    Ok(())
}

/// Writes the whole answer to a request that was refused: the head and, unless `head_only`, a line
/// that says why.
pub fn write_error(out: &mut Vec<u8>, reject: &RemoteError, date: &[u8; 29], head_only: bool) {
    let phrase = reason_phrase(reject.status);
    let body = format!("{} {}: {}\n", reject.status, phrase, reject.reason);
    write_status_line(out, reject.status);
    write_field(out, b"Date", date);
    write_field(out, b"Content-Type", b"text/plain");
    write_length(out, body.len() as u64);
    write_connection(out, Version::Http11, false);
    out.extend_from_slice(b"\r\n");
    if !head_only {
        out.extend_from_slice(body.as_bytes());
    }
}

/// Copies the application's fields, except those that are ours to write.
pub(crate) fn write_fields<'a>(
    out: &mut Vec<u8>,
    headers: impl Iterator<Item = (&'a [u8], &'a [u8])>,
) -> Result<Wishes, LocalError> {
    let mut wishes = Wishes::default();
    for (name, value) in headers {
        if !is_token(name) {
            return Err(LocalError::Name(name.into()));
        }
        if !is_text(value) {
            return Err(LocalError::Value {
                name: name.into(),
                value: value.into(),
            });
        }
        match name.len() {
            4 if name.eq_ignore_ascii_case(b"date") => wishes.dated = true,
            10 if name.eq_ignore_ascii_case(b"connection") => {
                wishes.close |= members(value).any(|option| option.eq_ignore_ascii_case(b"close"));
                continue;
            }
            10 if name.eq_ignore_ascii_case(b"keep-alive") => continue,
            14 if name.eq_ignore_ascii_case(b"content-length") => {
                wishes.length = Some(declared(wishes.length, value)?);
                continue;
            }
            17 if name.eq_ignore_ascii_case(b"transfer-encoding") => continue,
            _ => {}
        }
        write_field(out, name, value);
    }
    Ok(wishes)
}

/// The application's Content-Length, which may be told twice if it is the same.
fn declared(before: Option<u64>, value: &[u8]) -> Result<u64, LocalError> {
    decimal(value)
        .filter(|length| before.is_none_or(|before| before == *length))
        .ok_or_else(|| LocalError::ContentLength(value.into()))
}

/// How the body is framed, and the Content-Length to tell (RFC 9112 6.3).
fn frame(
    asked: &RequestContext,
    status: u16,
    declared: Option<u64>,
    length: Length,
) -> (BodyEncoder, Option<u64>) {
    let known = match length {
        Length::Known(length) => Some(length),
        Length::Unknown => None,
    };
    match (status, declared.or(known)) {
        (204, _) => (BodyEncoder::Nothing, None),
        (205, _) => (BodyEncoder::Nothing, Some(0)),
        // What a GET would have had is known only from the application (RFC 9110 8.6).
        (304, _) => (BodyEncoder::Nothing, declared),
        (_, told) if asked.head_only => (
            BodyEncoder::Nothing,
            told.filter(|told| *told > 0 || declared.is_some()),
        ),
        (_, Some(left)) => (BodyEncoder::Length { left }, Some(left)),
        (_, None) if asked.version == Version::Http10 => (BodyEncoder::Close, None),
        (_, None) => (BodyEncoder::Chunked, None),
    }
}

fn write_status_line(out: &mut Vec<u8>, status: u16) {
    if status == 200 {
        out.extend_from_slice(b"HTTP/1.1 200 OK\r\n"); // almost all of them
        return;
    }
    out.extend_from_slice(b"HTTP/1.1 ");
    out.extend_from_slice(itoa::Buffer::new().format(status).as_bytes());
    out.push(b' ');
    out.extend_from_slice(reason_phrase(status).as_bytes());
    out.extend_from_slice(b"\r\n");
}

pub(crate) fn write_field(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    out.reserve(name.len() + value.len() + 4);
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

fn write_length(out: &mut Vec<u8>, length: u64) {
    write_field(
        out,
        b"Content-Length",
        itoa::Buffer::new().format(length).as_bytes(),
    );
}

/// Says what becomes of the connection where the version alone does not (RFC 9112 9.3).
fn write_connection(out: &mut Vec<u8>, version: Version, keep_alive: bool) {
    match (version, keep_alive) {
        (_, false) => out.extend_from_slice(b"Connection: close\r\n"),
        (Version::Http10, true) => out.extend_from_slice(b"Connection: keep-alive\r\n"),
        (Version::Http11, true) => {}
    }
}
