//! An answer's body: how many bytes of the payload may go, and what goes round them.
//!
//! The payload is never copied: the caller sends `prefix`, its own bytes and `suffix`, in one
//! vectored write if it likes.

use crate::body::is_never_trailer;
use crate::response::write_fields;
use crate::{LocalError, ShortBody};

/// Frames one answer's body so that it is exactly what its head promised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyEncoder {
    /// Content-Length; `left` bytes of it are still to go.
    Length { left: u64 },
    /// Transfer-Encoding: chunked.
    Chunked,
    /// HTTP/1.0 without a length: the end of the connection ends the body.
    Close,
    /// HEAD, 204, 205, 304, or ended: nothing may go.
    Nothing,
}

/// What may go of a piece of the payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Encoded {
    /// To be sent before the payload; may be empty.
    pub prefix: ChunkLine,
    /// How many bytes of the payload go; fewer than offered means the application sent too much.
    pub len: usize,
    /// To be sent after the payload; may be empty.
    pub suffix: &'static [u8],
}

impl BodyEncoder {
    /// Admits a piece of `len` bytes. What is admitted counts as sent.
    ///
    /// A piece of 0 bytes is admitted as nothing at all: an empty chunk would end the body.
    pub fn encode(&mut self, len: usize) -> Encoded {
        match self {
            Self::Length { left } => {
                let len = usize::try_from(*left).map_or(len, |left| left.min(len));
                *left -= len as u64;
                Encoded::plain(len)
            }
            Self::Chunked if len > 0 => Encoded {
                prefix: ChunkLine::new(len),
                len,
                suffix: b"\r\n",
            },
            Self::Close | Self::Chunked => Encoded::plain(len),
            Self::Nothing => Encoded::plain(0),
        }
    }

    /// Ends a body that has chunks with a trailer section (RFC 9112 7.1.2); [`Self::finish`] has
    /// nothing more to write then. Every other body has no place for trailers: they are dropped.
    ///
    /// # Errors
    /// [`LocalError`] for a field that is none, or must not be a trailer (RFC 9110 6.5.1); `out` is
    /// then as it was.
    pub fn write_trailers<'a>(
        &mut self,
        out: &mut Vec<u8>,
        fields: impl Iterator<Item = (&'a [u8], &'a [u8])> + Clone,
    ) -> Result<(), LocalError> {
        if let Some((name, _)) = fields.clone().find(|(name, _)| is_never_trailer(name)) {
            return Err(LocalError::Trailer(name.into()));
        }
        if *self != Self::Chunked {
            return Ok(());
        }
        let before = out.len();
        out.extend_from_slice(b"0\r\n");
        write_fields(out, fields).inspect_err(|_| out.truncate(before))?;
        out.extend_from_slice(b"\r\n");
        *self = Self::Nothing;
        Ok(())
    }

    /// Ends the body: writes the last chunk, if the body has chunks. From here on nothing is
    /// admitted.
    ///
    /// # Errors
    /// [`ShortBody`] when bytes are missing: the connection must close, or the next answer would be
    /// taken for them.
    pub fn finish(&mut self, out: &mut Vec<u8>) -> Result<(), ShortBody> {
        match std::mem::replace(self, Self::Nothing) {
            Self::Length { left } if left > 0 => return Err(ShortBody { missing: left }),
            Self::Chunked => out.extend_from_slice(b"0\r\n\r\n"),
            Self::Length { .. } | Self::Close | Self::Nothing => {}
        }
        Ok(())
    }
}

impl Encoded {
    const fn plain(len: usize) -> Self {
        Self {
            prefix: ChunkLine::EMPTY,
            len,
            suffix: b"",
        }
    }
}

/// The line before a chunk, as in `1f4\r\n`, or nothing; held in place, without an allocation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChunkLine {
    bytes: [u8; Self::ROOM],
    start: u8,
}

impl ChunkLine {
    /// Sixteen digits and CRLF.
    const ROOM: usize = 18;
    const EMPTY: Self = Self {
        bytes: [0; Self::ROOM],
        start: Self::ROOM as u8,
    };

    fn new(size: usize) -> Self {
        let mut line = Self::EMPTY;
        let mut rest = size;
        for (index, slot) in line.bytes.iter_mut().enumerate().rev() {
            *slot = match index {
                17 => b'\n',
                16 => b'\r',
                _ => {
                    let digit = (rest % 16) as u8;
                    rest /= 16;
                    digit + if digit < 10 { b'0' } else { b'a' - 10 }
                }
            };
            if index < 16 && rest == 0 {
                line.start = index as u8;
                break;
            }
        }
        line
    }

    /// The bytes to send.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes
            .get(usize::from(self.start)..)
            .unwrap_or_default()
    }
}
