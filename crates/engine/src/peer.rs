//! The address of one end of a connection.

use prefork_wire::proxy::Node;
use rustix::net::SocketAddrAny;
use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    Inet {
        ip: IpAddr,
        /// 0 if it is not known.
        port: u16,
    },
    Unix,
    /// A proxy does not know it, or hides it.
    Unknown,
}

/// The size of [`Peer::to_bytes`]: an IPv6 address, in which IPv4 addresses are mapped, a port, and the kind.
pub(crate) const PEER_BYTES: usize = 19;

const INET: u8 = 0;
const UNIX: u8 = 1;
const UNKNOWN: u8 = 2;

impl Peer {
    /// What [`Peer::from_bytes`] reads in another process.
    pub(crate) fn to_bytes(self) -> [u8; PEER_BYTES] {
        let (ip, kind) = match self {
            Peer::Inet { ip, .. } => (ip, INET),
            Peer::Unix => (Ipv6Addr::UNSPECIFIED.into(), UNIX),
            Peer::Unknown => (Ipv6Addr::UNSPECIFIED.into(), UNKNOWN),
        };
        let ip = match ip {
            IpAddr::V4(ip) => ip.to_ipv6_mapped(),
            IpAddr::V6(ip) => ip,
        };
        let mut bytes = [kind; PEER_BYTES];
        let address = ip.octets().into_iter().chain(self.port().to_le_bytes());
        bytes
            .iter_mut()
            .zip(address)
            .for_each(|(to, from)| *to = from);
        bytes
    }

    pub(crate) fn from_bytes(bytes: &[u8; PEER_BYTES]) -> Self {
        let [ip @ .., low, high, kind] = *bytes;
        match kind {
            INET => Peer::Inet {
                ip: IpAddr::from(ip).to_canonical(),
                port: u16::from_le_bytes([low, high]),
            },
            UNIX => Peer::Unix,
            _ => Peer::Unknown,
        }
    }

    pub(crate) fn from_any(address: Option<SocketAddrAny>) -> Self {
        address
            .and_then(|any| SocketAddr::try_from(any).ok())
            .map_or(Peer::Unix, |address| Peer::Inet {
                // A dual-stack socket shows an IPv4 client as a mapped IPv6 address.
                ip: address.ip().to_canonical(),
                port: address.port(),
            })
    }

    pub fn ip(&self) -> Option<IpAddr> {
        match self {
            Peer::Inet { ip, .. } => Some(*ip),
            Peer::Unix | Peer::Unknown => None,
        }
    }

    pub fn port(&self) -> u16 {
        match self {
            Peer::Inet { port, .. } => *port,
            Peer::Unix | Peer::Unknown => 0,
        }
    }
}

impl From<Peer> for Node {
    fn from(peer: Peer) -> Self {
        match peer {
            Peer::Inet { ip, port } => Node::Inet { ip, port },
            Peer::Unix => Node::Unix,
            Peer::Unknown => Node::Unknown,
        }
    }
}

impl From<Node> for Peer {
    fn from(node: Node) -> Self {
        match node {
            Node::Inet { ip, port } => Peer::Inet { ip, port },
            Node::Unix => Peer::Unix,
            Node::Unknown => Peer::Unknown,
        }
    }
}

impl fmt::Display for Peer {
    /// The address without its port; `unix` for a Unix socket.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Peer::Inet { ip, .. } => ip.fmt(f),
            Peer::Unix => f.write_str("unix"),
            Peer::Unknown => f.write_str("unknown"),
        }
    }
}
