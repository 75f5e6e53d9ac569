//! Trailers: which fields are forbidden in them (RFC 9110 6.5.1), and the section of a request that
//! holds them (RFC 9112 7.1.2).
//!
//! A request's trailers are checked and dropped: no application reads them. So only those are refused by
//! which a proxy could see another end of the message, or send it elsewhere.

use super::fields::{Bounds, FieldLines, Line};
use crate::errors::RemoteError;
use crate::limits::{Limits, Underscore};

/// Fields that frame or route the message. A peer that took one from the trailers would read another
/// message.
const FRAMING: [&[u8]; 12] = [
    b"connection",
    b"content-length",
    b"expect",
    b"forwarded",
    b"host",
    b"keep-alive",
    b"max-forwards",
    b"proxy-connection",
    b"te",
    b"trailer",
    b"transfer-encoding",
    b"upgrade",
];

/// Fields that authenticate the message, or say how to read or to keep it.
const EARLY: [&[u8]; 8] = [
    b"authorization",
    b"cache-control",
    b"content-encoding",
    b"content-range",
    b"content-type",
    b"cookie",
    b"proxy-authorization",
    b"range",
];

const FORBIDDEN_TRAILER: RemoteError =
    RemoteError::bad_request("trailer that frames or routes the message");
const UNDERSCORE: RemoteError = RemoteError::bad_request("underscore in a trailer name");

/// Whether an application must not send the field `name` as a trailer.
pub(crate) fn is_forbidden(name: &[u8]) -> bool {
    is_among(&FRAMING, name) || is_among(&EARLY, name)
}

/// Whether a client must not send the field `name`, in lower case, as a trailer.
pub(crate) fn is_framing(name: &[u8]) -> bool {
    is_among(&FRAMING, name)
}

fn is_among(names: &[&[u8]], name: &[u8]) -> bool {
    names.iter().any(|known| name.eq_ignore_ascii_case(known))
}

/// Reads on in a trailer section and checks its fields. Returns where the section ends, once its end
/// has come.
pub(super) fn read_section(
    lines: &mut FieldLines,
    section: &[u8],
    limits: &Limits,
) -> Result<Option<usize>, RemoteError> {
    let bounds = Bounds {
        section: limits.trailers.min(u32::MAX as usize),
        line: limits.line,
        fields: limits.fields,
    };
    while let Some(line) = lines.read(section, &bounds)? {
        match line {
            Line::End { consumed } => return Ok(Some(consumed)),
            Line::Field {
                underscored: true, ..
            } if limits.underscore == Underscore::Reject => return Err(UNDERSCORE),
            Line::Field { field, .. } if is_among(&FRAMING, field.name.of(section)) => {
                return Err(FORBIDDEN_TRAILER);
            }
            Line::Field { .. } => {}
        }
    }
    Ok(None)
}
