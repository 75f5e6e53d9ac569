//! `Engine` in Python: a turn of the loop, and who is called in it.

use crate::core::{Core, Orphan};
use crate::request::Request;
use crate::response::Response;
use crate::scoreboard::PyScoreboard;
use crate::service::{Service, settings};
use pyo3::exceptions::{PyException, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyDict;
use rustix::time::Timespec;
use std::os::fd::{BorrowedFd, OwnedFd, RawFd};
use std::sync::{Arc, Mutex, PoisonError};
use understudy_engine::scoreboard::State;
use understudy_engine::{Body, ConnId, Engine, Event, Peer, Report};
use understudy_wire::{Framing, Head, Reject, TargetForm};

const NO_TIME: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 0,
};

#[pyclass(name = "Engine", module = "understudy._engine", frozen)]
pub struct Reactor {
    core: Arc<Core>,
    services: Mutex<Vec<Arc<Service>>>,
    /// Kept between turns for its memory.
    reports: Mutex<Vec<Report>>,
    exhausted: Mutex<Option<Py<PyAny>>>,
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn borrowed<'a>(fd: RawFd) -> PyResult<BorrowedFd<'a>> {
    if fd < 0 {
        return Err(PyValueError::new_err(format!(
            "expected a file descriptor, got {fd}"
        )));
    }
    // SAFETY: it is not -1. Python's caller keeps it open during the call; a
    // number that is none is refused by the kernel.
    Ok(unsafe { BorrowedFd::borrow_raw(fd) })
}

#[pymethods]
impl Reactor {
    #[new]
    fn new() -> PyResult<Self> {
        Ok(Reactor {
            core: Core::new()?,
            services: Mutex::default(),
            reports: Mutex::default(),
            exhausted: Mutex::default(),
        })
    }

    /// Adds another loop's epoll set: `poll` tells when it has something.
    fn nest(&self, fd: RawFd) -> PyResult<()> {
        self.core.engine().nest(borrowed(fd)?).map_err(PyErr::from)
    }

