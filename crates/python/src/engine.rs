//! `Engine` in Python: a turn of the loop, and the place of this process in
//! its pool.

use crate::core::{Core, locked};
use crate::descriptor::borrowed;
use crate::dispatch::Dispatcher;
use crate::process::{end_stuck, hold_at_fork};
use crate::scoreboard::PyScoreboard;
use crate::service::Service;
use crate::settings::listener_settings;
use prefork_engine::scoreboard::State;
use prefork_engine::{Queue, Report, guard};
use pyo3::exceptions::{PyKeyboardInterrupt, PySystemExit, PyValueError};
use pyo3::prelude::*;
use rustix::time::Timespec;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};

const NO_TIME: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 0,
};

/// The I/O core of one process: it accepts clients, reads requests, calls the
/// services of its listeners, and sends their responses. Listeners are numbered
/// from 0 in the order in which they came; a number that is none does nothing.
#[pyclass(module = "prefork._engine", frozen)]
pub struct Engine {
    core: Arc<Core>,
    dispatcher: Dispatcher,
    /// Kept between turns for its memory.
    reports: Mutex<Vec<Report>>,
}

#[pymethods]
impl Engine {
    /// Raises OSError if the process has no descriptor for the epoll set.
    #[new]
    fn new() -> PyResult<Self> {
        let core = Core::new()?;
        Ok(Engine {
            dispatcher: Dispatcher::new(&core),
            core,
            reports: Mutex::default(),
        })
    }

    /// Adds another loop's epoll set: `poll` tells when it has something.
    fn nest(&self, fd: RawFd) -> PyResult<()> {
        self.core.engine().nest(borrowed(fd)?).map_err(PyErr::from)
    }

    /// For another loop to wait in, which calls `poll(0)` when this is
    /// readable and when `due` says so: the descriptor of the epoll set.
    ///
    /// Raises ValueError if the engine is closed.
    fn fileno(&self) -> PyResult<RawFd> {
        let engine = self.core.engine();
        let fd = engine.fd().map(|fd| fd.as_raw_fd());
        fd.ok_or_else(|| PyValueError::new_err("the engine is closed"))
    }

    /// Seconds until a turn is due that nothing readable announces; None:
    /// never. What changes from now on makes the descriptor readable.
    fn due(&self) -> Option<f64> {
        let due_ms = self.core.engine().prepare_elsewhere();
        due_ms.map(|ms| ms as f64 / 1000.0)
    }

    /// One turn: waits at most `timeout` seconds (None: for ever) and serves
    /// what is ready. True if the nested set is ready. The GIL is released
    /// only around a wait that can block.
    ///
    /// Raises only what is meant to end the process: SystemExit and
    /// KeyboardInterrupt.
    fn poll(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<bool> {
        // A task may have dropped its response between two turns. The service
        // that is told may give asyncio something to do: then there is no wait.
        let timeout = match self.dispatcher.respond_to_unanswered(py) {
            true => Some(0.0),
            false => timeout,
        };
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
    /// descriptor is duplicated. `options` has the attributes of
    /// `ServerOptions`. Returns the listener's number.
    ///
    /// Raises OSError.
    fn listen(
        &self,
        fd: RawFd,
        service: &Bound<'_, PyAny>,
        options: &Bound<'_, PyAny>,
    ) -> PyResult<u32> {
        let settings = listener_settings(options)?;
        let socket = borrowed(fd)?.try_clone_to_owned()?;
        let service = Arc::new(Service::new(&self.core, service, options)?);
        let number = self.core.engine().listen(socket, settings)?;
        self.dispatcher.add_service(service);
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

    /// Worker: from now on connections go to the others through `entrance`,
    /// and come from them through `way_out`.
    ///
    /// Raises OSError.
    fn join_queue(&self, entrance: RawFd, way_out: RawFd) -> PyResult<()> {
        let queue = Queue::new(
            borrowed(entrance)?.try_clone_to_owned()?,
            borrowed(way_out)?.try_clone_to_owned()?,
        );
        self.core.engine().join_queue(queue);
        Ok(())
    }

    /// Worker: a guard stands beside this thread, which must have blocked all
    /// signals but TRACEBACKS: it inherits that.
    ///
    /// Raises OSError.
    fn start_guard(&self) -> PyResult<()> {
        hold_at_fork(&self.core.engine);
        guard::start(&self.core.engine, end_stuck).map_err(PyErr::from)
    }

    /// Worker: tells the pool that it is a spare now.
    fn enter_pool(&self) {
        if let Some(slot) = self.core.engine().slot() {
            slot.set_state(State::Spare);
            slot.wake_manager();
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
        self.core.engine().set_max_requests(requests);
        self.dispatcher.when_exhausted(callback);
    }

    /// Worker: tells the pool that it leaves and is not to be counted on.
    fn leave_pool(&self) {
        if let Some(slot) = self.core.engine().slot() {
            slot.set_state(State::Draining);
        }
    }

    /// Closes a listener for good. Its connections may ask once more within
    /// `linger` seconds; `drained()` is called when the last one is gone.
    fn drain(&self, listener: u32, linger: f64, drained: Py<PyAny>) {
        let linger_ms = (linger * 1000.0) as u64;
        self.dispatcher.when_drained(listener, drained);
        self.core.engine().drain(listener, linger_ms);
    }

    /// Closes every connection of a listener at once, whatever it owes.
    fn abort(&self, listener: u32) {
        self.core.engine().abort_all(listener);
    }

    /// Closes every listener and connection of this process, and nothing
    /// else: a forked child may call it on the copy that it was born with.
    fn close(&self) {
        self.core.engine().close();
        self.dispatcher.clear();
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

impl Engine {
    /// Everything that has happened, until nothing more has.
    fn serve(&self, py: Python<'_>) -> PyResult<()> {
        let services = self.dispatcher.services();
        loop {
            let event = match surviving(|| self.core.engine().next_event()) {
                Some(Some(event)) => event,
                Some(None) => return Ok(()),
                None => {
                    self.core.engine().abort_current();
                    continue;
                }
            };
            let dispatcher = &self.dispatcher;
            let result = surviving(|| dispatcher.dispatch(py, &services, event));
            // Also the response to a request whose dispatch panicked.
            dispatcher.respond_to_unanswered(py);
            match result.unwrap_or(Ok(())) {
                Err(error)
                    if error.is_instance_of::<PySystemExit>(py)
                        || error.is_instance_of::<PyKeyboardInterrupt>(py) =>
                {
                    return Err(error);
                }
                // A service reports its own exceptions.
                Err(error) => error.write_unraisable(py, None),
                Ok(()) => {}
            }
        }
    }
}

/// None after a panic, which is on standard error by then: it costs a request
/// or a connection, never the process.
fn surviving<T>(step: impl FnOnce() -> T) -> Option<T> {
    catch_unwind(AssertUnwindSafe(step)).ok()
}
