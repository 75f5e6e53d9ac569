//! Messages of ASGI: those that an application is given, and what is in those
//! that it sends. Whatever is wrong in one is a TypeError that says what.

use prefork_engine::BodyPart;
use pyo3::buffer::PyUntypedBuffer;
use pyo3::exceptions::PyTypeError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyBytes, PyDict, PyString};

pub(crate) fn body_message<'py>(py: Python<'py>, piece: &BodyPart) -> PyResult<Bound<'py, PyDict>> {
    let message = PyDict::new(py);
    message.set_item(intern!(py, "type"), intern!(py, "http.request"))?;
    message.set_item(intern!(py, "body"), PyBytes::new(py, &piece.data))?;
    message.set_item(intern!(py, "more_body"), !piece.last)?;
    Ok(message)
}

pub(crate) fn disconnect(py: Python<'_>) -> PyResult<Bound<'_, PyDict>> {
    let message = PyDict::new(py);
    message.set_item(intern!(py, "type"), intern!(py, "http.disconnect"))?;
    Ok(message)
}

pub(crate) fn required<'py>(
    message: &Bound<'py, PyDict>,
    key: &str,
) -> PyResult<Bound<'py, PyAny>> {
    match message.get_item(key)? {
        Some(value) => Ok(value),
        None => Err(PyTypeError::new_err(format!(
            "message {}: it needs {key:?}",
            message.repr()?
        ))),
    }
}

pub(crate) fn flag(message: &Bound<'_, PyDict>, key: &Bound<'_, PyString>) -> PyResult<bool> {
    match message.get_item(key)? {
        None => Ok(false),
        Some(value) => match value.cast::<PyBool>() {
            Ok(value) => Ok(value.is_true()),
            Err(_) => value.is_truthy(),
        },
    }
}

/// The body in a message: bytes, or what has bytes.
pub(crate) fn data<'py>(message: &Bound<'py, PyDict>) -> PyResult<Bound<'py, PyBytes>> {
    let py = message.py();
    match message.get_item(intern!(py, "body"))? {
        None => Ok(PyBytes::new(py, b"")),
        Some(body) => bytes_of(&body)?.ok_or_else(|| wrong("body", "bytes", &body)),
    }
}

/// The bytes that something is, or has as a buffer; None if it has none.
pub(crate) fn bytes_of<'py>(object: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, PyBytes>>> {
    if let Ok(bytes) = object.cast::<PyBytes>() {
        return Ok(Some(bytes.clone()));
    }
    if PyUntypedBuffer::get(object).is_err() {
        return Ok(None);
    }
    let bytes = object.py().get_type::<PyBytes>().call1((object,))?;
    Ok(Some(bytes.cast_into()?))
}

pub(crate) fn wrong(what: &str, expected: &str, found: &Bound<'_, PyAny>) -> PyErr {
    match found.get_type().name() {
        Ok(name) => PyTypeError::new_err(format!("{what}: expected {expected}, got {name}")),
        Err(error) => error,
    }
}
