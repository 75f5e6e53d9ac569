//! ASGI messages, for HTTP and WebSocket: reads what an application sends, and
//! makes what it receives.
//!
//! Always holds: the same mistake has the same exception and the same text in
//! both protocols. A wrong or missing key is a TypeError that says what was
//! expected.

use crate::events::headers::Headers;
use crate::text::bytes_of;
use prefork_engine::BodyPart;
use prefork_wire::websocket::Message;
use pyo3::exceptions::PyTypeError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyBytes, PyDict, PyInt, PyString};

// ---- what an application sends ---------------------------------------------------

/// A message of the application.
#[derive(Clone, Copy)]
pub(crate) struct Sent<'a, 'py>(pub(crate) &'a Bound<'py, PyDict>);

impl<'py> Sent<'_, 'py> {
    fn py(self) -> Python<'py> {
        self.0.py()
    }

    /// The value of a key; `None` if it is missing or None.
    fn optional(self, key: &Bound<'py, PyString>) -> PyResult<Option<Bound<'py, PyAny>>> {
        Ok(self.0.get_item(key)?.filter(|value| !value.is_none()))
    }

    fn required(self, key: &Bound<'py, PyString>) -> PyResult<Bound<'py, PyAny>> {
        match self.0.get_item(key)? {
            Some(value) => Ok(value),
            None => Err(PyTypeError::new_err(format!(
                "message {}: it needs {:?}",
                self.0.repr()?,
                key.to_str()?
            ))),
        }
    }

    /// `type`.
    pub(crate) fn kind(self) -> PyResult<Bound<'py, PyString>> {
        let kind = self.required(intern!(self.py(), "type"))?;
        kind.cast_into::<PyString>()
            .map_err(|error| wrong("type", "a str", &error.into_inner()))
    }

    /// A flag, false without that key.
    pub(crate) fn flag(self, key: &Bound<'py, PyString>) -> PyResult<bool> {
        match self.0.get_item(key)? {
            None => Ok(false),
            Some(value) => match value.cast::<PyBool>() {
                Ok(value) => Ok(value.is_true()),
                Err(_) => value.is_truthy(),
            },
        }
    }

    /// A str; `None` without that key.
    pub(crate) fn text(self, key: &Bound<'py, PyString>) -> PyResult<Option<Bound<'py, PyString>>> {
        match self.optional(key)? {
            None => Ok(None),
            Some(value) => match value.cast_into::<PyString>() {
                Ok(text) => Ok(Some(text)),
                Err(error) => Err(wrong(key.to_str()?, "a str", &error.into_inner())),
            },
        }
    }

    /// `body`: bytes, or an object that exposes them; empty without that key.
    pub(crate) fn body(self) -> PyResult<Bound<'py, PyBytes>> {
        let key = intern!(self.py(), "body");
        match self.0.get_item(key)? {
            None => Ok(PyBytes::new(self.py(), b"")),
            Some(body) => bytes(key.to_str()?, &body),
        }
    }

    /// `status`.
    pub(crate) fn status(self) -> PyResult<u16> {
        let status = self.required(intern!(self.py(), "status"))?;
        let number = status.cast::<PyInt>().ok();
        number
            .and_then(|number| number.extract().ok())
            .ok_or_else(|| wrong("status", "an int, as 200", &status))
    }

    /// `headers`: pairs of byte strings; none without that key.
    pub(crate) fn headers(self) -> PyResult<Headers> {
        match self.optional(intern!(self.py(), "headers"))? {
            Some(headers) => Headers::from_bytes(&headers),
            None => Ok(Headers::default()),
        }
    }

    /// `links`: byte strings.
    pub(crate) fn links(self) -> PyResult<Vec<Vec<u8>>> {
        let links = self.required(intern!(self.py(), "links"))?;
        let link = |link: PyResult<Bound<'py, PyAny>>| {
            let link = link?;
            match link.cast::<PyBytes>() {
                Ok(bytes) => Ok(bytes.as_bytes().to_vec()),
                Err(_) => Err(wrong("links", "byte strings", &link)),
            }
        };
        links.try_iter()?.map(link).collect()
    }

    /// `path`.
    pub(crate) fn path(self) -> PyResult<Bound<'py, PyAny>> {
        self.required(intern!(self.py(), "path"))
    }

    /// `text` as str, or else `bytes` as bytes.
    pub(crate) fn text_or_bytes(self) -> PyResult<Bound<'py, PyAny>> {
        if let Some(text) = self.text(intern!(self.py(), "text"))? {
            return Ok(text.into_any());
        }
        let key = intern!(self.py(), "bytes");
        let data = self.0.get_item(key)?;
        let data = data.unwrap_or_else(|| self.py().None().into_bound(self.py()));
        Ok(bytes(key.to_str()?, &data)?.into_any())
    }

    /// `code` of a WebSocket's close (RFC 6455, section 7.4): 1000 without that key.
    pub(crate) fn close_code(self) -> PyResult<i64> {
        match self.0.get_item(intern!(self.py(), "code"))? {
            None => Ok(1000),
            Some(code) => code
                .extract()
                .map_err(|_| wrong("code", "an int, as 1000", &code)),
        }
    }
}

fn bytes<'py>(key: &str, value: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyBytes>> {
    bytes_of(value)?.ok_or_else(|| wrong(key, "bytes", value))
}

fn wrong(what: &str, expected: &str, found: &Bound<'_, PyAny>) -> PyErr {
    match found.get_type().name() {
        Ok(name) => PyTypeError::new_err(format!("{what}: expected {expected}, got {name}")),
        Err(error) => error,
    }
}

// ---- what an application receives --------------------------------------------------

/// http.request
pub(crate) fn request<'py>(py: Python<'py>, part: &BodyPart) -> PyResult<Bound<'py, PyAny>> {
    let message = PyDict::new(py);
    message.set_item(intern!(py, "type"), intern!(py, "http.request"))?;
    message.set_item(intern!(py, "body"), PyBytes::new(py, &part.data))?;
    message.set_item(intern!(py, "more_body"), !part.last)?;
    Ok(message.into_any())
}

/// http.disconnect
pub(crate) fn disconnect(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
    only_type(intern!(py, "http.disconnect"))
}

/// websocket.connect
pub(crate) fn connect(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
    only_type(intern!(py, "websocket.connect"))
}

/// websocket.receive
pub(crate) fn receive<'py>(py: Python<'py>, message: &Message) -> PyResult<Bound<'py, PyAny>> {
    let received = PyDict::new(py);
    received.set_item(intern!(py, "type"), intern!(py, "websocket.receive"))?;
    match message {
        Message::Text(text) => {
            received.set_item(intern!(py, "text"), PyString::new(py, text))?;
        }
        Message::Binary(bytes) => {
            received.set_item(intern!(py, "bytes"), PyBytes::new(py, bytes))?;
        }
    }
    Ok(received.into_any())
}

/// websocket.disconnect
pub(crate) fn websocket_disconnect<'py>(
    py: Python<'py>,
    code: u16,
    reason: &str,
) -> PyResult<Bound<'py, PyAny>> {
    let message = PyDict::new(py);
    message.set_item(intern!(py, "type"), intern!(py, "websocket.disconnect"))?;
    message.set_item(intern!(py, "code"), code)?;
    message.set_item(intern!(py, "reason"), reason)?;
    Ok(message.into_any())
}

fn only_type<'py>(kind: &Bound<'py, PyString>) -> PyResult<Bound<'py, PyAny>> {
    let message = PyDict::new(kind.py());
    message.set_item(intern!(kind.py(), "type"), kind)?;
    Ok(message.into_any())
}
