//! Whom the requests of one listener go to, and what its answers begin with.

use crate::core::Core;
use crate::events::request::Request;
use crate::events::response::Response;
use crate::settings::{ServiceSettings, service_settings};
use crate::wsgi::call::Caller;
use pyo3::prelude::*;
use std::sync::Arc;

/// Where a service takes a request in.
pub(crate) enum Entry {
    Method(Py<PyAny>),
    /// Ours: called without a detour through Python.
    Caller(Py<Caller>),
}

impl Entry {
    fn of(service: &Bound<'_, PyAny>, name: &str) -> PyResult<Self> {
        let found = service.getattr(name)?;
        Ok(match found.cast_into::<Caller>() {
            Ok(caller) => Entry::Caller(caller.unbind()),
            Err(other) => Entry::Method(other.into_inner().unbind()),
        })
    }

    /// Hands a request over; returns whether that says yes.
    pub(crate) fn hand(
        &self,
        py: Python<'_>,
        request: &Py<Request>,
        response: &Py<Response>,
    ) -> PyResult<bool> {
        match self {
            Entry::Method(method) => method.call1(py, (request, response))?.is_truthy(py),
            Entry::Caller(caller) => {
                let (request, response) = (request.bind(py), response.bind(py));
                caller.get().call(request, response).map(|()| true)
            }
        }
    }
}

/// The Python object that a listener was opened for: its methods, looked up
/// once.
pub(crate) struct Service {
    /// Of the engine that listens for it.
    pub(crate) core: Arc<Core>,
    /// `(request, response)`: a whole request.
    pub(crate) request: Entry,
    /// `(request, response) -> bool`: a request whose body is still to come,
    /// and whether it is wanted.
    pub(crate) head: Entry,
    /// `(request, response)`: the body that `head` wanted has come.
    pub(crate) body: Entry,
    /// `(response, status, reason, remote_ip) -> bool`: whether it will answer.
    pub(crate) malformed: Py<PyAny>,
    /// `(request or None, response)` after every response, or None.
    pub(crate) request_ended: Option<Py<PyAny>>,
    /// `(text, remote_ip)`: something went wrong for one client.
    pub(crate) client_error: Py<PyAny>,
    /// `(text)`: something went wrong for the listener.
    pub(crate) server_warning: Py<PyAny>,
    /// `(request line, seconds, remote_ip)`: it exceeded `request_timeout`.
    pub(crate) timed_out: Py<PyAny>,
    /// `(handler or None, remote_ip)`: a response was dropped unanswered.
    pub(crate) unanswered: Py<PyAny>,
    /// Whether a response without a Content-Type gets one.
    pub(crate) adds_content_type: bool,
    /// Whether its responses are `StartResponse`s, as WSGI needs them.
    pub(crate) uses_start_response: bool,
    /// Whether it is called as soon as a head is there, and asks for the body.
    pub(crate) pulls_bodies: bool,
    pub(crate) scheme: &'static str,
    pub(crate) settings: ServiceSettings,
}

impl Service {
    pub(crate) fn new(
        core: &Arc<Core>,
        object: &Bound<'_, PyAny>,
        options: &Bound<'_, PyAny>,
    ) -> PyResult<Self> {
        let method = |name: &str| object.getattr(name).map(Bound::unbind);
        Ok(Service {
            core: Arc::clone(core),
            request: Entry::of(object, "request")?,
            head: Entry::of(object, "head")?,
            body: Entry::of(object, "body")?,
            malformed: method("malformed")?,
            request_ended: Some(method("request_ended")?)
                .filter(|found| !found.is_none(object.py())),
            client_error: method("client_error")?,
            server_warning: method("server_warning")?,
            timed_out: method("timed_out")?,
            unanswered: method("unanswered")?,
            adds_content_type: object.getattr("adds_content_type")?.is_truthy()?,
            uses_start_response: object.getattr("uses_start_response")?.is_truthy()?,
            pulls_bodies: object.getattr("pulls_bodies")?.is_truthy()?,
            scheme: "http",
            settings: service_settings(options)?,
        })
    }
}
