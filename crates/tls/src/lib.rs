//! TLS as pure functions and state machines over bytes.
//!
//! | module | what |
//! |---|---|
//! | `alert.rs` | why a connection is ended |
//! | `config.rs` | what a listener offers: certificates, versions, protocols |
//! | `handshake.rs` | a connection until its handshake is complete, by rustls |
//! | `secrets.rs` | the traffic secrets of a handshake |
//! | `suite.rs` | the cipher suites of TLS 1.3, and their keys |
//! | `half.rs` | one direction of a connection: seals, or opens, one record |
//! | `records.rs` | both directions after the handshake: data, alerts, key updates |
//!
//! Always holds: no sockets, no clock, no unsafe code, and no secret in a `Debug` text.

#![forbid(unsafe_code)]

mod alert;
mod config;
mod half;
mod handshake;
mod records;
mod secrets;
mod suite;

pub use alert::Alert;
pub use config::{Config, ConfigError, KeyPair};
pub use handshake::{Established, Handshake, Progress};
pub use records::{Opened, PeerEnd, Records, STATE_BYTES};
pub use suite::Suite;
