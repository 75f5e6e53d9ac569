//! Reads a collected request body, in memory or on disk, into a bytes object.

use prefork_engine::Body;
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use std::os::unix::fs::FileExt;

/// Reads `len` bytes of a body from `at` on. The body must have them.
///
/// Raises OSError if its file cannot be read, and MemoryError.
pub(crate) fn read_part<'py>(
    py: Python<'py>,
    body: &Body,
    at: u64,
    len: u64,
) -> PyResult<Bound<'py, PyBytes>> {
    match body {
        Body::File { file, .. } => PyBytes::new_with(py, len as usize, |room| {
            Ok(py.detach(|| file.read_exact_at(room, at))?)
        }),
        Body::Memory(bytes) => {
            let rest = bytes.get(at as usize..).unwrap_or_default();
            Ok(PyBytes::new(py, rest.get(..len as usize).unwrap_or(rest)))
        }
    }
}
