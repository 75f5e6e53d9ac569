//! The calls for what concerns all exchanges of a connection.

use crate::core::Core;
use crate::exchange::ConnectionId;
use crate::peer::Peer;
use prefork_tls::Session;
use prefork_wire::proxy::Extensions;
use std::sync::Arc;

/// A connection, as the application uses it: [`crate::Reactor::connection`].
pub struct ConnectionHandle<'a> {
    core: &'a mut Core,
    id: ConnectionId,
}

impl<'a> ConnectionHandle<'a> {
    pub(crate) fn new(core: &'a mut Core, id: ConnectionId) -> Self {
        ConnectionHandle { core, id }
    }

    /// Asks for [`crate::Event::Closed`]. False: the connection is closed
    /// already.
    pub fn want_closed(&mut self) -> bool {
        let connection = self.core.connections.find_mut(self.id);
        connection
            .map(|connection| connection.wants_closed = true)
            .is_ok()
    }

    /// Closes the connection after the response that is open; without one, as
    /// soon as what is queued is sent. No further request is read.
    pub fn close_after_response(&mut self) {
        if let Ok(connection) = self.core.connections.find_mut(self.id) {
            connection.close_after_response(&mut self.core.cx);
            self.core.schedule(self.id.key);
        }
    }

    /// Whether a response over it may still arrive.
    pub fn is_open(&self) -> bool {
        self.core.connections.find(self.id).is_ok()
    }

    /// The address of our end, while the connection is open.
    pub fn local_address(&self) -> Option<Peer> {
        let connection = self.core.connections.find(self.id).ok()?;
        Some(connection.link.transport.local_address())
    }

    /// What the handshake of an open, encrypted connection has settled.
    pub fn session(&self) -> Option<Arc<Session>> {
        let connection = self.core.connections.find(self.id).ok()?;
        connection.link.transport.session().cloned()
    }

    /// What the proxy that has introduced an open connection tells besides the client.
    pub fn extensions(&self) -> Option<Arc<Extensions>> {
        let connection = self.core.connections.find(self.id).ok()?;
        connection.link.extensions.clone()
    }
}
