//! `Engine` in Python: a turn of the loop, and the place of this process in
//! its pool.

use crate::call_context::{CallContext, forget_spare};
use crate::core::{Core, locked};
use crate::descriptor::borrowed;
use crate::dispatch::Dispatcher;
use crate::event_queue::EventQueue;
use crate::process::{end_stuck, keep_buffers, lock_at_fork, start_without_signals};
use crate::scoreboard::PyScoreboard;
use crate::service::Service;
use crate::settings::listener_settings;
use crate::tls::TlsConfig;
use prefork_engine::scoreboard::State;
use prefork_engine::{ConnectionId, Queue, Reactor, Report, TurnEnd};
use pyo3::exceptions::{PyKeyboardInterrupt, PySystemExit, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyDict;
use rustix::time::Timespec;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// How many turns without an event for Python may follow each other.
const QUIET_TURNS: u32 = 64;

const NO_TIME: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 0,
};

/// The I/O core of one process: it accepts clients, reads requests, calls the
/// services of its listeners, and sends their responses. Listeners are numbered
/// from 0 in the order of `listen()`; an unknown number is ignored.
///
/// Raises OSError if the process has no descriptor left.
#[pyclass(module = "prefork._engine", frozen)]
pub struct Engine {
    core: Arc<Core>,
    dispatcher: Dispatcher,
    /// Reused in each turn, to save an allocation.
    reports: Mutex<Vec<Report>>,
    /// What the events of this engine post.
    queue: Mutex<Option<Py<EventQueue>>>,
}

#[pymethods]
impl Engine {
    #[new]
    fn new(py: Python<'_>) -> PyResult<Self> {
        keep_buffers();
        let core = Core::new()?;
        forget_spare(py);
        Ok(Engine {
            dispatcher: Dispatcher::new(&core),
            core,
            reports: Mutex::default(),
            queue: Mutex::default(),
        })
    }

    /// Adds the epoll set of another loop. `poll()` returns True when that set is
    /// ready.
    ///
    /// Raises ValueError for a negative descriptor, and OSError.
    fn nest(&self, fd: RawFd) -> PyResult<()> {
        self.core.engine().nest(borrowed(fd)?).map_err(PyErr::from)
    }

    /// The descriptor of the epoll set, for another loop to wait for. That loop
    /// calls `poll(0)` when the descriptor is readable, and after `due()`.
    ///
    /// Raises ValueError if the engine is closed.
    fn fileno(&self) -> PyResult<RawFd> {
        let engine = self.core.engine();
        let fd = engine.fd().map(|fd| fd.as_raw_fd());
        fd.ok_or_else(|| PyValueError::new_err("the engine is closed"))
    }

    /// Seconds until the next turn is due even if `fileno()` is not readable;
    /// None for never. A change after this call makes it readable.
    fn due(&self) -> Option<f64> {
        let due_ms = self.core.engine().prepare_elsewhere();
        due_ms.map(|ms| ms as f64 / 1000.0)
    }

