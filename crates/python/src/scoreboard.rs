//! The scoreboard as Python sees it: numbers become ints, nanoseconds become
//! seconds, bytes become printable text.
//!
//! Always holds: what a worker wrote is displayed and never relied on, and its
//! text is safe on a terminal.

use crate::descriptor::borrowed;
use prefork_engine::Peer;
use prefork_engine::scoreboard::{
    Board, Figures, Histogram, KeptBoard, Limit, Record, RequestPhase, Slot, Time, Value, View,
    coarse_bounds_ns,
};
use pyo3::exceptions::{PyRuntimeError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList, PyTuple};
use rustix::time::{ClockId, clock_gettime};
use std::os::fd::{AsRawFd, RawFd};

/// How many clients of a listening TCP socket wait to be accepted (tcp(7), TCP_INFO).
/// None: it is a socket of another kind, which does not tell.
///
/// Raises ValueError for a negative number.
#[pyfunction]
pub fn accept_queue_length(fileno: RawFd) -> PyResult<Option<usize>> {
    Ok(prefork_engine::accept_queue_length(borrowed(fileno)?))
}

/// How many connections are in the queue between workers with this receiving end.
///
/// Raises ValueError for a negative number.
#[pyfunction]
pub fn queue_length(fileno: RawFd) -> PyResult<usize> {
    Ok(prefork_engine::queue_length(borrowed(fileno)?))
}

