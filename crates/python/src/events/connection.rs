//! The connection of a request, for its handler.

use crate::core::Core;
use crate::introduction::texts;
use prefork_engine::{ConnectionId, Peer};
use prefork_wire::proxy::Extensions;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use std::net::IpAddr;
use std::sync::Arc;

/// A client's connection. It may be kept, compared and read after the client
/// has left. Two objects are equal if they are of the same connection.
#[pyclass(module = "prefork._engine", frozen)]
pub struct Connection {
    core: Arc<Core>,
    id: ConnectionId,
    remote: Peer,
    local: Option<Peer>,
    cipher: Option<&'static str>,
    /// What the proxy that has introduced it tells.
    extensions: Option<Arc<Extensions>>,
}

impl Connection {
    pub(crate) fn new(core: &Arc<Core>, id: ConnectionId, remote: Peer) -> Self {
        let (local, session, extensions) = {
            let mut engine = core.engine();
            let connection = engine.connection(id);
            (
                connection.local_address(),
                connection.session(),
                connection.extensions(),
            )
        };
        Connection {
            core: Arc::clone(core),
            id,
            remote,
            local,
            cipher: session.map(|session| session.cipher.name),
            extensions,
        }
    }
}

fn packed(address: Option<IpAddr>) -> Option<Vec<u8>> {
    address.map(|address| match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    })
}

#[pymethods]
impl Connection {
    /// A number that no other connection of this process has.
    #[getter]
    fn id(&self) -> u64 {
        self.id.to_u64()
    }

    /// The client's IP address, as trusted proxies name it; `unix` over a Unix
    /// socket, `unknown` if a proxy does not tell it.
    #[getter]
    fn remote_ip(&self) -> String {
        self.remote.to_string()
    }

    /// The client's port; 0 over a Unix socket, and if a proxy does not tell it.
    #[getter]
    fn remote_port(&self) -> u16 {
        self.remote.port()
    }

    /// The client's IP address in network byte order, 4 or 16 bytes; None over
    /// a Unix socket.
    #[getter]
    fn remote_addr(&self) -> Option<Vec<u8>> {
        packed(self.remote.ip())
    }

    /// The IP address that the client connected to; None if the client had
    /// left before this object was made.
    #[getter]
    fn local_ip(&self) -> Option<String> {
        self.local.map(|local| local.to_string())
    }

    /// The port that the client connected to; 0 over a Unix socket, and None
    /// where `local_ip` is None.
    #[getter]
    fn local_port(&self) -> Option<u16> {
        self.local.map(|local| local.port())
    }

    /// `local_ip` in network byte order; None over a Unix socket and where
    /// `local_ip` is None.
    #[getter]
    fn local_addr(&self) -> Option<Vec<u8>> {
        packed(self.local.and_then(|local| local.ip()))
    }

    /// Whether the client is gone: nothing that is sent will arrive.
    #[getter]
    fn dead(&self) -> bool {
        !self.core.engine().connection(self.id).is_open()
    }

    /// The cipher of an encrypted connection, as OpenSSL calls it; None for a plain one,
    /// and if the client had left before this object was made.
    #[getter]
    fn sslcipher(&self) -> Option<&'static str> {
        self.cipher
    }

    /// Whether the connection is encrypted.
    #[getter]
    fn ssl(&self) -> bool {
        self.cipher.is_some()
    }

    /// What a proxy tells by the PROXY protocol besides the client: `authority`, `alpn`, `unique_id` and
    /// the other names of docs/proxies.md. Empty without, and if the client had left before this object
    /// was made.
    #[getter]
    fn proxy_protocol<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        texts(py, self.extensions.as_deref())
    }

    /// Has `callback()` called once when the connection closes. Returns False,
    /// and does not call it, if that is so already.
    fn when_closed(&self, callback: Py<PyAny>) -> bool {
        self.core.when_closed(self.id, callback)
    }

    fn __eq__(&self, other: &Connection) -> bool {
        self.id == other.id && Arc::ptr_eq(&self.core, &other.core)
    }

    fn __hash__(&self) -> u64 {
        self.id.to_u64()
    }

    fn __repr__(&self) -> String {
        let state = if self.dead() { "dead" } else { "alive" };
        format!(
            "<Connection {} from {}:{}, {state}>",
            self.id.to_u64(),
            self.remote,
            self.remote.port()
        )
    }
}
