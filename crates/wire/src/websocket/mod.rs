//! WebSocket (RFC 6455) with permessage-deflate (RFC 7692): the opening, frames, messages, and how
//! it ends.
//!
//! | module | what it holds |
//! |---|---|
//! | `opening` | the request that asks for it, and the 101 that agrees |
//! | `deflate` | permessage-deflate: what is agreed, and the two directions of it |
//! | `frame` | one frame: its header, its mask |
//! | `decoder` | the client's bytes to whole messages |
//! | `closing` | which codes may end it, and the two ways in which it ends |
//!
//! It always holds that nothing is kept of a message before its size is known to be within the
//! limit, and that a text is UTF-8.

mod closing;
mod decoder;
mod deflate;
mod frame;
mod opening;

pub use closing::{CloseCode, CloseFrame, RemoteError, write_close};
pub use decoder::{Incoming, MessageDecoder};
pub use deflate::{DeflateConfig, Deflater};
pub use frame::{Opcode, write_frame_head, write_ping, write_pong};
pub use opening::{Opening, write_switching_protocols};

/// A whole message: its frames joined, unmasked and decompressed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    Text(String),
    Binary(Vec<u8>),
}

impl Message {
    /// Its length in bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Binary(bytes) => bytes.len(),
        }
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
