//! A response: filled by a handler, then answered once.

use crate::core::{Core, Unanswered};
use crate::errors::ConnectionGone;
use crate::events::connection::Connection;
use crate::events::headers::Headers;
use crate::events::request::Request;
use crate::service::Service;
use prefork_engine::{ExchangeId, HIGH_WATER, Peer};
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::PyString;
use std::sync::Arc;

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    Waiting,
    /// The head is on its way, the body is being made.
    Streaming,
    /// Done, closed, or taken out of the handler's hands.
    Answered,
}

/// The header fields of an answer: a Python object only once one was asked for.
pub(crate) enum Fields {
    Ours(Headers),
    Shown(Py<Headers>),
}

impl Fields {
    pub(crate) fn read<R>(&self, py: Python<'_>, reader: impl FnOnce(&Headers) -> R) -> R {
        match self {
            Fields::Ours(headers) => reader(headers),
            Fields::Shown(headers) => reader(&headers.borrow(py)),
        }
    }

    fn replace(&mut self, py: Python<'_>, name: &str, value: &str) {
        match self {
            Fields::Ours(headers) => headers.replace(name, value),
            Fields::Shown(headers) => headers.borrow_mut(py).replace(name, value),
        }
    }

    fn show<'py>(&mut self, py: Python<'py>) -> PyResult<Bound<'py, Headers>> {
        match self {
            Fields::Shown(headers) => Ok(headers.bind(py).clone()),
            Fields::Ours(headers) => {
                let headers = Bound::new(py, std::mem::take(headers))?;
                *self = Fields::Shown(headers.clone().unbind());
                Ok(headers)
            }
        }
    }
}

/// The answer to one request: filled, then sent by `done()`, piece by piece by
/// `write()`, or not at all by `close()`. One that is dropped before that is
/// answered with 500, and its handler is named in the log.
#[pyclass(module = "prefork._engine", subclass)]
pub struct Response {
    pub(crate) service: Arc<Service>,
    pub(crate) exchange: ExchangeId,
    pub(crate) peer: Peer,
    pub(crate) state: State,
    /// The status.
    #[pyo3(get, set)]
    pub(crate) code: u16,
    /// The body: str (sent as UTF-8), bytes, a FilePart, or None for an empty one.
    #[pyo3(get, set)]
    pub(crate) content: Option<Py<PyAny>>,
    pub(crate) headers: Fields,
    /// The request that is answered; None if it was malformed.
    #[pyo3(get)]
    pub(crate) request: Option<Py<Request>>,
    /// Who was given the request: named in the log if it goes wrong.
    #[pyo3(get, set)]
    pub(crate) handler: Option<Py<PyAny>>,
    /// (session, event, dont_flush) of a stream, set by `stream()`.
    #[pyo3(get)]
    pub(crate) streams: Option<Py<PyAny>>,
    pub(crate) connection: Option<Py<Connection>>,
}

impl Response {
    pub(crate) fn new(
        service: &Arc<Service>,
        (exchange, peer): (ExchangeId, Peer),
        request: Option<Py<Request>>,
    ) -> Self {
        Response {
            service: Arc::clone(service),
            exchange,
            peer,
            state: State::Waiting,
            code: 200,
            content: None,
            headers: Fields::Ours(Headers::default()),
            request,
            handler: None,
            streams: None,
            connection: None,
        }
    }

    /// One that the engine has answered in the application's place.
    pub(crate) fn answered_for(dropped: Unanswered, code: u16) -> Self {
        let Unanswered {
            id,
            peer,
            service,
            request,
            handler,
            ..
        } = dropped;
        let mut response = Response::new(&service, (id, peer), request);
        response.state = State::Answered;
        response.code = code;
        response.handler = handler;
        response
    }

    pub(crate) fn core(&self) -> &Arc<Core> {
        &self.service.core
    }

    /// The engine has answered, or nobody needs to any more.
    pub(crate) fn give_up(&mut self) {
        self.state = State::Answered;
    }
}

