//! Trailers: which fields are forbidden in them (RFC 9110 6.5.1), and the section of a request that
//! holds them (RFC 9112 7.1.2).
//!
//! A request's trailers are checked and dropped: no application reads them.

use super::fields::{Bounds, FieldLines, Line};
use crate::errors::RemoteError;
use crate::limits::{Limits, Underscore};

/// Fields that frame or route the message, authenticate it, or say how to read it.
const FORBIDDEN: [&[u8]; 20] = [
    b"authorization",
    b"cache-control",
    b"connection",
    b"content-encoding",
    b"content-length",
    b"content-range",
    b"content-type",
    b"cookie",
    b"expect",
    b"forwarded",
    b"host",
    b"keep-alive",
    b"max-forwards",
    b"proxy-authorization",
    b"proxy-connection",
    b"range",
    b"te",
    b"trailer",
    b"transfer-encoding",
    b"upgrade",
];

const FORBIDDEN_TRAILER: RemoteError = RemoteError::bad_request("field that must not be a trailer");
const UNDERSCORE: RemoteError = RemoteError::bad_request("underscore in a trailer name");

/// Whether the field `name` must not be a trailer.
pub(super) fn is_forbidden(name: &[u8]) -> bool {
    FORBIDDEN
        .iter()
        .any(|forbidden| name.eq_ignore_ascii_case(forbidden))
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
        line: limits.field_line,
        fields: limits.fields,
    };
    while let Some(line) = lines.read(section, &bounds)? {
        match line {
            Line::End { consumed } => return Ok(Some(consumed)),
            Line::Field {
                underscored: true, ..
            } if limits.underscore == Underscore::Reject => return Err(UNDERSCORE),
            Line::Field { field, .. } if is_forbidden(field.name.of(section)) => {
                return Err(FORBIDDEN_TRAILER);
            }
            Line::Field { .. } => {}
        }
    }
    Ok(None)
}