    /// One turn: waits at most `timeout` seconds, with None without a limit, and
    /// serves what is ready. Returns True if the nested set is ready. The GIL is
    /// released only around a wait that can block.
    ///
    /// Raises SystemExit and KeyboardInterrupt if a service raises them; any
    /// other exception costs one request and goes to `sys.unraisablehook`.
    /// Raises OSError if the epoll set is unusable.
    fn poll(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<bool> {
        Ok(self.turn(py, timeout)? == TurnEnd::Nested)
    }

    /// As `poll()`, for a loop that has nothing else to do: takes more turns, within
    /// `timeout` in all, while they bring nothing for Python, as the steps of a
    /// handshake.
    fn select(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<bool> {
        let limited = timeout.filter(|&timeout| timeout > 0.0);
        let began = limited.map(|timeout| (Instant::now(), timeout));
        let mut end = self.turn(py, timeout)?;
        for _ in 0..QUIET_TURNS {
            if end != TurnEnd::Quiet || timeout == Some(0.0) {
                break;
            }
            py.check_signals()?;
            let left = began.map(|(began, timeout)| timeout - began.elapsed().as_secs_f64());
            if left.is_some_and(|left| left <= 0.0) {
                break;
            }
            end = self.turn(py, left)?;
        }
        Ok(end == TurnEnd::Nested)
    }

    /// Serves the clients of a listening, non-blocking socket, whose descriptor
    /// is duplicated. With `tls` their connections are encrypted. The attributes of
    /// `service` are looked up now. Returns the listener's number. `own` is what the
    /// environ or the scope of its requests has instead of the values of the base.
    ///
    /// Raises AttributeError or TypeError if the service misses an attribute or
    /// an option is not of its type, ValueError for a negative descriptor, and
    /// OSError.
    #[pyo3(signature = (fd, service, options, tls = None, own = None))]
    fn listen(
        &self,
        py: Python<'_>,
        fd: RawFd,
        service: &Bound<'_, PyAny>,
        options: &Bound<'_, PyAny>,
        tls: Option<&TlsConfig>,
        own: Option<Py<PyDict>>,
    ) -> PyResult<u32> {
        let tls = tls.map(|tls| tls.config.clone());
        let settings = listener_settings(options)?;
        let socket = borrowed(fd)?.try_clone_to_owned()?;
        let service = Arc::new(Service::new(&self.core, service, options, own)?);
        let number = {
            let mut engine = self.core.engine();
            if let Some(log) = &service.interface.access_log {
                engine.log_to(log);
            }
            engine.listen(socket, settings, tls)?
        };
        self.dispatcher.add_service(py, service);
        Ok(number)
    }

    /// Opens the file of the access log again, because it was renamed.
    fn reopen_log(&self) {
        self.core.engine().reopen_log();
    }

    /// Closes a listener. Its connections stay open.
    fn unlisten(&self, listener: u32) {
        self.core.engine().listener(listener).close();
    }

    /// Pauses accepting new connections, or resumes it.
    ///
    /// Raises OSError.
    fn accepting(&self, listener: u32, yes: bool) -> PyResult<()> {
        let result = self.core.engine().listener(listener).set_accepting(yes);
        result.map_err(PyErr::from)
    }

    /// Makes this forked process the worker of slot `index`. While it has
    /// `concurrency` requests in flight, it accepts no connection unless the
    /// descriptor `overcommit_fd` is readable and the scoreboard says overcommit.
    /// The pool has at most `workers` workers: a client of HTTP/2 may have as many
    /// streams open as they can serve. It is duplicated; the scoreboard
    /// is closed in this process.
    ///
    /// Raises OSError, and RuntimeError if the scoreboard is not the manager's.
    fn join_pool(
        &self,
        scoreboard: &Bound<'_, PyScoreboard>,
        index: usize,
        concurrency: u32,
        workers: u32,
        overcommit_fd: RawFd,
    ) -> PyResult<()> {
        let overcommit_fd: OwnedFd = borrowed(overcommit_fd)?.try_clone_to_owned()?;
        let slot = scoreboard.borrow_mut().enter(index, concurrency)?;
        self.core
            .engine()
            .join_pool(slot, concurrency, workers, overcommit_fd);
        Ok(())
    }

    /// Worker: hands connections off to the other workers through the socket
    /// `send_fd`, and adopts theirs from `receive_fd`. Both are duplicated.
    ///
    /// Raises OSError.
    fn join_queue(&self, send_fd: RawFd, receive_fd: RawFd) -> PyResult<()> {
        let queue = Queue::new(
            borrowed(send_fd)?.try_clone_to_owned()?,
            borrowed(receive_fd)?.try_clone_to_owned()?,
        );
        self.core.engine().join_queue(queue);
        Ok(())
    }

    /// Worker: kills this process when the process `manager` has ended; with a guard
    /// also while this thread is stuck. Unlike `die_with_parent`, a process that
    /// changes its user keeps it.
    ///
    /// Raises OSError.
    fn end_with(&self, manager: i32) -> PyResult<()> {
        self.core.engine().end_with(manager).map_err(PyErr::from)
    }

    /// Worker: starts the guard, a native thread that acts while this one is
    /// stuck: it hands connections off, and ends the process at the request
    /// timeout, or if this thread is blocked for `heartbeat` seconds; 0 disables
    /// that. It handles no signal but TRACEBACKS.
    ///
    /// Raises OSError.
    fn start_guard(&self, heartbeat: f64) -> PyResult<()> {
        lock_at_fork(&self.core.engine);
        let heartbeat = Duration::try_from_secs_f64(heartbeat).ok();
        let heartbeat = heartbeat.filter(|heartbeat| !heartbeat.is_zero());
        start_without_signals(|| Reactor::start_guard(&self.core.engine, heartbeat, end_stuck))
            .map_err(PyErr::from)
    }

    /// Worker: becomes a spare on the scoreboard, and wakes the manager.
    fn enter_pool(&self) {
        self.core.engine().enter_pool();
    }

    /// Worker: whether the manager shuts the whole pool down; False outside of
    /// one.
    #[getter]
    fn pool_stops(&self) -> bool {
        self.core
            .engine()
            .slot()
            .is_some_and(|slot| slot.stopping())
    }

    /// Worker: the lowest level that the log shows, as `logging` counts it, if
    /// the manager has changed it; 0 if not, and outside of a pool.
    #[getter]
    fn pool_log_level(&self) -> u32 {
        self.core.engine().slot().map_or(0, |slot| slot.log_level())
    }

    /// Worker: has the manager spawn another one, and then end this one. It serves
    /// until then.
    fn ask_for_successor(&self) {
        if let Some(slot) = self.core.engine().slot() {
            slot.ask_for_successor();
        }
    }

    /// Has `callback()` called once, when this process has taken that many
    /// requests.
    fn set_max_requests(&self, requests: u64, callback: Py<PyAny>) {
        self.core.engine().set_max_requests(requests);
        self.dispatcher.when_request_limit_reached(callback);
    }

    /// Has `callback(what, turns)` called when a descriptor of the engine is
    /// unusable, because the program closed it or a process that shares it shut it
    /// down. `what` says which, and the system's error. The process must end: at
    /// once if `turns` is False, or when its requests are done.
    fn when_broken(&self, callback: Py<PyAny>) {
        self.dispatcher.when_broken(callback);
    }

    /// Sets how many requests the services can serve at once, without a limit by
    /// default. No more are begun: their connections are handed off, or wait.
    fn set_capacity(&self, requests: u32) {
        self.core.engine().set_capacity(requests);
    }

    /// While set, no request is begun. A service sets it when it returns in the
    /// middle of a response that must be over before this thread serves another.
    fn set_occupied(&self, yes: bool) {
        self.core.engine().set_occupied(yes);
    }

    /// Worker: becomes draining on the scoreboard.
    fn leave_pool(&self) {
        if let Some(slot) = self.core.engine().slot() {
            slot.set_state(State::Draining);
        }
    }

    /// Closes a listener and drains its connections: those between requests may
    /// bring one more within `idle` seconds, then each is closed after its
    /// response. `drained()` is called when the last one is closed.
    fn drain(&self, listener: u32, idle: f64, drained: Py<PyAny>) {
        let idle_ms = (idle * 1000.0) as u64;
        self.dispatcher.when_drained(listener, drained);
        self.core.engine().listener(listener).drain(idle_ms);
    }

    /// Closes every connection of a listener at once, even in the middle of a
    /// response.
    fn abort(&self, listener: u32) {
        self.core.engine().listener(listener).abort_connections();
    }

    /// Closes the descriptors of this process: the epoll set, every listener and
    /// connection.
    fn close(&self) {
        self.core.engine().close();
        self.dispatcher.clear();
        self.deliver(None);
    }

    /// Delivers what is posted to `queue` while an event of this engine is
    /// served right after that event, in the same turn; with None not any more.
    fn deliver(&self, queue: Option<Py<EventQueue>>) {
        let former = std::mem::replace(&mut *locked(&self.queue), queue);
        drop(former); // after the lock is released: freeing it may run Python
    }

    /// Has `callback()` called once when the connection with this `id` closes.
    /// Returns False, and does not call it, if there is no such connection.
    fn when_closed(&self, connection: &Bound<'_, PyAny>, callback: Py<PyAny>) -> bool {
        let id = connection.extract::<u64>().map(ConnectionId::from_u64);
        id.is_ok_and(|id| self.core.when_closed(id, callback))
    }

    /// In a forked child, at once after the fork: closes its copies of the
    /// descriptors. It takes nothing out of the epoll set, which the child shares
    /// with its parent, and no client notices.
    fn discard(&self) {
        self.core.engine().discard();
        self.dispatcher.discard();
    }

    /// The number of open connections.
    #[getter]
    fn connections(&self) -> usize {
        self.core.engine().connections()
    }

    /// The number of requests that were handed to a service and have no complete
    /// response.
    #[getter]
    fn in_flight(&self) -> u32 {
        self.core.engine().in_flight()
    }
}

/// The shorter of two waits. The engine's is in milliseconds.
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
    fn turn(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<TurnEnd> {
        // A task may have dropped its response between two turns. The service
        // that is called for it may schedule work for asyncio: then there is no
        // wait.
        let has_called = self.dispatcher.respond_to_unanswered(py);
        let timeout = if has_called { Some(0.0) } else { timeout };
        let (waiter, wait_ms) = {
            let mut engine = self.core.engine();
            (engine.waiter(), engine.prepare())
        };
        let mut reports = std::mem::take(&mut *locked(&self.reports));
        let waited = match shorter(timeout, wait_ms) {
            Some(wait) if wait == NO_TIME => waiter.wait(Some(&wait), &mut reports),
            wait => py.detach(|| waiter.wait(wait.as_ref(), &mut reports)),
        };
        {
            let mut engine = self.core.engine();
            if let Err(error) = waited {
                engine.lose_set(error);
            }
            engine.woken(&reports);
        }
        drop(waiter); // a child that a handler forks closes the set
        reports.clear();
        *locked(&self.reports) = reports;
        self.serve(py)?;
        let end = self.core.engine().end_turn();
        match waited {
            Ok(()) if has_called && end == TurnEnd::Quiet => Ok(TurnEnd::Served),
            Ok(()) => Ok(end),
            Err(error) => Err(std::io::Error::from(error).into()),
        }
    }

    /// Serves every event of the turn, and delivers what is posted meanwhile.
    fn serve(&self, py: Python<'_>) -> PyResult<()> {
        let queue = locked(&self.queue)
            .as_ref()
            .map(|queue| queue.clone_ref(py));
        let queue = queue.as_ref().map(|queue| queue.bind(py));
        if let Some(queue) = queue {
            EventQueue::set_serving(queue, true)?;
        }
        let served = self.serve_all(py, queue);
        match queue {
            Some(queue) => served.and(EventQueue::set_serving(queue, false)),
            None => served,
        }
    }

    fn serve_all(&self, py: Python<'_>, queue: Option<&Bound<'_, EventQueue>>) -> PyResult<()> {
        let services = self.dispatcher.services();
        let dispatcher = &self.dispatcher;
        let mut next = None; // in one place: an event is large
        loop {
            if catch_panic(|| next = self.core.engine().next_event()).is_none() {
                self.core.engine().abort_current();
                continue;
            }
            if next.is_none() {
                return Ok(());
            }
            let event = &mut next;
            let result = catch_panic(|| {
                let context = match dispatcher.calls_handlers() {
                    true => Some(CallContext::enter(py)?),
                    false => None,
                };
                dispatcher.dispatch(py, &services, event)?;
                match (queue, context) {
                    (Some(queue), context) => EventQueue::deliver(queue, context)?,
                    (None, Some(context)) => context.end(),
                    (None, None) => {}
                }
                PyResult::Ok(())
            });
            // This includes the response to a request whose dispatch panicked.
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

/// Runs `step`. None after a panic, whose message is on standard error then: a
/// panic costs a request or a connection, not the process.
fn catch_panic<T>(step: impl FnOnce() -> T) -> Option<T> {
    catch_unwind(AssertUnwindSafe(step)).ok()
}
