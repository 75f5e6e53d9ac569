//! What a handler does with a response: its Python face.

use super::{Response, State};
use crate::errors::ConnectionGone;
use crate::events::connection::Connection;
use crate::events::fields::Fields;
use crate::events::headers::Headers;
use prefork_engine::HIGH_WATER;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::PyString;
use std::sync::Arc;

#[pymethods]
impl Response {
    #[setter]
    fn set_code(&mut self, code: u16) {
        self.code = code;
        self.reason = None;
    }

    /// The header fields. Changing them changes the response; setting them
    /// takes Headers, a mapping or an iterable of (name, value).
    #[getter]
    fn headers<'py>(&mut self, py: Python<'py>) -> PyResult<Bound<'py, Headers>> {
        self.headers.share(py)
    }

    #[setter]
    fn set_headers(&mut self, fields: &Bound<'_, PyAny>) -> PyResult<()> {
        self.headers = Fields::Native(match fields.cast::<Headers>() {
            Ok(headers) => headers.borrow().clone(),
            Err(_) => Headers::new(Some(fields))?,
        });
        Ok(())
    }

    /// The id of the request, or of what was malformed; None without the option
    /// request_id.
    #[getter]
    fn request_id(&self, py: Python<'_>) -> Option<String> {
        self.id_text(py)
    }

    /// With a value: replaces every header field of that name. Returns the
    /// first value of that name, None if there is none.
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

    /// The Content-Type field; None without one. Then a response of a handler
    /// is sent as text/plain.
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
    fn connection<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, Connection>> {
        if let Some(request) = &self.request {
            return request.borrow(py).connection(py);
        }
        let made = self.connection.get_or_try_init(py, || {
            let id = self.client.exchange.connection;
            Py::new(py, Connection::new(self.core(), id, self.client.peer))
        })?;
        Ok(made.bind(py).clone())
    }

    /// Whether it is complete, its connection closed, or the client gone.
    #[getter]
    fn answered(&self) -> bool {
        self.is_over()
    }

    /// Whether the client waits for it: it is not complete, and the client has
    /// neither left nor got a 504.
    #[getter]
    fn owed(&self) -> bool {
        self.state != State::Answered && self.core().engine().exchange(self.client.exchange).owes()
    }

    /// Whether its head is sent and its body is not complete.
    #[getter]
    fn streaming(&self) -> bool {
        self.state == State::Streaming
    }

    /// Makes it a stream: `event` of `session`, which is an alias, a session or
    /// its id, writes the next part of the body. The event is posted again
    /// whenever what was written has left the process; with `dont_flush` it is
    /// not.
    ///
    /// Raises AlreadyAnswered.
    #[pyo3(signature = (session, event, dont_flush=false))]
    fn stream(
        &mut self,
        py: Python<'_>,
        session: &Bound<'_, PyAny>,
        event: &str,
        dont_flush: bool,
    ) -> PyResult<()> {
        if self.state == State::Answered && self.has_client() {
            return Err(self.already_answered());
        }
        let streams = (session, event, dont_flush).into_pyobject(py)?;
        self.streams = Some(streams.into_any().unbind());
        Ok(())
    }

    /// Sends a part of the body, by default `content`, and the head before the
    /// first one. What exceeds a Content-Length is cut and reported to the
    /// error handler. A response to HEAD, a 204 and a 304 are complete with
    /// their head: the parts are dropped.
    ///
    /// Raises AlreadyAnswered; ConnectionGone if the client has left, or 50 ms
    /// after a head without a body: so a stream ends; and InvalidResponse for
    /// what cannot be sent, after which nothing was.
    #[pyo3(name = "write", signature = (data=None))]
    fn write_or_drop(slf: &Bound<'_, Self>, data: Option<Py<PyAny>>) -> PyResult<()> {
        let state = slf.borrow().state;
        if let State::HeadOnly { .. } = state {
            return slf.borrow_mut().drop_part();
        }
        Self::write(slf, data)?;
        if state == State::Waiting {
            Self::end_with_head(slf)?;
        }
        Ok(())
    }

    /// Sends what was written now, not only when the handler returns. Returns
    /// False if some of it has to wait for the client to read. With `wait` it
    /// blocks, without the GIL, until little is left, and returns True.
    ///
    /// Raises ConnectionGone, also for a client that reads nothing for
    /// `send_timeout`.
    #[pyo3(signature = (wait=false))]
    pub(crate) fn flush(slf: &Bound<'_, Self>, wait: bool) -> PyResult<bool> {
        let most = if wait { HIGH_WATER } else { usize::MAX };
        let unsent = Self::flush_to(slf, most)?;
        Ok(wait || unsent == 0)
    }

    /// Completes the response: sends head and content, or ends a stream.
    /// Returns True; False if the client has left: then nothing is sent and
    /// nothing raised, and the error handler was called. A content that differs
    /// from its Content-Length is cut, or the connection closed, and reported
    /// to the error handler.
    ///
    /// Raises AlreadyAnswered; and InvalidResponse for what cannot be sent,
    /// after which nothing was and a response is still owed.
    pub(crate) fn done(slf: &Bound<'_, Self>) -> PyResult<bool> {
        let py = slf.py();
        let (result, reports, pending, has_client) = {
            let mut response = slf.borrow_mut();
            let began = response.state == State::Streaming;
            let result = match response.state {
                State::Waiting => response.respond(py),
                State::Streaming => response.finish(),
                State::HeadOnly { .. } => {
                    response.state = State::Answered;
                    return Ok(true);
                }
                State::Answered if response.has_client() => {
                    return Err(response.already_answered());
                }
                State::Answered => return Ok(false),
            };
            // A response that could not be sent is still pending.
            let is_over = response.state == State::Answered;
            let pending = if is_over { response.forget() } else { None };
            let reports = !response.reported && response.has_listener();
            // The response leaves before it is logged: the log may be slow, and is to tell whether
            // the client was there.
            let has_client = result.is_ok() && (!reports || response.leaves(began));
            // A body that is too short breaks the connection off.
            response.sent = has_client && matches!(result, Ok(difference) if difference >= 0);
            response.reported |= is_over;
            if is_over && result.is_err() {
                response.settle();
            }
            (result, reports, pending, has_client)
        };
        drop(pending);
        match result {
            Ok(difference) => Self::report_length(slf, difference)?,
            Err(error) if error.is_instance_of::<ConnectionGone>(py) => {}
            Err(error) => return Err(error),
        }
        if reports {
            Self::report_end(slf)?;
        }
        Ok(has_client)
    }

    /// Closes the connection: after the end of a stream, which is completed; as
    /// soon as a complete response is sent, if the client may send further
    /// requests; and without a response if none has begun.
    fn close(slf: &Bound<'_, Self>) -> PyResult<()> {
        let (core, exchange, state) = {
            let response = slf.borrow();
            let core = Arc::clone(response.core());
            (core, response.client.exchange, response.state)
        };
        if state == State::Waiting {
            Self::abort(slf);
            return Ok(());
        }
        let id = exchange.connection;
        core.engine().connection(id).close_after_response();
        match state {
            State::Streaming => Self::done(slf).map(drop),
            _ => Ok(()),
        }
    }

    /// Closes the connection at once, without a response or in the middle of
    /// one: the client can tell that it is not whole. Nothing happens if it is
    /// complete.
    fn abort(slf: &Bound<'_, Self>) {
        let (core, exchange) = {
            let mut response = slf.borrow_mut();
            let is_over = response.is_over();
            response.state = State::Answered;
            if is_over {
                return;
            }
            let (core, exchange) = (Arc::clone(response.core()), response.client.exchange);
            // Without a response there is none to report.
            response.reported |= response.sent_bytes.is_none();
            // What can be sent is sent, and the rest is not counted.
            let unsent = core.engine().exchange(exchange).send_now().unwrap_or(0);
            response.take_off(unsent);
            (core, exchange)
        };
        drop(core.forget_request(exchange));
        core.engine().exchange(exchange).abort(None);
    }

    /// Has `callback(True)` called once when all that was written has left the
    /// process, or `callback(False)` if the connection closes before; neither if
    /// `done()` comes first. Returns False if no body is being streamed.
    fn when_drained(slf: &Bound<'_, Self>, callback: Py<PyAny>) -> bool {
        let can_drain = |response: &Response| {
            // If this one is complete, the connection may already stream the
            // response to its next request.
            let mut engine = response.core().engine();
            response.state == State::Streaming
                && engine.exchange(response.client.exchange).want_drained()
        };
        Self::register(slf, can_drain, |pending| &mut pending.drained, callback)
    }

    /// Has `callback()` called if the client leaves before the response is
    /// complete. A later call replaces the callback. Returns False if the client
    /// has left or the response is complete.
    fn when_gone(slf: &Bound<'_, Self>, callback: Py<PyAny>) -> bool {
        let can_leave = |response: &Response| {
            let mut engine = response.core().engine();
            !response.is_over() && engine.exchange(response.client.exchange).want_gone(true)
        };
        Self::register(slf, can_leave, |pending| &mut pending.gone, callback)
    }

    /// Has `callback()` called if the response does not begin within
    /// `request_timeout`; the client has got a 504 then. A later call replaces
    /// the callback. Returns False if the response has begun or the client has
    /// left.
    fn when_overdue(slf: &Bound<'_, Self>, callback: Py<PyAny>) -> bool {
        let can_be_late = |response: &Response| {
            let mut engine = response.core().engine();
            response.state == State::Waiting && engine.exchange(response.client.exchange).owes()
        };
        Self::register(slf, can_be_late, |pending| &mut pending.overdue, callback)
    }

    /// Whether its head is sent and no body may follow, as in a response to
    /// HEAD, 204 and 304 (RFC 9112, section 6.3): what is written is dropped.
    #[getter]
    fn bodiless(&self) -> bool {
        matches!(self.state, State::HeadOnly { .. })
    }

    /// Has the service hear of its end now: the engine has responded, and the
    /// handler may go on for long.
    fn report(slf: &Bound<'_, Self>) -> PyResult<()> {
        {
            let mut response = slf.borrow_mut();
            if std::mem::replace(&mut response.reported, true) {
                return Ok(());
            }
            response.settle();
        }
        Self::report_end(slf)
    }

    /// Bytes that were written and have not left the process.
    #[getter]
    fn unsent(&self) -> usize {
        self.core().engine().exchange(self.client.exchange).unsent()
    }

    /// Bytes of the body that were sent, without its framing; None if not even
    /// the head was: the client had left. Of a response that was broken off, those
    /// that had left the process.
    #[getter(sent_bytes)]
    pub(crate) fn body_bytes(&self, py: Python<'_>) -> Option<u64> {
        let request = self.request.as_ref();
        let is_head =
            request.is_some_and(|request| request.borrow(py).view.method_bytes() == b"HEAD");
        match self.sent_bytes {
            Some(_) if is_head || matches!(self.code, 204 | 205 | 304) => Some(0),
            sent => sent,
        }
    }

    fn __repr__(&self) -> String {
        let state = match self.state {
            State::Waiting => "unanswered",
            State::Streaming => "streaming",
            State::HeadOnly { .. } | State::Answered => "answered",
        };
        format!("<Response {} to {}, {state}>", self.code, self.client.peer)
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.content)?;
        self.headers.traverse(&visit)?;
        visit.call(&self.request)?;
        visit.call(&self.environ)?;
        visit.call(&self.context)?;
        visit.call(&self.handler)
    }

    fn __clear__(&mut self) {
        self.leave_unanswered(); // before `handler` is cleared: the log names it
        self.content = None;
        self.headers = Fields::default();
        self.request = None;
        self.environ = None;
        self.context = None;
        self.handler = None;
    }
}
