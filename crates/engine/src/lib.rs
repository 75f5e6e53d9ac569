//! The I/O core of one `prefork` process.
//!
//! Layout. Each file uses those above it:
//!
//! | file | owns |
//! |---|---|
//! | `scoreboard/` | the shared memory in which a pool sees its workers |
//! | `secret_memory.rs` | the shared memory of certificates and ticket keys |
//! | `settings.rs` | the settings of a listener and of a WebSocket (generated from the
//! options) |
//! | `clock.rs` | the current time, and its Date |
//! | `timers.rs` | when each key is due: a timer wheel |
//! | `poll_set.rs` | the epoll set, and the wakeup that ends a wait |
//! | `buffers.rs` | empty buffers, reused by busy connections |
//! | `content.rs` | a part of a response's body, from the application |
//! | `body.rs` | a request's body, in memory or in a file |
//! | `request_body.rs` | a request's body while it is received, whole or in
//! parts |
//! | `peer.rs` | the address of one end of a connection |
//! | `introduction.rs` | a header of the PROXY protocol, before all else |
//! | `vault.rs` | memory for the keys of connections |
//! | `tls.rs` | a connection's TLS: between the bytes of the socket and the protocol's |
//! | `transport.rs` | every socket call on a connection |
//! | `relay.rs` | the TLS of a connection that the application has taken over |
//! | `output.rs` | the output queue of one connection |
//! | `phase.rs` | the table of an exchange's phases |
//! | `exchange.rs` | one request and its response, and their names |
//! | `request_ids.rs` | ids for requests that bring none |
//! | `disk.rs` | work that may wait for a disk |
//! | `event.rs` | the events that the reactor returns to its owner |
//! | `load.rs` | requests in flight and totals, for the pool |
//! | `admission.rs` | the limits on the number of clients |
//! | `context.rs` | what all connections share: clock, buffers, load, events |
//! | `deadlines.rs` | what a connection waits for, until when, and what expiry does |
//! | `link.rs` | the part of a connection that is the same in every protocol |
//! | `request.rs` | a request whose head is complete, and how its exchange begins |
//! | `http1.rs`, `websocket.rs` | the protocols: state machines over a link and its exchanges |
//! | `connection.rs` | a link and its protocol; the calls on an exchange |
//! | `connections.rs` | the table of connections: keys and serials |
//! | `listener.rs`, `accept.rs` | listening sockets, and which of them accept |
//! | `handoff/` | the hand-off to other workers, and the guard of a stuck
//! worker |
//! | `orphan.rs` | the end of a worker that has outlived its manager |
//! | `core.rs` | everything that is open, and the operations on one connection
//! |
//! | `turn.rs` | one turn, from the reports of epoll to events |
//! | `application.rs`, `listening.rs` | the calls of the application and of the
//! owner |
//! | `blocking_send.rs` | waits for one client, without the reactor |
//! | `reactor.rs` | the reactor, as its owner uses it |
//! | `guarded.rs` | the reactor, as its guard uses it |
//!
//! HTTP itself is in `prefork-wire`. The crate knows no Python and calls no
//! callback: the owner waits on the epoll set and pulls events.
//!
//! Another protocol is a file beside `http1.rs` and an arm of
//! `connection::Protocol`; another transport is an arm of `Transport`.

mod accept;
pub mod access_log;
mod admission;
mod application;
mod arrival;
mod blocking_send;
mod body;
mod buffers;
mod clock;
mod connection;
mod connections;
mod content;
mod context;
mod core;
mod deadlines;
mod disk;
mod errors;
mod event;
mod exchange;
mod guarded;
mod handoff;
mod http1;
mod http2;
mod introduction;
mod lag;
mod link;
mod listener;
mod listening;
mod load;
mod nudge;
mod orphan;
mod output;
mod peer;
mod phase;
mod pipe;
mod poll_set;
mod progress;
mod reactor;
mod relay;
mod request;
mod request_body;
mod request_ids;
pub mod scoreboard;
mod secret_memory;
mod settings;
mod tcp_info;
mod timers;
mod tls;
mod transport;
mod turn;
mod unread;
mod vault;
mod websocket;

pub use application::{ConnectionHandle, ExchangeHandle};
pub use blocking_send::BlockingSend;
pub use body::{Body, Spool};
pub use content::{Content, FilePart, Payload};
pub use deadlines::OVERDUE;
pub use disk::DiskTask;
pub use errors::LocalError;
pub use event::{Broken, Client, Closed, Ended, Event, ListenerNews, Lost, Overdue, RequestId};
pub use exchange::{ConnectionId, ExchangeId};
pub use handoff::guard::{EndStuck, Stuck};
pub use handoff::queue::{FORMAT as HAND_OFF_FORMAT, Queue, queue_length};
pub use listener::accept_queue_length;
pub use listening::ListenerHandle;
pub use output::COPY_LIMIT;
pub use peer::Peer;
pub use poll_set::{Report, Waiter};
pub use progress::HIGH_WATER;
pub use reactor::Reactor;
pub use request_body::BodyPart;
pub use secret_memory::SecretMemory;
pub use settings::{ListenerSettings, WebSocketSettings};
pub use turn::TurnEnd;
pub use unread::{Held, Unread};
