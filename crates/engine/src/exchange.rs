//! Names of connections and of the exchanges on them.

/// Names one connection for as long as the process lives: a key that is given
/// to the next connection in the same place has another serial.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ConnectionId {
    pub(crate) key: u32,
    pub(crate) serial: u32,
}

impl ConnectionId {
    /// The id as one number, unique in this process.
    pub fn to_u64(self) -> u64 {
        u64::from(self.serial) << 32 | u64::from(self.key)
    }

    pub fn from_u64(number: u64) -> Self {
        ConnectionId {
            key: number as u32,
            serial: (number >> 32) as u32,
        }
    }
}

/// Names one request and its response. `stream` is its number on a connection
/// that carries many (RFC 9113, section 5.1.1); 0 in HTTP/1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ExchangeId {
    pub connection: ConnectionId,
    pub stream: u32,
}

impl ExchangeId {
    /// The only exchange of an HTTP/1 connection.
    pub(crate) fn only(connection: ConnectionId) -> Self {
        ExchangeId {
            connection,
            stream: 0,
        }
    }
}
