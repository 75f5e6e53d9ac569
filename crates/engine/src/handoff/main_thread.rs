//! What the main thread of a worker is doing, as far as its guard is concerned.
//!
//! Owns: the counter of its steps, and the hold on the guard. The main thread
//! pays for being guarded with this counter, and with a wake-up when both
//! threads have been asleep.

use std::thread::Thread;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rest {
    /// None: it is inside a turn, or runs what the owner does between turns.
    Busy,
    /// It waits, or is about to. News must wake it.
    Asleep,
    /// Another loop comes when there is something to do. News must wake that.
    Elsewhere,
    /// It has been woken, and has not come yet.
    Woken,
}

/// The reactor's hold on its guard, which ends with it.
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
    pub(crate) rest: Rest,
    /// Counts how far it has got.
    pub(crate) steps: u64,
    pub(crate) guard: Option<GuardHandle>,
}

impl MainThread {
    pub(crate) fn new() -> Self {
        MainThread {
            rest: Rest::Busy,
            steps: 0,
            guard: None,
        }
    }

    /// It has something to do.
    #[inline]
    pub(crate) fn resume(&mut self) {
        self.rest = Rest::Busy;
        self.steps += 1;
        if let Some(guard) = &mut self.guard {
            if std::mem::take(&mut guard.parked) {
                guard.thread.unpark();
            }
        }
    }

    /// Whether it must be woken for news. If so, it counts as woken.
    #[inline]
    pub(crate) fn must_be_woken(&mut self) -> bool {
        let rests = matches!(self.rest, Rest::Asleep | Rest::Elsewhere);
        if rests {
            self.rest = Rest::Woken;
        }
        rests
    }

    /// The guard sleeps until `resume`.
    pub(crate) fn park_guard(&mut self) {
        if let Some(guard) = &mut self.guard {
            guard.parked = true;
        }
    }
}
