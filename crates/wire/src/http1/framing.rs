//! What decides where a request body ends: Content-Length and Transfer-Encoding (RFC 9112 6).
//!
//! If a proxy and this server read these two fields differently, an attacker can hide a second request in
//! the first (request smuggling). So every ambiguous form is refused, even where the RFC lets a server
//! repair it.

use super::version::Version;
use crate::errors::RemoteError;
use crate::tokens::{decimal, is_token, members};

/// Where a request body ends (RFC 9112 6.3).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Framing {
    /// There is no body.
    #[default]
    None,
    /// Content-Length, at most `max_body`.
    Length(u64),
    /// Transfer-Encoding: chunked.
    Chunked,
}

const BAD_LENGTH: RemoteError =
    RemoteError::bad_request("Content-Length is not one decimal number");
const TWO_LENGTHS: RemoteError = RemoteError::bad_request("more than one Content-Length");
const BOTH: RemoteError =
    RemoteError::bad_request("Transfer-Encoding together with Content-Length");
const TWO_ENCODINGS: RemoteError = RemoteError::bad_request("more than one Transfer-Encoding");
const BAD_ENCODING: RemoteError =
    RemoteError::bad_request("Transfer-Encoding is malformed or does not end in one chunked");
const OLD_ENCODING: RemoteError = RemoteError::bad_request("Transfer-Encoding in HTTP/1.0");
const UNKNOWN_ENCODING: RemoteError = RemoteError {
    status: 501,
    reason: "unknown transfer coding",
};
pub(crate) const BODY_TOO_LARGE: RemoteError = RemoteError {
    status: 413,
    reason: "body larger than max_body",
};

impl Framing {
    /// The framing after a Content-Length field.
    pub(crate) fn with_length(self, value: &[u8]) -> Result<Self, RemoteError> {
        match self {
            Self::None => decimal(value).map(Self::Length).ok_or(BAD_LENGTH),
            Self::Length(_) => Err(TWO_LENGTHS),
            Self::Chunked => Err(BOTH),
        }
    }

    /// The framing after a Transfer-Encoding field.
    pub(crate) fn with_encoding(self, value: &[u8], version: Version) -> Result<Self, RemoteError> {
        match self {
            _ if version == Version::Http10 => Err(OLD_ENCODING),
            Self::Length(_) => Err(BOTH),
            Self::Chunked => Err(TWO_ENCODINGS),
            Self::None if value.eq_ignore_ascii_case(b"chunked") => Ok(Self::Chunked),
            Self::None => Err(refuse_encoding(value)),
        }
    }

    /// Refuses a body whose Content-Length exceeds `max_body`, before any of it is read.
    pub(crate) fn within(self, max_body: u64) -> Result<Self, RemoteError> {
        match self {
            Self::Length(length) if length > max_body => Err(BODY_TOO_LARGE),
            framing => Ok(framing),
        }
    }
}

/// 501 for a valid list of codings that another server may support; 400 for a list that is never valid.
fn refuse_encoding(value: &[u8]) -> RemoteError {
    let mut chunked = false;
    for coding in members(value) {
        if chunked || !is_token(coding) {
            return BAD_ENCODING;
        }
        chunked = coding.eq_ignore_ascii_case(b"chunked");
    }
    UNKNOWN_ENCODING
}
