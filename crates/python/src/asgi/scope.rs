//! The scope of a request (ASGI 3): a copy of the base that all requests share,
//! with the values of this request.

use crate::events::request::Request;

use crate::names::Names;
use crate::request_view::{RequestView, below};
use crate::{introduction, session};

use prefork_wire::Version;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList, PyString, PyTuple};
use std::borrow::Cow;

thread_local! {
    static KEYS: Names<PyBytes> = const { Names::new() };
}

/// The HTTP scope of a request: a copy of `base` with `method`, `path`,
/// `raw_path`, `query_string`, `client` and `headers` set, and `http_version`
/// if it is 1.0. `state` and `extensions` of `base` are copied, because
/// applications write to them. `path` begins with `root_path`, also if a proxy
/// has removed that.
pub(crate) fn scope<'py>(
    request: &Bound<'py, Request>,
    base: &Bound<'py, PyDict>,
    root_path: &str,
) -> PyResult<Bound<'py, PyDict>> {
    let py = base.py();
    let whole = request.borrow();
    let request = &whole.view;
    let scope = whole.service.copy_of(base)?;
    scope.set_item(intern!(py, "method"), request.method(py))?;
    if request.scheme() == "https" {
        scope.set_item(intern!(py, "scheme"), intern!(py, "https"))?;
    }
    let path = match request.prefix() {
        None => path(py, request, root_path),
        Some(prefix) => {
            let root = String::from_utf8_lossy(&prefix);
            scope.set_item(intern!(py, "root_path"), &root)?;
            let path = request.path();
            PyString::new(py, &format!("{root}{}", String::from_utf8_lossy(&path)))
        }
    };
    scope.set_item(intern!(py, "path"), path)?;
    let raw_path = PyBytes::new(py, request.raw_path());
    scope.set_item(intern!(py, "raw_path"), raw_path)?;
    let query = PyBytes::new(py, request.query().unwrap_or_default());
    scope.set_item(intern!(py, "query_string"), query)?;
    scope.set_item(intern!(py, "client"), request.client(py))?;
    match request.version() {
        Version::Http11 => {}
        Version::Http10 => scope.set_item(intern!(py, "http_version"), intern!(py, "1.0"))?,
        Version::Http2 => scope.set_item(intern!(py, "http_version"), intern!(py, "2"))?,
    }
    scope.set_item(intern!(py, "headers"), headers(py, request)?)?;
    for key in [intern!(py, "state"), intern!(py, "extensions")] {
        if let Some(shared) = scope.get_item(key)? {
            scope.set_item(key, shared.cast::<PyDict>()?.copy()?)?;
        }
    }
    if let Some(session) = whole.session() {
        if let Some(extensions) = scope.get_item(intern!(py, "extensions"))? {
            extensions.set_item(intern!(py, "tls"), session::extension(py, &session)?)?;
        }
    }
    if let Some(told) = whole.extensions() {
        if let Some(extensions) = scope.get_item(intern!(py, "extensions"))? {
            let extension = introduction::extension(py, &told)?;
            extensions.set_item(intern!(py, "proxy_protocol"), extension)?;
        }
    }
    Ok(scope)
}

fn path<'py>(py: Python<'py>, request: &RequestView, root_path: &str) -> Bound<'py, PyString> {
    let path = request.path();
    let text = String::from_utf8_lossy(&path);
    let text = match below(&path, root_path) {
        Some(_) => text,
        None => Cow::Owned(format!("{root_path}{text}")),
    };
    PyString::new(py, &text)
}

/// A list of (name, value), names in lower case.
fn headers<'py>(py: Python<'py>, request: &RequestView) -> PyResult<Bound<'py, PyList>> {
    let lower = |name: &[u8]| PyBytes::new(py, &name.to_ascii_lowercase()).unbind();
    let headers = request.fields().map(|(name, value)| {
        let name = KEYS.with(|keys| keys.get(py, name, lower));
        PyTuple::new(py, [name.into_bound(py), PyBytes::new(py, value)])
    });
    PyList::new(py, headers.collect::<PyResult<Vec<_>>>()?)
}
