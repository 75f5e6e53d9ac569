//! HTTP/1.1 as pure functions and state machines over bytes (RFC 9110, RFC 9112).
//!
//! It owns what the server accepts and what it writes. It always holds that the same bytes give the
//! same result however they are split, and that no input panics. It must not know sockets, clocks,
//! threads or Python.
//!
//! | module | what it holds |
//! |---|---|
//! | `limits` | how much a peer may send |
//! | `errors` | the two kinds of error: the peer's (`RemoteError`) and ours (`LocalError`, `ShortBody`) |
//! | `tokens` | which byte may stand where: one table and the scans over it |
//! | `fields` | field lines, of a head or of a trailer section |
//! | `target` | the request target and the authority in it or in Host |
//! | `framing` | what decides where a body ends |
//! | `request_line` | method, target and version |
//! | `head` | the two together, and what the fields mean: bytes to a [`Head`] |
//! | `body` | a request's body: bytes to runs of data |
//! | `response` | an answer's head, and answers the server gives by itself |
//! | `encoder` | an answer's body: how many bytes may go, and what goes round them |
//! | `status` | reason phrases |
//! | `websocket` | what a connection speaks after the 101 |
//! | `date` | IMF-fixdate |
//!
//! Positions are [`Span`]s into the caller's buffer: nothing is copied out of it.
#![forbid(unsafe_code)]

mod body;
mod date;
mod encoder;
mod errors;
mod fields;
mod framing;
mod head;
mod limits;
mod request_line;
mod response;
mod status;
mod target;
mod tokens;
pub mod websocket;

pub use body::{BodyDecoder, Decoded};
pub use date::imf_fixdate;
pub use encoder::{BodyEncoder, ChunkLine, Encoded};
pub use errors::{LocalError, RemoteError, ShortBody};
pub use fields::{Field, Span};
pub use framing::Framing;
pub use head::{Head, HeadParser, Version};
pub use limits::{Limits, Underscore};
pub use response::{
    CONTINUE, Length, RequestContext, ResponseFraming, write_error, write_head, write_interim,
};
pub use status::reason_phrase;
pub use target::TargetForm;
