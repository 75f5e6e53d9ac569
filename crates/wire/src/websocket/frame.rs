//! One frame (RFC 6455 5.2): its header, read and written, and its mask.

use super::closing::RemoteError;

/// The longest payload of a control frame (RFC 6455 5.5).
pub(super) const CONTROL_BYTES: usize = 125;

/// What a frame is.
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

/// What stands before a client's payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FrameHead {
    pub(super) last: bool,
    pub(super) compressed: bool,
    pub(super) opcode: Opcode,
    pub(super) mask: Mask,
    pub(super) len: u64,
    /// How many bytes the header itself took.
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
    /// `None` when it has not come whole; what is wrong shows with its first two bytes.
    pub(super) fn read(input: &[u8]) -> Result<Option<Self>, RemoteError> {
        let Some((&[first, second], rest)) = input.split_first_chunk::<2>() else {
            return Ok(None);
        };
        let opcode = Opcode::read(first & 0x0f)?;
        let (last, compressed) = (first & LAST != 0, first & COMPRESSED != 0);
        let short = second & !MASKED;
        if first & RESERVED != 0 || compressed && matches!(opcode, Opcode::Continuation) {
            return Err(RESERVED_BIT);
        }
        if second & MASKED == 0 {
            return Err(UNMASKED);
        }
        if opcode.is_control() {
            if compressed {
                return Err(RESERVED_BIT);
            }
            if !last {
                return Err(SPLIT_CONTROL);
            }
            if usize::from(short) > CONTROL_BYTES {
                return Err(LONG_CONTROL);
            }
        }
        let (len, rest) = match short {
            126 => match rest.split_first_chunk::<2>() {
                Some((len, rest)) => (u64::from(u16::from_be_bytes(*len)), rest),
                None => return Ok(None),
            },
            127 => match rest.split_first_chunk::<8>() {
                Some((len, rest)) => (u64::from_be_bytes(*len), rest),
                None => return Ok(None),
            },
            _ => (u64::from(short), rest),
        };
        // RFC 6455 5.2: the minimal number of bytes, and the most significant bit is 0.
        let shortest = match short {
            126 => len > 125,
            127 => len > 0xffff && len <= i64::MAX as u64,
            _ => true,
        };
        if !shortest {
            return Err(BAD_LENGTH);
        }
        let Some((key, rest)) = rest.split_first_chunk::<4>() else {
            return Ok(None);
        };
        Ok(Some(Self {
            last,
            compressed,
            opcode,
            mask: Mask(*key),
            len,
            size: input.len() - rest.len(),
        }))
    }
}

/// What a client's payload is XORed with (RFC 6455 5.3), from the byte that comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mask([u8; 4]);

/// As wide as a vector register may be: the compiler makes one XOR of each block.
const BLOCK: usize = 32;

impl Mask {
    /// Takes the mask off `bytes`, and moves on by as many.
    pub(super) fn lift(&mut self, bytes: &mut [u8]) {
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

/// Writes what stands before the payload of a frame of the server: whole, and not masked
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

/// Writes the answer to a Ping that had this payload.
pub fn write_pong(out: &mut Vec<u8>, payload: &[u8]) {
    write_frame_head(out, Opcode::Pong, false, payload.len());
    out.extend_from_slice(payload);
}
