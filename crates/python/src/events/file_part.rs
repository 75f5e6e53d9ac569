//! A part of a file, as the content of a response.

use crate::descriptor::borrowed;
use prefork_engine::FilePart;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use rustix::fs::{FileType, fstat};
use std::os::fd::RawFd;
use std::sync::Arc;

/// A part of a regular file: `length` bytes from `offset` on, by default all
/// that follow. As the content of a response it is sent by the system
/// (sendfile(2)) and never read into this process; `done()` then sets the
/// Content-Length. `len()` is its length in bytes.
///
/// The descriptor is duplicated, so `fd` may be closed at once. The file must
/// not shrink before all is sent: that aborts the connection.
///
/// Raises ValueError if `fd` is not a regular file or the part reaches beyond
/// its end, and OSError if `fd` is not open.
#[pyclass(name = "FilePart", module = "prefork._engine", frozen)]
pub struct PyFilePart {
    pub(crate) part: FilePart,
}

#[pymethods]
impl PyFilePart {
    #[new]
    #[pyo3(signature = (fd, offset=0, length=None))]
    fn new(fd: RawFd, offset: u64, length: Option<usize>) -> PyResult<Self> {
        let file = borrowed(fd)?.try_clone_to_owned()?;
        let status = fstat(&file).map_err(std::io::Error::from)?;
        let rest = u64::try_from(status.st_size)
            .ok()
            .and_then(|size| size.checked_sub(offset))
            .filter(|_| FileType::from_raw_mode(status.st_mode).is_file())
            .and_then(|rest| usize::try_from(rest).ok())
            .ok_or_else(|| PyValueError::new_err("expected a regular file, and an offset in it"))?;
        let file = Arc::new(file);
        let len = rest;
        PyFilePart {
            part: FilePart { file, offset, len },
        }
        .part(0, length.unwrap_or(rest))
    }

    /// A part of this part, `offset` counted from its beginning. Both share the
    /// descriptor.
    ///
    /// Raises ValueError if it reaches beyond the end.
    fn part(&self, offset: u64, length: usize) -> PyResult<Self> {
        let end = usize::try_from(offset)
            .ok()
            .and_then(|offset| offset.checked_add(length));
        if end.is_none_or(|end| end > self.part.len) {
            return Err(PyValueError::new_err(format!(
                "{length} bytes from {offset} on reach beyond the end: there are {}",
                self.part.len
            )));
        }
        Ok(PyFilePart {
            part: FilePart {
                file: Arc::clone(&self.part.file),
                offset: self.part.offset + offset,
                len: length,
            },
        })
    }

    fn __len__(&self) -> usize {
        self.part.len
    }
}
