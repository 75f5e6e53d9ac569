//! What the Python objects of one engine share: the engine, the table of
//! pending callbacks, the responses that were dropped unanswered, and how
//! exchanges ended whose response was not completed.
//!
//! Always holds: none of these is locked while Python runs. Knows no
//! requests, responses or applications: they are above it.

use crate::pending::{Pending, PendingTable};
use crate::process::exit_if_interrupted;
use prefork_engine::{Client, ConnectionId, ExchangeId, Reactor, RequestId};
use pyo3::prelude::*;
use pyo3::types::PyString;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};

/// A response that was dropped, and not sent whole or not reported.
pub(crate) struct Unanswered {
    pub(crate) client: Client,
    pub(crate) request: Option<Py<PyAny>>,
    pub(crate) request_line: Option<Py<PyString>>,
    pub(crate) given_id: RequestId,
    pub(crate) handler: Option<Py<PyAny>>,
    pub(crate) context: Option<Py<PyAny>>,
    pub(crate) code: u16,
    /// Bytes of the request's body that were pulled.
    pub(crate) received: u64,
    /// Bytes of its body that were sent; `None` if not even its head was.
    pub(crate) sent_bytes: Option<u64>,
    /// The engine has sent another one instead.
    pub(crate) sent: bool,
    /// Its handler has not ended it.
    pub(crate) owed: bool,
    /// The service has not heard of its end.
    pub(crate) reports: bool,
}

/// How an exchange ended whose response the application did not complete. Kept
/// until that response is reported.
#[derive(Clone, Copy)]
pub(crate) enum Ending {
    /// The engine has responded.
    Responded { status: u16, bytes: u64 },
    /// The client left, with so many bytes unsent.
    Left { unsent: usize },
}

pub(crate) struct Core {
    /// The guard has a weak reference to it.
    pub(crate) engine: Arc<Mutex<Reactor>>,
    pending: Mutex<PendingTable>,
    unanswered: Mutex<Vec<Unanswered>>,
    any_unanswered: AtomicBool,
    endings: Mutex<HashMap<ExchangeId, Ending>>,
}

/// Locks, also after a panic: the value is consistent enough to serve the other
/// connections.
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
            endings: Mutex::default(),
        }))
    }

    /// The engine, for one call.
    pub(crate) fn engine(&self) -> MutexGuard<'_, Reactor> {
        match self.engine.try_lock() {
            Ok(engine) => engine,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => self.wait_for_engine(),
        }
    }

    /// The guard has it. It keeps it at the end of a process that is stuck.
    #[cold]
    fn wait_for_engine(&self) -> MutexGuard<'_, Reactor> {
        exit_if_interrupted();
        locked(&self.engine)
    }

    /// The table of what is pending, for one call.
    pub(crate) fn pending(&self) -> MutexGuard<'_, PendingTable> {
        locked(&self.pending)
    }

    /// Has a callback called when a connection closes. False: it is closed.
    pub(crate) fn when_closed(&self, connection: ConnectionId, callback: Py<PyAny>) -> bool {
        if !self.engine().connection(connection).want_closed() {
            return false;
        }
        self.pending().add_closed(connection, callback);
        true
    }

    /// Removes all that is pending for an exchange. The caller drops it once it
    /// borrows nothing, because that may run Python.
    pub(crate) fn forget(&self, exchange: ExchangeId) -> Option<Pending> {
        let pending = self.pending().remove(exchange)?;
        if pending.needs_gone() {
            // A connection whose end is to be reported cannot be handed off.
            self.engine().exchange(exchange).want_gone(false);
        }
        Some(pending)
    }

    /// Removes what is pending for the body and for a 504 of a request. The caller
    /// drops it once it borrows nothing.
    pub(crate) fn forget_request(&self, exchange: ExchangeId) -> Option<impl Sized + use<>> {
        self.pending().take(exchange, |pending| {
            Some((pending.collecting.take(), pending.overdue.take()))
        })
    }

    /// Notes how an exchange ended, for the report of its response. Its
    /// connection is closed next, so there is one ending for each.
    pub(crate) fn note_ending(&self, exchange: ExchangeId, ending: Ending) {
        locked(&self.endings).entry(exchange).or_insert(ending);
    }

    /// Takes what was noted for an exchange.
    pub(crate) fn take_ending(&self, exchange: ExchangeId) -> Option<Ending> {
        locked(&self.endings).remove(&exchange)
    }

    /// Notes a response that was dropped. A destructor may run at any moment,
    /// even inside an allocation, so the response is sent in the engine's turn.
    pub(crate) fn add_unanswered(&self, unanswered: Unanswered) {
        locked(&self.unanswered).push(unanswered);
        self.any_unanswered.store(true, Ordering::Relaxed);
        // On another thread, the loop may be waiting. If the engine is locked,
        // it is not.
        if let Ok(mut engine) = self.engine.try_lock() {
            engine.wake();
        }
    }

    /// Takes the responses that were dropped.
    pub(crate) fn take_unanswered(&self) -> Vec<Unanswered> {
        // Called after each event: a load costs less than a swap.
        if !self.any_unanswered.load(Ordering::Relaxed) {
            return Vec::new();
        }
        self.any_unanswered.store(false, Ordering::Relaxed);
        std::mem::take(&mut locked(&self.unanswered))
    }
}
