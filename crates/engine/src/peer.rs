//! The address of one end of a connection.

use rustix::net::SocketAddrAny;
use std::fmt;
use std::net::{IpAddr, SocketAddr};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    Inet(SocketAddr),
    Unix,
}

impl Peer {
    pub(crate) fn from_any(address: Option<SocketAddrAny>) -> Self {
        address
            .and_then(|any| SocketAddr::try_from(any).ok())
            .map_or(Peer::Unix, |address| {
                // A dual-stack socket shows an IPv4 client as a mapped IPv6 address.
                Peer::Inet(SocketAddr::new(address.ip().to_canonical(), address.port()))
            })
    }

    pub fn ip(&self) -> Option<IpAddr> {
        match self {
            Peer::Inet(address) => Some(address.ip()),
            Peer::Unix => None,
        }
    }

    pub fn port(&self) -> u16 {
        match self {
            Peer::Inet(address) => address.port(),
            Peer::Unix => 0,
        }
    }
}

impl fmt::Display for Peer {
    /// The address without its port; `unix` for a Unix socket.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Peer::Inet(address) => address.ip().fmt(f),
            Peer::Unix => f.write_str("unix"),
        }
    }
}