#[pymethods]
impl Response {
    /// The header fields, to read and to set.
    #[getter]
    fn headers<'py>(&mut self, py: Python<'py>) -> PyResult<Bound<'py, Headers>> {
        self.headers.show(py)
    }

    #[setter]
    fn set_headers(&mut self, fields: &Bound<'_, PyAny>) -> PyResult<()> {
        self.headers = Fields::Ours(match fields.cast::<Headers>() {
            Ok(headers) => headers.borrow().clone(),
            Err(_) => Headers::new(Some(fields))?,
        });
        Ok(())
    }

    /// With a value: replaces the header field of that name. Always returns
    /// its value, None if there is none.
    #[pyo3(signature = (name, value=None))]
    fn header<'py>(
        &mut self,
        py: Python<'py>,
        name: &str,
        value: Option<&str>,
    ) -> Option<Bound<'py, PyString>> {
        if let Some(value) = value {
            self.headers.replace(py, name, value);
        }
        self.headers.read(py, |headers| headers.first(py, name))
    }

    /// The Content-Type field, or None: text/plain is sent then.
    #[getter]
    fn content_type<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyString>> {
        self.headers
            .read(py, |headers| headers.first(py, "Content-Type"))
    }

    #[setter]
    fn set_content_type(&mut self, py: Python<'_>, value: &str) {
        self.headers.replace(py, "Content-Type", value);
    }

    /// The connection it goes over.
    #[getter]
    fn connection<'py>(&mut self, py: Python<'py>) -> PyResult<Bound<'py, Connection>> {
        if let Some(request) = &self.request {
            return request
                .bind(py)
                .getattr("connection")?
                .cast_into()
                .map_err(PyErr::from);
        }
        if self.connection.is_none() {
            let made = Connection::new(self.core(), self.exchange.connection, self.peer);
            self.connection = Some(Py::new(py, made)?);
        }
        match &self.connection {
            Some(connection) => Ok(connection.bind(py).clone()),
            None => Bound::new(
                py,
                Connection::new(self.core(), self.exchange.connection, self.peer),
            ),
        }
    }

    /// Whether it was answered, or closed.
    #[getter]
    fn answered(&self) -> bool {
        self.state == State::Answered
    }

    /// Whether its head was sent and its body goes on.
    #[getter]
    fn streaming(&self) -> bool {
        self.state == State::Streaming
    }

    /// Marks it as a stream: `event` of `session` makes the next piece. It is
    /// posted again whenever what was written has left the process; with
    /// `dont_flush` it is not.
    #[pyo3(signature = (session, event, dont_flush=false))]
    fn stream(
        &mut self,
        py: Python<'_>,
        session: &str,
        event: &str,
        dont_flush: bool,
    ) -> PyResult<()> {
        if self.state == State::Answered {
            return Err(self.already());
        }
        self.streams = Some(
            (session, event, dont_flush)
                .into_pyobject(py)?
                .into_any()
                .unbind(),
        );
        Ok(())
    }

    /// Sends a piece of the body, and the head before the first one. Without
    /// an argument the piece is `content`.
    ///
    /// Raises AlreadyAnswered, ConnectionGone, InvalidResponse.
    #[pyo3(signature = (data=None))]
    pub(crate) fn write(slf: &Bound<'_, Self>, data: Option<Py<PyAny>>) -> PyResult<()> {
        let surplus = slf.borrow_mut().send_piece(slf.py(), data)?;
        Self::report_length(slf, surplus)
    }

    /// Sends what was written at once, not only when the handler returns.
    /// False: some of it has to wait for the client. With `wait` this does
    /// so too, without the GIL, until little of it is left.
    ///
    /// Raises ConnectionGone, also for a client that takes nothing within
    /// the server's `send_timeout`.
    #[pyo3(signature = (wait=false))]
    pub(crate) fn flush(slf: &Bound<'_, Self>, wait: bool) -> PyResult<bool> {
        let (core, exchange) = {
            let response = slf.borrow();
            (Arc::clone(&response.service.core), response.exchange)
        };
        loop {
            let blocking = {
                let mut engine = core.engine();
                let unsent = engine
                    .send_now(exchange)
                    .map_err(|refusal| slf.borrow_mut().refused(refusal))?;
                if !wait || unsent <= HIGH_WATER {
                    return Ok(wait || unsent == 0);
                }
                engine
                    .blocking_send(exchange)
                    .map_err(|refusal| slf.borrow_mut().refused(refusal))?
            };
            if let Err(why) = slf.py().detach(|| blocking.wait()) {
                core.engine().abort(exchange, Some(why));
            }
        }
    }

    /// Answers: sends head and content, or ends a stream. If the client is
    /// gone there is nobody to answer, and the error handler has heard it.
    ///
    /// Raises AlreadyAnswered; and InvalidResponse, after which nothing was
    /// sent and an answer is still owed.
    pub(crate) fn done(slf: &Bound<'_, Self>) -> PyResult<()> {
        let py = slf.py();
        let (result, answered, ended) = {
            let mut response = slf.borrow_mut();
            let result = match response.state {
                State::Waiting => response.answer(py),
                State::Streaming => response.finish(),
                State::Answered => return Err(response.already()),
            };
            let answered = response.service.request_ended.as_ref();
            let answered =
                answered.map(|answered| (answered.clone_ref(py), response.request_ref(py)));
            // An answer that could not be sent is still owed.
            let ended = (response.state == State::Answered)
                .then(|| response.core().forget_callbacks(response.exchange));
            (result, answered, ended)
        };
        drop(ended); // not under the lock: freeing it may run Python
        match result {
            Ok(difference) => Self::report_length(slf, difference)?,
            Err(error) if error.is_instance_of::<ConnectionGone>(py) => {}
            Err(error) => return Err(error),
        }
        if let Some((answered, request)) = answered {
            answered.call1(py, (request, slf))?;
        }
        Ok(())
    }

    /// Closes the connection, without an answer or in the middle of one.
    fn close(&mut self) -> PyResult<()> {
        if self.state == State::Answered {
            return Err(self.already());
        }
        self.state = State::Answered;
        drop(self.core().forget_request(self.exchange));
        self.core().engine().abort(self.exchange, None);
        Ok(())
    }

    /// Calls `callback(True)` once when all that was written has left the
    /// process, `callback(False)` if the connection ends before, and not at
    /// all if `done()` comes before. False: no body is being streamed.
    fn when_drained(&self, callback: Py<PyAny>) -> bool {
        // The connection may stream the answer to its next request by now.
        if self.state != State::Streaming || !self.core().engine().tell_drained(self.exchange) {
            return false;
        }
        let core = self.core();
        let former = core.watch(|waiting| &mut waiting.drained, self.exchange, callback);
        drop(former); // not under the lock: freeing it may run Python
        true
    }

    /// Calls `callback()` if the client leaves before the answer ends; a
    /// later call replaces the callback. False: it has left, or the answer has
    /// ended.
    fn when_gone(&self, callback: Py<PyAny>) -> bool {
        if self.state == State::Answered || !self.core().engine().tell_gone(self.exchange, true) {
            return false;
        }
        let core = self.core();
        let former = core.watch(|waiting| &mut waiting.gone, self.exchange, callback);
        drop(former);
        true
    }

    /// Calls `callback()` if the answer does not begin within the server's
    /// `request_timeout`, and the client has got a 504. False: there is none
    /// any more that could be late.
    fn when_overdue(&self, callback: Py<PyAny>) -> bool {
        if self.state != State::Waiting || !self.core().engine().is_open(self.exchange.connection) {
            return false;
        }
        let core = self.core();
        let former = core.watch(|waiting| &mut waiting.overdue, self.exchange, callback);
        drop(former);
        true
    }

    /// Whether its head is sent and no body may follow: the answer to HEAD,
    /// 204 and 304 (RFC 9112, section 6.3). Pieces are dropped.
    #[getter]
    fn bodiless(&self) -> bool {
        self.state == State::Streaming && self.core().engine().is_bodiless(self.exchange)
    }

    /// Bytes that were written and have not left the process.
    #[getter]
    fn unsent(&self) -> usize {
        self.core().engine().unsent(self.exchange)
    }

    fn __repr__(&self) -> String {
        let state = match self.state {
            State::Waiting => "unanswered",
            State::Streaming => "streaming",
            State::Answered => "answered",
        };
        format!("<Response {} to {}, {state}>", self.code, self.peer)
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.content)?;
        if let Fields::Shown(headers) = &self.headers {
            visit.call(headers)?;
        }
        visit.call(&self.request)?;
        visit.call(&self.handler)?;
        visit.call(&self.connection)
    }

    fn __clear__(&mut self) {
        self.discard(); // while it is known whose it was
        self.content = None;
        self.headers = Fields::Ours(Headers::default());
        self.request = None;
        self.handler = None;
        self.connection = None;
    }
}

impl Response {
    pub(crate) fn request_ref(&self, py: Python<'_>) -> Option<Py<Request>> {
        self.request.as_ref().map(|request| request.clone_ref(py))
    }
}

impl Drop for Response {
    fn drop(&mut self) {
        self.discard();
    }
}
