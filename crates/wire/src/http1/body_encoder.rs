//! A response body: how many bytes of the payload may be sent, and the bytes around them.
//!
//! The payload is never copied: the caller sends `prefix`, its own bytes and `suffix`, in one vectored write
//! if that suits it.

use super::response_fields::write_fields;
use super::trailers;
use crate::errors::{LocalError, ShortBody};

/// Frames the body of one response, so that it is exactly what the head says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyEncoder {
    /// Content-Length; `left` bytes are still to be sent.
    Length { left: u64 },
    /// Transfer-Encoding: chunked.
    Chunked,
    /// HTTP/1.0 without a length, or a tunnel (CONNECT): the end of the connection ends the body.
    Close,
    /// The response has no body (HEAD, 204, 205, 304), or the body has ended.
    Nothing,
}

/// What to send of a part of the payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Encoded {
    /// Sent before the payload; may be empty.
    pub prefix: ChunkLine,
    /// How many bytes of the payload are sent. Fewer than offered: the application wrote more than its
    /// Content-Length.
    pub len: usize,
    /// Sent after the payload; may be empty.
    pub suffix: &'static [u8],
}

impl BodyEncoder {
    /// Frames a part of `len` bytes and counts it as sent.
    ///
    /// A part of 0 bytes is framed as nothing: an empty chunk would end the body.
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

    /// Ends a chunked body with a trailer section (RFC 9112 7.1.2); [`Self::finish`] then writes nothing
    /// more. Trailers of any other body are dropped, because only the chunked coding can carry them.
    ///
    /// # Errors
    /// [`LocalError`] for an invalid field, or one that must not be a trailer (RFC 9110 6.5.1). `out` is
    /// then unchanged.
    pub fn write_trailers<'a>(
        &mut self,
        out: &mut Vec<u8>,
        fields: impl Iterator<Item = (&'a [u8], &'a [u8])> + Clone,
    ) -> Result<(), LocalError> {
        if let Some((name, _)) = fields
            .clone()
            .find(|(name, _)| trailers::is_forbidden(name))
        {
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

    /// Ends the body, with the last chunk if it is chunked. After that, nothing more is framed.
    ///
    /// # Errors
    /// [`ShortBody`] if bytes are missing: the connection must close, or the client would take the next
    /// response for them.
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

/// The line before a chunk, such as `1f4\r\n`, or nothing. It is held in place, without an allocation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChunkLine {
    bytes: [u8; Self::MAX_BYTES],
    start: u8,
}

impl ChunkLine {
    /// Sixteen digits and CRLF.
    const MAX_BYTES: usize = 18;
    const EMPTY: Self = Self {
        bytes: [0; Self::MAX_BYTES],
        start: Self::MAX_BYTES as u8,
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
