//! System calls about this process that Python does not have, or at a higher
//! cost: to die with the parent, to exit while Python is stuck, to block
//! signals, and to fork beside a native thread.

use crate::stuck_line;
use prefork_engine::{Reactor, Stuck};
use pyo3::prelude::*;
use pyo3::types::{PyList, PyType};
use rustix::fs::{FileType, Mode, OFlags};
use rustix::process::{Pid, Signal, getppid, set_parent_process_death_signal};
use std::cell::Cell;
use std::mem::MaybeUninit;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicI32, AtomicPtr, AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Once, PoisonError};
use std::thread::sleep;
use std::time::{Duration, Instant};

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

thread_local! {
    /// What the next child of this thread dies with (0: nothing), and the process that forks it.
    static TIED_TO: Cell<(i32, i32)> = const { Cell::new((0, 0)) };
}

/// While a process that forks has not ended, its child looks again after so long.
const REPARENTED: Duration = Duration::from_micros(200);

/// Has the next child that this thread forks die with `process`, from its first
/// moment: before any function of another library or of Python runs in it that
/// is called at forks. Such a function may hang.
///
/// If `process` is not the one that forks, the child waits there until that has
/// ended: it is one of `process` then, a child subreaper. A child whose
/// `process` is gone ends with status 1.
#[pyfunction]
pub fn tie_next_fork(process: i32) {
    TIED_TO.set((process, 0));
}

/// No fork follows what `tie_next_fork` has asked for.
pub(crate) extern "C" fn untie() {
    TIED_TO.set((0, 0));
}

/// Registers what `tie_next_fork` needs. Functions for children run in the order
/// of their registration: what is loaded later comes after this one.
pub(crate) fn prepare_ties() {
    extern "C" fn name_parent() {
        let (process, _) = TIED_TO.get();
        TIED_TO.set((process, rustix::process::getpid().as_raw_pid()));
    }
    extern "C" fn tie() {
        let (process, parent) = TIED_TO.replace((0, 0));
        if process == 0 {
            return;
        }
        while parent != process && Pid::as_raw(getppid()) == parent {
            sleep(REPARENTED);
        }
        // The end of the parent is the end of its children from here on: not before they are another's.
        let _ = set_parent_process_death_signal(Some(Signal::KILL));
        if Pid::as_raw(getppid()) != process {
            // SAFETY: it uses no memory, and runs no code of the program.
            unsafe { libc::_exit(1) };
        }
    }
    // SAFETY: the functions exist as long as the process. They use a value of the thread that needs no
    // construction, and system calls.
    unsafe { libc::pthread_atfork(Some(name_parent), Some(untie), Some(tie)) };
}

/// Whether this process is given the orphans of its descendants: it is PID 1 of
/// its namespace, or a child subreaper (prctl(2), PR_SET_CHILD_SUBREAPER).
#[pyfunction]
pub fn adopts_orphans() -> bool {
    let mut is_subreaper: libc::c_int = 0;
    // SAFETY: the call writes one c_int, and nothing else.
    let done = unsafe { libc::prctl(libc::PR_GET_CHILD_SUBREAPER, &raw mut is_subreaper) };
    std::process::id() == 1 || (done == 0 && is_subreaper != 0)
}

/// Has the orphans of this process's descendants become its children: it is a
/// child subreaper from now on (prctl(2), PR_SET_CHILD_SUBREAPER). Raises OSError.
#[pyfunction]
pub fn adopt_orphans() -> PyResult<()> {
    let here = Some(rustix::process::getpid());
    Ok(rustix::process::set_child_subreaper(here).map_err(std::io::Error::from)?)
}

/// Exit status of a worker that was stuck in a request for too long, as that of
/// timeout(1).
pub const STUCK: i32 = 124;

/// The signal on which `faulthandler` writes the traceback of every thread: the
/// last real-time signal, which few programs use.
pub const TRACEBACKS: i32 = 64;

/// The signal on which `faulthandler` writes the same to the manager, for `prefork stacks`.
pub const STACKS: i32 = 63;

