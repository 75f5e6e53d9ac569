//! The scoreboard: what every worker is doing, readable by anyone, without a lock.
//!
//! Owns one sealed memory file. Its first page is the manager's, page 1 + i is slot i, and each
//! page has one writer: the manager its own (and a slot's while nobody lives there), a worker
//! the page of its slot.
//!
//! What always holds:
//! * A worker can write no page but its own. The kernel sees to that, not good manners
//!   (`Memory::narrow`).
//! * What a worker wrote is hostile input: any word may hold anything, and reading it neither
//!   panics nor trusts. An index, a pid or a length is never taken from it; the manager keeps
//!   its own table of slots and pids.
//! * Readers never wait for a writer, nor a writer for a reader.
//!
//! It must not know when to fork or whom to retire: that is the pool's policy.
//!
//! `memory` maps the file and holds all the unsafety; `page` lays the words out and `sequence`
//! keeps those together that belong together; `header` is what the manager tells; `view` reads,
//! `board` is the manager's side and `slot` the worker's.

mod board;
mod header;
mod memory;
mod page;
mod sequence;
mod slot;
mod view;
mod word;

#[cfg(test)]
mod tests;

pub use board::Board;
pub use header::{Header, Value};
pub use page::{Counters, Record, Request};
pub use slot::Slot;
pub use view::View;

/// What a slot's worker is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum State {
    /// Nobody lives in the slot.
    Empty = 0,
    /// Forked, not yet accepting. Counts towards the spares, or a slow start would be answered
    /// by a fork too many.
    Starting = 1,
    /// Could start one more request now.
    Spare = 2,
    /// Is as busy as it may be.
    Active = 3,
    /// Takes no new work and leaves when its requests are done.
    Draining = 4,
}

impl State {
    /// Whether a worker in this state will take the next request.
    fn is_spare(self) -> bool {
        matches!(self, State::Starting | State::Spare)
    }
}

impl std::fmt::Display for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            State::Empty => "empty",
            State::Starting => "starting",
            State::Spare => "spare",
            State::Active => "active",
            State::Draining => "draining",
        })
    }
}
