//! permessage-deflate (RFC 7692): its negotiation, inflating and deflating.
//!
//! A message never inflates to more than the limit. A direction allocates its state with its first
//! message: most connections compress in one direction or in none.

use super::errors::{RemoteError, TOO_BIG};
use crate::tokens::{members, trim};
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

/// The parameters that client and server agreed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeflateConfig {
    /// Each message of the server starts with an empty window.
    server_no_context_takeover: bool,
    /// Each message of the client starts with an empty window.
    client_no_context_takeover: bool,
    /// The size of the window, as a power of two.
    server_bits: u8,
    client_bits: Option<u8>,
}

const WINDOW_BITS: u8 = 15;
/// A window of 4 KiB, an eighth of the largest, compresses messages of usual size nearly as well.
const OUR_BITS: u8 = 12;
/// The smallest window that zlib can write.
const MIN_BITS: u8 = 9;

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
        let offer = parts.try_fold(Offer::default(), Offer::with)?;
        Some(Self {
            server_no_context_takeover: offer.server_no_context_takeover,
            client_no_context_takeover: offer.client_no_context_takeover,
            server_bits: offer
                .server_bits
                .map_or(OUR_BITS, |bits| bits.min(OUR_BITS)),
            client_bits: offer.client_bits.map(|bits| bits.min(OUR_BITS)),
        })
        .filter(|config| config.server_bits >= MIN_BITS)
    }

    /// Writes the value of Sec-WebSocket-Extensions for the response.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"permessage-deflate");
        if self.server_no_context_takeover {
            out.extend_from_slice(b"; server_no_context_takeover");
        }
        if self.client_no_context_takeover {
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

/// The parameters of one offer.
#[derive(Default)]
struct Offer {
    server_no_context_takeover: bool,
    client_no_context_takeover: bool,
    server_bits: Option<u8>,
    client_bits: Option<u8>,
}

impl Offer {
    /// The offer with one more parameter; `None` if the parameter is unknown, repeated or wrong.
    fn with(mut self, parameter: &[u8]) -> Option<Self> {
        let (name, value) = match parameter.iter().position(|byte| *byte == b'=') {
            Some(at) => (parameter.get(..at)?, parameter.get(at + 1..)),
            None => (parameter, None),
        };
        let repeated = match (trim(name), value.map(trim)) {
            (b"server_no_context_takeover", None) => {
                std::mem::replace(&mut self.server_no_context_takeover, true)
            }
            (b"client_no_context_takeover", None) => {
                std::mem::replace(&mut self.client_no_context_takeover, true)
            }
            (b"server_max_window_bits", Some(value)) => {
                self.server_bits.replace(window_bits(value)?).is_some()
            }
            (b"client_max_window_bits", None) => self.client_bits.replace(WINDOW_BITS).is_some(),
            (b"client_max_window_bits", Some(value)) => {
                self.client_bits.replace(window_bits(value)?).is_some()
            }
            _ => return None,
        };
        (!repeated).then_some(self)
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

/// The end of every compressed message, which is not sent (RFC 7692 7.2.1).
const TAIL: [u8; 4] = [0x00, 0x00, 0xff, 0xff];
/// The smallest room for output, in bytes.
const MIN_ROOM_BYTES: usize = 4 * 1024;

const NOT_DEFLATE: RemoteError =
    RemoteError::invalid_data("a compressed message that cannot be inflated");

/// Inflates the client's messages.
#[derive(Debug)]
pub(super) struct Inflater {
    no_context_takeover: bool,
    bits: u8,
    state: Option<Decompress>,
}

impl Inflater {
    pub(super) fn new(config: &DeflateConfig) -> Self {
        Self {
            no_context_takeover: config.client_no_context_takeover,
            bits: config.client_bits.unwrap_or(WINDOW_BITS).max(MIN_BITS),
            state: None,
        }
    }

    /// The bytes of a message, at most `max_message` of them.
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
        let mut out = Vec::with_capacity(bytes.len().saturating_mul(2).max(MIN_ROOM_BYTES));
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
                // A block may be marked as the last one: the next starts a new stream (RFC 7692 7.2.3.4).
                state.reset(false);
            } else if rest.is_empty() && !full {
                break;
            } else if full {
                out.reserve(out.len().max(MIN_ROOM_BYTES));
            } else if (state.total_in(), out.len()) == before {
                return Err(NOT_DEFLATE);
            }
        }
        if self.no_context_takeover {
            self.state = None;
        }
        out.shrink_to_fit(); // the application may hold many small messages
        Ok(out)
    }
}

/// Deflates the server's messages.
#[derive(Debug)]
pub struct Deflater {
    no_context_takeover: bool,
    bits: u8,
    state: Option<Compress>,
    /// A message was deflated since the last call of [`Self::release_idle`].
    used: bool,
}

/// It compresses nearly as well as the default level, at a fraction of the time.
const LEVEL: u32 = 2;

impl Deflater {
    #[must_use]
    pub fn new(config: &DeflateConfig) -> Self {
        Self {
            no_context_takeover: config.server_no_context_takeover,
            bits: config.server_bits,
            state: None,
            used: false,
        }
    }

    /// A message of fewer bytes costs more to compress than it saves.
    pub const MIN_BYTES: usize = 256;

    /// The payload of a frame that carries `message` compressed; `None` if zlib fails.
    pub fn deflate(&mut self, message: &[u8]) -> Option<Vec<u8>> {
        if message.is_empty() {
            return Some(vec![0]); // zlib would write nothing (RFC 7692 7.2.3.6)
        }
        self.used = true;
        let bits = self.bits;
        let level = Compression::new(LEVEL);
        let state = self
            .state
            .get_or_insert_with(|| Compress::new_with_window_bits(level, false, bits));
        let mut out = Vec::with_capacity((message.len() / 2).max(MIN_ROOM_BYTES));
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
            out.reserve(out.len().max(MIN_ROOM_BYTES));
        }
        out.truncate(out.len().checked_sub(TAIL.len())?);
        if self.no_context_takeover {
            state.reset();
        }
        Some(out)
    }

    /// Releases the memory, about 200 KiB, if no message was deflated since the last call. A sender may
    /// drop its window at any time; only the receiver must keep it (RFC 7692 7.1.1).
    pub fn release_idle(&mut self) {
        if !std::mem::take(&mut self.used) {
            self.state = None;
        }
    }
}
