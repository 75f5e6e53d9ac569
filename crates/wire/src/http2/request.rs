//! A header list as the head of a request, or as trailers (RFC 9113 8.2 and 8.3).
//!
//! It owns the rules by which a list is malformed. A head that it returns has the form of one of
//! HTTP/1: `:authority` is Host, the pieces of a cookie are one field. So nothing behind it can read
//! the request otherwise than a proxy that forwards it in HTTP/1.

use super::hpack::List;
use super::priority::Priority;
use crate::errors::RemoteError;
use crate::http1::{
    Field, Framing, Head, Seen, Span, Target, TargetForm, Version, add_field, trailers,
};
use crate::limits::{Limits, Underscore};
use crate::tokens::{self, NAME, is_text, is_token};

/// Why a list is no request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// It is malformed: the stream ends with PROTOCOL_ERROR.
    Malformed(&'static str),
    /// The client gets a response that says why.
    Respond(RemoteError),
}

impl From<RemoteError> for Refusal {
    /// What is 400 in HTTP/1 is malformed here.
    fn from(error: RemoteError) -> Self {
        match error.status {
            400 => Self::Malformed(error.reason),
            _ => Self::Respond(error),
        }
    }
}

const LIST_TOO_LARGE: RemoteError = RemoteError {
    status: 431,
    reason: "header list larger than max_head, or more fields than max_fields",
};
const FIELD_TOO_LARGE: RemoteError = RemoteError {
    status: 431,
    reason: "header field longer than max_line",
};
const TARGET_TOO_LONG: RemoteError = RemoteError {
    status: 414,
    reason: "request target longer than max_line",
};
const UNKNOWN_PROTOCOL: RemoteError = RemoteError {
    status: 501,
    reason: "only websocket is known as :protocol",
};

/// The pseudo-header fields of a request.
#[derive(Default)]
struct Pseudo {
    method: Option<Span>,
    scheme: Option<Span>,
    path: Option<Span>,
    authority: Option<Span>,
    protocol: Option<Span>,
}

impl Pseudo {
    fn place(&mut self, name: &[u8]) -> Option<&mut Option<Span>> {
        match name {
            b":method" => Some(&mut self.method),
            b":scheme" => Some(&mut self.scheme),
            b":path" => Some(&mut self.path),
            b":authority" => Some(&mut self.authority),
            b":protocol" => Some(&mut self.protocol),
            _ => None,
        }
    }
}

/// A request, and the buffer that its spans point into.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) bytes: Vec<u8>,
    pub(super) head: Head,
    pub(super) priority: Priority,
}

/// Reads the list of a request. `ended`: no body follows.
pub(super) fn read(list: List, ended: bool, limits: &Limits) -> Result<Request, Refusal> {
    if list.is_cut {
        return Err(LIST_TOO_LARGE.into());
    }
    let List {
        mut bytes, fields, ..
    } = list;
    let mut head = Head {
        version: Version::Http2,
        keep_alive: true,
        fields: Vec::with_capacity(fields.len() + 1),
        ..Head::default()
    };
    let mut pseudo = Pseudo::default();
    let mut seen = Seen::default();
    let mut priority = Priority::default();
    let mut cookies = Vec::new();
    for field in fields {
        let (name, value) = (field.name.of(&bytes), field.value.of(&bytes));
        if !is_text(value) || is_padded(value) {
            return Err(Refusal::Malformed(
                "control byte or outer white space in a value",
            ));
        }
        if name.first() == Some(&b':') {
            let place = pseudo.place(name).filter(|place| place.is_none());
            match place {
                Some(place) if head.fields.is_empty() && cookies.is_empty() => {
                    *place = Some(field.value);
                }
                _ => {
                    return Err(Refusal::Malformed(
                        "pseudo-header that is unknown, doubled or late",
                    ));
                }
            }
            continue;
        }
        if name.len() + value.len() > limits.line {
            return Err(FIELD_TOO_LARGE.into());
        }
        match check_name(name, value, limits)? {
            Naming::Dropped => continue,
            Naming::Kept => {}
        }
        match name {
            b"cookie" => {
                cookies.push(field.value);
                if cookies.len() > 1 {
                    continue;
                }
            }
            b"priority" => priority = Priority::read(value),
            _ => {}
        }
        add_field(&mut head, &mut seen, &bytes, field)?;
    }
    join_cookies(&mut bytes, &mut head, &cookies, limits)?;
    read_target(&mut bytes, &mut head, &pseudo, limits)?;
    if head.fields.len() > limits.fields {
        return Err(LIST_TOO_LARGE.into()); // Host is among them
    }
    if head.websocket && ended {
        return Err(Refusal::Malformed("a WebSocket that has ended"));
    }
    head.framing = head.framing.within(limits.max_body)?;
    if head.framing == Framing::None && !ended && !head.websocket {
        head.framing = Framing::Chunked; // of unknown length
    }
    head.expect_continue &= !ended;
    Ok(Request {
        bytes,
        head,
        priority,
    })
}

/// What becomes of a field.
enum Naming {
    Kept,
    Dropped,
}

fn is_padded(value: &[u8]) -> bool {
    let is_blank = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
    is_blank(value.first()) || is_blank(value.last())
}

fn check_name(name: &[u8], value: &[u8], limits: &Limits) -> Result<Naming, Refusal> {
    if !is_token(name) || name.iter().any(u8::is_ascii_uppercase) {
        return Err(Refusal::Malformed(
            "field name that is no token in lower case",
        ));
    }
    match name {
        b"connection" | b"proxy-connection" | b"keep-alive" | b"transfer-encoding" | b"upgrade" => {
            return Err(Refusal::Malformed("connection-specific field"));
        }
        b"te" if !value.eq_ignore_ascii_case(b"trailers") => {
            return Err(Refusal::Malformed("TE other than trailers"));
        }
        _ => {}
    }
    if tokens::skip(name, 0, NAME) == name.len() {
        return Ok(Naming::Kept);
    }
    match limits.underscore {
        Underscore::Drop => Ok(Naming::Dropped),
        Underscore::Reject => Err(Refusal::Respond(RemoteError::bad_request(
            "underscore in a header name",
        ))),
    }
}

