//! System calls about this process that Python does not have, or at a higher
//! cost: to die with the parent, to exit while Python is stuck, to block
//! signals, and to fork beside a native thread.

use prefork_engine::Reactor;
use pyo3::prelude::*;
use rustix::fs::{FileType, Mode, OFlags};
use rustix::process::{Pid, Signal, getppid, set_parent_process_death_signal};
use std::cell::Cell;
use std::mem::MaybeUninit;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

/// Has this process killed when its parent dies (prctl(2), PR_SET_PDEATHSIG).
/// `parent` is the parent's process id. Returns False if the parent is gone
/// already.
///
/// Raises OSError.
#[pyfunction]
pub fn die_with_parent(parent: i32) -> PyResult<bool> {
    set_parent_process_death_signal(Some(Signal::KILL)).map_err(std::io::Error::from)?;
    // The parent may have died before the call: then this process has another.
    Ok(Pid::as_raw(getppid()) == parent)
}

/// Exit status of a worker that was stuck in a request for too long, as that of
/// timeout(1).
pub const STUCK: i32 = 124;

/// The signal on which `faulthandler` writes the traceback of every thread: the
/// last real-time signal, which few programs use.
pub const TRACEBACKS: i32 = 64;

/// Ends this process from a native thread, without the GIL. Writes the request
/// that it is stuck in to standard error, and then the tracebacks if
/// `faulthandler` is registered for `TRACEBACKS`.
pub(crate) fn end_stuck(request: &str) -> ! {
    let text = format!(
        "prefork: process {} is stuck in {request}:\n",
        std::process::id()
    );
    wait_for_no_reader();
    let _ = rustix::io::write(rustix::stdio::stderr(), text.as_bytes());
    // SAFETY: neither uses memory. `raise` returns when this thread has run the handler, which is
    // C and async-signal-safe; without a handler the signal ends the process, as the next line
    // does. `_exit` runs no code of the program, whose other threads are still running.
    unsafe {
        libc::raise(TRACEBACKS);
        libc::_exit(STUCK);
    }
}

/// A full pipe as standard error keeps this process no longer: what it does not take is lost.
/// `O_NONBLOCK` belongs to the open file, which other processes share; so it is opened again.
fn wait_for_no_reader() {
    let is_pipe = rustix::fs::fstat(rustix::stdio::stderr())
        .is_ok_and(|status| FileType::from_raw_mode(status.st_mode) == FileType::Fifo);
    if !is_pipe {
        return;
    }
    let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    if let Ok(own) = rustix::fs::open("/proc/self/fd/2", flags, Mode::empty()) {
        let _ = rustix::stdio::dup2_stderr(&own);
    }
}

/// Signals that this thread has blocked.
struct SignalMask(libc::sigset_t);

impl SignalMask {
    /// Blocks every signal but `but`. Returns what was blocked before.
    fn block_all(but: Option<i32>) -> Self {
        let (mut mask, mut before) = (MaybeUninit::uninit(), MaybeUninit::uninit());
        // SAFETY: the calls touch only these two, and write both whole.
        unsafe {
            libc::sigfillset(mask.as_mut_ptr());
            if let Some(signal) = but {
                libc::sigdelset(mask.as_mut_ptr(), signal);
            }
            libc::pthread_sigmask(libc::SIG_SETMASK, mask.as_ptr(), before.as_mut_ptr());
            SignalMask(before.assume_init())
        }
    }

    /// Blocks these, and no other.
    fn restore(&self) {
        // SAFETY: it only reads the set.
        unsafe {
            libc::pthread_sigmask(libc::SIG_SETMASK, &raw const self.0, std::ptr::null_mut())
        };
    }
}

/// Starts a thread that handles no signal but `TRACEBACKS`: the others are the
/// main thread's. A thread inherits what the one that starts it has blocked.
pub(crate) fn start_without_signals<T>(start: impl FnOnce() -> T) -> T {
    let before = SignalMask::block_all(Some(TRACEBACKS));
    let started = start();
    before.restore();
    started
}

/// A context manager that blocks every signal in this thread: for a fork. A
/// signal that reaches the child while it still has its parent's self-pipe
/// would be handled by the parent.
///
/// `signal.pthread_sigmask` does the same, but looks up an enum member for each
/// of 64 signals, and so writes to pages that the child shares with its parent.
#[pyclass(module = "prefork._engine")]
#[derive(Default)]
pub struct BlockedSignals {
    before: Option<SignalMask>,
}

#[pymethods]
impl BlockedSignals {
    #[new]
    fn new() -> Self {
        Self::default()
    }

    fn __enter__(&mut self) {
        self.before = Some(SignalMask::block_all(None));
    }

    #[pyo3(signature = (*_error))]
    fn __exit__(&mut self, _error: &Bound<'_, PyAny>) {
        if let Some(before) = self.before.take() {
            before.restore();
        }
    }
}

/// The engine that the guard uses too.
static GUARDED: OnceLock<Arc<Mutex<Reactor>>> = OnceLock::new();

thread_local! {
    static HELD: Cell<Option<MutexGuard<'static, Reactor>>> = const { Cell::new(None) };
}

/// Locks the engine during each fork. A child has only the thread that forked:
/// a lock that another thread holds at that moment would stay locked in the
/// child.
pub(crate) fn lock_at_fork(engine: &Arc<Mutex<Reactor>>) {
    extern "C" fn lock() {
        let engine = GUARDED.get();
        HELD.set(engine.map(|engine| engine.lock().unwrap_or_else(PoisonError::into_inner)));
    }
    extern "C" fn unlock() {
        HELD.set(None);
    }
    if GUARDED.set(Arc::clone(engine)).is_ok() {
        // SAFETY: the functions exist as long as the process, and take only a lock that no thread
        // holds when it forks.
        unsafe { libc::pthread_atfork(Some(lock), Some(unlock), Some(unlock)) };
    }
}
