//! File descriptors that Python hands over as numbers.

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use std::os::fd::{BorrowedFd, RawFd};

/// The descriptor of that number, for the length of a call. Raises ValueError for a negative one.
pub(crate) fn borrowed<'a>(fd: RawFd) -> PyResult<BorrowedFd<'a>> {
    if fd < 0 {
        return Err(PyValueError::new_err(format!(
            "expected a file descriptor, got {fd}"
        )));
    }
    // SAFETY: it is not -1. The Python caller keeps it open during the call; a number that is
    // not open is refused by the kernel.
    Ok(unsafe { BorrowedFd::borrow_raw(fd) })
}
