//! Hostile input: what a peer sends, and what an application asks for.
//!
//! A target is a function of bytes that panics if a promise is broken. It must not depend
//! on anything but these bytes, so that an input that fails can be kept: as a file in
//! `regressions/`. `corpus/` has the inputs to begin with. `tests/short.rs` runs all of
//! them and some mutations (`make test`), `bin/fuzz.rs` is the long run that is guided by
//! coverage (`make fuzz`).
//!
//! | target | what it holds |
//! |---|---|
//! | `head` | a head is read in one way, however it is split, and nothing of it is ambiguous |
//! | `chunked` | a chunked body is what a plain reader of RFC 9112 makes of it |
//! | `http2` | frames mean the same however they are split, and a request of them is one of HTTP/1 |
//! | `hpack` | header blocks mean the same in one frame or several, and ours are read as they were written |
//! | `websocket` | frames give the same messages however they are split, within the limit |
//! | `response` | no application makes two responses of one, or a head that cannot be read |
//! | `relayed` | a response that another worker has sent has one meaning, or is refused |
//! | `proxy` | a proxy's header is read in one way, and a stranger's word on the client is not taken |
//! | `records` | what is changed on its way ends a TLS connection, and is never data |
//! | `engine` | a reactor survives any clients and any application, and forgets nothing |
//!
//! Another target is a file in `targets/` and a line in [`TARGETS`].

pub mod input;
pub mod mutation;
mod targets;

/// The name of a target, and its function.
pub type Target = (&'static str, fn(&[u8]));

pub const TARGETS: [Target; 10] = [
    ("head", targets::head::run),
    ("chunked", targets::chunked::run),
    ("http2", targets::http2::run),
    ("hpack", targets::hpack::run),
    ("websocket", targets::websocket::run),
    ("response", targets::response::run),
    ("relayed", targets::relayed::run),
    ("proxy", targets::proxy::run),
    ("records", targets::records::run),
    ("engine", targets::engine::run),
];

/// The function of a target.
pub fn target(name: &str) -> Option<fn(&[u8])> {
    let found = TARGETS.iter().find(|(known, _)| *known == name);
    found.map(|(_, run)| *run)
}
