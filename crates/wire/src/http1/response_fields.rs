//! The fields that the application gives a response.
//!
//! Only the server writes what frames a message and what becomes of its connection. The application's
//! fields about either are read here and left out; all others are copied.

use crate::errors::LocalError;
use crate::tokens::{decimal, is_name, is_text, is_token, members};

/// What the application's fields say about framing and connection.
#[derive(Debug, Default)]
pub(crate) struct FieldSummary {
    /// Its Content-Length, which outranks the length that the server knows.
    pub(super) content_length: Option<u64>,
    /// It gave a Date.
    pub(crate) dated: bool,
    /// It gave `Connection: close`.
    pub(super) close: bool,
}

/// Copies the application's fields, except those that only the server writes.
pub(crate) fn write_fields<'a>(
    out: &mut Vec<u8>,
    headers: impl Iterator<Item = (&'a [u8], &'a [u8])>,
) -> Result<FieldSummary, LocalError> {
    let mut summary = FieldSummary::default();
    for (name, value) in headers {
        check_field(name, value)?;
        match name.len() {
            4 if is_name(name, b"date") => summary.dated = true,
            10 if is_name(name, b"connection") => {
                summary.close |= members(value).any(|option| option.eq_ignore_ascii_case(b"close"));
                continue;
            }
            10 if is_name(name, b"keep-alive") => continue,
            14 if is_name(name, b"content-length") => {
                summary.content_length = Some(content_length(summary.content_length, value)?);
                continue;
            }
            17 if is_name(name, b"transfer-encoding") => continue,
            _ => {}
        }
        write_field(out, name, value);
    }
    Ok(summary)
}

/// Whether a field may be sent at all.
#[inline]
pub(crate) fn check_field(name: &[u8], value: &[u8]) -> Result<(), LocalError> {
    if !is_token(name) {
        return Err(LocalError::Name(name.into()));
    }
    if !is_text(value) {
        return Err(LocalError::Value {
            name: name.into(),
            value: value.into(),
        });
    }
    Ok(())
}

/// The value of a Content-Length; a second one must equal the first.
pub(crate) fn content_length(first: Option<u64>, value: &[u8]) -> Result<u64, LocalError> {
    decimal(value)
        .filter(|length| first.is_none_or(|first| first == *length))
        .ok_or_else(|| LocalError::ContentLength(value.into()))
}

pub(crate) fn write_field(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    out.reserve(name.len() + value.len() + 4);
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}