/// The signal on which a worker takes the level of the log from the scoreboard.
pub const LOG_LEVEL: i32 = 62;

/// The signal on which a worker writes the tasks of its loop to the manager, for `prefork stacks`.
pub const TASKS: i32 = 60;

/// The signal on which a worker opens the file of the access log again.
pub const REOPEN_LOG: i32 = 59;

/// The signal at which the main thread of a worker that is stuck raises `RequestTimeout`, if Python handles it.
pub const INTERRUPT: i32 = 61;

/// How long a main thread may take to notice `INTERRUPT`. One that is in native code does not.
const NOTICES: Duration = Duration::from_millis(100);
/// How long it may take then to leave what it is in: `finally` clauses run.
const LEAVES: Duration = Duration::from_secs(1);
const LOOK: Duration = Duration::from_millis(5);

/// How far the end of a stuck process has come.
static END: AtomicU8 = AtomicU8::new(SERVES);
const SERVES: u8 = 0;
const ENDS: u8 = 1;
const INTERRUPTED: u8 = 2;

/// Whether this process ends because it is stuck, and this is the first call.
/// The handler of INTERRUPT raises an exception then. The process ends when that
/// reaches the server, or after a second.
#[pyfunction]
pub fn take_interrupt() -> bool {
    let end = END.compare_exchange(ENDS, INTERRUPTED, Ordering::Relaxed, Ordering::Relaxed);
    end.is_ok()
}

/// Raises `error` in another thread where that runs Python next, if
/// `calls[number]` is `call`. Returns whether it is. Nothing runs in Python in
/// between.
#[pyfunction]
pub fn raise_in_call(
    calls: &Bound<'_, PyList>,
    number: usize,
    call: &Bound<'_, PyAny>,
    thread: libc::c_long,
    error: &Bound<'_, PyType>,
) -> PyResult<bool> {
    let runs = calls.get_item(number)?.is(call);
    if runs {
        // SAFETY: this thread has the GIL, and the call takes a reference of its own. It finds no thread
        // for an id that is none.
        unsafe { pyo3::ffi::PyThreadState_SetAsyncExc(thread, error.as_ptr()) };
    }
    Ok(runs)
}

/// The main thread has left what it was stuck in, and the process ends.
pub(crate) fn exit_if_interrupted() {
    // Another thread of the application may need the engine meanwhile.
    let is_main = rustix::process::getpid().as_raw_pid() == rustix::thread::gettid().as_raw_pid();
    if is_main && END.load(Ordering::Relaxed) == INTERRUPTED {
        // SAFETY: it uses no memory, and runs no code of the program.
        unsafe { libc::_exit(STUCK) };
    }
}

/// Has the main thread raise an exception where it is, if Python handles `INTERRUPT`, and gives it time for that.
fn interrupt_main_thread() {
    let mut action = MaybeUninit::<libc::sigaction>::uninit();
    // SAFETY: the call writes `action` whole, or fails.
    let handler = unsafe {
        match libc::sigaction(INTERRUPT, std::ptr::null(), action.as_mut_ptr()) {
            0 => action.assume_init().sa_sigaction,
            _ => libc::SIG_DFL,
        }
    };
    if matches!(handler, libc::SIG_DFL | libc::SIG_IGN) {
        return;
    }
    END.store(ENDS, Ordering::Relaxed);
    let pid = libc::c_long::from(rustix::process::getpid().as_raw_pid());
    let began = Instant::now();
    loop {
        let is_noticed = END.load(Ordering::Relaxed) == INTERRUPTED;
        if began.elapsed() > if is_noticed { LEAVES } else { NOTICES } {
            return;
        }
        if !is_noticed {
            // Again and again: Python misses one that comes just as code enters a system call.
            // SAFETY: it uses no memory. The main thread has the id of the process.
            unsafe { libc::syscall(libc::SYS_tgkill, pid, pid, libc::c_long::from(INTERRUPT)) };
        }
        sleep(LOOK);
    }
}

/// The descriptor to which the tracebacks of a process that is stuck are written, if they are part of
/// a line in JSON; -1 if they go to standard error as they are.
static CAUGHT: AtomicI32 = AtomicI32::new(-1);

