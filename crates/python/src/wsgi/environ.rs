//! The environ of a request (PEP 3333, RFC 3875): a copy of the base that all
//! requests share, with the values of this request.

use crate::names::Names;
use crate::request_view::{RequestView, below};
use crate::text::decode;
use crate::wsgi::input::Input;
use prefork_engine::Body;
use prefork_wire::Version;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};
use std::sync::Arc;

thread_local! {
    static KEYS: Names<PyString> = const { Names::new() };
}

/// A copy of `base` with the values of a request. `base` describes a GET over
/// HTTP/1.1 without a query, a body and an address of the client: only what
/// differs is set.
pub(crate) fn environ<'py>(
    base: &Bound<'py, PyDict>,
    request: &RequestView,
    body: Option<Arc<Body>>,
    root_path: &str,
) -> PyResult<Bound<'py, PyDict>> {
    let environ = base.copy()?;
    set_request_line(&environ, request, root_path)?;
    set_client(&environ, request)?;
    set_fields(&environ, request)?;
    if let Some(body) = body {
        set_body(&environ, body)?;
    }
    Ok(environ)
}

/// The path below `root_path` is PATH_INFO.
fn set_request_line(
    environ: &Bound<'_, PyDict>,
    request: &RequestView,
    root_path: &str,
) -> PyResult<()> {
    let py = environ.py();
    if request.method_bytes() != b"GET" {
        environ.set_item(intern!(py, "REQUEST_METHOD"), request.method(py))?;
    }
    let path = request.path();
    let path = below(&path, root_path).unwrap_or(&path);
    let target = decode(py, request.target());
    let path = match path == request.target() {
        true => target.clone(),
        false => decode(py, path),
    };
    environ.set_item(intern!(py, "PATH_INFO"), path)?;
    if let Some(query @ [_, ..]) = request.query() {
        environ.set_item(intern!(py, "QUERY_STRING"), decode(py, query))?;
    }
    environ.set_item(intern!(py, "RAW_URI"), target)?;
    if request.version() == Version::Http10 {
        environ.set_item(intern!(py, "SERVER_PROTOCOL"), intern!(py, "HTTP/1.0"))?;
    }
    Ok(())
}

fn set_client(environ: &Bound<'_, PyDict>, request: &RequestView) -> PyResult<()> {
    let py = environ.py();
    if let Some((address, port)) = request.client(py) {
        let mut digits = itoa::Buffer::new();
        let port = decode(py, digits.format(port).as_bytes());
        environ.set_item(intern!(py, "REMOTE_ADDR"), address)?;
        environ.set_item(intern!(py, "REMOTE_PORT"), port)?;
    }
    Ok(())
}

fn set_fields(environ: &Bound<'_, PyDict>, request: &RequestView) -> PyResult<()> {
    let py = environ.py();
    for (name, value) in request.fields() {
        // The body is passed decoded.
        if name.eq_ignore_ascii_case(b"transfer-encoding") {
            continue;
        }
        let key = KEYS.with(|keys| keys.get(py, name, |name| key(py, name)));
        let known = environ.len();
        environ.set_item(&key, decode(py, value))?;
        if environ.len() == known {
            let values = request.values(name).collect::<Vec<_>>();
            environ.set_item(key, decode(py, &values.join(separator(name))))?;
        }
    }
    Ok(())
}

fn set_body(environ: &Bound<'_, PyDict>, body: Arc<Body>) -> PyResult<()> {
    let py = environ.py();
    environ.set_item(intern!(py, "CONTENT_LENGTH"), body.len().to_string())?;
    environ.set_item(intern!(py, "wsgi.input"), Input::of(body))
}

/// The separator between the values of repeated fields (RFC 9110, section 5.3;
/// RFC 9113, section 8.2.3 for cookies).
fn separator(name: &[u8]) -> &'static [u8] {
    match name.eq_ignore_ascii_case(b"cookie") {
        true => b"; ",
        false => b", ",
    }
}

/// RFC 3875, section 4.1.18.
fn key(py: Python<'_>, name: &[u8]) -> Py<PyString> {
    let upper: String = name
        .iter()
        .map(|byte| match byte {
            b'-' => '_',
            byte => byte.to_ascii_uppercase() as char,
        })
        .collect();
    match upper.as_str() {
        "CONTENT_TYPE" | "CONTENT_LENGTH" => PyString::new(py, &upper),
        _ => PyString::new(py, &format!("HTTP_{upper}")),
    }
    .unbind()
}
