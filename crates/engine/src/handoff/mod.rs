//! Hand-off: connections between the workers of a pool.
//!
//! `queue` is the pair of sockets that the workers share, `attachment` what does
//! not fit into its messages, `transfer` decides which connections go there,
//! `main_thread` is what this process's main thread does, and `guard` the thread
//! that watches it.

mod attachment;
pub(crate) mod guard;
pub(crate) mod main_thread;
pub(crate) mod queue;
pub(crate) mod transfer;
