//! The error of a call that the engine does not accept.

use std::fmt;

/// Why the engine did not accept a call for an exchange.
#[derive(Debug)]
pub enum LocalError {
    /// The connection is closed.
    Closed,
    /// The exchange does not expect this call now.
    OutOfTurn,
    /// The response is invalid. None of it was sent.
    Invalid(prefork_wire::LocalError),
}

impl fmt::Display for LocalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LocalError::Closed => f.write_str("the client is gone"),
            LocalError::OutOfTurn => f.write_str("no request waits for this"),
            LocalError::Invalid(invalid) => invalid.fmt(f),
        }
    }
}

impl std::error::Error for LocalError {}
