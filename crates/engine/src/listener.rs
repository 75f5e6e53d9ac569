//! A listening socket and its state.

use crate::peer::Peer;
use crate::settings::ListenerSettings;
use crate::tcp_info::tcp_info;
use crate::transport::Transport;
use prefork_tls::{Config, Session};
use rustix::event::epoll::EventFlags;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::net::SocketFlags;
use rustix::time::Timespec;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Listening {
    /// In the epoll set.
    On,
    /// Out of it while this worker is full.
    Full,
    /// Out of it while this worker has as many connections as it may.
    Crowded,
    /// Out of it until it is resumed.
    Paused,
    /// Out of it: the socket is closed.
    Closed,
    /// Out of it until the process has a free descriptor.
    NoDescriptor,
}

pub(crate) struct Listener {
    pub(crate) socket: Option<OwnedFd>,
    pub(crate) settings: Arc<ListenerSettings>,
    /// Its connections begin with a handshake.
    pub(crate) tls: Option<Config>,
    pub(crate) state: Listening,
    /// Open connections that it accepted or adopted.
    pub(crate) open: usize,
    /// Set while it drains: each connection may bring one more request; an idle
    /// one is closed at this time.
    pub(crate) drains_until_ms: Option<u64>,
}

/// A new connection wakes one of the waiting processes, not all.
pub(crate) const ACCEPTING: EventFlags = EventFlags::IN.union(EventFlags::EXCLUSIVE);

pub(crate) enum Accepted {
    Client(OwnedFd, Peer),
    Nothing,
    /// No free descriptor, or no memory for one.
    NoDescriptor(Errno),
    /// The descriptor is not a listening socket any more: it was closed, or
    /// shut down.
    Broken(Errno),
}

/// Whether an error of accept(2) or of the queue's calls comes again at each call.
pub(crate) fn is_lasting(error: Errno) -> bool {
    matches!(
        error,
        Errno::BADF | Errno::INVAL | Errno::NOTSOCK | Errno::OPNOTSUPP | Errno::FAULT
    )
}

/// The length of the accept queue of a listening TCP socket: of such a socket, tcp(7)'s
/// TCP_INFO tells it in the field that otherwise has the number of unacknowledged segments. `None`: of
/// another socket, which does not tell.
pub fn accept_queue_length(socket: BorrowedFd<'_>) -> Option<usize> {
    Some(tcp_info(socket)?.tcpi_unacked as usize)
}

impl Listener {
    pub(crate) fn new(socket: OwnedFd, settings: ListenerSettings, tls: Option<Config>) -> Self {
        Listener {
            socket: Some(socket),
            settings: Arc::new(settings),
            tls,
            state: Listening::Paused,
            open: 0,
            drains_until_ms: None,
        }
    }

    /// The transport of a client.
    pub(crate) fn transport(&self, socket: OwnedFd, peer: Peer) -> Transport {
        let tls = self.tls.clone();
        if !self.settings.proxy_protocol {
            return Transport::new(socket, tls);
        }
        let trusted = &self.settings.proxies.trusted;
        Transport::introduced(socket, tls, trusted.networks.contain(peer.into()))
    }

    /// The session of a client that another process has accepted. Which certificate that has
    /// chosen is not sent along.
    pub(crate) fn complete(&self, mut session: Arc<Session>) -> Arc<Session> {
        if let Some(session) = Arc::get_mut(&mut session) {
            let name = session.server_name.as_deref();
            let config = self.tls.as_ref();
            session.server = config.and_then(|config| config.certificate_for(name));
        }
        session
    }

    /// Whether a client waits to be accepted.
    pub(crate) fn has_client(&self) -> bool {
        let Some(socket) = &self.socket else {
            return false;
        };
        let mut fds = [PollFd::new(socket, PollFlags::IN)];
        poll(&mut fds, Some(&Timespec::default())).is_ok_and(|ready| ready > 0)
    }

    /// How many clients wait to be accepted. 0 for a Unix socket, which does not tell.
    pub(crate) fn waiting(&self) -> usize {
        let open = self.socket.as_ref();
        open.and_then(|socket| accept_queue_length(socket.as_fd()))
            .unwrap_or(0)
    }

    pub(crate) fn accept(&self) -> Accepted {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let Some(socket) = &self.socket else {
            return Accepted::Nothing;
        };
        // Each process that has the socket can have accept(2) wait, in all of them: the flag is one of the
        // open file.
        let _ = rustix::io::ioctl_fionbio(socket, true);
        match rustix::net::acceptfrom_with(socket, flags) {
            Ok((socket, address)) => Accepted::Client(socket, Peer::from_any(address)),
            Err(error @ (Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM)) => {
                Accepted::NoDescriptor(error)
            }
            Err(error) if is_lasting(error) => Accepted::Broken(error),
            // Another worker accepted it, or the client has left (accept(2)).
            Err(_) => Accepted::Nothing,
        }
    }
}
