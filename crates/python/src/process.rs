//! What a process asks of the kernel that Python has no call for.

use prefork_engine::Reactor;
use pyo3::prelude::*;
use rustix::process::{Pid, Signal, getppid, set_parent_process_death_signal};
use std::cell::Cell;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

/// Has this process killed when its parent dies (prctl(2), PR_SET_PDEATHSIG).
/// `parent` is who that should be; False: it is gone already.
///
/// Raises OSError.
#[pyfunction]
pub fn die_with_parent(parent: i32) -> PyResult<bool> {
    set_parent_process_death_signal(Some(Signal::KILL)).map_err(std::io::Error::from)?;
    // It may have died before the call: then somebody else adopted us.
    Ok(Pid::as_raw(getppid()) == parent)
}

/// Exit status of a worker that was stuck in a request for too long, as of
/// timeout(1).
pub const STUCK: i32 = 124;

/// The signal that has `faulthandler` write where every thread stands: the
/// last real-time one, which hardly anybody else uses.
pub const TRACEBACKS: i32 = 64;

/// Ends this process on a thread that is not Python's, whatever holds the GIL:
/// tells what it was stuck in, then where (`faulthandler` has to be registered
/// for it).
pub(crate) fn end_stuck(request: &str) -> ! {
    let text = format!(
        "prefork: process {} is stuck in {request}:\n",
        std::process::id()
    );
    let _ = rustix::io::write(rustix::stdio::stderr(), text.as_bytes());
    // SAFETY: neither touches memory. `raise` returns when this thread has run the handler, which
    // is C and async-signal-safe; without one the signal ends the process, as we do next.
    // `_exit` runs nothing of the program, whose threads are in the middle of something.
    unsafe {
        libc::raise(TRACEBACKS);
        libc::_exit(STUCK);
    }
}

/// The engine that another thread looks after (`guard.rs`).
static GUARDED: OnceLock<Arc<Mutex<Reactor>>> = OnceLock::new();

thread_local! {
    static HELD: Cell<Option<MutexGuard<'static, Reactor>>> = const { Cell::new(None) };
}

/// Keeps other threads out of the engine while this process forks. A child has
/// only the thread that forked it: a lock that another one held would stay so.
pub(crate) fn hold_at_fork(engine: &Arc<Mutex<Reactor>>) {
    extern "C" fn hold() {
        let engine = GUARDED.get();
        HELD.set(engine.map(|engine| engine.lock().unwrap_or_else(PoisonError::into_inner)));
    }
    extern "C" fn let_go() {
        HELD.set(None);
    }
    if GUARDED.set(Arc::clone(engine)).is_ok() {
        // SAFETY: the functions are there as long as the process is, and ask for nothing but a lock
        // that no thread has when it forks.
        unsafe { libc::pthread_atfork(Some(hold), Some(let_go), Some(let_go)) };
    }
}
