//! The `priority` of a request (RFC 9218): which response is sent first.

use crate::tokens::{members, trim};

/// A smaller urgency goes first. Responses of one urgency share the connection if they are
/// incremental; the others are sent one after the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Priority {
    pub(super) urgency: u8,
    pub(super) incremental: bool,
}

impl Default for Priority {
    fn default() -> Self {
        Self {
            urgency: 3,
            incremental: false,
        }
    }
}

impl Priority {
    /// Reads a dictionary of structured fields. What cannot be read is ignored (RFC 9218 4).
    pub(super) fn read(value: &[u8]) -> Self {
        let mut priority = Self::default();
        for member in members(value) {
            // Parameters of a member mean nothing here.
            let member = member
                .split(|byte| *byte == b';')
                .next()
                .unwrap_or_default();
            match trim(member) {
                [b'u', b'=', digit @ b'0'..=b'7'] => priority.urgency = digit - b'0',
                b"i" | b"i=?1" => priority.incremental = true,
                b"i=?0" => priority.incremental = false,
                _ => {}
            }
        }
        priority
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_read_is_ignored() {
        for (value, urgency, incremental) in [
            ("", 3, false),
            ("u=0", 0, false),
            ("u=5, i", 5, true),
            ("i;a=1,u=7;b", 7, true),
            ("i=?1,i=?0", 3, false),
            ("u=8, U=1, u=-1, x", 3, false),
        ] {
            let expected = Priority {
                urgency,
                incremental,
            };
            assert_eq!(Priority::read(value.as_bytes()), expected, "{value}");
        }
    }
}
