//! The two kinds of error: the peer broke the rules (`RemoteError`), or we were asked to (`LocalError`,
//! `ShortBody`).

use std::error::Error;
use std::fmt;

/// The peer broke the rules. ResponseFraming `status`, close the connection, read nothing more from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RemoteError {
    /// The status to answer, 4xx or 5xx.
    pub status: u16,
    /// What was wrong, for the client and the log. Never holds anything the client sent.
    pub reason: &'static str,
}

impl RemoteError {
    /// The 400 that most broken rules end in.
    pub(crate) const fn bad(reason: &'static str) -> Self {
        Self {
            status: 400,
            reason,
        }
    }
}

impl fmt::Display for RemoteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.status, self.reason)
    }
}

impl Error for RemoteError {}

/// The application asked for an answer that cannot be sent. Nothing of it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LocalError {
    /// Not a final status of three digits.
    Status(u16),
    /// Not a token (RFC 9110 5.1).
    Name(Box<[u8]>),
    /// A value with a control byte; `name` is the field it came with.
    Value { name: Box<[u8]>, value: Box<[u8]> },
    /// Not one decimal number, or two that differ.
    ContentLength(Box<[u8]>),
    /// A field that must not be a trailer.
    Trailer(Box<[u8]>),
    /// A field that belongs to the opening of a WebSocket, which the server writes.
    Handshake(Box<[u8]>),
    /// A subprotocol that the client did not offer.
    Subprotocol(Box<[u8]>),
}

impl fmt::Display for LocalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(status) => write!(f, "status {status}: expected 200 to 999"),
            Self::Name(name) => {
                write!(
                    f,
                    "header name '{}': expected a token (letters, digits, -)",
                    name.escape_ascii()
                )
            }
            Self::Value { name, value } => write!(
                f,
                "header {}: value '{}' holds a control byte; remove CR, LF and NUL",
                name.escape_ascii(),
                value.escape_ascii()
            ),
            Self::ContentLength(value) => {
                write!(
                    f,
                    "Content-Length '{}': expected one decimal number",
                    value.escape_ascii()
                )
            }
            Self::Trailer(name) => write!(
                f,
                "trailer {}: it must be known before the body; send it as a header",
                name.escape_ascii()
            ),
            Self::Handshake(name) => write!(
                f,
                "header {}: the server writes it when it opens a WebSocket",
                name.escape_ascii()
            ),
            Self::Subprotocol(name) => write!(
                f,
                "subprotocol '{}': expected one that the client offered",
                name.escape_ascii()
            ),
        }
    }
}

impl Error for LocalError {}

/// A body ended before the length its head promised: the connection must close.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ShortBody {
    /// Bytes that were promised and did not come.
    pub missing: u64,
}

impl fmt::Display for ShortBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "body is {} bytes shorter than its Content-Length",
            self.missing
        )
    }
}

impl Error for ShortBody {}
