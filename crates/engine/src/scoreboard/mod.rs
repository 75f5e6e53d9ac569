//! The scoreboard: what every worker does, readable by other processes, without a
//! lock.
//!
//! Owns one sealed memory file. Its first page is the manager's, the next ones are
//! those of the slots. Each page has one writer: the manager writes its own (and a slot's while no worker has it), a
//! worker the pages of its slot.
//!
//! What always holds:
//! * A worker can write no page but its own. The kernel enforces that
//!   (`SharedMemory::narrow`).
//! * What a worker writes is untrusted input: any word may hold anything, and no reader
//!   panics on it. An index, a pid or a length is never taken from it; the manager keeps its
//!   own table of slots and pids.
//! * Readers never wait for a writer, nor a writer for a reader.
//!
//! It does not know when to fork or which worker to retire: that is the pool's
//! policy.
//!
//! `memory` maps the file and has all unsafe code; `page` is the layout, with the requests in flight in
//! `entries` and what is counted for people in `figures`, and `sequence` makes copies of several words consistent; `header` is the manager's page, `state` what a worker does;
//! `view` reads, `board` is the manager's side and `slot` the worker's.

mod addresses;
mod board;
mod entries;
mod figures;
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

pub(crate) use addresses::{AddressKey, AddressTable};
pub use board::{Board, KeptBoard};
pub use entries::{EntryId, Request, RequestPhase};
pub(crate) use figures::SharedFigures;
pub use figures::{COARSE, Figures, Histogram, Time, coarse_bounds_ns};
pub use header::{Header, Value};
pub(crate) use memory::create_file;
pub use page::{Counters, Limit, Record};
pub use slot::Slot;
pub use state::State;
pub use view::View;
