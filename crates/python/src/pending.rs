//! The pending table: one `Pending` for each exchange, and the callbacks of
//! each connection.
//!
//! Owns: the table. Always holds: an empty entry is removed; what is removed is
//! returned, and the caller drops it after it has unlocked the table, because
//! freeing a Python object may run Python. Knows no class of the objects that
//! wait: they are above it, and are [`Observer`]s here.

use crate::word_hash::BuildWordHash;
use prefork_engine::{BodyPart, ConnectionId, ExchangeId, Held};
use prefork_wire::websocket::Message;
use pyo3::PyClass;
use pyo3::prelude::*;
use std::collections::HashMap;

/// A notification for the observer of an exchange.
pub(crate) enum Notice {
    /// The requested part of the request body.
    BodyPart(BodyPart),
    /// A message from the peer of a WebSocket.
    Message(Message, Held),
    /// A WebSocket has ended, with this code (RFC 6455, section 7.4) and reason.
    Ended { code: u16, reason: String },
    /// All queued output is sent.
    Drained,
    /// The client has closed its sending side after its request.
    HalfClosed,
    /// The server takes no new work: a stream should end.
    Draining,
    /// The client has left, or a response is no longer owed.
    Gone,
}

/// A class whose objects observe their exchange.
pub(crate) trait Observe: PyClass {
    fn notice(this: &Bound<'_, Self>, notice: Notice) -> PyResult<()>;
}

/// An object of such a class.
pub(crate) struct Observer {
    object: Py<PyAny>,
    notify: fn(&Bound<'_, PyAny>, Notice) -> PyResult<()>,
}

impl Observer {
    pub(crate) fn new<T: Observe>(object: &Bound<'_, T>) -> Self {
        Observer {
            object: object.clone().into_any().unbind(),
            notify: |object, notice| T::notice(object.cast()?, notice),
        }
    }

    pub(crate) fn notify(&self, py: Python<'_>, notice: Notice) -> PyResult<()> {
        (self.notify)(self.object.bind(py), notice)
    }

    fn clone_ref(&self, py: Python<'_>) -> Self {
        Observer {
            object: self.object.clone_ref(py),
            notify: self.notify,
        }
    }
}

/// A request that is handled further when its body is complete.
pub(crate) struct Collecting {
    pub(crate) response: Py<PyAny>,
    /// The context in which its head was handled (PEP 567).
    pub(crate) context: Option<Py<PyAny>>,
}

/// What is pending for one exchange.
#[derive(Default)]
pub(crate) struct Pending {
    /// A request whose body is being collected.
    pub(crate) collecting: Option<Collecting>,
    /// The ASGI exchange in which an application waits, or which is an open WebSocket.
    pub(crate) observer: Option<Observer>,
    /// Called with True when all output is sent, with False if the connection closes
    /// first.
    pub(crate) drained: Option<Py<PyAny>>,
    /// Called when the client leaves before the response ends.
    pub(crate) gone: Option<Py<PyAny>>,
    /// Called when the response does not begin in time.
    pub(crate) overdue: Option<Py<PyAny>>,
}

impl Pending {
    fn is_empty(&self) -> bool {
        self.collecting.is_none()
            && self.observer.is_none()
            && self.drained.is_none()
            && self.gone.is_none()
            && self.overdue.is_none()
    }

    /// Whether [`Notice::Gone`] is needed.
    pub(crate) fn needs_gone(&self) -> bool {
        self.observer.is_some() || self.gone.is_some()
    }
}

/// What is pending, by exchange and by connection.
#[derive(Default)]
pub(crate) struct PendingTable {
    exchanges: HashMap<ExchangeId, Pending, BuildWordHash>,
    /// Called when a connection closes.
    connections: HashMap<ConnectionId, Vec<Py<PyAny>>>,
}

impl PendingTable {
    /// The entry of an exchange, made if there is none.
    pub(crate) fn entry(&mut self, exchange: ExchangeId) -> &mut Pending {
        self.exchanges.entry(exchange).or_default()
    }

    /// Removes all that is pending for an exchange.
    pub(crate) fn remove(&mut self, exchange: ExchangeId) -> Option<Pending> {
        self.exchanges.remove(&exchange)
    }

    /// Removes some of what is pending for an exchange.
    pub(crate) fn take<T>(
        &mut self,
        exchange: ExchangeId,
        some: impl FnOnce(&mut Pending) -> Option<T>,
    ) -> Option<T> {
        let pending = self.exchanges.get_mut(&exchange)?;
        let taken = some(pending);
        if pending.is_empty() {
            self.exchanges.remove(&exchange);
        }
        taken
    }

    pub(crate) fn observer(&self, py: Python<'_>, exchange: ExchangeId) -> Option<Observer> {
        let observer = self.exchanges.get(&exchange)?.observer.as_ref()?;
        Some(observer.clone_ref(py))
    }

    /// Adds a callback for when the connection closes.
    pub(crate) fn add_closed(&mut self, connection: ConnectionId, callback: Py<PyAny>) {
        self.connections
            .entry(connection)
            .or_default()
            .push(callback);
    }

    /// Removes the callbacks of a closed connection.
    pub(crate) fn remove_closed(&mut self, connection: ConnectionId) -> Vec<Py<PyAny>> {
        self.connections.remove(&connection).unwrap_or_default()
    }
}
