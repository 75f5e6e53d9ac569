//! The call of an ASGI application: from a request to the task that responds to it.

use crate::asgi::http::{ExchangeOptions, HttpExchange};
use crate::asgi::scope::{Base, scope};
use crate::asgi::tasks::Tasks;
use crate::events::request::Request;
use crate::events::response::Response;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyDict;

/// Calls an ASGI application for each request, in a task of `event_loop` that takes its
/// first step at once. `base` is the common part of all scopes; their paths begin with
/// `root_path`. A call that completes its response in that step is over. Otherwise a
/// callback is called: `waits(request, response, exchange, task)` if the task continues,
/// `ended(request, response, exchange, task)` if it ended in another way,
/// `failed(request, response, exchange, error)` if the application made no task. A client
/// that asks for a WebSocket goes to `converse(scope, request, response)`. The other two are
/// options of each `HTTPExchange`.
#[pyclass(name = "ASGICaller", module = "prefork._engine", frozen)]
pub struct AsgiCaller {
    application: Py<PyAny>,
    base: Base,
    tasks: Tasks,
    create_future: Py<PyAny>,
    options: ExchangeOptions,
    converse: Py<PyAny>,
    waits: Py<PyAny>,
    ended: Py<PyAny>,
    failed: Py<PyAny>,
}

#[pymethods]
impl AsgiCaller {
    #[new]
    #[pyo3(signature = (application, base, root_path, event_loop, *, converse, waits, ended, failed, pathsend=false, drain_streams=true))]
    #[expect(clippy::too_many_arguments, reason = "the caller passes them by name")]
    fn new(
        application: Py<PyAny>,
        base: &Bound<'_, PyDict>,
        root_path: String,
        event_loop: &Bound<'_, PyAny>,
        converse: Py<PyAny>,
        waits: Py<PyAny>,
        ended: Py<PyAny>,
        failed: Py<PyAny>,
        pathsend: bool,
        drain_streams: bool,
    ) -> PyResult<Self> {
        Ok(AsgiCaller {
            application,
            base: Base::new(base, root_path)?,
            tasks: Tasks::of(event_loop)?,
            create_future: event_loop.getattr("create_future")?.unbind(),
            options: ExchangeOptions {
                pathsend,
                drain_streams,
            },
            converse,
            waits,
            ended,
            failed,
        })
    }

    /// Calls the application for one request.
    #[pyo3(name = "__call__")]
    pub(crate) fn call(
        &self,
        request: &Bound<'_, Request>,
        response: &Bound<'_, Response>,
    ) -> PyResult<()> {
        let py = request.py();
        let scope = scope(request, &self.base)?;
        if request.borrow().view.asks_websocket() {
            let arguments = (scope, request, response);
            return self.converse.bind(py).call1(arguments).map(drop);
        }
        let create_future = self.create_future.clone_ref(py);
        let exchange = HttpExchange::new(request, response, create_future, self.options);
        let exchange = Bound::new(py, exchange)?;
        let task = match self.start(&exchange, &scope) {
            // The application raised, or did not return a coroutine. SystemExit too: a
            // request must not end the process.
            Err(error) => {
                let arguments = (request, response, exchange, error.into_value(py));
                return self.failed.bind(py).call1(arguments).map(drop);
            }
            Ok(task) => task,
        };
        let callback = match self.tasks.is_done(&task)? {
            false => &self.waits,
            true if exchange.borrow().over() && !self.tasks.has_failed(&task) => return Ok(()),
            true => &self.ended,
        };
        let arguments = (request, response, exchange, task);
        callback.bind(py).call1(arguments).map(drop)
    }
}

impl AsgiCaller {
    fn start<'py>(
        &self,
        exchange: &Bound<'py, HttpExchange>,
        scope: &Bound<'py, PyDict>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let py = exchange.py();
        let receive = exchange.getattr(intern!(py, "receive"))?;
        let send = exchange.getattr(intern!(py, "send"))?;
        let application = self.application.bind(py);
        self.tasks
            .start(&application.call1((scope, receive, send))?)
    }
}
