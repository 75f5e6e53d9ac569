//! Whom the requests of one listener go to, and what its answers begin with.

use crate::core::Core;
use crate::events::request::Request;
use crate::events::response::Response;
use crate::wsgi::call::Caller;
use prefork_engine::{Settings, Spool};
use prefork_wire::{Limits, Underscore};
use pyo3::prelude::*;
use pyo3::types::PyDict;
use std::path::Path;
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
    pub(crate) hostname: Option<String>,
    pub(crate) port: u16,
    pub(crate) proxy_mode: bool,
    /// Header fields that every answer has unless it says otherwise.
    pub(crate) headers: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Service {
    pub(crate) fn new(
        core: &Arc<Core>,
        object: &Bound<'_, PyAny>,
        options: &Bound<'_, PyDict>,
    ) -> PyResult<Self> {
        let method = |name: &str| object.getattr(name).map(Bound::unbind);
        let headers: Vec<(String, String)> = option(options, "headers")?;
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
            hostname: option(options, "hostname")?,
            port: option(options, "port")?,
            proxy_mode: option(options, "proxy_mode")?,
            headers: headers
                .into_iter()
                .map(|(name, value)| (name.into_bytes(), crate::events::headers::latin1(&value)))
                .collect(),
        })
    }
}

fn option<'py, T>(options: &Bound<'py, PyDict>, name: &str) -> PyResult<T>
where
    T: for<'a> FromPyObject<'a, 'py, Error = PyErr>,
{
    match options.get_item(name)? {
        Some(value) => value.extract(),
        None => Err(pyo3::exceptions::PyTypeError::new_err(format!(
            "listen() misses the option {name}"
        ))),
    }
}

/// The engine's settings out of the options of a server (`options.py`).
pub(crate) fn settings(options: &Bound<'_, PyDict>) -> PyResult<Settings> {
    let milliseconds = |name| -> PyResult<u64> {
        let seconds: f64 = option(options, name)?;
        Ok((seconds * 1000.0).ceil() as u64)
    };
    let directory: Option<String> = option(options, "spool_dir")?;
    let underscores: String = option(options, "underscores")?;
    Ok(Settings {
        limits: Limits {
            head: option(options, "max_head")?,
            fields: option(options, "max_fields")?,
            max_body: option(options, "max_body")?,
            underscore: match underscores.as_str() {
                "reject" => Underscore::Reject,
                _ => Underscore::Drop,
            },
            ..Limits::default()
        },
        keep_alive: option(options, "keep_alive")?,
        header_timeout_ms: milliseconds("header_timeout")?,
        keep_alive_timeout_ms: milliseconds("keep_alive_timeout")?,
        send_timeout_ms: milliseconds("send_timeout")?,
        request_timeout_ms: milliseconds("request_timeout")?,
        body_min_rate: option(options, "body_min_rate")?,
        spool: Spool {
            above_bytes: option(options, "spool_above")?,
            directory: directory.map(|path| Path::new(&path).into()),
        },
    })
}
