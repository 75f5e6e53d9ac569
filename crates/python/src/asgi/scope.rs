//! The scope of a request (ASGI 3): a copy of what all of them share, and on
//! top of it what this one brings.

use crate::events::request::{Request, percent_decode};
use crate::names::Names;
use crate::wsgi::environ::{address, below};
use prefork_wire::Version;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList, PyTuple};

thread_local! {
    static KEYS: Names<PyBytes> = const { Names::new() };
}

/// `base` with what `request` brings. `path` begins with `root_path`, also if
/// a proxy has taken that away.
#[pyfunction]
pub fn scope<'py>(
    request: &Bound<'py, Request>,
    base: &Bound<'py, PyDict>,
    root_path: &str,
) -> PyResult<Bound<'py, PyDict>> {
    let py = request.py();
    let asked = request.borrow();
    let scope = base.copy()?;
    scope.set_item(intern!(py, "method"), asked.method(py))?;
    let raw = asked.raw();
    let path = percent_decode(raw);
    let is_below = below(&path, root_path).is_some();
    let path = String::from_utf8_lossy(&path);
    if is_below {
        scope.set_item(intern!(py, "path"), path)?;
    } else {
        scope.set_item(intern!(py, "path"), format!("{root_path}{path}"))?;
    }
    scope.set_item(intern!(py, "raw_path"), PyBytes::new(py, raw))?;
    scope.set_item(
        intern!(py, "query_string"),
        PyBytes::new(py, asked.query_bytes()),
    )?;
    let port = asked.peer.port();
    let client = asked.peer.ip().map(|ip| (address(py, ip), port));
    scope.set_item(intern!(py, "client"), client)?;
    if asked.version() == Version::Http10 {
        scope.set_item(intern!(py, "http_version"), intern!(py, "1.0"))?;
    }
    let headers = asked.fields().map(|(name, value)| {
        let lower = |name: &[u8]| PyBytes::new(py, &name.to_ascii_lowercase()).unbind();
        let name = KEYS.with(|keys| keys.get(py, name, lower));
        PyTuple::new(py, [name.into_bound(py), PyBytes::new(py, value)])
    });
    let headers = PyList::new(py, headers.collect::<PyResult<Vec<_>>>()?)?;
    scope.set_item(intern!(py, "headers"), headers)?;
    // What applications write to is each request's own.
    for key in [intern!(py, "state"), intern!(py, "extensions")] {
        if let Some(shared) = scope.get_item(key)? {
            scope.set_item(key, shared.cast::<PyDict>()?.copy()?)?;
        }
    }
    Ok(scope)
}
