//! The I/O core of one `prefork` process.
//!
//! Layout, from the socket up:
//!
//! | file | owns |
//! |---|---|
//! | `timers.rs` | when each connection must be looked at next |
//! | `clock.rs` | the time of one turn, and the Date that goes with it |
//! | `buffers.rs` | a few emptied buffers that busy connections borrow |
//! | `content.rs` | a piece of a body on its way in |
//! | `output.rs` | what waits to leave on one connection |
//! | `body.rs` | a request's body, in memory or in a file |
//! | `inbound.rs` | a body that is being read, whole or in pieces |
//! | `connection.rs` | one client: where it stands and what it has in hand |
//! | `listener.rs` | a listening socket and what its clients are held to |
//! | `poll_set.rs` | the epoll set and the alarm that ends a wait |
//! | `event.rs` | what the engine tells its owner |
//! | `reactor.rs` | the reactor: one turn from readiness to events |
//! | `door.rs` | the engine's part that lets clients in |
//! | `reading.rs` | the engine's part from bytes to events |
//! | `answering.rs` | the engine's part that the application calls |
//! | `blocking_send.rs` | the engine's part for an application that waits for its client |
//! | `ending.rs` | the engine's part that sends, times out and closes |
//! | `queue.rs` | the central queue: connections between two workers |
//! | `handoff.rs` | the engine's part that passes them on and takes them in |
//! | `guard.rs` | the thread that does so while the main one is stuck |
//! | `websocket.rs` | the engine's part that speaks WebSocket |
//! | `scoreboard/` | the shared memory in which a pool sees its workers |
//!
//! HTTP itself is in `prefork-wire`. There is no Python here, and no
//! callback: the owner waits on the epoll set and pulls events.

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
mod websocket;

pub use blocking_send::BlockingSend;
pub use body::{Body, Spool};
pub use content::{Content, FilePart, Payload};
pub use errors::LocalError;
pub use event::{Client, Event};
pub use exchange::{ConnectionId, ExchangeId};
pub use handoff::guard::LastWords;
pub use handoff::queue::Queue;
pub use output::COPY_LIMIT;
pub use peer::Peer;
pub use poll_set::{Report, Waiter};
pub use progress::HIGH_WATER;
pub use reactor::Reactor;
pub use request_body::BodyPart;
pub use settings::{ListenerSettings, WebSocketSettings};
