//! TLS as pure functions and state machines over bytes.
//!
//! | module | what |
//! |---|---|
//! | `config.rs` | what a listener offers: certificates, versions, ciphers, protocols |
//! | `files.rs`, `bundle.rs`, `keys.rs`, `certificate.rs` | certificates and keys: from files, checked |
//! | `published.rs` | what a manager publishes to the processes that serve |
//! | `resolver.rs` | which certificate a client gets |
//! | `tickets.rs` | session tickets that every process resumes |
//! | `session.rs`, `ciphers.rs` | what the handshake has settled |
//! | `handshake.rs` | a connection until its handshake is complete, by rustls |
//! | `secrets.rs` | the traffic secrets of a handshake |
//! | `suite.rs` | the cipher suites of TLS 1.3, and their keys |
//! | `alert.rs` | why a connection is ended |
//! | `half.rs` | one direction of a connection: seals, or opens, one record |
//! | `records.rs` | both directions after the handshake: data, alerts, key updates |
//!
//! Always holds: no sockets, no clock, no unsafe code, and no secret in a `Debug` text.

#![forbid(unsafe_code)]

mod alert;
mod bundle;
mod certificate;
mod ciphers;
mod config;
mod files;
mod half;
mod handshake;
mod keys;
mod provider;
mod published;
mod records;
mod resolver;
mod secrets;
mod session;
mod suite;
mod tickets;

pub use alert::Alert;
pub use bundle::Bundle;
pub use certificate::{Certificate, Moment, RevocationList};
pub use ciphers::Cipher;
pub use config::{ClientAuth, Config, Settings};
pub use files::{ConfigError, File, Files};
pub use handshake::{Established, Handshake, Progress, missing_of_record, whole_records};
pub use published::Published;
pub use records::{Opened, PeerEnd, Records, STATE_BYTES};
pub use session::{SESSION_BYTES, Session, Version};
pub use suite::Suite;
pub use tickets::{TICKET_KEYS_BYTES, TICKET_LIFETIME_S, TicketKeys};