    /// One turn: waits at most `timeout` seconds (None: for ever) and serves
    /// what is ready. True if the nested set is ready. The GIL is released
    /// only around a wait that can block.
    ///
    /// Raises only what is meant to end the process, such as SystemExit.
    fn poll(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<bool> {
        // What is called here may give asyncio something to do: then no wait.
        let timeout = if self.serve(py)? { Some(0.0) } else { timeout };
        let (waiter, wait_ms) = {
            let mut engine = self.core.engine();
            (engine.waiter(), engine.prepare())
        };
        let mut reports = std::mem::take(&mut *locked(&self.reports));
        match shorter(timeout, wait_ms) {
            Some(wait) if wait == NO_TIME => waiter.wait(Some(&wait), &mut reports),
            wait => py.detach(|| waiter.wait(wait.as_ref(), &mut reports)),
        }
        self.core.engine().woken(&reports);
        reports.clear();
        *locked(&self.reports) = reports;
        self.serve(py)?;
        Ok(self.core.engine().end_turn())
    }

    /// Serves the clients of a listening, non-blocking socket; the
    /// descriptor is duplicated. Returns the listener's number.
    ///
    /// Raises OSError.
    #[pyo3(signature = (fd, service, **options))]
    fn listen(
        &self,
        py: Python<'_>,
        fd: RawFd,
        service: &Bound<'_, PyAny>,
        options: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<u32> {
        let none = PyDict::new(py);
        let options = options.unwrap_or(&none);
        let socket = borrowed(fd)?.try_clone_to_owned()?;
        let service = Arc::new(Service::new(service, options)?);
        let number = self.core.engine().listen(socket, settings(options)?)?;
        locked(&self.services).push(service);
        Ok(number)
    }

    /// Ends listening; connections live on.
    fn unlisten(&self, listener: u32) {
        self.core.engine().unlisten(listener);
    }

    /// Pauses or resumes accepting.
    fn accepting(&self, listener: u32, yes: bool) -> PyResult<()> {
        let result = self.core.engine().accepting(listener, yes);
        result.map_err(PyErr::from)
    }

    /// Makes this forked process the worker of slot `index`. While it has
    /// `concurrency` requests in flight it accepts no client, unless `gate`
    /// is readable and the scoreboard says overcommit.
    ///
    /// Raises OSError.
    fn join_pool(
        &self,
        scoreboard: &Bound<'_, PyScoreboard>,
        index: usize,
        concurrency: u32,
        gate: RawFd,
    ) -> PyResult<()> {
        let gate: OwnedFd = borrowed(gate)?.try_clone_to_owned()?;
        let slot = scoreboard.borrow_mut().enter(index, concurrency)?;
        self.core.engine().join_pool(slot, concurrency, gate);
        Ok(())
    }

    /// Worker: tells the pool that it is a spare now.
    fn enter_pool(&self) {
        if let Some(slot) = self.core.engine().slot() {
            slot.set_state(State::Spare);
        }
    }

    /// Worker: whether the whole server is shutting down.
    #[getter]
    fn pool_stops(&self) -> bool {
        self.core
            .engine()
            .slot()
            .is_some_and(|slot| slot.stopping())
    }

    /// Calls `callback()` once after that many requests.
    fn set_max_requests(&self, requests: u64, callback: Py<PyAny>) {
        *locked(&self.exhausted) = Some(callback);
        self.core.engine().set_max_requests(requests);
    }

    /// Worker: tells the pool that it leaves and is not to be counted on.
    fn leave_pool(&self) {
        if let Some(slot) = self.core.engine().slot() {
            slot.set_state(State::Draining);
        }
    }

    /// Closes a listener for good. Its connections may ask once more within
    /// `linger` seconds; the service's `_empty()` is called when the last one
    /// is gone.
    fn drain(&self, listener: u32, linger: f64) {
        let linger_ms = (linger * 1000.0) as u64;
        self.core.engine().drain(listener, linger_ms);
    }

    /// Closes every connection of a listener at once, whatever it owes.
    fn cut(&self, listener: u32) {
        self.core.engine().cut(listener);
    }

    /// Closes every listener and connection of this process, and nothing
    /// else: a forked child may call it on the copy that it was born with.
    fn close(&self) -> PyResult<()> {
        // No epoll_ctl here: the set may be the parent's as well.
        *self.core.engine() = Engine::new()?;
        *self.core.waiting() = Default::default();
        locked(&self.services).clear();
        Ok(())
    }

    /// Open connections.
    #[getter]
    fn connections(&self) -> usize {
        self.core.engine().connections()
    }

    /// Requests that are with the application.
    #[getter]
    fn in_flight(&self) -> u32 {
        self.core.engine().in_flight()
    }
}

/// The shorter of two waits; the engine's comes in milliseconds.
fn shorter(timeout_s: Option<f64>, wait_ms: Option<u64>) -> Option<Timespec> {
    let ours = wait_ms.map(|ms| ms.saturating_mul(1_000_000));
    let theirs = timeout_s.map(|seconds| (seconds.clamp(0.0, 1e9) * 1e9).ceil() as u64);
    let ns = [ours, theirs].into_iter().flatten().min()?;
    Some(Timespec {
        tv_sec: (ns / 1_000_000_000) as i64,
        tv_nsec: (ns % 1_000_000_000) as _,
    })
}

impl Reactor {
    /// Everything that has happened, until nothing more has. True if
    /// anything had.
    fn serve(&self, py: Python<'_>) -> PyResult<bool> {
        let mut any = false;
        loop {
            let event = self.core.engine().next_event();
            let result = match event {
                Some(event) => self.handle(py, event),
                None => return Ok(any),
            };
            any = true;
            self.adopt_orphans(py);
            match result {
                // A service answers for its own exceptions. What is left is
                // an error of ours, or somebody who wants the process to end.
                Err(error) if error.is_instance_of::<PyException>(py) => {
                    error.write_unraisable(py, None);
                }
                result => result?,
            }
        }
    }

    fn handle(&self, py: Python<'_>, event: Event) -> PyResult<()> {
        match event {
            Event::Request {
                conn,
                listener,
                peer,
                bytes,
                head,
            } => self.request(py, (conn, peer), listener, bytes, head),
            Event::Body { conn, body } => self.body(py, conn, body),
            Event::Malformed {
                conn,
                listener,
                peer,
                reject,
            } => self.malformed(py, (conn, peer), listener, reject),
            Event::Drained { conn } => {
                let callback = self.core.waiting().drained.remove(&conn);
                match callback {
                    Some(callback) => callback.call1(py, (true,)).map(drop),
                    None => Ok(()),
                }
            }
            Event::Closed {
                conn,
                listener,
                peer,
                interrupted,
            } => self.closed(py, (conn, peer), listener, interrupted),
            Event::Starved { listener, error } => {
                let text = format!(
                    "no clients are accepted for now: {error}; raise the limit of open files (ulimit -n) or lower the number of connections"
                );
                self.trouble(py, listener, &text)
            }
            Event::Recovered { listener } => {
                self.trouble(py, listener, "clients are accepted again")
            }
            Event::Exhausted => call(py, locked(&self.exhausted).take()),
            Event::Empty { listener } => match self.service(listener) {
                Some(service) => service.empty.call0(py).map(drop),
                None => Ok(()),
            },
        }
    }

    fn service(&self, listener: u32) -> Option<Arc<Service>> {
        locked(&self.services).get(listener as usize).cloned()
    }

    fn request(
        &self,
        py: Python<'_>,
        client: (ConnId, Peer),
        listener: u32,
        bytes: Vec<u8>,
        head: Head,
    ) -> PyResult<()> {
        let Some(service) = self.service(listener) else {
            return Ok(());
        };
        let tunnel = head.form == TargetForm::Authority && !service.proxy_mode;
        let bodied = !matches!(head.framing, Framing::None | Framing::Length(0));
        let request = Py::new(py, Request::new(&self.core, &service, client, bytes, head))?;
        let asked = Some(request.clone_ref(py));
        let response = Response::new(&self.core, &service, client, asked);
        let response = Py::new(py, response)?;
        if tunnel {
            return self.refuse_tunnel(py, &response);
        }
        if !bodied {
            return service.request.call1(py, (request, response)).map(drop);
        }
        let arguments = (request.clone_ref(py), response.clone_ref(py));
        let wanted = service.head.call1(py, arguments)?.is_truthy(py)?;
        if wanted && self.core.engine().collect(client.0).is_ok() {
            let mut waiting = self.core.waiting();
            waiting.bodies.insert(client.0, (request, response));
        }
        Ok(())
    }

    /// CONNECT, and no handler that could open a tunnel: the methods that are
    /// allowed on such a target are none (RFC 9110, section 15.5.6).
    fn refuse_tunnel(&self, py: Python<'_>, response: &Py<Response>) -> PyResult<()> {
        let response = response.bind(py);
        response.setattr("code", 405)?;
        response.call_method1("header", ("Allow", ""))?;
        Response::done(response)
    }

    fn body(&self, py: Python<'_>, conn: ConnId, body: std::io::Result<Body>) -> PyResult<()> {
        let Some((request, response)) = self.core.waiting().bodies.remove(&conn) else {
            return Ok(());
        };
        let (service, peer) = {
            let request = request.borrow(py);
            (Arc::clone(&request.service), request.peer)
        };
        match body {
            Ok(body) => {
                request.borrow_mut(py).set_body(body);
                service.body.call1(py, (request, response)).map(drop)
            }
            Err(error) => {
                response.borrow_mut(py).give_up();
                self.core.engine().reject(conn, &NO_ROOM);
                let text = format!(
                    "a request body could not be kept: {error}; make room or set spool_dir"
                );
                let result = service.trouble.call1(py, (text, peer.to_string()));
                result.map(drop)
            }
        }
    }

    fn malformed(
        &self,
        py: Python<'_>,
        client: (ConnId, Peer),
        listener: u32,
        reject: Reject,
    ) -> PyResult<()> {
        self.forget_body(py, client.0);
        let Some(service) = self.service(listener) else {
            return Ok(());
        };
        let response = Py::new(py, Response::new(&self.core, &service, client, None))?;
        let arguments = (
            response.clone_ref(py),
            reject.status,
            reject.reason,
            client.1.to_string(),
        );
        let taken = service.malformed.call1(py, arguments);
        if !matches!(&taken, Ok(taken) if taken.is_truthy(py)?) {
            response.borrow_mut(py).give_up();
            self.core.engine().reject(client.0, &reject);
        }
        taken.map(drop)
    }

    fn closed(
        &self,
        py: Python<'_>,
        client: (ConnId, Peer),
        listener: u32,
        interrupted: Option<&'static str>,
    ) -> PyResult<()> {
        self.forget_body(py, client.0);
        let (drained, gone, closed) = {
            let mut waiting = self.core.waiting();
            (
                waiting.drained.remove(&client.0),
                waiting.gone.remove(&client.0),
                waiting.closed.remove(&client.0),
            )
        };
        if let Some(callback) = drained {
            callback.call1(py, (false,))?;
        }
        for callback in gone.into_iter().chain(closed.into_iter().flatten()) {
            call(py, Some(callback))?;
        }
        match (interrupted, self.service(listener)) {
            (Some(text), Some(service)) => {
                let arguments = (text, client.1.to_string());
                service.trouble.call1(py, arguments).map(drop)
            }
            _ => Ok(()),
        }
    }

    /// The body that a handler waited for will not come.
    fn forget_body(&self, py: Python<'_>, conn: ConnId) {
        let forgotten = self.core.waiting().bodies.remove(&conn);
        if let Some((_, response)) = forgotten {
            response.borrow_mut(py).give_up();
        }
    }

    fn trouble(&self, py: Python<'_>, listener: u32, text: &str) -> PyResult<()> {
        match self.service(listener) {
            Some(service) => service.trouble.call1(py, (text, py.None())).map(drop),
            None => Ok(()),
        }
    }

    /// Answers for the responses that were dropped without an answer.
    fn adopt_orphans(&self, py: Python<'_>) {
        for orphan in self.core.orphans() {
            let Orphan {
                id,
                service,
                handler,
                streaming,
            } = orphan;
            let peer = {
                let mut engine = self.core.engine();
                let Some(peer) = engine.peer(id) else {
                    continue;
                };
                if streaming {
                    engine.hang_up(id);
                } else {
                    engine.reject(id, &UNANSWERED);
                }
                peer
            };
            let told = service.orphaned.call1(py, (handler, peer.to_string()));
            if let Err(error) = told {
                error.write_unraisable(py, None);
            }
        }
    }
}

fn call(py: Python<'_>, callback: Option<Py<PyAny>>) -> PyResult<()> {
    match callback {
        Some(callback) => callback.call0(py).map(drop),
        None => Ok(()),
    }
}

const UNANSWERED: Reject = Reject {
    status: 500,
    reason: "the application did not answer",
};
const NO_ROOM: Reject = Reject {
    status: 507,
    reason: "the request body could not be kept",
};