/// Where each bucket of `Scoreboard.times()` begins, in seconds.
#[pyfunction]
pub fn time_bounds(py: Python<'_>) -> PyResult<Bound<'_, PyTuple>> {
    PyTuple::new(py, coarse_bounds_ns().map(seconds))
}

enum Role {
    Manager(Board),
    Reader(View),
    /// Of a worker that may fork workers later.
    Kept(KeptBoard),
    /// Closed, or this process has become a worker, which has only its slot.
    Gone,
}

/// The shared memory in which a pool sees its workers: a page for the manager
/// and one for each slot. Every method but `close()` raises RuntimeError after
/// `close()`, and in a process that became a worker; those of the manager do so
/// for one that was attached.
#[pyclass(name = "Scoreboard", module = "prefork._engine")]
pub struct PyScoreboard {
    role: Role,
}

impl PyScoreboard {
    /// Makes this forked process the worker of a slot. The scoreboard is closed in it, also on
    /// failure.
    pub(crate) fn enter(&mut self, index: usize, concurrency: u32) -> PyResult<Slot> {
        self.manager()?;
        match std::mem::replace(&mut self.role, Role::Gone) {
            Role::Manager(board) => Ok(board.enter(index, concurrency)?),
            Role::Reader(_) | Role::Kept(_) | Role::Gone => Err(gone()),
        }
    }

    fn manager(&self) -> PyResult<&Board> {
        match &self.role {
            Role::Manager(board) => Ok(board),
            Role::Reader(_) => Err(PyRuntimeError::new_err(
                "expected the manager's scoreboard, this one was attached to read",
            )),
            Role::Kept(_) | Role::Gone => Err(gone()),
        }
    }

    fn view(&self) -> PyResult<&View> {
        match &self.role {
            Role::Manager(board) => Ok(board.view()),
            Role::Reader(view) => Ok(view),
            Role::Kept(_) | Role::Gone => Err(gone()),
        }
    }
}

#[pymethods]
impl PyScoreboard {
    /// Manager: makes the scoreboard of a new pool with that many slots.
    ///
    /// Raises ValueError for 0 slots, and OSError if there is no memory.
    #[staticmethod]
    fn create(capacity: usize) -> PyResult<Self> {
        if capacity == 0 {
            return Err(PyValueError::new_err(
                "expected a capacity of at least one slot, got 0",
            ));
        }
        Ok(Self {
            role: Role::Manager(Board::create(capacity)?),
        })
    }

    /// Opens a scoreboard to read, given its memory file. The descriptor stays
    /// the caller's.
    ///
    /// Raises ValueError if the file is not a scoreboard of this version, and
    /// OSError if it cannot be mapped.
    #[staticmethod]
    fn attach(fd: RawFd) -> PyResult<Self> {
        let view = View::attach(borrowed(fd)?).map_err(|error| match error.raw_os_error() {
            Some(_) => PyErr::from(error),
            None => {
                PyValueError::new_err("expected the sealed memory of a scoreboard of this version")
            }
        })?;
        Ok(Self {
            role: Role::Reader(view),
        })
    }

    /// Manager: the descriptor of the memory file.
    fn fileno(&self) -> PyResult<RawFd> {
        Ok(self.manager()?.file().as_raw_fd())
    }

    /// Manager: the descriptor of an eventfd that becomes readable when a worker
    /// saw that spares are missing.
    fn wakeup_fileno(&self) -> PyResult<RawFd> {
        Ok(self.manager()?.wakeup().as_raw_fd())
    }

    /// The number of slots, which are counted from 0.
    #[getter]
    fn capacity(&self) -> PyResult<usize> {
        Ok(self.view()?.capacity())
    }

    /// Manager: takes an empty slot for a worker that is about to be forked.
    /// Returns False if the slot is taken.
    fn claim(&self, index: usize, generation: u32) -> PyResult<bool> {
        Ok(self.manager()?.claim(index, generation, monotonic_ns()))
    }

    /// Manager: empties the slot of a worker that has ended, and adds its totals
    /// to the header's.
    fn clear(&self, index: usize) -> PyResult<()> {
        self.manager()?.clear(index);
        Ok(())
    }

    /// Manager: sets fields of the header by name.
    ///
    /// Raises TypeError for a name that is not a field or a number that does not
    /// fit it.
    #[pyo3(signature = (**fields))]
    fn publish(&self, fields: Option<&Bound<'_, PyDict>>) -> PyResult<()> {
        let board = self.manager()?;
        let mut header = board.view().header();
        for (name, value) in fields.into_iter().flatten() {
            let name: String = name.extract()?;
            if !header.set(&name, value.extract()?) {
                return Err(PyTypeError::new_err(format!(
                    "expected a field of the header and a number that fits it, got {name}={value}"
                )));
            }
        }
        board.publish(&header);
        Ok(())
    }

    /// The header: what the manager published.
    fn header<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let dict = PyDict::new(py);
        for (name, value) in self.view()?.header().fields() {
            match value {
                Value::Flag(flag) => dict.set_item(name, flag)?,
                Value::Number(number) => dict.set_item(name, number)?,
            }
        }
        Ok(dict)
    }

    /// The state of each slot as one byte: 0 empty, 1 starting, 2 spare,
    /// 3 active, 4 draining.
    fn states<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        let states: Vec<u8> = self
            .view()?
            .states()
            .into_iter()
            .map(|state| state as u8)
            .collect();
        Ok(PyBytes::new(py, &states))
    }

    /// When each worker last showed that its process runs, by slot: its loop
    /// turned, or its guard ticked, which it does while the main thread is in a
    /// slow call. In nanoseconds of the monotonic clock; 0 if it has no request in
    /// flight.
    fn signs<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        PyList::new(py, self.view()?.signs_ns())
    }

    /// The slots whose workers have served as many requests as they may.
    fn asking_for_successors(&self) -> PyResult<Vec<usize>> {
        Ok(self.view()?.asking_for_successors())
    }

    /// What the worker of a slot wrote about itself; None if the slot is empty.
    /// It is to be displayed and never relied on. Without `figures`, what it counts for people
    /// is left out.
    #[pyo3(signature = (index, figures = true))]
    fn read<'py>(
        &self,
        py: Python<'py>,
        index: usize,
        figures: bool,
    ) -> PyResult<Option<Bound<'py, PyDict>>> {
        let Some(record) = self.view()?.read(index) else {
            return Ok(None);
        };
        let dict = dict_of(py, &record)?;
        if figures {
            set_figures(&dict, &record.figures)?;
        }
        Ok(Some(dict))
    }

    /// How many responses of a slot's worker took how long, by the buckets of
    /// `time_bounds()`; None if the slot is empty. To be compared, and never
    /// relied on.
    fn times<'py>(&self, py: Python<'py>, index: usize) -> PyResult<Option<Bound<'py, PyTuple>>> {
        self.view()?
            .times(index)
            .map(|times| PyTuple::new(py, times))
            .transpose()
    }

    /// What all workers have counted for people, as `read()` has it of one: also those that have ended, and
    /// not those that have written what cannot be true.
    fn totals<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let dict = PyDict::new(py);
        set_figures(&dict, &self.view()?.totals())?;
        Ok(dict)
    }

    /// How long the requests of `totals()` took: for `wait`, `application` and `last_byte` a list of
    /// cumulative buckets. Each is how many took less than so many seconds; the last one has all, and its bound
    /// is infinite. `parts` is how many buckets there are for each power of two: 1, 2, 4, 8 or 16.
    #[pyo3(signature = (parts = 2))]
    fn histograms<'py>(&self, py: Python<'py>, parts: usize) -> PyResult<Bound<'py, PyDict>> {
        let dict = PyDict::new(py);
        let totals = self.view()?.totals();
        for time in Time::ALL {
            let buckets = totals.time(time).cumulative(parts);
            let buckets = buckets
                .into_iter()
                .map(|(bound, count)| (bound.map_or(f64::INFINITY, seconds), count));
            dict.set_item(
                time_name(time),
                PyList::new(py, buckets.collect::<Vec<_>>())?,
            )?;
        }
        Ok(dict)
    }

    /// In a process that becomes a worker, and may fork workers later: a scoreboard for these,
    /// which is closed until `open()`.
    ///
    /// Raises OSError.
    fn keep(&self) -> PyResult<Self> {
        Ok(Self {
            role: Role::Kept(self.manager()?.keep()?),
        })
    }

    /// Opens what `keep()` returned: this process serves no longer, and forks workers. Nothing
    /// happens to any other scoreboard.
    ///
    /// Raises OSError.
    fn open(&mut self) -> PyResult<()> {
        self.role = match std::mem::replace(&mut self.role, Role::Gone) {
            Role::Kept(board) => Role::Manager(board.open()?),
            other => other,
        };
        Ok(())
    }

    /// Unmaps the memory. Every other method raises RuntimeError from then on.
    fn close(&mut self) {
        self.role = Role::Gone;
    }
}

