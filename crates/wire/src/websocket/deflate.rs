//! permessage-deflate (RFC 7692): what client and server agree on, and the two directions of it.
//!
//! It always holds that a message inflates to no more than the limit. Neither direction has memory
//! before its first message needs it: most connections compress in one direction or in none.

use super::closing::{CloseCode, RemoteError};
use super::decoder::TOO_BIG;
use crate::tokens::{members, trim};
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

/// What was agreed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeflateConfig {
    /// Each message of the server begins with an empty window.
    server_forgets: bool,
    /// Each message of the client does.
    client_forgets: bool,
    /// Of the windows, as a power of two.
    server_bits: u8,
    client_bits: Option<u8>,
}

const WINDOW_BITS: u8 = 15;
/// A window of 4 KiB, an eighth of the largest, finds nearly as much in messages of usual size.
const OUR_BITS: u8 = 12;
/// The smallest window that zlib can write.
const LEAST_BITS: u8 = 9;

impl DeflateConfig {
    /// The first offer of a Sec-WebSocket-Extensions value that can be accepted.
    pub(super) fn choose(offers: &[u8]) -> Option<Self> {
        members(offers).find_map(Self::accept)
    }

    /// `None` for another extension, and for an offer with a parameter that is unknown, repeated or
    /// wrong (RFC 7692 7.1).
    fn accept(offer: &[u8]) -> Option<Self> {
        let mut parts = offer.split(|byte| *byte == b';').map(trim);
        if !parts.next()?.eq_ignore_ascii_case(b"permessage-deflate") {
            return None;
        }
        let (mut server_forgets, mut client_forgets) = (false, false);
        let (mut server_bits, mut client_bits) = (None, None);
        for part in parts {
            let (name, value) = match part.iter().position(|byte| *byte == b'=') {
                Some(at) => (part.get(..at)?, part.get(at + 1..)),
                None => (part, None),
            };
            let fresh = match (trim(name), value.map(trim)) {
                (b"server_no_context_takeover", None) => {
                    !std::mem::replace(&mut server_forgets, true)
                }
                (b"client_no_context_takeover", None) => {
                    !std::mem::replace(&mut client_forgets, true)
                }
                (b"server_max_window_bits", Some(value)) => {
                    server_bits.replace(window_bits(value)?).is_none()
                }
                (b"client_max_window_bits", None) => client_bits.replace(WINDOW_BITS).is_none(),
                (b"client_max_window_bits", Some(value)) => {
                    client_bits.replace(window_bits(value)?).is_none()
                }
                _ => false,
            };
            if !fresh {
                return None;
            }
        }
        Some(Self {
            server_forgets,
            client_forgets,
            server_bits: server_bits.map_or(OUR_BITS, |bits| bits.min(OUR_BITS)),
            client_bits: client_bits.map(|bits| bits.min(OUR_BITS)),
        })
        .filter(|agreed| agreed.server_bits >= LEAST_BITS)
    }

    /// The value of Sec-WebSocket-Extensions that says it.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"permessage-deflate");
        if self.server_forgets {
            out.extend_from_slice(b"; server_no_context_takeover");
        }
        if self.client_forgets {
            out.extend_from_slice(b"; client_no_context_takeover");
        }
        let bits = [
            (b"server", Some(self.server_bits)),
            (b"client", self.client_bits),
        ];
        for (side, bits) in bits {
            if let Some(bits) = bits {
                out.extend_from_slice(b"; ");
                out.extend_from_slice(side);
                out.extend_from_slice(b"_max_window_bits=");
                out.extend_from_slice(itoa::Buffer::new().format(bits).as_bytes());
            }
        }
    }
}

/// 8 to 15, without leading zeros, as a token or in quotes (RFC 7692 7.1.2).
fn window_bits(value: &[u8]) -> Option<u8> {
    let plain = value
        .strip_prefix(b"\"")
        .and_then(|value| value.strip_suffix(b"\""))
        .unwrap_or(value);
    match plain {
        [digit @ b'8'..=b'9'] => Some(digit - b'0'),
        [b'1', digit @ b'0'..=b'5'] => Some(10 + digit - b'0'),
        _ => None,
    }
}

/// What ends every message and is left out of it (RFC 7692 7.2.1).
const TAIL: [u8; 4] = [0x00, 0x00, 0xff, 0xff];
/// What room is made for at first, and at least.
const ROOM_BYTES: usize = 4 * 1024;

