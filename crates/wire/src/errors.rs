//! The two kinds of protocol error, as in h11: the peer sent what breaks the rules (`RemoteError`), or
//! the application asked the server to send it (`LocalError`, `ShortBody`).

use std::error::Error;
use std::fmt;

/// The peer broke the rules of HTTP, or sent more than the limits allow.
///
/// The caller responds with `status`, closes the connection and reads nothing more from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RemoteError {
    /// The status of the response, 4xx or 5xx.
    pub status: u16,
    /// What was wrong, for the client and the log. It never holds anything that the client sent.
    pub reason: &'static str,
}

impl RemoteError {
    /// The 400 for most broken rules.
    pub(crate) const fn bad_request(reason: &'static str) -> Self {
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

/// The application asked for a response that would break the rules of HTTP.
///
/// None of the response was written, so the caller may respond with an error instead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LocalError {
    /// The status is not between 200 and 999.
    Status(u16),
    /// The reason phrase holds a control byte (RFC 9112 4).
    Reason(Box<[u8]>),
    /// The field name is not a token (RFC 9110 5.1).
    Name(Box<[u8]>),
    /// The value of the field `name` holds a control byte (RFC 9110 5.5).
    Value { name: Box<[u8]>, value: Box<[u8]> },
    /// The Content-Length is not one decimal number, or two of them differ.
    ContentLength(Box<[u8]>),
    /// The field must not be a trailer (RFC 9110 6.5.1).
    Trailer(Box<[u8]>),
    /// The field belongs to the opening handshake of a WebSocket, which the server writes.
    Handshake(Box<[u8]>),
    /// The client did not offer this subprotocol.
    Subprotocol(Box<[u8]>),
}

impl fmt::Display for LocalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(status) => write!(f, "status {status}: expected 200 to 999"),
            Self::Reason(reason) => write!(
                f,
                "reason phrase '{}' holds a control byte; remove CR, LF and NUL",
                reason.escape_ascii()
            ),
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

/// A response body ended before its Content-Length.
///
/// The connection must close, or the client would take the next response for the missing bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ShortBody {
    /// How many bytes are missing.
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
