//! The I/O core of one `understudy` process.
//!
//! Layout, from the socket up:
//!
//! | file | owns |
//! |---|---|
//! | `timers.rs` | when each connection must be looked at next |
//! | `clock.rs` | the time of one turn, and the Date that goes with it |
//! | `buffers.rs` | a few emptied buffers that busy connections borrow |
//! | `output.rs` | what waits to leave on one connection |
//! | `body.rs` | a request's body, in memory or in a file |
//! | `connection.rs` | one client: where it stands and what it has in hand |
//! | `listener.rs` | a listening socket and what its clients are held to |
//! | `poll_set.rs` | the epoll set and the alarm that ends a wait |
//! | `engine.rs` | the reactor: one turn from readiness to events |
//! | `door.rs` | the engine's part that lets clients in |
//! | `reading.rs` | the engine's part from bytes to events |
//! | `answering.rs` | the engine's part that the application calls |
//! | `ending.rs` | the engine's part that sends, times out and closes |
//! | `scoreboard/` | the shared memory in which a pool sees its workers |
//!
//! HTTP itself is in `understudy-wire`. There is no Python here, and no
//! callback: the owner waits on the epoll set and pulls events.

mod answering;
mod body;
mod buffers;
mod clock;
mod connection;
mod door;
mod ending;
mod engine;
mod listener;
mod output;
mod poll_set;
mod reading;
pub mod scoreboard;
mod timers;

pub use answering::Refusal;
pub use body::{Body, Spool};
pub use connection::ConnId;
pub use engine::{Engine, Event};
pub use listener::{Peer, Settings};
pub use output::{COPY_LIMIT, Content, Payload};
pub use poll_set::{Report, Waiter};
