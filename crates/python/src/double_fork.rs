//! A fork by way of a process between, which ends at once: the child becomes a child of the
//! nearest subreaper above.
//!
//! The process between runs in the memory of this one (`vfork.rs`), and does nothing but
//! fork. So the page tables are copied once and not twice, and it has no memory to give
//! back. It calls libc's `fork`: what libraries have registered (`pthread_atfork`) runs as
//! for one fork, in the memory of this process and in the child. What Python code has
//! registered (`os.register_at_fork`) runs in this process and in the child.
//!
//! Always: nothing depends on the memory being shared. Under valgrind, for example, the
//! process between has a copy, and the same comes of it.

use crate::process::untie;
use crate::vfork::run_in_other;
use pyo3::exceptions::PyOSError;
use pyo3::ffi::{PyOS_AfterFork_Child, PyOS_AfterFork_Parent, PyOS_BeforeFork};
use pyo3::prelude::*;
use rustix::io::{read, retry_on_intr, write};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, Signal, getpid, getppid, set_parent_process_death_signal};
use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::thread::sleep;
use std::time::Duration;

/// How long the child sleeps if the process between has not ended yet.
const REPARENT: Duration = Duration::from_micros(100);

/// What the process between knows.
struct Between<'a> {
    parent: Pid,
    /// There it tells what it has forked.
    tells: BorrowedFd<'a>,
    /// Its own.
    pid: Option<Pid>,
}

/// As `os.fork`, but the child is a child of the nearest subreaper above this process:
/// it is that already when this returns 0 in it.
///
/// Raises OSError.
#[pyfunction]
pub fn fork_twice(_held: Python<'_>) -> PyResult<i32> {
    let (reader, writer) =
        pipe_with(PipeFlags::CLOEXEC).map_err(|errno| refused(errno.raw_os_error()))?;
    let mut between = Between {
        parent: getpid(),
        tells: writer.as_fd(),
        pid: None,
    };
    // SAFETY: this thread has the GIL. One of the two others follows in each process that goes on.
    unsafe { PyOS_BeforeFork() };
    let made = run_in_other(fork_again, &raw mut between);
    if made == 0 {
        // SAFETY: as above.
        unsafe { PyOS_AfterFork_Child() };
        while getppid() == between.pid {
            sleep(REPARENT);
        }
        return Ok(0);
    }
    drop(writer);
    let forked = if made < 0 {
        Some(made)
    } else {
        let told = read_told(reader.as_fd());
        // SAFETY: nothing is written. There is nothing to wait for if the program waits for every child.
        unsafe { libc::waitpid(made, std::ptr::null_mut(), 0) };
        told
    };
    untie(); // the process between has done so if it has this memory
    // SAFETY: as above.
    unsafe { PyOS_AfterFork_Parent() };
    match forked {
        Some(errno @ ..0) => Err(refused(-errno)),
        Some(pid) => Ok(pid),
        None => Err(PyOSError::new_err(
            "the process between two forks has ended before it forked",
        )),
    }
}

/// In the process between: forks, tells the parent the pid or a negative errno, and ends.
/// Returns in the child alone.
///
/// It dies with its parent, which may be killed while functions of libraries run here.
extern "C" fn fork_again(between: *mut Between<'_>) -> libc::c_int {
    // SAFETY: it belongs to the caller, which waits.
    let between = unsafe { &mut *between };
    let is_tied = set_parent_process_death_signal(Some(Signal::KILL)).is_ok();
    if is_tied && getppid() == Some(between.parent) {
        between.pid = Some(getpid());
        // SAFETY: the child has what this thread needs to go on.
        let told = match unsafe { libc::fork() } {
            0 => return 0,
            -1 => -last_errno(),
            pid => pid,
        };
        let _ = write(between.tells, &told.to_ne_bytes());
    }
    // SAFETY: it runs no code of the program, and frees nothing.
    unsafe { libc::_exit(0) }
}

/// What the process between has told; `None` if it has told nothing.
fn read_told(reader: BorrowedFd<'_>) -> Option<i32> {
    let mut told = [0; 4];
    let bytes = retry_on_intr(|| read(reader, &mut told));
    (bytes == Ok(4)).then(|| i32::from_ne_bytes(told))
}

fn last_errno() -> i32 {
    io::Error::last_os_error()
        .raw_os_error()
        .unwrap_or(libc::EAGAIN)
}

fn refused(errno: i32) -> PyErr {
    // SAFETY: it returns a text for any number, which is read before another call.
    let text = unsafe { CStr::from_ptr(libc::strerror(errno)) };
    PyOSError::new_err((errno, text.to_string_lossy().into_owned()))
}
