//! The end of a worker that has outlived its manager.
//!
//! The parent-death signal (prctl(2)) does the same, but the system forgets it
//! when the process changes its user. A pidfd of the manager stays. It is in the
//! epoll set, and each wait on that ends the process (`poll_set.rs`): so the main
//! thread does it, or the guard if that is stuck.

use rustix::process::{Pid, PidfdFlags, Signal, getpid, kill_process, pidfd_open};
use std::io;
use std::os::fd::OwnedFd;

/// What is readable when that process has ended.
///
/// # Errors
/// If there is no such process, or no free descriptor.
pub(crate) fn watch(process: i32) -> io::Result<OwnedFd> {
    let process = Pid::from_raw(process).ok_or(io::ErrorKind::InvalidInput)?;
    Ok(pidfd_open(process, PidfdFlags::empty())?)
}

/// Ends this process as the parent-death signal does.
pub(crate) fn end() {
    let _ = kill_process(getpid(), Signal::KILL);
}
