//! The scoreboard: what every worker is doing, readable by anyone, without a lock.
//!
//! Owns one sealed memory file. Its first page is the manager's, page 1 + i is slot i, and each
//! page has one writer: the manager its own (and a slot's while no worker has it), a worker
//! the page of its slot.
//!
//! What always holds:
//! * A worker can write no page but its own. The kernel enforces that
//!   (`SharedMemory::narrow`).
//! * What a worker wrote is hostile input: any word may hold anything, and reading it neither
//!   panics nor trusts. An index, a pid or a length is never taken from it; the manager keeps
//!   its own table of slots and pids.
//! * Readers never wait for a writer, nor a writer for a reader.
//!
//! It must not know when to fork or whom to retire: that is the pool's policy.
//!
//! `memory` maps the file and holds all the unsafety; `page` lays the words out and `sequence`
//! keeps those together that belong together; `header` is what the manager tells; `state` what a worker is doing; `view` reads,
//! `board` is the manager's side and `slot` the worker's.

mod board;
mod header;
mod memory;
mod page;
mod sequence;
mod slot;
mod state;
mod view;
mod word;

#[cfg(test)]
mod tests;

pub use board::Board;
pub use header::{Header, Value};
pub use page::{Counters, Record, Request};
pub use slot::Slot;
pub use state::State;
pub use view::View;
