//! Conversions between Python's str and bytes and the bytes on the wire.

use pyo3::buffer::PyUntypedBuffer;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyString};
use std::borrow::Cow;

/// Received text as str. RFC 9110, section 5.5 leaves bytes above ASCII opaque;
/// Latin-1 maps each to one character and back.
pub(crate) fn decode<'py>(py: Python<'py>, bytes: &[u8]) -> Bound<'py, PyString> {
    let (start, len) = (bytes.as_ptr(), bytes.len() as ffi::Py_ssize_t);
    // CPython has made the strings of one character already.
    if len > 1 && bytes.is_ascii() {
        // SAFETY: it returns a new str for `len` characters of ASCII, of one byte each, which are
        // written before it is used; or null if memory is short, which panics.
        return unsafe {
            let text = Bound::from_owned_ptr(py, ffi::PyUnicode_New(len, 127));
            ffi::PyUnicode_1BYTE_DATA(text.as_ptr()).copy_from_nonoverlapping(start, bytes.len());
            text.cast_into_unchecked()
        };
    }
    // SAFETY: it reads `len` bytes from `start` and ignores a null third argument; it returns a
    // new str, or null if memory is short, which panics.
    unsafe {
        let text = ffi::PyUnicode_DecodeLatin1(start.cast(), len, std::ptr::null());
        Bound::from_owned_ptr(py, text).cast_into_unchecked()
    }
}

/// As [`decode`], but UTF-8: what is none becomes U+FFFD.
pub(crate) fn decode_utf8<'py>(py: Python<'py>, bytes: &[u8]) -> Bound<'py, PyString> {
    match bytes.is_ascii() {
        true => decode(py, bytes),
        false => PyString::new(py, &String::from_utf8_lossy(bytes)),
    }
}

/// Text to send: Latin-1 if it fits, otherwise UTF-8.
pub(crate) fn latin1(text: &str) -> Vec<u8> {
    if text.is_ascii() {
        return text.as_bytes().to_vec();
    }
    text.chars()
        .map(|char| u8::try_from(u32::from(char)).ok())
        .collect::<Option<Vec<u8>>>()
        .unwrap_or_else(|| text.as_bytes().to_vec())
}

/// An object's bytes, if it is bytes or exposes a buffer.
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

/// Decodes percent-encoding (RFC 3986, section 2.1). A percent sign without two
/// hex digits is kept.
pub(crate) fn percent_decode(path: &[u8]) -> Cow<'_, [u8]> {
    if !path.contains(&b'%') {
        return Cow::Borrowed(path);
    }
    let hex = |byte: Option<&u8>| byte.and_then(|&byte| (byte as char).to_digit(16));
    let mut decoded = Vec::with_capacity(path.len());
    let mut at = 0;
    while let Some(&byte) = path.get(at) {
        match (byte, hex(path.get(at + 1)), hex(path.get(at + 2))) {
            (b'%', Some(high), Some(low)) => {
                decoded.push((high * 16 + low) as u8);
                at += 3;
            }
            _ => {
                decoded.push(byte);
                at += 1;
            }
        }
    }
    Cow::Owned(decoded)
}