fn dict_of<'py>(py: Python<'py>, record: &Record) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    dict.set_item("state", record.state.to_string())?;
    dict.set_item("pid", record.pid)?;
    dict.set_item("generation", record.generation)?;
    dict.set_item("started", seconds(record.started_ns))?;
    dict.set_item("turned", seconds(record.turned_ns))?;
    dict.set_item("beat", seconds(record.beat_ns))?;
    dict.set_item("requests", record.counters.requests)?;
    dict.set_item("bytes_in", record.counters.bytes_in)?;
    dict.set_item("bytes_out", record.counters.bytes_out)?;
    dict.set_item("connections", record.counters.connections)?;
    dict.set_item("in_flight", record.in_flight)?;
    dict.set_item("waiting", record.waiting)?;
    dict.set_item("lag", seconds(record.lag_ns))?;
    dict.set_item("handed_off", record.counters.handed_off)?;
    dict.set_item("adopted", record.counters.adopted)?;
    for (limit, count) in Limit::ALL.into_iter().zip(record.counters.limited) {
        dict.set_item(limited_name(limit), count)?;
    }
    dict.set_item("responses", record.counters.responses)?;
    dict.set_item("errors", record.counters.errors)?;
    dict.set_item("log_lost", record.counters.log_lost)?;
    dict.set_item("response_s", seconds(record.counters.response_ns))?;
    dict.set_item("busy_s", seconds(record.counters.busy_ns))?;
    dict.set_item("is_garbled", record.is_garbled)?;
    let request = record.request.as_ref();
    dict.set_item("method", request.map(|request| printable(&request.method)))?;
    dict.set_item("path", request.map(|request| printable(&request.path)))?;
    let client = request.and_then(|request| match request.client {
        Peer::Unknown => None,
        client => Some(client.to_string()),
    });
    dict.set_item("client", client)?;
    dict.set_item("phase", request.map(|request| phase_name(request.phase)))?;
    dict.set_item(
        "request_started",
        request.map(|request| seconds(request.started_ns)),
    )?;
    Ok(dict)
}

