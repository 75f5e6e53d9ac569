//! WebSocket (RFC 6455) with permessage-deflate (RFC 7692).
//!
//! | module | what it holds |
//! |---|---|
//! | `errors` | the status codes of Close frames, and the peer's error |
//! | `opening` | the opening handshake: the request, and the 101 that accepts it |
//! | `deflate` | permessage-deflate: negotiation, inflating and deflating |
//! | `frame` | one frame: its head, its mask |
//! | `close_frame` | the Close frame |
//! | `message` | a message |
//! | `decoder` | the client's bytes to messages |
//!
//! No byte of a message is kept before its size is known to be within the limit, and a text is always
//! UTF-8.

mod close_frame;
mod decoder;
mod deflate;
mod errors;
mod frame;
mod message;
mod opening;

pub use close_frame::{CloseFrame, write_close};
pub use decoder::{Incoming, MessageDecoder};
pub use deflate::{DeflateConfig, Deflater};
pub use errors::{CloseCode, RemoteError};
pub use frame::{Opcode, write_frame_head, write_ping, write_pong};
pub use message::Message;
pub use opening::{Opening, OwnFields, write_switching_protocols};
