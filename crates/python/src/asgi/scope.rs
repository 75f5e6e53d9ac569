//! The scope of a request (ASGI 3): a copy of the base that all requests share,
//! with the values of this request.
//!
//! Always holds: `state` and `extensions` are dicts of the request, because applications
//! write to them.

use crate::events::request::Request;

use crate::names::Names;
use crate::request_view::{RequestView, below};
use crate::text::{decode, decode_utf8};
use crate::{introduction, session};

use prefork_wire::Version;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList, PyString};

thread_local! {
    static KEYS: Names<PyBytes> = const { Names::new() };
}

/// What the scopes of an application have in common.
pub(crate) struct Base {
    values: Py<PyDict>,
    /// Keys of `values` whose dicts are copied for each request.
    copied: Vec<(Py<PyString>, Py<PyDict>)>,
    root_path: String,
}

impl Base {
    pub(crate) fn new(values: &Bound<'_, PyDict>, root_path: String) -> PyResult<Self> {
        let py = values.py();
        let mut copied = Vec::new();
        for key in [intern!(py, "state"), intern!(py, "extensions")] {
            if let Some(shared) = values.get_item(key)? {
                copied.push((key.clone().unbind(), shared.cast_into()?.unbind()));
            }
        }
        Ok(Base {
            values: values.clone().unbind(),
            copied,
            root_path,
        })
    }
}

/// The HTTP scope of a request: a copy of `base` with `method`, `path`,
/// `raw_path`, `query_string`, `client` and `headers` set, and `http_version`
/// if it is 1.0. `path` begins with the root path, also if a proxy has removed
/// that.
pub(crate) fn scope<'py>(
    request: &Bound<'py, Request>,
    base: &Base,
) -> PyResult<Bound<'py, PyDict>> {
    let py = request.py();
    let whole = request.borrow();
    let request = &whole.view;
    let scope = whole.service.copy_of(base.values.bind(py))?;
    scope.set_item(intern!(py, "method"), request.method(py))?;
    if request.scheme() == "https" {
        scope.set_item(intern!(py, "scheme"), intern!(py, "https"))?;
    }
    let path = match request.prefix() {
        None => path(py, request, &base.root_path),
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
    for (key, shared) in &base.copied {
        scope.set_item(key, shared.bind(py).copy()?)?;
    }
    if let Some(id) = whole.request_id() {
        if let Some(state) = scope.get_item(intern!(py, "state"))? {
            state.set_item(intern!(py, "request_id"), decode(py, id))?;
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
    match below(&path, root_path) {
        Some(_) => decode_utf8(py, &path),
        None => {
            let path = String::from_utf8_lossy(&path);
            PyString::new(py, &format!("{root_path}{path}"))
        }
    }
}

/// A list of (name, value), names in lower case.
fn headers<'py>(py: Python<'py>, request: &RequestView) -> PyResult<Bound<'py, PyList>> {
    let lower = |name: &[u8]| PyBytes::new(py, &name.to_ascii_lowercase()).unbind();
    KEYS.with(|keys| {
        let pair = |(name, value)| (keys.get(py, name, lower), PyBytes::new(py, value));
        PyList::new(py, request.fields().map(pair))
    })
}
