//! The scoreboard as Python sees it: numbers become ints, nanoseconds become seconds, bytes
//! become printable text.

use std::os::fd::{AsRawFd, BorrowedFd, RawFd};

use prefork_engine::scoreboard::{Board, Record, Slot, Value, View};
use pyo3::exceptions::{PyRuntimeError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};
use rustix::time::{ClockId, clock_gettime};

enum Role {
    Manager(Board),
    Reader(View),
    /// Closed, or this process has become a worker, whose only part of it is its slot.
    Gone,
}

/// The shared memory in which a pool sees its workers.
#[pyclass(name = "Scoreboard", module = "prefork._engine")]
pub struct PyScoreboard {
    role: Role,
}

impl PyScoreboard {
    /// Turns this forked process into the worker of a slot; the scoreboard itself is gone from
    /// it, also on failure.
    pub(crate) fn enter(&mut self, index: usize, concurrency: u32) -> PyResult<Slot> {
        self.manager()?;
        match std::mem::replace(&mut self.role, Role::Gone) {
            Role::Manager(board) => Ok(board.enter(index, concurrency)?),
            Role::Reader(_) | Role::Gone => Err(gone()),
        }
    }

    fn manager(&self) -> PyResult<&Board> {
        match &self.role {
            Role::Manager(board) => Ok(board),
            Role::Reader(_) => Err(PyRuntimeError::new_err(
                "expected the manager's scoreboard, this one was attached to read",
            )),
            Role::Gone => Err(gone()),
        }
    }

    fn view(&self) -> PyResult<&View> {
        match &self.role {
            Role::Manager(board) => Ok(board.view()),
            Role::Reader(view) => Ok(view),
            Role::Gone => Err(gone()),
        }
    }
}

#[pymethods]
impl PyScoreboard {
    /// Makes the scoreboard of a new pool (manager). ValueError for a capacity of 0, OSError when
    /// the kernel gives no memory.
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

    /// Looks at a scoreboard through its memory file, which stays the caller's. OSError or
    /// ValueError when it is none.
    #[staticmethod]
    fn attach(fd: RawFd) -> PyResult<Self> {
        if fd < 0 {
            return Err(PyValueError::new_err(format!(
                "expected a file descriptor, got {fd}"
            )));
        }
        // SAFETY: not -1, by the line above. It is used before this call returns to Python,
        // which alone could close it; were it closed all the same, the kernel would say so.
        let file = unsafe { BorrowedFd::borrow_raw(fd) };
        let view = View::attach(file).map_err(|error| match error.raw_os_error() {
            Some(_) => PyErr::from(error),
            None => {
                PyValueError::new_err("expected the sealed memory of a scoreboard of this version")
            }
        })?;
        Ok(Self {
            role: Role::Reader(view),
        })
    }

    /// The memory file (manager).
    fn fileno(&self) -> PyResult<RawFd> {
        Ok(self.manager()?.file().as_raw_fd())
    }

    /// An eventfd that becomes readable when a worker saw the spares fall short (manager).
    fn wakeup_fileno(&self) -> PyResult<RawFd> {
        Ok(self.manager()?.wakeup().as_raw_fd())
    }

    /// The number of slots.
    #[getter]
    fn capacity(&self) -> PyResult<usize> {
        Ok(self.view()?.capacity())
    }

    /// Takes an empty slot for a worker that is about to be forked (manager). False if it is taken.
    fn claim(&self, index: usize, generation: u32) -> PyResult<bool> {
        Ok(self.manager()?.claim(index, generation, monotonic_ns()))
    }

    /// Empties the slot of a worker that is gone; its totals go to the header (manager).
    fn clear(&self, index: usize) -> PyResult<()> {
        self.manager()?.clear(index);
        Ok(())
    }

    /// Changes the named fields of the header (manager). TypeError for a field there is not.
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

    /// What the manager published, as a dict.
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

    /// One byte a slot: 0 empty, 1 starting, 2 spare, 3 active, 4 draining.
    fn states<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        let states: Vec<u8> = self
            .view()?
            .states()
            .into_iter()
            .map(|state| state as u8)
            .collect();
        Ok(PyBytes::new(py, &states))
    }

    /// What a slot's worker told of itself, as a dict; None when the slot is empty. Times are
    /// seconds of the monotonic clock. To be shown, never relied on.
    fn read<'py>(&self, py: Python<'py>, index: usize) -> PyResult<Option<Bound<'py, PyDict>>> {
        self.view()?
            .read(index)
            .map(|record| dict_of(py, &record))
            .transpose()
    }

    /// Lets go of the memory; every other method raises RuntimeError from here on.
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
    dict.set_item("requests", record.counters.requests)?;
    dict.set_item("bytes_in", record.counters.bytes_in)?;
    dict.set_item("bytes_out", record.counters.bytes_out)?;
    dict.set_item("connections", record.counters.connections)?;
    dict.set_item("in_flight", record.in_flight)?;
    dict.set_item("handed_off", record.counters.handed_off)?;
    dict.set_item("adopted", record.counters.adopted)?;
    dict.set_item("busy_s", seconds(record.counters.busy_ns))?;
    let request = record.request.as_ref();
    dict.set_item("method", request.map(|request| printable(&request.method)))?;
    dict.set_item("path", request.map(|request| printable(&request.path)))?;
    dict.set_item(
        "request_started",
        request.map(|request| seconds(request.started_ns)),
    )?;
    Ok(dict)
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

/// Text that is safe on a terminal, whatever a client or a worker wrote: all but printable
/// ASCII is escaped.
fn printable(bytes: &[u8]) -> String {
    bytes.iter().fold(
        String::with_capacity(bytes.len()),
        |text, &byte| match byte {
            b' '..=b'~' if byte != b'\\' => text + char::from(byte).encode_utf8(&mut [0; 4]),
            _ => text + &format!("\\x{byte:02x}"),
        },
    )
}
