//! What applications learn about an encrypted connection: the variables of mod_ssl in an
//! environ, and the `tls` extension of a scope.
//!
//! Knows only connections that are encrypted: a plain one costs nothing here.

use crate::text::decode;
use prefork_tls::{Certificate, Session, Version};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};

/// What the variables of many connections have in common.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Kind {
    version: Version,
    cipher: u16,
    resumed: bool,
}

impl Kind {
    pub(crate) fn of(session: &Session) -> Self {
        Kind {
            version: session.version,
            cipher: session.cipher.number,
            resumed: session.resumed,
        }
    }
}

/// Sets the scheme, and those SSL_ variables that connections of one kind have in common
/// (mod_ssl, "Environment Variables").
pub(crate) fn set_common(environ: &Bound<'_, PyDict>, session: &Session) -> PyResult<()> {
    let py = environ.py();
    let bits = match session.cipher.bits {
        128 => "128",
        _ => "256",
    };
    let resumed = match session.resumed {
        true => "Resumed",
        false => "Initial",
    };
    let variables = [
        ("wsgi.url_scheme", "https"),
        ("HTTPS", "on"),
        ("SSL_PROTOCOL", session.version.name()),
        ("SSL_CIPHER", session.cipher.name),
        ("SSL_CIPHER_USEKEYSIZE", bits),
        ("SSL_CIPHER_ALGKEYSIZE", bits),
        ("SSL_SESSION_RESUMED", resumed),
        ("SSL_CLIENT_VERIFY", "NONE"),
    ];
    for (name, value) in variables {
        environ.set_item(PyString::intern(py, name), PyString::intern(py, value))?;
    }
    Ok(())
}

/// Sets the others, in an environ that has the common ones.
pub(crate) fn set_own(environ: &Bound<'_, PyDict>, session: &Session) -> PyResult<()> {
    let py = environ.py();
    if let Some(name) = &session.server_name {
        environ.set_item(intern!(py, "SSL_TLS_SNI"), decode(py, name.as_bytes()))?;
    }
    let Some(client) = session.client_certificate() else {
        return Ok(());
    };
    environ.set_item(intern!(py, "SSL_CLIENT_VERIFY"), intern!(py, "SUCCESS"))?;
    set_client(environ, session, client)
}

fn set_client(
    environ: &Bound<'_, PyDict>,
    session: &Session,
    client: &Certificate,
) -> PyResult<()> {
    let py = environ.py();
    let set = |name, value: &str| environ.set_item(name, decode(py, value.as_bytes()));
    set("SSL_CLIENT_S_DN", &client.subject)?;
    set("SSL_CLIENT_I_DN", &client.issuer)?;
    if let Some(name) = &client.common_name {
        set("SSL_CLIENT_S_DN_CN", name)?;
    }
    set("SSL_CLIENT_M_SERIAL", &client.serial)?;
    set("SSL_CLIENT_V_START", &client.not_before.text)?;
    set("SSL_CLIENT_V_END", &client.not_after.text)?;
    for (number, pem) in session.client_pem().iter().enumerate() {
        match number.checked_sub(1) {
            None => set("SSL_CLIENT_CERT", pem)?,
            Some(number) => {
                let name = format!("SSL_CLIENT_CERT_CHAIN_{number}");
                environ.set_item(name, decode(py, pem.as_bytes()))?;
            }
        }
    }
    Ok(())
}

/// The `tls` extension of a scope (ASGI TLS Extension, version 0.2).
pub(crate) fn extension<'py>(py: Python<'py>, session: &Session) -> PyResult<Bound<'py, PyDict>> {
    let extension = PyDict::new(py);
    extension.set_item(intern!(py, "server_cert"), session.server.as_deref())?;
    extension.set_item(intern!(py, "client_cert_chain"), session.client_pem())?;
    let client = session.client_certificate();
    let name = client.map(|client| client.subject.as_str());
    extension.set_item(intern!(py, "client_cert_name"), name)?;
    extension.set_item(intern!(py, "client_cert_error"), py.None())?;
    extension.set_item(intern!(py, "tls_version"), session.version as u16)?;
    extension.set_item(intern!(py, "cipher_suite"), session.cipher.number)?;
    Ok(extension)
}
