//! The environ of a request (PEP 3333, RFC 3875): a copy of what all of them
//! share, and on top of it what this one brings.

use crate::events::headers::decode;
use crate::events::request::{Request, percent_decode};
use crate::names::Names;
use crate::wsgi::input::Input;
use prefork_wire::Version;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};
use std::net::IpAddr;

thread_local! {
    static KEYS: Names<PyString> = const { Names::new() };
    static ADDRESSES: Names<PyString> = const { Names::new() };
}

/// `base` with what `request` brings. The path below `root_path` is PATH_INFO.
/// `base` says what holds for a GET without a query, without a body and without
/// an address of the client.
pub(crate) fn environ<'py>(
    request: &Bound<'py, Request>,
    base: &Bound<'py, PyDict>,
    root_path: &str,
) -> PyResult<Bound<'py, PyDict>> {
    let py = request.py();
    let asked = request.borrow();
    let environ = base.copy()?;
    if asked.method_bytes() != b"GET" {
        environ.set_item(intern!(py, "REQUEST_METHOD"), asked.method(py))?;
    }
    let path = percent_decode(asked.raw());
    let path = below(&path, root_path).unwrap_or(&path);
    let target = decode(py, asked.target());
    let path = match path == asked.target() {
        true => target.clone(),
        false => decode(py, path),
    };
    environ.set_item(intern!(py, "PATH_INFO"), path)?;
    if !asked.query_bytes().is_empty() {
        environ.set_item(intern!(py, "QUERY_STRING"), decode(py, asked.query_bytes()))?;
    }
    environ.set_item(intern!(py, "RAW_URI"), target)?;
    if let Some(ip) = asked.peer.ip() {
        environ.set_item(intern!(py, "REMOTE_ADDR"), address(py, ip))?;
        let mut digits = itoa::Buffer::new();
        let port = digits.format(asked.peer.port());
        environ.set_item(intern!(py, "REMOTE_PORT"), decode(py, port.as_bytes()))?;
    }
    if asked.version() == Version::Http10 {
        environ.set_item(intern!(py, "SERVER_PROTOCOL"), intern!(py, "HTTP/1.0"))?;
    }
    for (name, value) in asked.fields() {
        // What concerns the coding of the body: it has been undone.
        if name.eq_ignore_ascii_case(b"transfer-encoding") {
            continue;
        }
        let key = KEYS.with(|keys| keys.get(py, name, |name| key(py, name)));
        let known = environ.len();
        environ.set_item(&key, decode(py, value))?;
        if environ.len() == known {
            let separator: &[u8] = match name.eq_ignore_ascii_case(b"cookie") {
                true => b"; ",
                false => b", ",
            };
            let values = asked.values(name).collect::<Vec<_>>();
            environ.set_item(key, decode(py, &values.join(separator)))?;
        }
    }
    if let Some(body) = asked.shared_body() {
        environ.set_item(intern!(py, "CONTENT_LENGTH"), body.len().to_string())?;
        environ.set_item(intern!(py, "wsgi.input"), Input::of(body))?;
    }
    Ok(environ)
}

/// A proxy in front brings all clients from few addresses.
pub(crate) fn address(py: Python<'_>, ip: IpAddr) -> Py<PyString> {
    let text = |_: &[u8]| PyString::new(py, &ip.to_canonical().to_string()).unbind();
    match ip {
        IpAddr::V4(ip) => ADDRESSES.with(|known| known.get(py, &ip.octets(), text)),
        IpAddr::V6(ip) => ADDRESSES.with(|known| known.get(py, &ip.octets(), text)),
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

/// What of `path` comes after `root`, if it is there or below.
pub(crate) fn below<'a>(path: &'a [u8], root: &str) -> Option<&'a [u8]> {
    if root.is_empty() {
        return Some(path);
    }
    let rest = path.strip_prefix(root.as_bytes())?;
    (rest.is_empty() || rest.starts_with(b"/")).then_some(rest)
}