/// RFC 9113 8.2.3: behind HTTP/2, a cookie is one field.
fn join_cookies(
    bytes: &mut Vec<u8>,
    head: &mut Head,
    cookies: &[Span],
    limits: &Limits,
) -> Result<(), Refusal> {
    let [_, _, ..] = cookies else { return Ok(()) };
    let start = bytes.len();
    // An empty piece has no cookie. At the end it would leave white space there, which HTTP/1 drops.
    for cookie in cookies.iter().filter(|cookie| cookie.start < cookie.end) {
        if bytes.len() > start {
            bytes.extend_from_slice(b"; ");
        }
        bytes.extend_from_within(cookie.start as usize..cookie.end as usize);
    }
    if "cookie".len() + bytes.len() - start > limits.line {
        return Err(FIELD_TOO_LARGE.into());
    }
    let joined = Span::new(start, bytes.len());
    let first = head
        .fields
        .iter_mut()
        .find(|field| field.name.of(bytes) == b"cookie");
    if let Some(field) = first {
        field.value = joined;
    }
    Ok(())
}

/// Reads the pseudo-header fields (RFC 9113 8.3.1 and 8.5, RFC 8441 4).
fn read_target(
    bytes: &mut Vec<u8>,
    head: &mut Head,
    pseudo: &Pseudo,
    limits: &Limits,
) -> Result<(), Refusal> {
    let method = pseudo.method.ok_or(Refusal::Malformed("no :method"))?;
    if !is_token(method.of(bytes)) {
        return Err(Refusal::Malformed(":method is no token"));
    }
    head.method = method;
    let is_connect = method.of(bytes) == b"CONNECT";
    let span = match (is_connect, pseudo.protocol, pseudo.path, pseudo.scheme) {
        (true, None, None, None) => pseudo
            .authority
            .ok_or(Refusal::Malformed("no :authority"))?,
        (true, Some(_), Some(path), Some(_)) | (false, None, Some(path), Some(_)) => path,
        _ => {
            return Err(Refusal::Malformed(
                "pseudo-headers that do not fit the method",
            ));
        }
    };
    let text = span.of(bytes);
    if text.len() > limits.line {
        return Err(TARGET_TOO_LONG.into());
    }
    if tokens::skip(text, 0, tokens::TARGET) != text.len() {
        return Err(Refusal::Malformed(":path is not visible ASCII"));
    }
    if let Some(scheme) = pseudo.scheme.map(|scheme| scheme.of(bytes)) {
        if !scheme.eq_ignore_ascii_case(b"https") && !scheme.eq_ignore_ascii_case(b"http") {
            return Err(Refusal::Malformed(":scheme is neither http nor https"));
        }
    }
    // Of an extended CONNECT, :path is one of a GET.
    let form_of: &[u8] = match pseudo.protocol {
        Some(_) => b"GET",
        None => method.of(bytes),
    };
    let target = Target::parse(bytes, form_of, span)?;
    if target.form == TargetForm::Absolute {
        return Err(Refusal::Malformed(":path is no path"));
    }
    head.target = span;
    head.form = target.form;
    head.path = target.path;
    head.query = target.query;
    read_authority(bytes, head, pseudo)?;
    if let Some(protocol) = pseudo.protocol {
        if protocol.of(bytes) != b"websocket" {
            return Err(UNKNOWN_PROTOCOL.into());
        }
        head.websocket = true;
    }
    Ok(())
}

/// Makes `:authority` the Host, which must be the same if it stands there too.
fn read_authority(bytes: &mut Vec<u8>, head: &mut Head, pseudo: &Pseudo) -> Result<(), Refusal> {
    let Some(authority) = pseudo.authority else {
        return match head.host {
            Some(_) => Ok(()),
            None => Err(Refusal::Malformed("neither :authority nor Host")),
        };
    };
    let scheme = pseudo
        .scheme
        .map_or(&b"https"[..], |scheme| scheme.of(bytes));
    if !Target::is_authority(authority.of(bytes)) {
        return Err(Refusal::Malformed("invalid :authority"));
    }
    if let Some(host) = head.host {
        if !Target::is_same_host(scheme, authority.of(bytes), host.of(bytes)) {
            return Err(Refusal::Malformed("Host differs from :authority"));
        }
    } else {
        let start = bytes.len();
        bytes.extend_from_slice(b"host");
        let name = Span::new(start, bytes.len());
        head.fields.insert(
            0,
            Field {
                name,
                value: authority,
            },
        );
    }
    head.host = Some(authority);
    if head.form == TargetForm::Authority {
        head.authority = Some(authority);
    }
    Ok(())
}

/// Checks trailers. They are dropped: no application reads them.
pub(super) fn check_trailers(list: &List, limits: &Limits) -> Result<(), Refusal> {
    if list.is_cut {
        return Err(Refusal::Malformed("too many trailers"));
    }
    for field in &list.fields {
        let (name, value) = (field.name.of(&list.bytes), field.value.of(&list.bytes));
        if !is_text(value) || is_padded(value) {
            return Err(Refusal::Malformed(
                "control byte or outer white space in a trailer",
            ));
        }
        check_name(name, value, limits)?;
        if trailers::is_framing(name) {
            return Err(Refusal::Malformed(
                "trailer that frames or routes the message",
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
