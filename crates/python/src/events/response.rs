//! A response: filled by a handler, then sent once.
//!
//! Owns: what the handler has set, and the state of the response. Always holds:
//! it is sent once, or its connection is closed; if it is dropped before that,
//! the engine's turn sends a 500. While Python runs, it is not borrowed.

mod body;
mod ending;
mod logging;
mod methods;

use crate::core::Core;
use crate::events::connection::Connection;
use crate::events::fields::Fields;
use crate::events::request::Request;
use crate::service::Service;
use prefork_engine::{Client, RequestId};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyString};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long the parts of a body that is not sent are dropped: frameworks write a
/// whole body in parts, and not all of them end their request well after an
/// error. What takes longer is a stream.
const WHOLE_BODY: Duration = Duration::from_millis(50);

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    Waiting,
    /// The head is sent, the body is not complete.
    Streaming,
    /// Complete with its head, because it has no body. The application may
    /// still write one.
    HeadOnly {
        since: Instant,
    },
    /// Complete, closed, or sent by the engine.
    Answered,
}

/// The response to one request. A handler fills it, and sends it with `done()`,
/// in parts with `write()`, or closes the connection with `close()`. If it is
/// dropped before that, the client gets a 500 and the log names the handler.
/// What comes after the client has left does nothing.
#[pyclass(module = "prefork._engine", subclass)]
pub struct Response {
    pub(crate) service: Arc<Service>,
    pub(crate) client: Client,
    pub(crate) state: State,
    /// It may have an entry in the pending table.
    pub(crate) has_pending: bool,
    /// The status code, 200 unless it is set (RFC 9110, section 15).
    #[pyo3(get)]
    pub(crate) code: u16,
    /// The reason phrase, if it is not the registered one of the code.
    pub(crate) reason: Option<Box<[u8]>>,
    /// The body: str (sent as UTF-8), bytes, a FilePart, or None for an empty
    /// one.
    #[pyo3(get, set)]
    pub(crate) content: Option<Py<PyAny>>,
    pub(crate) headers: Fields,
    /// The request; None if what the client sent was not one.
    #[pyo3(get)]
    pub(crate) request: Option<Py<Request>>,
    /// The request line as it came, if what follows it was malformed; None for a
    /// request, and if the line could not be read.
    #[pyo3(get)]
    pub(crate) request_line: Option<Py<PyString>>,
    /// The id of what was malformed.
    pub(crate) given_id: RequestId,
    /// What was given the request. The log names it if the response goes wrong.
    #[pyo3(get, set)]
    pub(crate) handler: Option<Py<PyAny>>,
    /// The context of the call that has the response sent later, by an event
    /// (PEP 567); its log belongs there.
    #[pyo3(get, set)]
    pub(crate) context: Option<Py<PyAny>>,
    /// (session, event, dont_flush) as `stream()` was given them; None before.
    #[pyo3(get)]
    streams: Option<Py<PyAny>>,
    /// Whether it was sent whole: False before `done()`, if the client had left by
    /// then, and if the body was shorter than its Content-Length.
    #[pyo3(get)]
    pub(crate) sent: bool,
    /// Bytes of the body that were sent; `None` before its head is.
    pub(crate) sent_bytes: Option<u64>,
    /// When it was sent, of the monotonic clock; `None`: it ends otherwise.
    ended_ns: Option<u64>,
    /// Bytes of the request's body that the application has pulled.
    pub(crate) received: u64,
    /// The environ of its call, if the access log shows variables of it.
    pub(crate) environ: Option<Py<PyDict>>,
    /// Its end was told and logged, or must not be.
    pub(crate) reported: bool,
    connection: PyOnceLock<Py<Connection>>,
}

impl Response {
    pub(crate) fn new(
        service: &Arc<Service>,
        client: Client,
        request: Option<Py<Request>>,
    ) -> Self {
        Response {
            service: Arc::clone(service),
            client,
            state: State::Waiting,
            has_pending: false,
            code: 200,
            reason: None,
            content: None,
            headers: Fields::default(),
            request,
            request_line: None,
            given_id: None,
            handler: None,
            context: None,
            streams: None,
            sent: false,
            sent_bytes: None,
            ended_ns: None,
            received: 0,
            environ: None,
            reported: false,
            connection: PyOnceLock::new(),
        }
    }

    pub(crate) fn core(&self) -> &Arc<Core> {
        &self.service.core
    }

    /// The id of the request, if requests have ids.
    pub(crate) fn id_text(&self, py: Python<'_>) -> Option<String> {
        match &self.request {
            Some(request) => request.borrow(py).id_text(),
            None => self.given_id.as_deref().map(str::to_owned),
        }
    }

    pub(crate) fn request_ref(&self, py: Python<'_>) -> Option<Py<Request>> {
        self.request.as_ref().map(|request| request.clone_ref(py))
    }
}
