//! How a WebSocket ends (RFC 6455 5.5.1 and 7): the codes, and the frame that says one.

use super::frame::{CONTROL_BYTES, Opcode, write_frame_head};
use std::fmt;

/// A status code that may stand in a Close frame (RFC 6455 7.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CloseCode(u16);

impl CloseCode {
    pub const NORMAL: Self = Self(1000);
    /// The server goes away.
    pub const GOING_AWAY: Self = Self(1001);
    pub const PROTOCOL_ERROR: Self = Self(1002);
    /// What came is not what its type says: text that is not UTF-8.
    pub const INVALID_DATA: Self = Self(1007);
    pub const TOO_BIG: Self = Self(1009);
    /// The application failed.
    pub const INTERNAL_ERROR: Self = Self(1011);
    /// The client may come again: another process will take it.
    pub const SERVICE_RESTART: Self = Self(1012);

    /// `None` for a code that only reports (1005, 1006, 1015) or that nobody has defined.
    #[must_use]
    pub fn new(code: u16) -> Option<Self> {
        matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999).then_some(Self(code))
    }

    #[must_use]
    pub fn get(self) -> u16 {
        self.0
    }
}

/// What a Close frame said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CloseFrame {
    /// `None`: the frame was empty.
    pub code: Option<CloseCode>,
    pub reason: String,
}

impl CloseFrame {
    /// The code as it is reported: 1005 when none was said (RFC 6455 7.1.5).
    #[must_use]
    pub fn reported(&self) -> u16 {
        self.code.map_or(1005, CloseCode::get)
    }

    pub(super) fn read(payload: &[u8]) -> Result<Self, RemoteError> {
        let Some((code, reason)) = payload.split_first_chunk::<2>() else {
            return match payload {
                [] => Ok(Self {
                    code: None,
                    reason: String::new(),
                }),
                _ => Err(HALF_A_CODE),
            };
        };
        let code = CloseCode::new(u16::from_be_bytes(*code)).ok_or(BAD_CODE)?;
        let reason = std::str::from_utf8(reason).map_err(|_| BAD_REASON)?;
        Ok(Self {
            code: Some(code),
            reason: reason.to_owned(),
        })
    }
}

/// The peer broke the rules. Send `code`, close the connection, read nothing more from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RemoteError {
    pub code: CloseCode,
    /// What was wrong, for the peer and the log. Never holds anything the peer sent.
    pub reason: &'static str,
}

impl RemoteError {
    pub(super) const fn protocol(reason: &'static str) -> Self {
        Self {
            code: CloseCode::PROTOCOL_ERROR,
            reason,
        }
    }
}

impl fmt::Display for RemoteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.code.0, self.reason)
    }
}

impl std::error::Error for RemoteError {}

const HALF_A_CODE: RemoteError = RemoteError::protocol("a Close frame with half a code");
const BAD_CODE: RemoteError =
    RemoteError::protocol("a Close frame with a code that may not be sent");
const BAD_REASON: RemoteError = RemoteError {
    code: CloseCode::INVALID_DATA,
    reason: "the reason of a Close frame is not UTF-8",
};

/// Writes a Close frame; an empty one without a code. A reason that is too long for a control frame
/// is cut where a character ends.
pub fn write_close(out: &mut Vec<u8>, code: Option<CloseCode>, reason: &str) {
    let Some(code) = code else {
        return write_frame_head(out, Opcode::Close, false, 0);
    };
    let room = CONTROL_BYTES - 2;
    let mut end = reason.len().min(room);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    let reason = reason.get(..end).unwrap_or_default();
    write_frame_head(out, Opcode::Close, false, 2 + reason.len());
    out.extend_from_slice(&code.0.to_be_bytes());
    out.extend_from_slice(reason.as_bytes());
}
