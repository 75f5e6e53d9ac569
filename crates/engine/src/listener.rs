//! A listening socket, and where it stands.

use crate::peer::Peer;
use crate::settings::ListenerSettings;
use rustix::event::epoll::EventFlags;
use rustix::io::Errno;
use rustix::net::SocketFlags;
use std::os::fd::OwnedFd;
use std::sync::Arc;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Listening {
    /// In the epoll set.
    On,
    /// Out of it while this worker is full.
    Full,
    /// Out of it until it is resumed.
    Paused,
    /// Out of it for good: the socket is closed.
    Closed,
    /// Out of it for a moment: the process has no descriptor left.
    Starved,
}

pub(crate) struct Listener {
    pub(crate) socket: Option<OwnedFd>,
    pub(crate) settings: Arc<ListenerSettings>,
    pub(crate) state: Listening,
    /// Connections that came through it and are open.
    pub(crate) open: usize,
    /// It drains: each of them may bring one request more, until this time if
    /// it waits for nothing else.
    pub(crate) drains_until_ms: Option<u64>,
}

/// A new connection wakes one of the processes that wait for it, not all.
pub(crate) const ACCEPTING: EventFlags = EventFlags::IN.union(EventFlags::EXCLUSIVE);

pub(crate) enum Accepted {
    Client(OwnedFd, Peer),
    Nothing,
    /// No descriptor, or no memory for one.
    Starved(Errno),
}

impl Listener {
    pub(crate) fn new(socket: OwnedFd, settings: ListenerSettings) -> Self {
        Listener {
            socket: Some(socket),
            settings: Arc::new(settings),
            state: Listening::Paused,
            open: 0,
            drains_until_ms: None,
        }
    }

    pub(crate) fn accept(&self) -> Accepted {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let Some(socket) = &self.socket else {
            return Accepted::Nothing;
        };
        match rustix::net::acceptfrom_with(socket, flags) {
            Ok((socket, address)) => Accepted::Client(socket, Peer::from_any(address)),
            Err(error @ (Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM)) => {
                Accepted::Starved(error)
            }
            // Taken by another worker, or gone before we came (accept(2)).
            Err(_) => Accepted::Nothing,
        }
    }
}
