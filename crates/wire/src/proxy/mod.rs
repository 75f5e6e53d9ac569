//! Where a request comes from, if proxies are in front: what they say, and which of them are trusted.
//!
//! | module | what it holds |
//! |---|---|
//! | `names` | the names of the fields |
//! | `networks` | which peers are trusted |
//! | `node` | one end of a connection, as a proxy names it |
//! | `forwarded` | `X-Forwarded-*` and `Forwarded` (RFC 7239): what their fields say |
//! | `origin` | what that makes of a request's head |
//! | `naming` | what a request is called: `X-Request-ID`, `traceparent` |
//! | `protocol`, `checksum` | the header of a connection: the PROXY protocol, versions 1 and 2 |
//! | `extensions` | what that tells besides addresses |
//! | `refusals` | why a header is refused |
//!
//! Always holds: nothing that a peer says is used unless that peer is trusted.

mod checksum;
mod extensions;
mod forwarded;
pub(crate) mod names;
mod naming;
mod networks;
mod node;
mod origin;
mod protocol;
mod refusals;

pub use extensions::Extensions;
pub use naming::{MADE_ID_BYTES, Naming, REQUEST_ID, is_request_id, trace_id};
pub use networks::Networks;
pub use node::Node;
pub use origin::{Family, Origin, Proxies, Trusted};
pub use protocol::{Introduction, introduction};
