//! Reads one option from Python's options object (`config/options/`).

use crate::text::latin1;
use prefork_wire::proxy::{Networks, Trusted};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyString;

/// As it is.
pub(crate) fn value<T>(options: &Bound<'_, PyAny>, name: &Bound<'_, PyString>) -> PyResult<T>
where
    T: for<'a, 'py> FromPyObject<'a, 'py, Error = PyErr>,
{
    options.getattr(name)?.extract()
}

/// A time in seconds, as milliseconds.
pub(crate) fn milliseconds(
    options: &Bound<'_, PyAny>,
    name: &Bound<'_, PyString>,
) -> PyResult<u64> {
    let seconds: f64 = value(options, name)?;
    Ok((seconds * 1000.0).ceil() as u64)
}

/// Proxies that are trusted, of Python's `TrustedProxies`.
///
/// Raises ValueError if one of its networks is none.
pub(crate) fn trusted_proxies(
    options: &Bound<'_, PyAny>,
    name: &Bound<'_, PyString>,
) -> PyResult<Trusted> {
    let trusted = options.getattr(name)?;
    let entries: Vec<String> = trusted.getattr("networks")?.extract()?;
    let networks = Networks::parse(entries.iter().map(String::as_str));
    Ok(Trusted {
        networks: networks.ok_or_else(|| PyValueError::new_err("invalid networks"))?,
        with_all: trusted.getattr("with_all")?.is_truthy()?,
    })
}

/// Names and values of header fields.
pub(crate) fn header_fields(
    options: &Bound<'_, PyAny>,
    name: &Bound<'_, PyString>,
) -> PyResult<Vec<(Vec<u8>, Vec<u8>)>> {
    let fields: Vec<(String, String)> = value(options, name)?;
    Ok(fields
        .into_iter()
        .map(|(name, value)| (name.into_bytes(), latin1(&value)))
        .collect())
}
