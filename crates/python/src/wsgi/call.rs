//! The call of a WSGI application (PEP 3333): from a request to a whole response.
//!
//! Always holds: whatever the application raises goes to `failed`, so no
//! request ends the process.

use crate::events::request::Request;
use crate::events::response::Response;
use crate::wsgi::call_context::CallContext;
use crate::wsgi::environ::environ;
use crate::wsgi::start_response::StartResponse;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};

/// Calls a WSGI application for each request. `base` is the common part of all
/// environs; the path below `root_path` is PATH_INFO. Each call has a context of
/// its own (PEP 567). A body that is a list is sent at once; any other goes to
/// `deliver(context, body, request, response)`. What the application raises goes
/// to `failed(error, request, response)`.
#[pyclass(name = "WSGICaller", module = "prefork._engine", frozen)]
pub struct WsgiCaller {
    application: Py<PyAny>,
    base: Py<PyDict>,
    root_path: String,
    deliver: Py<PyAny>,
    failed: Py<PyAny>,
}

#[pymethods]
impl WsgiCaller {
    #[new]
    fn new(
        application: Py<PyAny>,
        base: Py<PyDict>,
        root_path: String,
        deliver: Py<PyAny>,
        failed: Py<PyAny>,
    ) -> Self {
        WsgiCaller {
            application,
            base,
            root_path,
            deliver,
            failed,
        }
    }

    /// Calls the application for one request.
    #[pyo3(name = "__call__")]
    pub(crate) fn call(
        &self,
        request: &Bound<'_, Request>,
        response: &Bound<'_, Response>,
    ) -> PyResult<()> {
        let py = request.py();
        let response = response.cast::<StartResponse>()?;
        let context = CallContext::enter(py)?;
        let called = self.environ(request).and_then(|environ| {
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
}

impl WsgiCaller {
    fn environ<'py>(&self, request: &Bound<'py, Request>) -> PyResult<Bound<'py, PyDict>> {
        let base = self.base.bind(request.py());
        let request = request.borrow();
        environ(base, &request.view, request.shared_body(), &self.root_path)
    }
}
