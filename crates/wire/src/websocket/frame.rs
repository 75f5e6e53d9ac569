//! One frame (RFC 6455 5.2): its head, read and written, and its mask.

use super::errors::RemoteError;

/// The longest payload of a control frame (RFC 6455 5.5).
pub(super) const CONTROL_BYTES: usize = 125;

/// The type of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opcode {
    Continuation = 0,
    Text = 1,
    Binary = 2,
    Close = 8,
    Ping = 9,
    Pong = 10,
}

impl Opcode {
    fn read(number: u8) -> Result<Self, RemoteError> {
        match number {
            0 => Ok(Self::Continuation),
            1 => Ok(Self::Text),
            2 => Ok(Self::Binary),
            8 => Ok(Self::Close),
            9 => Ok(Self::Ping),
            10 => Ok(Self::Pong),
            _ => Err(RESERVED_OPCODE),
        }
    }

    pub(super) fn is_control(self) -> bool {
        matches!(self, Self::Close | Self::Ping | Self::Pong)
    }
}

/// The bytes before the payload in a frame of the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FrameHead {
    pub(super) last: bool,
    pub(super) compressed: bool,
    pub(super) opcode: Opcode,
    pub(super) mask: Mask,
    pub(super) len: u64,
    /// The length of the head itself, in bytes.
    pub(super) size: usize,
}

const RESERVED_OPCODE: RemoteError = RemoteError::protocol("a reserved opcode");
const RESERVED_BIT: RemoteError = RemoteError::protocol("a reserved bit is set");
const UNMASKED: RemoteError = RemoteError::protocol("a frame without a mask");
const LONG_CONTROL: RemoteError = RemoteError::protocol("a control frame over 125 bytes");
const SPLIT_CONTROL: RemoteError = RemoteError::protocol("a control frame in fragments");
const BAD_LENGTH: RemoteError = RemoteError::protocol("a length that is not in its shortest form");

const LAST: u8 = 0x80;
const COMPRESSED: u8 = 0x40;
const RESERVED: u8 = 0x30;
const MASKED: u8 = 0x80;

impl FrameHead {
    /// `None` if it is not complete yet. What is wrong shows in the first two bytes, except the form of
    /// an extended length.
    pub(super) fn read(input: &[u8]) -> Result<Option<Self>, RemoteError> {
        let Some((bytes, rest)) = input.split_first_chunk::<2>() else {
            return Ok(None);
        };
        let start = Start::check(*bytes)?;
        let Some((len, rest)) = read_length(start.short_len, rest)? else {
            return Ok(None);
        };
        let Some((key, rest)) = rest.split_first_chunk::<4>() else {
            return Ok(None);
        };
        Ok(Some(Self {
            last: start.last,
            compressed: start.compressed,
            opcode: start.opcode,
            mask: Mask(*key),
            len,
            size: input.len() - rest.len(),
        }))
    }
}

/// The first two bytes of a frame.
struct Start {
    last: bool,
    compressed: bool,
    opcode: Opcode,
    /// The length, or 126 or 127 for an extended length behind it.
    short_len: u8,
}

impl Start {
    /// Checks the first two bytes of a client's frame.
    fn check([first, second]: [u8; 2]) -> Result<Self, RemoteError> {
        let start = Self {
            last: first & LAST != 0,
            compressed: first & COMPRESSED != 0,
            opcode: Opcode::read(first & 0x0f)?,
            short_len: second & !MASKED,
        };
        let may_be_compressed = matches!(start.opcode, Opcode::Text | Opcode::Binary);
        if first & RESERVED != 0 || start.compressed && !may_be_compressed {
            return Err(RESERVED_BIT);
        }
        if second & MASKED == 0 {
            return Err(UNMASKED);
        }
        if start.opcode.is_control() && !start.last {
            return Err(SPLIT_CONTROL);
        }
        if start.opcode.is_control() && usize::from(start.short_len) > CONTROL_BYTES {
            return Err(LONG_CONTROL);
        }
        Ok(start)
    }
}

/// The length of the payload, and the bytes behind it; `None` if it is not complete yet. RFC 6455 5.2
/// demands the shortest form, and that the most significant bit is 0.
fn read_length(short_len: u8, rest: &[u8]) -> Result<Option<(u64, &[u8])>, RemoteError> {
    let (extended, allowed) = match short_len {
        126 => (
            rest.split_first_chunk::<2>()
                .map(|(len, rest)| (u64::from(u16::from_be_bytes(*len)), rest)),
            126..=0xffff,
        ),
        127 => (
            rest.split_first_chunk::<8>()
                .map(|(len, rest)| (u64::from_be_bytes(*len), rest)),
            0x1_0000..=i64::MAX as u64,
        ),
        _ => return Ok(Some((u64::from(short_len), rest))),
    };
    match extended {
        Some((len, _)) if !allowed.contains(&len) => Err(BAD_LENGTH),
        extended => Ok(extended),
    }
}

/// The key that a client's payload is XORed with (RFC 6455 5.3), rotated to the next byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mask([u8; 4]);

/// The width of the largest vector registers: the compiler makes one XOR of each block.
const BLOCK: usize = 32;

impl Mask {
    /// Unmasks `bytes`, which are the next ones of the payload.
    pub(super) fn unmask(&mut self, bytes: &mut [u8]) {
        let mut wide = [0; BLOCK];
        for (wide, key) in wide.iter_mut().zip(self.0.iter().cycle()) {
            *wide = *key;
        }
        let len = bytes.len();
        let mut blocks = bytes.chunks_exact_mut(BLOCK);
        for block in &mut blocks {
            for (byte, key) in block.iter_mut().zip(&wide) {
                *byte ^= key;
            }
        }
        for (byte, key) in blocks.into_remainder().iter_mut().zip(&wide) {
            *byte ^= key;
        }
        self.0.rotate_left(len % 4);
    }
}

/// Writes the head of a frame of the server: the only frame of its message, and not masked
/// (RFC 6455 5.1).
pub fn write_frame_head(out: &mut Vec<u8>, opcode: Opcode, compressed: bool, len: usize) {
    let bits = if compressed { LAST | COMPRESSED } else { LAST };
    let first = bits | opcode as u8;
    match len {
        0..=125 => out.extend_from_slice(&[first, len as u8]),
        126..=0xffff => {
            out.extend_from_slice(&[first, 126]);
            out.extend_from_slice(&(len as u16).to_be_bytes());
        }
        _ => {
            out.extend_from_slice(&[first, 127]);
            out.extend_from_slice(&(len as u64).to_be_bytes());
        }
    }
}

/// Writes a Ping without a payload.
pub fn write_ping(out: &mut Vec<u8>) {
    write_frame_head(out, Opcode::Ping, false, 0);
}

/// Writes the Pong for a Ping with this payload.
pub fn write_pong(out: &mut Vec<u8>, payload: &[u8]) {
    write_frame_head(out, Opcode::Pong, false, payload.len());
    out.extend_from_slice(payload);
}
