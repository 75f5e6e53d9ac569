//! `wsgi.input`: the body of a request as a WSGI application reads it (PEP 3333).
//!
//! Always holds: a body on disk is read from its file, and never moves the
//! position of another reader. All requests without a body share one object, so
//! that one has no state: it is at its end, and stays open.

use crate::request_body::read_part;
use prefork_engine::Body;
use pyo3::exceptions::{PyOSError, PyValueError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList, PyMemoryView, PySlice};
use std::os::unix::fs::FileExt;
use std::sync::Arc;

/// The block size in which a body on disk is searched for line ends.
const BLOCK_BYTES: usize = 8 * 1024;

/// Linux's number of it.
const EINVAL: i32 = 22;

/// `wsgi.input` (PEP 3333): the body of a request as a binary stream, which
/// ends where the body ends. Made without a body, it is empty. It has the
/// methods of a binary file that is read (`io.BufferedIOBase`).
///
/// Each method raises OSError if a spooled body cannot be read, and ValueError
/// once the stream is closed.
#[pyclass(module = "prefork._engine")]
#[derive(Default)]
pub struct Input {
    body: Option<Arc<Body>>,
    at: u64,
    closed: bool,
}

#[pymethods]
impl Input {
    #[new]
    fn new() -> Self {
        Input::default()
    }

    /// The next bytes: at most `size`, or all without a size or with a negative
    /// one; empty at the end.
    #[pyo3(signature = (size=None, /))]
    fn read<'py>(&mut self, py: Python<'py>, size: Option<i64>) -> PyResult<Bound<'py, PyBytes>> {
        let most = limit(size).min(self.left()?);
        self.take(py, most)
    }

    /// As `read`.
    #[pyo3(signature = (size=None, /))]
    fn read1<'py>(&mut self, py: Python<'py>, size: Option<i64>) -> PyResult<Bound<'py, PyBytes>> {
        self.read(py, size)
    }

    /// All that is left.
    fn readall<'py>(&mut self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        self.read(py, None)
    }

    /// Reads into a writable buffer. Returns how many bytes: 0 at the end.
    #[pyo3(signature = (buffer, /))]
    fn readinto(&mut self, buffer: &Bound<'_, PyAny>) -> PyResult<usize> {
        let py = buffer.py();
        let room = PyMemoryView::from(buffer)?.call_method1(intern!(py, "cast"), ("B",))?;
        let (most, before) = (self.left()?.min(room.len()? as u64), self.at);
        let bytes = self.take(py, most)?;
        room.set_item(PySlice::new(py, 0, most as isize, 1), bytes)
            .inspect_err(|_| self.at = before)?; // it is not writable
        Ok(most as usize)
    }

    /// As `readinto`.
    #[pyo3(signature = (buffer, /))]
    fn readinto1(&mut self, buffer: &Bound<'_, PyAny>) -> PyResult<usize> {
        self.readinto(buffer)
    }

    /// The next line with its line feed, or at most `size` bytes of it; empty at
    /// the end.
    #[pyo3(signature = (size=None, /))]
    fn readline<'py>(
        &mut self,
        py: Python<'py>,
        size: Option<i64>,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let most = limit(size).min(self.left()?);
        let line = self.line(most)?;
        self.take(py, line)
    }

    /// The lines that are left, or as many as make up `hint` bytes.
    #[pyo3(signature = (hint=None, /))]
    fn readlines<'py>(
        &mut self,
        py: Python<'py>,
        hint: Option<i64>,
    ) -> PyResult<Bound<'py, PyList>> {
        // As in io.IOBase, a hint that is not positive is no hint.
        let enough = hint
            .filter(|hint| *hint > 0)
            .map_or(u64::MAX, |hint| hint as u64);
        let end = self.at.saturating_add(enough);
        let lines = PyList::empty(py);
        while self.left()? > 0 && self.at < end {
            lines.append(self.readline(py, None)?)?;
        }
        Ok(lines)
    }

    fn __iter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __next__<'py>(&mut self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyBytes>>> {
        match self.left()? {
            0 => Ok(None),
            _ => self.readline(py, None).map(Some),
        }
    }

    /// Whether `close()` was called. Without a body it is always open.
    #[getter]
    fn closed(&self) -> bool {
        self.closed
    }

    /// Closes the stream: nothing can be read any more.
    fn close(&mut self) {
        self.closed = self.body.is_some();
    }

    fn __enter__(slf: PyRef<'_, Self>) -> PyResult<PyRef<'_, Self>> {
        slf.left()?;
        Ok(slf)
    }

    #[pyo3(signature = (*_error))]
    fn __exit__(&mut self, _error: &Bound<'_, PyAny>) {
        self.close();
    }

    /// True.
    fn readable(&self) -> PyResult<bool> {
        self.left().map(|_| true)
    }

    /// True: the body is whole.
    fn seekable(&self) -> PyResult<bool> {
        self.left().map(|_| true)
    }

    /// False.
    fn writable(&self) -> PyResult<bool> {
        self.left().map(|_| false)
    }

    /// False.
    fn isatty(&self) -> PyResult<bool> {
        self.left().map(|_| false)
    }

    /// Does nothing.
    fn flush(&self) -> PyResult<()> {
        self.left().map(drop)
    }

    /// The position in the body.
    fn tell(&self) -> PyResult<u64> {
        self.left().map(|_| self.at)
    }

    /// Goes to a position: from the beginning, with `whence` 1 from the current
    /// one, with 2 from the end. Beyond the end it goes to the end. Returns the new
    /// position.
    ///
    /// Raises OSError for a position before the beginning, as a file does, and
    /// ValueError for another `whence`.
    #[pyo3(signature = (offset, whence=0, /))]
    fn seek(&mut self, offset: i64, whence: i32) -> PyResult<u64> {
        let end = self.at + self.left()?;
        let from = match whence {
            0 => 0,
            1 => self.at,
            2 => end,
            _ => return Err(PyValueError::new_err("whence: expected 0, 1 or 2")),
        };
        let Some(at) = from.checked_add_signed(offset) else {
            return Err(PyOSError::new_err((
                EINVAL,
                "a position before the beginning",
            )));
        };
        self.at = at.min(end);
        Ok(self.at)
    }

    /// Raises io.UnsupportedOperation: it is no file of the system.
    fn fileno(&self, py: Python<'_>) -> PyResult<i32> {
        let unsupported = py.import("io")?.getattr("UnsupportedOperation")?;
        Err(PyErr::from_value(unsupported.call1(("fileno",))?))
    }
}

