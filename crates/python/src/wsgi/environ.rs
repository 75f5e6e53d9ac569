//! The environ of a request (PEP 3333, RFC 3875): a copy of the base that all
//! requests share, with the values of this request.

use crate::names::Names;
use crate::request_view::{RequestView, below};
use crate::text::decode;
use crate::wsgi::input::Input;
use prefork_engine::Body;
use prefork_wire::{TargetForm, Version};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};
use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

thread_local! {
    static KEYS: Names<PyString> = const { Names::new() };
}

/// Sets the values of a request in a copy of the base, which describes a GET over
/// HTTP/1.1 without a query, a body and an address of the client: only what
/// differs is set. `is_encrypted`: the base describes an encrypted connection.
pub(crate) fn environ<'py>(
    environ: Bound<'py, PyDict>,
    request: &RequestView,
    body: Option<Arc<Body>>,
    root_path: &str,
    is_encrypted: bool,
) -> PyResult<Bound<'py, PyDict>> {
    set_request_line(&environ, request, root_path)?;
    set_client(&environ, request)?;
    set_place(&environ, request, is_encrypted)?;
    set_fields(&environ, request)?;
    if let Some(body) = body {
        set_body(&environ, body)?;
    }
    Ok(environ)
}

/// The path below `root_path` is PATH_INFO; `OPTIONS *` has none (RFC 3875,
/// section 4.1.5).
fn set_request_line(
    environ: &Bound<'_, PyDict>,
    request: &RequestView,
    root_path: &str,
) -> PyResult<()> {
    let py = environ.py();
    if request.method_bytes() != b"GET" {
        environ.set_item(intern!(py, "REQUEST_METHOD"), request.method(py))?;
    }
    let path = match request.target_form() {
        TargetForm::Asterisk => Cow::Borrowed(b"".as_slice()),
        _ => request.path(),
    };
    let path = match request.raw_prefix() {
        None => below(&path, root_path).unwrap_or(&path),
        Some(_) => &path, // the proxy has removed it
    };
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
    let protocol = match request.version() {
        Version::Http11 => return Ok(()),
        Version::Http10 => intern!(py, "HTTP/1.0"),
        Version::Http2 => intern!(py, "HTTP/2"),
    };
    environ.set_item(intern!(py, "SERVER_PROTOCOL"), protocol)?;
    Ok(())
}

fn set_client(environ: &Bound<'_, PyDict>, request: &RequestView) -> PyResult<()> {
    let py = environ.py();
    if let Some((address, port)) = request.client(py) {
        environ.set_item(intern!(py, "REMOTE_ADDR"), address)?;
        if port != 0 {
            let mut digits = itoa::Buffer::new();
            let port = decode(py, digits.format(port).as_bytes());
            environ.set_item(intern!(py, "REMOTE_PORT"), port)?;
        }
    }
    Ok(())
}

/// Scheme, prefix and port, if they are not those of the base.
fn set_place(
    environ: &Bound<'_, PyDict>,
    request: &RequestView,
    is_encrypted: bool,
) -> PyResult<()> {
    let py = environ.py();
    if request.scheme() == "https" && !is_encrypted {
        environ.set_item(intern!(py, "wsgi.url_scheme"), intern!(py, "https"))?;
        environ.set_item(intern!(py, "HTTPS"), intern!(py, "on"))?;
    }
    if let Some(prefix) = request.prefix() {
        environ.set_item(intern!(py, "SCRIPT_NAME"), decode(py, &prefix))?;
    }
    if let Some(port) = request.forwarded_port() {
        let mut digits = itoa::Buffer::new();
        let port = decode(py, digits.format(port).as_bytes());
        environ.set_item(intern!(py, "SERVER_PORT"), port)?;
    }
    Ok(())
}

fn set_fields(environ: &Bound<'_, PyDict>, request: &RequestView) -> PyResult<()> {
    let py = environ.py();
    let mut repeats = false;
    for (name, value) in fields(request) {
        let known = environ.len();
        environ.set_item(key_of(py, name), decode(py, value))?;
        repeats |= environ.len() == known;
    }
    match repeats {
        true => set_repeated_fields(environ, request),
        false => Ok(()),
    }
}

/// Sets each field that has several lines, in a time that is linear in their
/// number.
fn set_repeated_fields(environ: &Bound<'_, PyDict>, request: &RequestView) -> PyResult<()> {
    let py = environ.py();
    let mut lines: HashMap<Vec<u8>, Vec<&[u8]>> = HashMap::new();
    for (name, value) in fields(request) {
        let values = lines.entry(name.to_ascii_lowercase()).or_default();
        values.push(value);
    }
    for (name, values) in lines.iter().filter(|(_, values)| values.len() > 1) {
        environ.set_item(key_of(py, name), decode(py, &combined(name, values)))?;
    }
    Ok(())
}

/// The fields of the environ: the body is passed decoded.
fn fields(request: &RequestView) -> impl Iterator<Item = (&[u8], &[u8])> {
    let is_coding = |name: &[u8]| name.eq_ignore_ascii_case(b"transfer-encoding");
    request.fields().filter(move |(name, _)| !is_coding(name))
}

fn set_body(environ: &Bound<'_, PyDict>, body: Arc<Body>) -> PyResult<()> {
    let py = environ.py();
    environ.set_item(intern!(py, "CONTENT_LENGTH"), body.len().to_string())?;
    environ.set_item(intern!(py, "wsgi.input"), Input::of(body))
}

/// The value of a field that has several lines (RFC 9110, section 5.3; RFC
/// 9113, section 8.2.3 for cookies). `name` is in lower case. A field that may
/// stand once is no list: its first line counts, as in `Request.header()`.
fn combined<'a>(name: &[u8], values: &[&'a [u8]]) -> Cow<'a, [u8]> {
    match name {
        b"cookie" => Cow::Owned(values.join(b"; ".as_slice())),
        name if SINGLE.contains(&name) => {
            Cow::Borrowed(values.first().copied().unwrap_or_default())
        }
        _ => Cow::Owned(values.join(b", ".as_slice())),
    }
}

/// The request fields of RFC 9110 and RFC 6454 that are no lists.
const SINGLE: [&[u8]; 14] = [
    b"authorization",
    b"content-location",
    b"content-range",
    b"content-type",
    b"date",
    b"from",
    b"if-modified-since",
    b"if-range",
    b"if-unmodified-since",
    b"max-forwards",
    b"origin",
    b"proxy-authorization",
    b"referer",
    b"user-agent",
];

#[inline]
fn key_of(py: Python<'_>, name: &[u8]) -> Py<PyString> {
    KEYS.with(|keys| keys.get(py, name, |name| key(py, name)))
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
