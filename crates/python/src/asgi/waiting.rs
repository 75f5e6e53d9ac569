//! How an application waits in an exchange, HTTP or WebSocket: the futures of
//! its `receive` and `send`, and its entry in the pending table.
//!
//! Always holds: an exchange is in that table from its first future until it is
//! released, so an application that never waits costs no lock.

use crate::asgi::futures::Futures;
use crate::core::Core;
use crate::errors::ConnectionGone;
use crate::events::response::Response;
use crate::pending::{Observe, Observer};
use prefork_engine::{ExchangeId, HIGH_WATER};
use pyo3::PyClass;
use pyo3::exceptions::PyRuntimeError;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::pyclass::boolean_struct::False;
use std::sync::Arc;

pub(crate) struct Waiting {
    pub(crate) core: Arc<Core>,
    pub(crate) exchange: ExchangeId,
    pub(crate) response: Py<Response>,
    /// Makes a future of the application's loop.
    create_future: Py<PyAny>,
    is_registered: bool,
    /// The last message of the application that was not expected.
    refused: Option<String>,
    /// Those of `receive`.
    receiving: Futures,
    /// Those of `send`, which wait for the client to read.
    sending: Futures,
}

/// An exchange in which an application waits.
pub(crate) trait Wait: Observe + PyClass<Frozen = False> {
    fn waiting(&mut self) -> &mut Waiting;
}

/// Which of the futures.
#[derive(Clone, Copy)]
pub(crate) enum Side {
    Receiving,
    Sending,
}

impl Waiting {
    pub(crate) fn new(response: &Bound<'_, Response>, create_future: Py<PyAny>) -> Self {
        let fields = response.borrow();
        Waiting {
            core: Arc::clone(fields.core()),
            exchange: fields.client.exchange,
            response: response.clone().unbind(),
            create_future,
            is_registered: false,
            refused: None,
            receiving: Futures::default(),
            sending: Futures::default(),
        }
    }

    /// The application sent a message that is not expected.
    pub(crate) fn refuse(&mut self, kind: &str, expected: &str, hint: &str) -> PyErr {
        let text = format!("the application sent {kind}, the server expects {expected}{hint}");
        let error = PyRuntimeError::new_err(text.clone());
        self.refused = Some(text);
        error
    }

    pub(crate) fn refused(&self) -> Option<&str> {
        self.refused.as_deref()
    }

    /// Whether `receive` was awaited, and has given nothing yet.
    pub(crate) fn has_reader(&self) -> bool {
        !self.receiving.is_empty()
    }

    fn side(&mut self, side: Side) -> &mut Futures {
        match side {
            Side::Receiving => &mut self.receiving,
            Side::Sending => &mut self.sending,
        }
    }

    /// Whether too much output is unsent. If so, `Notice::Drained` follows.
    pub(crate) fn has_much_to_send(&self) -> bool {
        let mut engine = self.core.engine();
        engine.exchange(self.exchange).unsent() > HIGH_WATER
            && engine.exchange(self.exchange).want_drained()
    }

    pub(crate) fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.response)?;
        for future in self.receiving.iter().chain(self.sending.iter()) {
            visit.call(future)?;
        }
        Ok(())
    }

    pub(crate) fn clear(&mut self) {
        self.receiving = Futures::default();
        self.sending = Futures::default();
    }
}

/// Makes the exchange an observer. False: the client has left.
pub(crate) fn register<T: Wait>(this: &Bound<'_, T>) -> bool {
    let (core, exchange, response) = {
        let mut fields = this.borrow_mut();
        let waiting = fields.waiting();
        if waiting.is_registered {
            return true;
        }
        let (core, exchange) = (Arc::clone(&waiting.core), waiting.exchange);
        waiting.is_registered = core.engine().exchange(exchange).want_gone(true);
        if !waiting.is_registered {
            return false;
        }
        (core, exchange, waiting.response.clone_ref(this.py()))
    };
    response.borrow_mut(this.py()).has_pending = true;
    let observer = Observer::new(this);
    let former = core.pending().entry(exchange).observer.replace(observer);
    drop(former); // after the lock is released: freeing it may run Python
    true
}

/// Makes a future that waits on one side, and registers the exchange.
pub(crate) fn future<'py, T: Wait>(
    this: &Bound<'py, T>,
    side: Side,
) -> PyResult<Bound<'py, PyAny>> {
    register(this);
    let create_future = this
        .borrow_mut()
        .waiting()
        .create_future
        .clone_ref(this.py());
    let future = create_future.bind(this.py()).call0()?;
    let futures = take(this, side);
    *this.borrow_mut().waiting().side(side) = futures.and(&future);
    Ok(future)
}

/// Removes the futures of `receive` that were cancelled. Returns whether none is
/// left.
pub(crate) fn forget_readers<T: Wait>(this: &Bound<'_, T>) -> bool {
    let futures = take(this, Side::Receiving).waiting(this.py());
    let is_empty = futures.is_empty();
    *this.borrow_mut().waiting().side(Side::Receiving) = futures;
    is_empty
}

/// Wakes the futures of one side.
pub(crate) fn wake<T: Wait>(this: &Bound<'_, T>, side: Side) -> PyResult<()> {
    take(this, side).wake(this.py())
}

/// Fails the futures of `send`, because the client has left.
pub(crate) fn fail_sending<T: Wait>(this: &Bound<'_, T>) -> PyResult<()> {
    take(this, Side::Sending).fail(this.py(), client_left)
}

/// Wakes all futures.
pub(crate) fn wake_all<T: Wait>(this: &Bound<'_, T>) -> PyResult<()> {
    wake(this, Side::Sending)?;
    wake(this, Side::Receiving)
}

/// Removes the exchange from the pending table, and wakes all futures.
pub(crate) fn release<T: Wait>(this: &Bound<'_, T>) -> PyResult<()> {
    let response = this.borrow_mut().waiting().response.clone_ref(this.py());
    let pending = response.borrow_mut(this.py()).forget();
    drop(pending); // nothing is borrowed here: freeing it may run Python
    wake_all(this)
}

fn take<T: Wait>(this: &Bound<'_, T>, side: Side) -> Futures {
    std::mem::take(this.borrow_mut().waiting().side(side))
}

pub(crate) fn client_left() -> PyErr {
    ConnectionGone::new_err("the client left before its response was complete")
}
