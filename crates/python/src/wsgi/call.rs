//! The call of a WSGI application (PEP 3333): from a request to a whole response.
//!
//! Always holds: whatever the application raises goes to `failed`, so no
//! request ends the process.

use crate::call_context::CallContext;
use crate::core::locked;
use crate::events::request::Request;
use crate::events::response::Response;
use crate::introduction;
use crate::session::{Kind, set_common, set_own};
use crate::text::decode;
use crate::wsgi::environ::environ;
use crate::wsgi::start_response::StartResponse;
use prefork_tls::Session;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};
use std::sync::Mutex;

/// Calls a WSGI application for each request. `base` is the common part of all
/// environs; the path below `root_path` is PATH_INFO. Each call has a context of
/// its own (PEP 567). A body that is a list is sent at once; any other goes to
/// `deliver(context, body, request, response)`. What the application raises goes
/// to `failed(error, request, response)`. If `client_socket` is given, the environ
/// of a plain connection has its result for the response as `gunicorn.socket` and
/// `werkzeug.socket`.
#[pyclass(name = "WSGICaller", module = "prefork._engine", frozen)]
pub struct WsgiCaller {
    application: Py<PyAny>,
    base: Py<PyDict>,
    /// The base for each kind of encrypted connection that there was.
    encrypted: Mutex<Vec<(Kind, Py<PyDict>)>>,
    root_path: String,
    deliver: Py<PyAny>,
    failed: Py<PyAny>,
    client_socket: Option<Py<PyAny>>,
}

#[pymethods]
impl WsgiCaller {
    #[new]
    #[pyo3(signature = (application, base, root_path, deliver, failed, client_socket=None))]
    fn new(
        application: Py<PyAny>,
        base: Py<PyDict>,
        root_path: String,
        deliver: Py<PyAny>,
        failed: Py<PyAny>,
        client_socket: Option<Py<PyAny>>,
    ) -> Self {
        WsgiCaller {
            application,
            base,
            encrypted: Mutex::default(),
            root_path,
            deliver,
            failed,
            client_socket,
        }
    }

    /// Calls the application for one request.
    #[pyo3(name = "__call__")]
    pub(crate) fn call(
        &self,
        request: &Bound<'_, Request>,
        response: &Bound<'_, Response>,
    ) -> PyResult<()> {
        let response = response.cast::<StartResponse>()?;
        let result = self.respond(request, response);
        if self.client_socket.is_some() {
            StartResponse::end_call(response);
        }
        result
    }
}

impl WsgiCaller {
    fn respond(
        &self,
        request: &Bound<'_, Request>,
        response: &Bound<'_, StartResponse>,
    ) -> PyResult<()> {
        let py = request.py();
        let context = CallContext::enter(py)?;
        let called = self.environ(request, response).and_then(|environ| {
            response.as_super().borrow_mut().keep_environ(&environ);
            let application = self.application.bind(py);
            application.call1((environ, response))
        });
        let responded = match called {
            Ok(body) if body.is_exact_instance_of::<PyList>() => {
                StartResponse::respond(response, Some(&body))
            }
            Ok(body) => {
                let rest = (context.leave(), body, request, response);
                return self.deliver.bind(py).call1(rest).map(drop);
            }
            Err(error) => Err(error),
        };
        let result = match responded {
            Ok(()) => Ok(()),
            // SystemExit too: a request must not end the process.
            Err(error) => {
                let arguments = (error.into_value(py), request, response);
                self.failed.bind(py).call1(arguments).map(drop)
            }
        };
        context.end();
        result
    }

    /// The base with what connections like this one have in common.
    fn base_of(&self, py: Python<'_>, session: &Session) -> PyResult<Py<PyDict>> {
        let kind = Kind::of(session);
        let mut known = locked(&self.encrypted);
        if let Some((_, base)) = known.iter().find(|(other, _)| *other == kind) {
            return Ok(base.clone_ref(py));
        }
        let base = self.base.bind(py).copy()?;
        set_common(&base, session)?;
        let base = base.unbind();
        known.push((kind, base.clone_ref(py)));
        Ok(base)
    }

    fn environ<'py>(
        &self,
        request: &Bound<'py, Request>,
        response: &Bound<'py, StartResponse>,
    ) -> PyResult<Bound<'py, PyDict>> {
        let py = request.py();
        let environ = {
            let request = request.borrow();
            let session = request.session();
            let copy = match &session {
                None => request.service.copy_of(self.base.bind(py))?,
                Some(session) => {
                    let base = self.base_of(py, session)?;
                    request.service.copy_of(base.bind(py))?
                }
            };
            let environ = environ(
                copy,
                &request.view,
                request.shared_body(),
                &self.root_path,
                session.is_some(),
            )?;
            if let Some(session) = &session {
                set_own(&environ, session)?;
            }
            if let Some(id) = request.request_id() {
                environ.set_item(intern!(py, "prefork.request_id"), decode(py, id))?;
            }
            if let Some(told) = &request.extensions() {
                introduction::set_variables(&environ, told)?;
            }
            environ
        };
        if let Some(client_socket) = &self.client_socket {
            let socket = client_socket.bind(py).call1((response,))?;
            environ.set_item(intern!(py, "gunicorn.socket"), &socket)?;
            environ.set_item(intern!(py, "werkzeug.socket"), socket)?;
        }
        Ok(environ)
    }
}