impl Input {
    pub(crate) fn of(body: Arc<Body>) -> Self {
        Input {
            body: Some(body),
            at: 0,
            closed: false,
        }
    }

    /// How many bytes are left.
    ///
    /// Raises ValueError if the stream is closed.
    fn left(&self) -> PyResult<u64> {
        if self.closed {
            return Err(PyValueError::new_err("I/O operation on closed file."));
        }
        Ok(self.body.as_ref().map_or(0, |body| body.len()) - self.at)
    }

    /// Takes the next `len` bytes. The body must have them.
    fn take<'py>(&mut self, py: Python<'py>, len: u64) -> PyResult<Bound<'py, PyBytes>> {
        let bytes = match self.body.as_deref() {
            Some(body) => read_part(py, body, self.at, len)?,
            None => PyBytes::new(py, b""),
        };
        self.at += len;
        Ok(bytes)
    }

    /// The length of the next line, at most `most`.
    fn line(&self, most: u64) -> std::io::Result<u64> {
        let end = |bytes: &[u8]| bytes.iter().position(|&byte| byte == b'\n');
        let file = match self.body.as_deref() {
            Some(Body::File { file, .. }) => file,
            Some(Body::Memory(bytes)) => {
                let rest = bytes.get(self.at as usize..).unwrap_or_default();
                let rest = rest.get(..most as usize).unwrap_or(rest);
                return Ok(end(rest).map_or(most, |at| at as u64 + 1));
            }
            None => return Ok(0),
        };
        let mut block = [0; BLOCK_BYTES];
        let mut seen = 0;
        while seen < most {
            let len = block.len().min((most - seen) as usize);
            let room = block.get_mut(..len).unwrap_or_default();
            file.read_exact_at(room, self.at + seen)?;
            if let Some(at) = end(room) {
                return Ok(seen + at as u64 + 1);
            }
            seen += len as u64;
        }
        Ok(most)
    }
}

/// As for a Python file: a negative size, or none, is no limit.
fn limit(size: Option<i64>) -> u64 {
    size.and_then(|size| u64::try_from(size).ok())
        .unwrap_or(u64::MAX)
}
