//! The I/O core of one `prefork` process.
//!
//! Layout, from what others stand on:
//!
//! | file | owns |
//! |---|---|
//! | `scoreboard/` | the shared memory in which a pool sees its workers |
//! | `settings.rs` | what a listener and a WebSocket are told (generated from the options) |
//! | `clock.rs` | the time of one turn, and the Date that goes with it |
//! | `timers.rs` | when each key is due: a timer wheel |
//! | `poll_set.rs` | the epoll set, and the wakeup that ends a wait |
//! | `buffers.rs` | a few emptied buffers that busy connections borrow |
//! | `content.rs` | a part of a response's body on its way in |
//! | `body.rs` | a request's body, in memory or in a file |
//! | `request_body.rs` | a request's body while it comes, whole or in parts |
//! | `peer.rs` | the address of one end of a connection |
//! | `transport.rs` | every socket call on a connection |
//! | `output.rs` | what waits to leave on one connection |
//! | `phase.rs` | the table of an exchange's phases |
//! | `exchange.rs` | one request and its response, and their names |
//! | `event.rs` | what the reactor tells its owner |
//! | `load.rs` | what is in flight, as the pool sees it |
//! | `context.rs` | what connections share while they are worked on |
//! | `deadlines.rs` | what a connection waits for, until when, and what is done then |
//! | `link.rs` | the part of a connection that is the same in every protocol |
//! | `http1.rs`, `websocket.rs` | the protocols: state machines over a link and its exchanges |
//! | `connection.rs` | a link and its protocol |
//! | `connections.rs` | the table of connections: keys and serials |
//! | `listener.rs`, `accept.rs` | listening sockets, and which of them accept now |
//! | `handoff/` | the passage to other workers, and the guard of a stuck one |
//! | `core.rs` | what is open, and what may be done with one of it |
//! | `turn.rs` | one turn, from what is ready to what has happened |
//! | `application.rs`, `listening.rs` | what the application and the owner may do |
//! | `blocking_send.rs` | a wait for a client, without the reactor |
//! | `reactor.rs` | the whole, as its owner uses it |
//! | `guarded.rs` | the same, as its guard sees it |
//!
//! HTTP itself is in `prefork-wire`. There is no Python here, and no
//! callback: the owner waits on the epoll set and pulls events.
//!
//! A further protocol is a file beside `http1.rs` and an arm of
//! `connection::Protocol`; a further transport is an arm of `Transport`.

mod accept;
mod application;
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
mod errors;
mod event;
mod exchange;
mod guarded;
mod handoff;
mod http1;
mod link;
mod listener;
mod listening;
mod load;
mod output;
mod peer;
mod phase;
mod poll_set;
mod progress;
mod reactor;
mod request_body;
pub mod scoreboard;
mod settings;
mod timers;
mod transport;
mod turn;
mod websocket;

pub use application::{ConnectionHandle, ExchangeHandle};
pub use blocking_send::BlockingSend;
pub use body::{Body, Spool};
pub use content::{Content, FilePart, Payload};
pub use errors::LocalError;
pub use event::{Client, Event};
pub use exchange::{ConnectionId, ExchangeId};
pub use handoff::guard::LastWords;
pub use handoff::queue::Queue;
pub use listening::ListenerHandle;
pub use output::COPY_LIMIT;
pub use peer::Peer;
pub use poll_set::{Report, Waiter};
pub use progress::HIGH_WATER;
pub use reactor::Reactor;
pub use request_body::BodyPart;
pub use settings::{ListenerSettings, WebSocketSettings};