const NOT_DEFLATE: RemoteError = RemoteError {
    code: CloseCode::INVALID_DATA,
    reason: "a compressed message that cannot be inflated",
};

/// From the client.
#[derive(Debug)]
pub(super) struct Inflater {
    forgets: bool,
    bits: u8,
    state: Option<Decompress>,
}

impl Inflater {
    pub(super) fn new(agreed: &DeflateConfig) -> Self {
        Self {
            forgets: agreed.client_forgets,
            bits: agreed.client_bits.unwrap_or(WINDOW_BITS).max(LEAST_BITS),
            state: None,
        }
    }

    /// A message's bytes, at most `max_message` of them.
    pub(super) fn inflate(
        &mut self,
        mut bytes: Vec<u8>,
        max_message: u64,
    ) -> Result<Vec<u8>, RemoteError> {
        bytes.extend_from_slice(&TAIL);
        let bits = self.bits;
        let state = self
            .state
            .get_or_insert_with(|| Decompress::new_with_window_bits(false, bits));
        let mut out = Vec::with_capacity(bytes.len().saturating_mul(2).max(ROOM_BYTES));
        let mut rest = bytes.as_slice();
        loop {
            let before = (state.total_in(), out.len());
            let status = state
                .decompress_vec(rest, &mut out, FlushDecompress::Sync)
                .map_err(|_| NOT_DEFLATE)?;
            let taken = (state.total_in() - before.0) as usize;
            rest = rest.get(taken..).unwrap_or_default();
            if out.len() as u64 > max_message {
                return Err(TOO_BIG);
            }
            let full = out.len() == out.capacity();
            if status == Status::StreamEnd {
                // A block may say that it is the last: the next one begins anew (RFC 7692 7.2.3.4).
                state.reset(false);
            } else if rest.is_empty() && !full {
                break;
            } else if full {
                out.reserve(out.len().max(ROOM_BYTES));
            } else if (state.total_in(), out.len()) == before {
                return Err(NOT_DEFLATE);
            }
        }
        if self.forgets {
            self.state = None;
        }
        out.shrink_to_fit(); // many small ones may wait to be read
        Ok(out)
    }
}

/// To the client.
#[derive(Debug)]
pub struct Deflater {
    forgets: bool,
    bits: u8,
    state: Option<Compress>,
    used: bool,
}

/// Most of what can be won is won here, at a fraction of what the default level costs.
const LEVEL: u32 = 2;

impl Deflater {
    #[must_use]
    pub fn new(agreed: &DeflateConfig) -> Self {
        Self {
            forgets: agreed.server_forgets,
            bits: agreed.server_bits,
            state: None,
            used: false,
        }
    }

    /// Below this many bytes compression costs more than it saves.
    pub const MIN_BYTES: usize = 256;

    /// The payload of the frame that says `message` compressed; `None` if that cannot be done.
    pub fn deflate(&mut self, message: &[u8]) -> Option<Vec<u8>> {
        if message.is_empty() {
            // There is nothing to flush, so the deflater would write nothing at all.
            return Some(vec![0]); // RFC 7692 7.2.3.6
        }
        self.used = true;
        let bits = self.bits;
        let level = Compression::new(LEVEL);
        let state = self
            .state
            .get_or_insert_with(|| Compress::new_with_window_bits(level, false, bits));
        let mut out = Vec::with_capacity((message.len() / 2).max(ROOM_BYTES));
        let mut rest = message;
        loop {
            let before = state.total_in();
            state
                .compress_vec(rest, &mut out, FlushCompress::Sync)
                .ok()?;
            let taken = (state.total_in() - before) as usize;
            rest = rest.get(taken..).unwrap_or_default();
            if rest.is_empty() && out.len() < out.capacity() {
                break;
            }
            out.reserve(out.len().max(ROOM_BYTES));
        }
        out.truncate(out.len().checked_sub(TAIL.len())?);
        if self.forgets {
            state.reset();
        }
        Some(out)
    }

    /// Gives its memory back, some 200 KiB, if nothing was deflated since the last call. A sender may
    /// forget whenever it likes: it is only the receiver that must remember (RFC 7692 7.1.1).
    pub fn release_idle(&mut self) {
        if !std::mem::take(&mut self.used) {
            self.state = None;
        }
    }
}
