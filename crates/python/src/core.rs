//! What the Python objects of one engine share: the engine, what waits for it,
//! and the responses that were dropped unanswered.
//!
//! Always holds: none of the three is locked while Python runs. It must not
//! know requests, responses or applications: they are above it.

use crate::pending::{Pending, PendingTable};
use prefork_engine::{Client, ExchangeId, Reactor};
use pyo3::prelude::*;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A response that was dropped without being sent.
pub(crate) struct Unanswered {
    pub(crate) client: Client,
    pub(crate) request: Option<Py<PyAny>>,
    pub(crate) handler: Option<Py<PyAny>>,
    /// Its head was sent, its body never ended.
    pub(crate) streaming: bool,
}

pub(crate) struct Core {
    /// The guard has it too, weakly.
    pub(crate) engine: Arc<Mutex<Reactor>>,
    pending: Mutex<PendingTable>,
    unanswered: Mutex<Vec<Unanswered>>,
    any_unanswered: AtomicBool,
}

/// Locks, also after a panic: what the mutex holds was left as it was before
/// the step that panicked, near enough to serve the other connections.
pub(crate) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Core {
    pub(crate) fn new() -> PyResult<Arc<Self>> {
        Ok(Arc::new(Core {
            engine: Arc::new(Mutex::new(Reactor::new()?)),
            pending: Mutex::default(),
            unanswered: Mutex::default(),
            any_unanswered: AtomicBool::new(false),
        }))
    }

    /// The engine, for one call.
    pub(crate) fn engine(&self) -> MutexGuard<'_, Reactor> {
        locked(&self.engine)
    }

    /// What waits, for one call.
    pub(crate) fn pending(&self) -> MutexGuard<'_, PendingTable> {
        locked(&self.pending)
    }

    /// Nothing waits for an exchange any more. What waited is returned to be
    /// dropped after the caller has let go of what it borrows.
    pub(crate) fn forget(&self, exchange: ExchangeId) -> Option<Pending> {
        let pending = self.pending().remove(exchange)?;
        if pending.needs_gone() {
            // A connection whose end is waited for cannot go to another worker.
            self.engine().exchange(exchange).want_gone(false);
        }
        Some(pending)
    }

    /// No body and no 504 is expected for the request any more, while its
    /// connection may still close. What waited for them is returned to be dropped.
    pub(crate) fn forget_request(&self, exchange: ExchangeId) -> Option<impl Sized + use<>> {
        self.pending().take(exchange, |pending| {
            Some((pending.collecting.take(), pending.overdue.take()))
        })
    }

    /// Notes a response that was dropped. Called from a destructor, so at any
    /// moment, even inside an allocation: what is to be done waits for the turn.
    pub(crate) fn add_unanswered(&self, unanswered: Unanswered) {
        locked(&self.unanswered).push(unanswered);
        self.any_unanswered.store(true, Ordering::Relaxed);
        // If this is another thread, the loop may be waiting. It is not while
        // the engine is in use.
        if let Ok(mut engine) = self.engine.try_lock() {
            engine.wake();
        }
    }

    /// Takes the responses that were dropped.
    pub(crate) fn take_unanswered(&self) -> Vec<Unanswered> {
        // After each event: reading costs less than writing.
        if !self.any_unanswered.load(Ordering::Relaxed) {
            return Vec::new();
        }
        self.any_unanswered.store(false, Ordering::Relaxed);
        std::mem::take(&mut locked(&self.unanswered))
    }
}
