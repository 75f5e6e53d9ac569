//! A response's body, or a part of one: str, bytes, a part of a file, or None.

use crate::errors::InvalidResponse;
use crate::events::file_part::PyFilePart;
use prefork_engine::{COPY_LIMIT, Content};
use pyo3::prelude::*;
use pyo3::pybacked::{PyBackedBytes, PyBackedStr};
use pyo3::types::{PyBytes, PyString};

/// The types that content may have.
pub(crate) enum ResponseContent<'a, 'py> {
    Nothing,
    Text(&'a Bound<'py, PyString>, &'a str),
    Bytes(&'a Bound<'py, PyBytes>),
    File(&'a PyFilePart),
}

impl<'a, 'py> ResponseContent<'a, 'py> {
    /// Raises InvalidResponse for any other type.
    pub(crate) fn new(py: Python<'py>, object: Option<&'a Py<PyAny>>) -> PyResult<Self> {
        let Some(object) = object.map(|object| object.bind(py)) else {
            return Ok(ResponseContent::Nothing);
        };
        if let Ok(bytes) = object.cast::<PyBytes>() {
            Ok(ResponseContent::Bytes(bytes))
        } else if let Ok(text) = object.cast::<PyString>() {
            let utf8 = text
                .to_str()
                .map_err(|error| InvalidResponse::new_err(format!("content: {error}")))?;
            Ok(ResponseContent::Text(text, utf8))
        } else if object.is_none() {
            Ok(ResponseContent::Nothing)
        } else if let Ok(part) = object.cast::<PyFilePart>() {
            Ok(ResponseContent::File(part.get()))
        } else {
            Err(InvalidResponse::new_err(format!(
                "content is {}: expected str or bytes",
                object.get_type().name()?
            )))
        }
    }

    /// The Content-Type of a response that sets none.
    pub(crate) fn content_type(&self) -> &'static [u8] {
        match self {
            ResponseContent::Text(_, text) if !text.is_ascii() => b"text/plain; charset=utf-8",
            _ => b"text/plain",
        }
    }

    /// Its length in bytes.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        match self {
            ResponseContent::Nothing => 0,
            ResponseContent::Text(_, utf8) => utf8.len(),
            ResponseContent::Bytes(bytes) => bytes.as_bytes().len(),
            ResponseContent::File(file) => file.part.len,
        }
    }

    /// The content for the engine. A large str or bytes is not copied: the
    /// engine keeps the Python object until it is sent. A subclass is copied,
    /// because the engine frees the object, and its destructor could run Python
    /// there.
    pub(crate) fn content(&self) -> Content<'a> {
        match self {
            ResponseContent::Nothing => Content::Copied(b""),
            ResponseContent::File(file) => Content::File(file.part.clone()),
            ResponseContent::Bytes(bytes)
                if bytes.as_bytes().len() > COPY_LIMIT
                    && bytes.is_exact_instance_of::<PyBytes>() =>
            {
                Content::Kept(Box::new(PyBackedBytes::from((*bytes).clone())))
            }
            ResponseContent::Bytes(bytes) => Content::Copied(bytes.as_bytes()),
            ResponseContent::Text(text, utf8)
                if utf8.len() > COPY_LIMIT && text.is_exact_instance_of::<PyString>() =>
            {
                match PyBackedStr::try_from((*text).clone()) {
                    Ok(kept) => Content::Kept(Box::new(kept)),
                    Err(_) => Content::Copied(utf8.as_bytes()),
                }
            }
            ResponseContent::Text(_, utf8) => Content::Copied(utf8.as_bytes()),
        }
    }
}
