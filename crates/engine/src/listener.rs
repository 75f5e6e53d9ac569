//! A listening socket, and what its connections are held to.

use crate::settings::ListenerSettings;
use rustix::event::epoll::EventFlags;
use rustix::io::Errno;
use rustix::net::{SocketAddrAny, SocketFlags};
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::sync::Arc;

/// Who is at the other end.
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
                // A client of a dual socket is the IPv4 client that it is.
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

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Listening {
    /// In the epoll set.
    On,
    /// Out of it while this worker is full.
    Full,
    /// Out of it until somebody resumes it.
    Paused,
    /// Out of it for good: the socket is closed.
    Closed,
    /// Out of it for a moment: the process has no descriptor left.
    Starved,
}

/// Whether the process has descriptors for more clients.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Supply {
    Enough,
    /// No: `listener` was told so.
    Short {
        listener: u32,
        retry_ms: u64,
    },
    /// The door is open again; it is over if none is missing until then.
    Tried {
        listener: u32,
        until_ms: u64,
    },
}

impl Supply {
    pub(crate) fn due_ms(self) -> Option<u64> {
        match self {
            Supply::Enough => None,
            Supply::Short {
                retry_ms: due_ms, ..
            }
            | Supply::Tried {
                until_ms: due_ms, ..
            } => Some(due_ms),
        }
    }
}

pub(crate) struct Listener {
    pub(crate) socket: Option<OwnedFd>,
    pub(crate) settings: Arc<ListenerSettings>,
    pub(crate) state: Listening,
    /// Connections that came through it and live.
    pub(crate) open: usize,
    /// Each of them may ask once more, then it ends.
    pub(crate) draining: bool,
    /// Until when they may, if they have nothing else to wait for.
    pub(crate) linger_until_ms: u64,
}

/// A new connection wakes one of the processes that wait for it, not all.
pub(crate) const ACCEPTING: EventFlags = EventFlags::IN.union(EventFlags::EXCLUSIVE);

pub(crate) enum Accepted {
    Client(OwnedFd, Peer),
    Nobody,
    /// No descriptor, or no memory for one.
    Starved(Errno),
}

impl Listener {
    pub(crate) fn accept(&self) -> Accepted {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let Some(socket) = &self.socket else {
            return Accepted::Nobody;
        };
        match rustix::net::acceptfrom_with(socket, flags) {
            Ok((socket, address)) => Accepted::Client(socket, Peer::from_any(address)),
            Err(error @ (Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM)) => {
                Accepted::Starved(error)
            }
            // Taken by another worker, or gone before we came (accept(2)).
            Err(_) => Accepted::Nobody,
        }
    }
}