/// Has the line about a process that is stuck written as JSON. `fd` is what
/// `faulthandler` is registered with for `TRACEBACKS`, and is used for nothing
/// else.
#[pyfunction]
pub fn log_stuck_as_json(fd: i32) {
    CAUGHT.store(fd, Ordering::Relaxed);
}

/// Ends this process from a native thread, without the GIL. Writes the request
/// that it is stuck in to standard error, and then the tracebacks if
/// `faulthandler` is registered for `TRACEBACKS`.
pub(crate) fn end_stuck(stuck: &Stuck) -> ! {
    let pid = std::process::id();
    let id = stuck.request_id.as_deref();
    wait_for_no_reader();
    match CAUGHT.load(Ordering::Relaxed) {
        -1 => {
            let named = id.map_or_else(String::new, |id| format!("[{id}] "));
            let text = format!(
                "prefork: {named}process {pid} is stuck in {}:\n",
                stuck.request
            );
            let _ = rustix::io::write(rustix::stdio::stderr(), text.as_bytes());
            write_tracebacks();
        }
        fd => {
            let tracebacks = stuck_line::caught(fd, write_tracebacks);
            let text = format!("process {pid} is stuck in {}", stuck.request);
            let line = stuck_line::line(&text, id, &tracebacks);
            let _ = rustix::io::write(rustix::stdio::stderr(), line.as_bytes());
        }
    }
    interrupt_main_thread();
    // SAFETY: it runs no code of the program, whose other threads are still running.
    unsafe { libc::_exit(STUCK) }
}

/// Has `faulthandler` write the tracebacks of all threads.
fn write_tracebacks() {
    // SAFETY: it uses no memory. It returns when this thread has run the handler, which is C and
    // async-signal-safe; without a handler the signal ends the process.
    unsafe { libc::raise(TRACEBACKS) };
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

/// The engine that the guard uses too, null without one. It is never freed.
static GUARDED: AtomicPtr<Mutex<Reactor>> = AtomicPtr::new(null_mut());
/// Whether it is locked at forks.
static LOCKED_AT_FORKS: Once = Once::new();

thread_local! {
    static HELD: Cell<Option<MutexGuard<'static, Reactor>>> = const { Cell::new(None) };
}

/// Locks the engine during each fork. A child has only the thread that forked:
/// a lock that another thread holds at that moment would stay locked in the
/// child.
pub(crate) fn lock_at_fork(engine: &Arc<Mutex<Reactor>>) {
    extern "C" fn lock() {
        // SAFETY: it is null, or what `lock_at_fork` has leaked.
        let engine = unsafe { GUARDED.load(Ordering::Acquire).as_ref() };
        HELD.set(engine.map(|engine| engine.lock().unwrap_or_else(PoisonError::into_inner)));
    }
    extern "C" fn unlock() {
        HELD.set(None);
    }
    // A worker that a former worker has forked has another engine than that.
    let engine = Arc::into_raw(Arc::clone(engine));
    GUARDED.store(engine.cast_mut(), Ordering::Release);
    LOCKED_AT_FORKS.call_once(|| {
        // SAFETY: the functions exist as long as the process, and take only a lock that no thread
        // holds when it forks.
        unsafe { libc::pthread_atfork(Some(lock), Some(unlock), Some(unlock)) };
    });
}

/// Larger than each buffer of the engine.
#[cfg(target_env = "gnu")]
const BUFFER_BYTES: libc::c_int = 1 << 20;

/// Has malloc keep a buffer that is freed, for the next one. By default glibc gives blocks from
/// 128 KiB on back to the system at once, and takes them again page by page: that costs more
/// than to encrypt what is in them.
pub(crate) fn keep_buffers() {
    #[cfg(target_env = "gnu")]
    // SAFETY: it changes two numbers of malloc, which may be done at any time.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, BUFFER_BYTES);
        libc::mallopt(libc::M_TRIM_THRESHOLD, BUFFER_BYTES);
    }
}