/// The classes of statuses.
const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

/// What is counted for people, under the names of the report.
fn set_figures(dict: &Bound<'_, PyDict>, figures: &Figures) -> PyResult<()> {
    let py = dict.py();
    let classes = PyDict::new(py);
    for (name, count) in CLASSES.into_iter().zip(figures.classes()) {
        classes.set_item(name, count)?;
    }
    dict.set_item("classes", classes)?;
    let statuses = PyDict::new(py);
    for (status, count) in figures.statuses().filter(|(_, count)| *count > 0) {
        statuses.set_item(status.to_string(), count)?;
    }
    let others = CLASSES.into_iter().zip(figures.others());
    for (name, count) in others.filter(|(_, count)| *count > 0) {
        statuses.set_item(name, count)?;
    }
    dict.set_item("statuses", statuses)?;
    let tls = PyDict::new(py);
    tls.set_item("handshakes", figures.handshakes)?;
    tls.set_item("resumed", figures.resumed)?;
    dict.set_item("tls", tls)?;
    let http2 = PyDict::new(py);
    http2.set_item("connections", figures.http2_connections)?;
    http2.set_item("streams", figures.http2_streams)?;
    dict.set_item("http2", http2)?;
    for time in Time::ALL {
        dict.set_item(time_name(time), summary(py, figures.time(time))?)?;
    }
    Ok(())
}

fn summary<'py>(py: Python<'py>, times: &Histogram) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    dict.set_item("count", times.count())?;
    dict.set_item("sum_s", seconds(times.sum_ns))?;
    for (name, share) in [("p50_s", 0.5), ("p90_s", 0.9), ("p99_s", 0.99)] {
        dict.set_item(name, times.quantile_ns(share).map(seconds))?;
    }
    Ok(dict)
}

fn time_name(time: Time) -> &'static str {
    match time {
        Time::Wait => "wait",
        Time::Application => "application",
        Time::LastByte => "last_byte",
    }
}

fn phase_name(phase: RequestPhase) -> &'static str {
    match phase {
        RequestPhase::Handling => "handling",
        RequestPhase::Streaming => "streaming",
        RequestPhase::Open => "open",
    }
}

fn limited_name(limit: Limit) -> &'static str {
    match limit {
        Limit::Address => "limited_address",
        Limit::Connections => "limited_connections",
        Limit::Queue => "limited_queue",
        Limit::Requests => "limited_requests",
        Limit::Line => "limited_line",
        Limit::Head => "limited_head",
        Limit::Body => "limited_body",
        Limit::Rate => "limited_rate",
    }
}

fn gone() -> PyErr {
    PyRuntimeError::new_err(
        "the scoreboard was closed, or belongs to the manager and this process is a worker",
    )
}

fn seconds(ns: u64) -> f64 {
    ns as f64 / 1e9
}

fn monotonic_ns() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec.unsigned_abs() * 1_000_000_000 + now.tv_nsec.unsigned_abs()
}

/// Text that is safe on a terminal: all but printable ASCII is escaped.
fn printable(bytes: &[u8]) -> String {
    bytes.iter().fold(
        String::with_capacity(bytes.len()),
        |text, &byte| match byte {
            b' '..=b'~' if byte != b'\\' => text + char::from(byte).encode_utf8(&mut [0; 4]),
            _ => text + &format!("\\x{byte:02x}"),
        },
    )
}
