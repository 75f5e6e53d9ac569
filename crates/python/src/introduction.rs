//! What applications learn from the proxy that has introduced a connection by the PROXY protocol, besides the
//! client: variables of an environ, an extension of a scope, a dict for handlers.
//!
//! The names are nginx's; the values are as those of header fields are in each interface.

use crate::text::decode;
use prefork_wire::proxy::Extensions;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};

/// Sets variables such as PROXY_PROTOCOL_TLV_AUTHORITY.
#[cold]
pub(crate) fn set_variables(environ: &Bound<'_, PyDict>, told: &Extensions) -> PyResult<()> {
    for (name, value) in told.named() {
        let name = format!("PROXY_PROTOCOL_TLV_{}", name.to_ascii_uppercase());
        environ.set_item(name, decode(environ.py(), &value))?;
    }
    Ok(())
}

/// The `proxy_protocol` extension of a scope.
#[cold]
pub(crate) fn extension<'py>(py: Python<'py>, told: &Extensions) -> PyResult<Bound<'py, PyDict>> {
    let extension = PyDict::new(py);
    for (name, value) in told.named() {
        extension.set_item(name, PyBytes::new(py, &value))?;
    }
    Ok(extension)
}

/// For a handler.
pub(crate) fn texts<'py>(
    py: Python<'py>,
    told: Option<&Extensions>,
) -> PyResult<Bound<'py, PyDict>> {
    let texts = PyDict::new(py);
    for (name, value) in told.map(Extensions::named).unwrap_or_default() {
        texts.set_item(name, decode(py, &value))?;
    }
    Ok(texts)
}
