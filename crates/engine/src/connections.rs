//! The table of connections: keys, serials, and which are scheduled for the
//! next turn.
//!
//! Always holds: a key is reused only in a later turn than the one in which its
//! connection was closed, so that work left in that turn cannot reach the new
//! connection. Knows no epoll set and no protocol.

use crate::connection::Connection;
use crate::errors::LocalError;
use crate::exchange::ConnectionId;
use crate::link::FileTurn;

#[derive(Default)]
pub(crate) struct Connections {
    places: Vec<Option<Box<Connection>>>,
    free: Vec<u32>,
    /// Keys of connections that were closed in this turn.
    spent: Vec<u32>,
    /// Connections to handle in the next turn.
    scheduled: Vec<ConnectionId>,
    open: usize,
    last_serial: u32,
}

impl Connections {
    /// Returns an id for the next connection, which is `insert`ed, or given back
    /// with `spend`.
    pub(crate) fn reserve(&mut self) -> ConnectionId {
        let key = self.free.pop().unwrap_or(self.places.len() as u32);
        if key as usize == self.places.len() {
            self.places.push(None);
        }
        // The top bit of the epoll data is `SPECIAL`.
        self.last_serial = (self.last_serial + 1) & 0x7fff_ffff;
        ConnectionId {
            key,
            serial: self.last_serial,
        }
    }

    pub(crate) fn insert(&mut self, connection: Connection) {
        if let Some(place) = self.places.get_mut(connection.link.id.key as usize) {
            *place = Some(Box::new(connection));
            self.open += 1;
        }
    }

    pub(crate) fn remove(&mut self, key: u32) -> Option<Box<Connection>> {
        let connection = self.places.get_mut(key as usize)?.take()?;
        self.open -= 1;
        self.spend(key);
        Some(connection)
    }

    pub(crate) fn spend(&mut self, key: u32) {
        self.spent.push(key);
    }

    /// Open connections.
    pub(crate) fn len(&self) -> usize {
        self.open
    }

    #[inline]
    pub(crate) fn get(&self, key: u32) -> Option<&Connection> {
        self.places.get(key as usize)?.as_deref()
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, key: u32) -> Option<&mut Connection> {
        self.places.get_mut(key as usize)?.as_deref_mut()
    }

    /// # Errors
    /// `Closed` if the connection with this id is closed.
    #[inline]
    pub(crate) fn find(&self, id: ConnectionId) -> Result<&Connection, LocalError> {
        match self.get(id.key) {
            Some(connection) if connection.link.id == id => Ok(connection),
            _ => Err(LocalError::Closed),
        }
    }

    /// # Errors
    /// `Closed` if the connection with this id is closed.
    #[inline]
    pub(crate) fn find_mut(&mut self, id: ConnectionId) -> Result<&mut Connection, LocalError> {
        match self.get_mut(id.key) {
            Some(connection) if connection.link.id == id => Ok(connection),
            _ => Err(LocalError::Closed),
        }
    }

    /// Every key that may have a connection. The table may change during the
    /// iteration.
    pub(crate) fn keys(&self) -> std::ops::Range<u32> {
        0..self.places.len() as u32
    }

    /// The keys of a listener's connections.
    pub(crate) fn keys_of(&self, listener: u32) -> Vec<u32> {
        let is_its = |key: &u32| {
            let connection = self.get(*key);
            connection.is_some_and(|connection| connection.link.listener == listener)
        };
        self.keys().filter(is_its).collect()
    }

    pub(crate) fn keys_of_websockets(&self) -> Vec<u32> {
        let is_one = |key: &u32| self.get(*key).is_some_and(Connection::is_websocket);
        self.keys().filter(is_one).collect()
    }

    /// Schedules a connection for the next turn. False: it is scheduled
    /// already.
    #[inline]
    pub(crate) fn schedule(&mut self, key: u32) -> bool {
        let Some(Some(connection)) = self.places.get_mut(key as usize) else {
            return false;
        };
        let is_new = !std::mem::replace(&mut connection.scheduled, true);
        if is_new {
            self.scheduled.push(connection.link.id);
        }
        is_new
    }

    /// Whether a file is being sent on any, without the reactor.
    pub(crate) fn any_lent(&self) -> bool {
        let mut open = self.places.iter().flatten();
        open.any(|connection| connection.link.file == FileTurn::Lent)
    }

    /// Connections with requests that were read and wait for the next turn.
    pub(crate) fn backlogs(&self) -> Vec<ConnectionId> {
        let has_backlog = |id: &&ConnectionId| self.find(**id).is_ok_and(Connection::has_backlog);
        self.scheduled.iter().filter(has_backlog).copied().collect()
    }

    pub(crate) fn any_scheduled(&self) -> bool {
        !self.scheduled.is_empty()
    }

    /// Begins a turn: passes each scheduled connection to `look_at`.
    #[inline]
    pub(crate) fn begin_turn(&mut self, mut look_at: impl FnMut(ConnectionId)) {
        self.free.append(&mut self.spent);
        for id in self.scheduled.drain(..) {
            if let Some(Some(connection)) = self.places.get_mut(id.key as usize) {
                connection.scheduled &= connection.link.id != id;
            }
            look_at(id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::Link;
    use crate::peer::Peer;
    use crate::settings::ListenerSettings;
    use crate::transport::Transport;
    use std::os::unix::net::UnixStream;
    use std::sync::Arc;

    fn connect(table: &mut Connections, listener: u32) -> ConnectionId {
        let id = table.reserve();
        let (ours, _) = UnixStream::pair().unwrap();
        let transport = Transport::new(ours.into(), None);
        let settings = Arc::new(ListenerSettings::default());
        let link = Link::new(transport, Peer::Unix, id, listener, settings);
        table.insert(Connection::new(link, 0));
        id
    }

    #[test]
    fn a_key_is_free_again_only_in_the_next_turn() {
        let mut table = Connections::default();
        let (first, second) = (connect(&mut table, 0), connect(&mut table, 1));
        assert_eq!((first.key, second.key), (0, 1));
        table.remove(first.key);
        assert_eq!(connect(&mut table, 0).key, 2);
        table.begin_turn(|_| {});
        let again = connect(&mut table, 0);
        assert_eq!(again.key, first.key);
        assert!(table.find(first).is_err() && table.find(again).is_ok());
        assert_eq!((table.len(), table.keys_of(0)), (3, vec![0, 2]));
    }

    #[test]
    fn each_is_looked_at_once_a_turn() {
        let mut table = Connections::default();
        let id = connect(&mut table, 0);
        assert!(table.schedule(id.key));
        assert!(!table.schedule(id.key));
        let mut seen = Vec::new();
        table.begin_turn(|id| seen.push(id));
        assert_eq!(seen, [id]);
        assert!(table.schedule(id.key));
        table.remove(id.key);
        assert!(!table.schedule(id.key));
    }
}
