//! The status codes that a WebSocket closes with (RFC 6455 7.4), and the error that carries one.

use std::error::Error;
use std::fmt;

/// A status code that is allowed in a Close frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CloseCode(u16);

impl CloseCode {
    pub const NORMAL: Self = Self(1000);
    /// The server shuts down.
    pub const GOING_AWAY: Self = Self(1001);
    pub const PROTOCOL_ERROR: Self = Self(1002);
    /// The payload does not fit its type: a text that is not UTF-8.
    pub const INVALID_DATA: Self = Self(1007);
    pub const TOO_BIG: Self = Self(1009);
    /// The application failed.
    pub const INTERNAL_ERROR: Self = Self(1011);
    /// The client may connect again: another process will serve it.
    pub const SERVICE_RESTART: Self = Self(1012);

    /// `None` for a code that is only reported (1005, 1006, 1015) and for one that is not defined.
    #[must_use]
    pub fn new(code: u16) -> Option<Self> {
        matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999).then_some(Self(code))
    }

    #[must_use]
    pub fn get(self) -> u16 {
        self.0
    }
}

/// The peer broke the rules of WebSocket, or sent a message over the limit.
///
/// The caller sends a Close frame with `code`, closes the connection and reads nothing more from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RemoteError {
    pub code: CloseCode,
    /// What was wrong, for the peer and the log. It never holds anything that the peer sent.
    pub reason: &'static str,
}

impl RemoteError {
    pub(super) const fn protocol(reason: &'static str) -> Self {
        Self {
            code: CloseCode::PROTOCOL_ERROR,
            reason,
        }
    }

    pub(super) const fn invalid_data(reason: &'static str) -> Self {
        Self {
            code: CloseCode::INVALID_DATA,
            reason,
        }
    }
}

/// A message over the limit, before or after it is inflated.
pub(super) const TOO_BIG: RemoteError = RemoteError {
    code: CloseCode::TOO_BIG,
    reason: "a message over the limit",
};

impl fmt::Display for RemoteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.code.0, self.reason)
    }
}

impl Error for RemoteError {}
