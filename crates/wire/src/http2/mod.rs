//! HTTP/2 (RFC 9113), with HPACK (RFC 7541), priorities (RFC 9218) and WebSocket (RFC 8441).
//!
//! | module | what it holds |
//! |---|---|
//! | `frame` | the layout of frames |
//! | `huffman`, `static_table`, `hpack` | header compression |
//! | `request` | a header list to a [`Head`](crate::Head), or trailers |
//! | `response` | the header block of a response |
//! | `priority` | which response is sent first |
//! | `budget` | what a client may cost without bringing work |
//! | `streams` | the open streams, and which one writes next |
//! | `connection` | the state of a connection and its streams |

mod budget;
mod connection;
mod frame;
mod hpack;
mod huffman;
mod priority;
mod request;
mod response;
mod static_table;
mod streams;

pub use connection::{Connection, Fault, Incoming, Read};
pub use frame::ErrorCode;
