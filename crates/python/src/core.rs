//! What the Python objects of one engine share.

use crate::asgi::http::Exchange;
use crate::asgi::websocket::WebSocket;
use crate::events::request::Request;
use crate::events::response::Response;
use crate::service::Service;
use prefork_engine::{ConnectionId, ExchangeId, Peer, Reactor};
use pyo3::prelude::*;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A response that was dropped without an answer.
pub(crate) struct Unanswered {
    pub(crate) id: ExchangeId,
    pub(crate) peer: Peer,
    pub(crate) service: Arc<Service>,
    pub(crate) request: Option<Py<Request>>,
    pub(crate) handler: Option<Py<PyAny>>,
    /// Its head was sent, its body never ended.
    pub(crate) streaming: bool,
}

/// Callbacks that wait for something to happen to a connection.
#[derive(Default)]
pub(crate) struct Waiting {
    /// Requests whose body is on its way.
    pub(crate) bodies: HashMap<ExchangeId, (Py<Request>, Py<Response>)>,
    /// Those that are open.
    pub(crate) websockets: HashMap<ExchangeId, Py<WebSocket>>,
    /// Those in which an application waits.
    pub(crate) exchanges: HashMap<ExchangeId, Py<Exchange>>,
    pub(crate) drained: HashMap<ExchangeId, Py<PyAny>>,
    pub(crate) closed: HashMap<ConnectionId, Vec<Py<PyAny>>>,
    /// Of the request that is being answered; one a connection.
    pub(crate) gone: HashMap<ExchangeId, Py<PyAny>>,
    /// The same, for when that takes too long.
    pub(crate) overdue: HashMap<ExchangeId, Py<PyAny>>,
}

pub(crate) struct Core {
    /// Shared with the guard, which outlives nothing and holds it weakly.
    pub(crate) engine: Arc<Mutex<Reactor>>,
    waiting: Mutex<Waiting>,
    /// Whether any callback may be among them.
    watched: AtomicBool,
    unanswered: Mutex<Vec<Unanswered>>,
    any_unanswered: AtomicBool,
}

impl Core {
    pub(crate) fn new() -> PyResult<Arc<Self>> {
        Ok(Arc::new(Core {
            engine: Arc::new(Mutex::new(Reactor::new()?)),
            waiting: Mutex::default(),
            watched: AtomicBool::new(false),
            unanswered: Mutex::default(),
            any_unanswered: AtomicBool::new(false),
        }))
    }

    /// The engine, for one call. A panic inside left it as it was before the
    /// step that panicked, near enough to serve the other connections.
    pub(crate) fn engine(&self) -> MutexGuard<'_, Reactor> {
        self.engine.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has a callback wait for what `list` is of. A former one is returned to
    /// be dropped.
    pub(crate) fn watch(
        &self,
        list: impl FnOnce(&mut Waiting) -> &mut HashMap<ExchangeId, Py<PyAny>>,
        exchange: ExchangeId,
        callback: Py<PyAny>,
    ) -> Option<Py<PyAny>> {
        let mut waiting = self.waiting();
        self.watched.store(true, Ordering::Relaxed);
        list(&mut waiting).insert(exchange, callback)
    }

    /// Nobody waits any more for what could happen to an answer before its
    /// end. They are returned to be dropped outside of the lock: that may run
    /// Python.
    pub(crate) fn forget_callbacks(&self, exchange: ExchangeId) -> [Option<Py<PyAny>>; 3] {
        // After each answer: reading costs less than a lock.
        if !self.watched.load(Ordering::Relaxed) {
            return [None, None, None];
        }
        let mut waiting = self.waiting();
        let gone = waiting.gone.remove(&exchange);
        let drained = waiting.drained.remove(&exchange);
        let overdue = waiting.overdue.remove(&exchange);
        if waiting.gone.is_empty() && waiting.drained.is_empty() && waiting.overdue.is_empty() {
            self.watched.store(false, Ordering::Relaxed);
        }
        drop(waiting);
        [gone, drained, overdue]
    }

    /// The engine or nobody answers the request that is open on it: who waits
    /// for its body, or to hear that it is late, is returned to be dropped.
    pub(crate) fn forget_request(&self, exchange: ExchangeId) -> impl Sized + use<> {
        let mut waiting = self.waiting();
        (
            waiting.bodies.remove(&exchange),
            waiting.overdue.remove(&exchange),
        )
    }

    /// Nobody waits in it any more.
    pub(crate) fn forget_exchange(&self, exchange: ExchangeId) {
        let former = self.waiting().exchanges.remove(&exchange);
        drop(former); // not under the lock: freeing it may run Python
        // A connection whose end is waited for cannot go to another worker.
        self.engine().tell_gone(exchange, false);
    }

    /// Called from a destructor, so at any moment, even inside an allocation:
    /// it only notes what is to be done.
    pub(crate) fn discard(&self, dropped: Unanswered) {
        self.unanswered
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(dropped);
        self.any_unanswered.store(true, Ordering::Relaxed);
        // The loop may wait if this is another thread. If the engine is in
        // use it does not.
        if let Ok(mut engine) = self.engine.try_lock() {
            engine.wake();
        }
    }

    pub(crate) fn unanswered(&self) -> Vec<Unanswered> {
        // After each event: reading costs less than writing.
        if !self.any_unanswered.load(Ordering::Relaxed) {
            return Vec::new();
        }
        self.any_unanswered.store(false, Ordering::Relaxed);
        std::mem::take(
            &mut self
                .unanswered
                .lock()
                .unwrap_or_else(PoisonError::into_inner),
        )
    }
}
