//! HTTP/1.1, HTTP/2, WebSocket and what proxies add to them, as pure functions and state machines over
//! bytes.
//!
//! This crate owns what the server accepts and what it writes. The same bytes give the same result
//! however they are split, and no input panics. The crate knows no socket, clock, thread or Python.
//!
//! | module | what it holds |
//! |---|---|
//! | `limits` | how much a peer may send |
//! | `errors` | the errors: of the peer (`RemoteError`), of the application (`LocalError`, `ShortBody`) |
//! | `tokens` | which byte may stand where: one table, and the scans over it |
//! | `date` | IMF-fixdate |
//! | `status` | reason phrases |
//! | `http1` | HTTP/1.0 and 1.1: requests are read, responses are written (RFC 9110, RFC 9112) |
//! | `http2` | frames, header compression, streams (RFC 9113, RFC 7541) |
//! | `proxy` | where a request comes from: `Forwarded` (RFC 7239) and the like, the PROXY protocol |
//! | `websocket` | frames and messages after the 101 (RFC 6455, RFC 7692) |
//!
//! Positions are [`Span`]s into the caller's buffer: the parsers copy nothing.
#![forbid(unsafe_code)]

mod date;
mod errors;
mod http1;
pub mod http2;
mod limits;
pub mod proxy;
mod status;
mod tokens;
pub mod websocket;

pub use date::imf_fixdate;
pub use errors::{LocalError, RemoteError, ShortBody};
pub use http1::{
    BadResponse, BodyDecoder, BodyEncoder, CONTINUE, ChunkLine, Decoded, Encoded, Expected, Field,
    Framing, Head, HeadParser, Length, RequestContext, RequestKind, ResponseFraming, ResponsePart,
    ResponseReader, Span, TargetForm, Version, error_body, write_error, write_head, write_interim,
};
pub use limits::{Limits, Underscore};
pub use status::{Status, reason_phrase};
