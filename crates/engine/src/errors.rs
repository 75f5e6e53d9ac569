//! What an application is told if its call cannot be carried out.

use std::fmt;

/// Why the engine did not take a call for an exchange.
#[derive(Debug)]
pub enum LocalError {
    /// The connection is closed.
    Closed,
    /// The exchange does not expect this call now.
    OutOfTurn,
    /// The response cannot be sent. Nothing of it was.
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
