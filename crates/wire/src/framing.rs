//! What decides where a request's body ends: Content-Length and Transfer-Encoding (RFC 9112 6).
//!
//! Two peers that read these two differently can be made to see different requests in the same
//! bytes: whatever leaves room for that is refused, also where the RFC would let a server repair
//! it.

use crate::tokens::{decimal, is_token, members};
use crate::{RemoteError, Version};

/// Where a request's body ends (RFC 9112 6.3).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Framing {
    /// No body was announced.
    #[default]
    None,
    /// Content-Length, at most `max_body`.
    Length(u64),
    /// Transfer-Encoding: chunked.
    Chunked,
}

const BAD_LENGTH: RemoteError = RemoteError::bad("Content-Length is not one decimal number");
const TWO_LENGTHS: RemoteError = RemoteError::bad("more than one Content-Length");
const BOTH: RemoteError = RemoteError::bad("Transfer-Encoding together with Content-Length");
const TWO_ENCODINGS: RemoteError = RemoteError::bad("more than one Transfer-Encoding");
const BAD_ENCODING: RemoteError =
    RemoteError::bad("Transfer-Encoding is malformed or does not end in one chunked");
const OLD_ENCODING: RemoteError = RemoteError::bad("Transfer-Encoding in HTTP/1.0");
const UNKNOWN_ENCODING: RemoteError = RemoteError {
    status: 501,
    reason: "unknown transfer coding",
};
pub(crate) const BODY_TOO_LARGE: RemoteError = RemoteError {
    status: 413,
    reason: "body too large",
};

impl Framing {
    /// The framing after one more field, a Content-Length.
    pub(crate) fn with_length(self, value: &[u8]) -> Result<Self, RemoteError> {
        match self {
            Self::None => decimal(value).map(Self::Length).ok_or(BAD_LENGTH),
            Self::Length(_) => Err(TWO_LENGTHS),
            Self::Chunked => Err(BOTH),
        }
    }

    /// The framing after one more field, a Transfer-Encoding.
    pub(crate) fn with_encoding(self, value: &[u8], version: Version) -> Result<Self, RemoteError> {
        match self {
            _ if version == Version::Http10 => Err(OLD_ENCODING),
            Self::Length(_) => Err(BOTH),
            Self::Chunked => Err(TWO_ENCODINGS),
            Self::None if value.eq_ignore_ascii_case(b"chunked") => Ok(Self::Chunked),
            Self::None => Err(refuse_encoding(value)),
        }
    }

    /// Refuses a body that is known to be too large before any of it has come.
    pub(crate) fn within(self, max_body: u64) -> Result<Self, RemoteError> {
        match self {
            Self::Length(length) if length > max_body => Err(BODY_TOO_LARGE),
            framing => Ok(framing),
        }
    }
}

/// 501 for codings some other server may know, in a list that could be right; 400 for what is right
/// nowhere.
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
