//! The connection a request came over, as its handler sees it.

use crate::core::Core;
use prefork_engine::{ConnectionId, Peer};
use pyo3::prelude::*;
use std::net::IpAddr;
use std::sync::Arc;

/// A client's connection. It may be kept, compared and asked after the client
/// has left.
#[pyclass(module = "prefork._engine", frozen)]
pub struct Connection {
    core: Arc<Core>,
    id: ConnectionId,
    remote: Peer,
    local: Option<Peer>,
}

impl Connection {
    pub(crate) fn new(core: &Arc<Core>, id: ConnectionId, remote: Peer) -> Self {
        Connection {
            core: Arc::clone(core),
            id,
            remote,
            local: core.engine().local_address(id),
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
    /// Unique among the connections of this process.
    #[getter]
    fn id(&self) -> u64 {
        self.id.to_u64()
    }

    /// The client's IP address; `unix` over a Unix socket.
    #[getter]
    fn remote_ip(&self) -> String {
        self.remote.to_string()
    }

    /// The client's port; 0 over a Unix socket.
    #[getter]
    fn remote_port(&self) -> u16 {
        self.remote.port()
    }

    /// The address as `inet_aton` packs it, None over a Unix socket.
    #[getter]
    fn remote_addr(&self) -> Option<Vec<u8>> {
        packed(self.remote.ip())
    }

    /// The address that the client came to; None if it had left before this
    /// connection was first looked at.
    #[getter]
    fn local_ip(&self) -> Option<String> {
        self.local.map(|local| local.to_string())
    }

    /// The port that the client came to, None as `local_ip` is.
    #[getter]
    fn local_port(&self) -> Option<u16> {
        self.local.map(|local| local.port())
    }

    /// `local_ip` as `inet_aton` packs it.
    #[getter]
    fn local_addr(&self) -> Option<Vec<u8>> {
        packed(self.local.and_then(|local| local.ip()))
    }

    /// The client is gone: nothing that is sent will arrive.
    #[getter]
    fn dead(&self) -> bool {
        !self.core.engine().is_open(self.id)
    }

    /// The cipher of the connection, None without TLS.
    #[getter]
    fn sslcipher(&self) -> Option<String> {
        None
    }

    /// Whether the connection is encrypted.
    #[getter]
    fn ssl(&self) -> bool {
        false
    }

    /// Calls `callback()` once when the connection is gone. False: it is.
    fn when_closed(&self, callback: Py<PyAny>) -> bool {
        if !self.core.engine().tell_closed(self.id) {
            return false;
        }
        let mut waiting = self.core.waiting();
        waiting.closed.entry(self.id).or_default().push(callback);
        true
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
