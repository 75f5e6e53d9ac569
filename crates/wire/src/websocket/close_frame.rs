//! The Close frame (RFC 6455 5.5.1): read and written.

use super::errors::{CloseCode, RemoteError};
use super::frame::{CONTROL_BYTES, Opcode, write_frame_head};

/// What a Close frame says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CloseFrame {
    /// `None`: the frame is empty.
    pub code: Option<CloseCode>,
    pub reason: String,
}

const HALF_A_CODE: RemoteError = RemoteError::protocol("a Close frame with half a code");
const BAD_CODE: RemoteError =
    RemoteError::protocol("a Close frame with a code that may not be sent");
const BAD_REASON: RemoteError =
    RemoteError::invalid_data("the reason of a Close frame is not UTF-8");

impl CloseFrame {
    /// The code to report: 1005 for an empty frame (RFC 6455 7.1.5).
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

/// Writes a Close frame, which is empty without a code. A reason that is too long for a control frame is
/// cut between two characters.
pub fn write_close(out: &mut Vec<u8>, code: Option<CloseCode>, reason: &str) {
    let Some(code) = code else {
        return write_frame_head(out, Opcode::Close, false, 0);
    };
    let mut end = reason.len().min(CONTROL_BYTES - 2);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    let reason = reason.get(..end).unwrap_or_default();
    write_frame_head(out, Opcode::Close, false, 2 + reason.len());
    out.extend_from_slice(&code.get().to_be_bytes());
    out.extend_from_slice(reason.as_bytes());
}
