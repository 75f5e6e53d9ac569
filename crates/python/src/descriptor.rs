//! File descriptors that Python passes as numbers.

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use std::os::fd::{BorrowedFd, RawFd};

/// Borrows a descriptor for one call. Raises ValueError for a negative number.
pub(crate) fn borrowed<'a>(fd: RawFd) -> PyResult<BorrowedFd<'a>> {
    if fd < 0 {
        return Err(PyValueError::new_err(format!(
            "expected a file descriptor, got {fd}"
        )));
    }
    // SAFETY: it is not -1. The Python caller keeps it open during the call; the kernel
    // rejects a number that is not open.
    Ok(unsafe { BorrowedFd::borrow_raw(fd) })
}
