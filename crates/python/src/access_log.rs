//! The access log, as Python configures it. What a line has is in `events/response/logging.rs`.

use prefork_engine::access_log::{AccessLogSettings, Format, FormatError, Place};
use pyo3::exceptions::{PyOSError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyTuple;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;

/// The access log of the listeners whose service has it: where its lines go, to a
/// path or a descriptor, their format, and the paths that have none. Each process
/// opens the file for itself, when it writes first.
///
/// Raises OSError if the file cannot be written, and ValueError for a format
/// that is none.
#[pyclass(name = "AccessLog", module = "prefork._engine", frozen)]
pub struct PyAccessLog {
    pub(crate) settings: Arc<AccessLogSettings>,
    /// A named pipe, so that it does not end for its reader when a worker does.
    _pipe: Option<OwnedFd>,
}

#[derive(FromPyObject)]
enum Given {
    Descriptor(i32),
    Path(PathBuf),
}

#[pymethods]
impl PyAccessLog {
    #[new]
    #[pyo3(signature = (place, form="combined", skip=Vec::new()))]
    fn new(place: Given, form: &str, skip: Vec<String>) -> PyResult<Self> {
        let format = Format::parse(form)
            .map_err(|error| PyValueError::new_err(format!("no format: {error:?}")))?;
        let settings = AccessLogSettings {
            place: match place {
                Given::Descriptor(number) => Place::Descriptor(number),
                Given::Path(path) => Place::Path(path),
            },
            format,
            skip: skip.into_iter().map(String::into_bytes).collect(),
        };
        let pipe = settings
            .probe()
            .map_err(|error| PyOSError::new_err((error.raw_os_error(), error.to_string())))?;
        Ok(PyAccessLog {
            settings: Arc::new(settings),
            _pipe: pipe,
        })
    }
}

/// What is wrong with a format of the access log: `unknown` and the name of an
/// atom that does not exist, `invalid` and the text that is no atom, or
/// `constant` if it has no atom. None if nothing is.
#[pyfunction]
pub fn access_log_fault(form: &str) -> Option<(&'static str, String)> {
    match Format::parse(form) {
        Ok(_) => None,
        Err(FormatError::Unknown(name)) => Some(("unknown", name)),
        Err(FormatError::NoAtom(text)) => Some(("invalid", text)),
        Err(FormatError::Constant) => Some(("constant", form.to_owned())),
    }
}

/// The names of the atoms of the access log, without those of header fields and
/// variables.
#[pyfunction]
pub fn access_log_atoms(py: Python<'_>) -> PyResult<Bound<'_, PyTuple>> {
    PyTuple::new(py, Format::atoms())
}
