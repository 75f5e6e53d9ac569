//! Hand-off: connections between the workers of a pool.
//!
//! `queue` is the passage that all of them share, `passing` decides what goes
//! there and how much comes out, `main_thread` is what this process's main
//! thread is doing, and `guard` the thread that looks after it.

pub(crate) mod guard;
pub(crate) mod main_thread;
pub(crate) mod passing;
pub(crate) mod queue;
