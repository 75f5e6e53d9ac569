//! What the main thread of a worker does, for its guard.
//!
//! Owns: the counter of its steps, and the handle of the guard. The guard costs
//! the main thread this counter, and one wakeup when both threads were asleep.

use std::thread::Thread;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Activity {
    /// It is inside a turn, or in its owner's code between turns.
    Busy,
    /// It waits, or is about to. New work must wake it.
    Waiting,
    /// Another loop waits for the epoll set. New work must wake that loop.
    WaitingElsewhere,
    /// It was woken, and has not resumed yet.
    Woken,
}

/// The handle of the guard's thread. Dropping it ends the guard.
pub(crate) struct GuardHandle {
    thread: Thread,
    parked: bool,
}

impl GuardHandle {
    pub(crate) fn new(thread: Thread) -> Self {
        GuardHandle {
            thread,
            parked: false,
        }
    }
}

impl Drop for GuardHandle {
    fn drop(&mut self) {
        self.thread.unpark();
    }
}

pub(crate) struct MainThread {
    pub(crate) activity: Activity,
    /// Counts its progress.
    pub(crate) steps: u64,
    pub(crate) guard: Option<GuardHandle>,
}

impl MainThread {
    pub(crate) fn new() -> Self {
        MainThread {
            activity: Activity::Busy,
            steps: 0,
            guard: None,
        }
    }

    /// It resumes after a wait.
    #[inline]
    pub(crate) fn resume(&mut self) {
        self.activity = Activity::Busy;
        self.steps += 1;
        if let Some(guard) = &mut self.guard {
            if std::mem::take(&mut guard.parked) {
                guard.thread.unpark();
            }
        }
    }

    /// Whether it must be woken for new work. If so, it is recorded as woken.
    #[inline]
    pub(crate) fn must_be_woken(&mut self) -> bool {
        let waits = matches!(
            self.activity,
            Activity::Waiting | Activity::WaitingElsewhere
        );
        if waits {
            self.activity = Activity::Woken;
        }
        waits
    }

    /// The guard sleeps until `resume`.
    pub(crate) fn park_guard(&mut self) {
        if let Some(guard) = &mut self.guard {
            guard.parked = true;
        }
    }
}
