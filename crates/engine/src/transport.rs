//! How bytes reach a peer: every socket call on a connection.
//!
//! Owns: the connected socket, and what is between its bytes and those of the protocol: TLS, or a
//! header of the PROXY protocol before it. Always holds: no call blocks, except
//! [`RoomWaiter::wait_for_room`]. Knows no protocol, no buffer policy and no epoll set.
//!
//! `receiving` and `sending` pass bytes through its layer; `detached` has what is done without the reactor.

use crate::introduction::Introducing;
use crate::peer::Peer;
use crate::tls::{Keys, Tls};
use prefork_tls::{Config, Session};
use prefork_wire::proxy::Introduction;
use rustix::net::{AddressFamily, Shutdown, SocketFlags, SocketType, sockopt};
use std::ffi::c_int;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

mod detached;
mod options;
mod receiving;
mod sending;

pub(crate) use detached::{FileSend, FileSent, Room, RoomWaiter};
use options::set_option;

pub(crate) struct Transport {
    socket: OwnedFd,
    /// The length of its send queue at the last [`Transport::note_queued`].
    noted: c_int,
    /// `None`: its bytes are the protocol's.
    layer: Option<Box<Layer>>,
}

enum Layer {
    Introduction(Introducing),
    Tls(Tls),
    /// Its bytes are those of a stream.
    Lent(Lent),
}

/// What the worker that serves a lent stream cannot read from its socket.
pub(crate) struct Lent {
    /// The server's end of the client's connection, which another worker has.
    pub(crate) local: Peer,
    /// What the handshake with the client has settled.
    pub(crate) session: Option<Arc<Session>>,
}

/// The result of one read.
pub(crate) enum Received {
    /// `all_room`: the buffer is full, so there may be more.
    Bytes {
        len: usize,
        all_room: bool,
    },
    Nothing,
    /// The peer has closed its side.
    End,
    Reset,
    /// TLS has ended it, by an alert.
    Failed,
    /// A proxy has introduced the client. What came after that is read by
    /// [`Transport::receive_rest`].
    Introduced(Introduction),
    /// The peer is not heard, for this reason.
    Refused(&'static str),
}

/// Between the probes of a peer that has closed its side.
const PROBE_INTERVAL: Duration = Duration::from_secs(15);

impl Transport {
    /// Of an accepted connection. `tls`: it begins with a handshake.
    pub(crate) fn new(socket: OwnedFd, tls: Option<Config>) -> Self {
        Transport {
            socket,
            noted: 0,
            layer: layer_of(tls),
        }
    }

    /// As [`Transport::new`], of a connection that begins with a header of the PROXY protocol.
    /// `is_trusted`: the peer may send one.
    pub(crate) fn introduced(socket: OwnedFd, tls: Option<Config>, is_trusted: bool) -> Self {
        let introducing = Introducing::new(tls, is_trusted);
        Transport {
            socket,
            noted: 0,
            layer: Some(Box::new(Layer::Introduction(introducing))),
        }
    }

    /// A connection that another process accepted; `None` if it is closed or not a
    /// connection. `tls`: of an encrypted one.
    pub(crate) fn adopt(socket: OwnedFd, tls: Option<Tls>) -> Option<Self> {
        Self::with(socket, tls.map(Layer::Tls))
    }

    /// As [`Transport::adopt`], of a stream.
    pub(crate) fn adopt_lent(socket: OwnedFd, lent: Lent) -> Option<Self> {
        Self::with(socket, Some(Layer::Lent(lent)))
    }

    fn with(socket: OwnedFd, layer: Option<Layer>) -> Option<Self> {
        rustix::net::getpeername(&socket).ok()?;
        // The ends of the queue itself are connected too.
        let kind = rustix::net::sockopt::socket_type(&socket).ok()?;
        if kind != SocketType::STREAM {
            return None;
        }
        rustix::io::ioctl_fionbio(&socket, true).ok()?;
        let layer = layer.map(Box::new);
        Some(Transport {
            socket,
            noted: 0,
            layer,
        })
    }

    /// Two that are connected to each other in this process, unencrypted.
    ///
    /// # Errors
    /// If the process has no free descriptors.
    pub(crate) fn pair() -> io::Result<(Self, Self)> {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let (one, other) =
            rustix::net::socketpair(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
        let plain = |socket| Transport {
            socket,
            noted: 0,
            layer: None,
        };
        Ok((plain(one), plain(other)))
    }
}

fn layer_of(tls: Option<Config>) -> Option<Box<Layer>> {
    tls.map(|config| Box::new(Layer::Tls(Tls::new(config))))
}

// ---- what it is ---------------------------------------------------------------

impl Transport {
    fn tls(&self) -> Option<&Tls> {
        match self.layer.as_deref()? {
            Layer::Tls(tls) => Some(tls),
            Layer::Introduction(_) | Layer::Lent(_) => None,
        }
    }

    fn tls_mut(&mut self) -> Option<&mut Tls> {
        match self.layer.as_deref_mut()? {
            Layer::Tls(tls) => Some(tls),
            Layer::Introduction(_) | Layer::Lent(_) => None,
        }
    }

    /// The descriptor for the epoll set and the hand-off.
    #[inline]
    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Whether it speaks TLS.
    #[inline]
    pub(crate) fn is_encrypted(&self) -> bool {
        self.tls().is_some()
    }

    /// Whether a header of the PROXY protocol is to come.
    pub(crate) fn is_new(&self) -> bool {
        matches!(self.layer.as_deref(), Some(Layer::Introduction(_)))
    }

    /// Whether it is a stream of a connection that another worker has.
    #[inline]
    pub(crate) fn is_lent(&self) -> bool {
        self.lent().is_some()
    }

    fn lent(&self) -> Option<&Lent> {
        match self.layer.as_deref()? {
            Layer::Lent(lent) => Some(lent),
            Layer::Introduction(_) | Layer::Tls(_) => None,
        }
    }

    /// The server's end of the connection whose stream it is.
    pub(crate) fn lent_address(&self) -> Option<Peer> {
        self.lent().map(|lent| lent.local)
    }

    /// What the handshake with the client has settled.
    pub(crate) fn session(&self) -> Option<&Arc<Session>> {
        match self.layer.as_deref()? {
            Layer::Tls(tls) => tls.session(),
            Layer::Lent(lent) => lent.session.as_ref(),
            Layer::Introduction(_) => None,
        }
    }

    /// Why TLS with the client has failed, or what it has refused.
    pub(crate) fn failure(&self) -> Option<&'static str> {
        self.tls()?.failure()
    }

    /// What of TLS the client has not completed, if its side has ended.
    pub(crate) fn cut(&self) -> Option<&'static str> {
        self.tls()?.cut()
    }

    /// Whether the client has begun a handshake that is not complete.
    pub(crate) fn is_in_handshake(&self) -> bool {
        self.tls().is_some_and(Tls::is_in_handshake)
    }

    /// Whether the client has chosen HTTP/2 in the handshake.
    pub(crate) fn is_http2(&self) -> bool {
        self.tls().is_some_and(|tls| tls.is_http2())
    }

    /// Whether another process can continue with it: its state is in the kernel, and in
    /// what [`Transport::export`] and [`Transport::undecoded`] give.
    pub(crate) fn may_move(&self) -> bool {
        match self.layer.as_deref() {
            None => true,
            Some(Layer::Introduction(introducing)) => introducing.may_move(),
            Some(Layer::Tls(tls)) => tls.may_move(),
            Some(Layer::Lent(_)) => true,
        }
    }

    /// Whether it will be able to move, when nothing of it waits.
    pub(crate) fn moves(&self) -> bool {
        self.tls().is_none_or(Tls::moves)
    }

    /// The keys of an encrypted connection that may move.
    pub(crate) fn export(&self) -> Option<Keys> {
        self.tls()?.export()
    }

    /// What was read and is the beginning of a record, or of a header of the PROXY protocol.
    pub(crate) fn undecoded(&self) -> &[u8] {
        match self.layer.as_deref() {
            None | Some(Layer::Lent(_)) => &[],
            Some(Layer::Introduction(introducing)) => introducing.part(),
            Some(Layer::Tls(tls)) => tls.rest(),
        }
    }

    /// Continues with what another process has read and not decoded.
    pub(crate) fn set_undecoded(&mut self, bytes: Vec<u8>) {
        match self.layer.as_deref_mut() {
            None | Some(Layer::Lent(_)) => {}
            Some(Layer::Introduction(introducing)) => introducing.set_part(bytes),
            Some(Layer::Tls(tls)) => tls.set_rest(bytes),
        }
    }

    /// The server's end of the connection with the client.
    pub(crate) fn local_address(&self) -> Peer {
        let own = || Peer::from_any(rustix::net::getsockname(&self.socket).ok());
        self.lent_address().unwrap_or_else(own)
    }
}

// ---- how it ends --------------------------------------------------------------

impl Transport {
    /// Resets the connection, also for other descriptors of the socket: the peer gets an error, and not the
    /// end of the stream. A Unix socket cannot be reset.
    pub(crate) fn reset(&self) {
        if rustix::net::connect_unspec(&self.socket).is_err() {
            let _ = rustix::net::shutdown(&self.socket, Shutdown::Write);
        }
    }

    /// Ends both directions, also for other descriptors of the socket.
    pub(crate) fn shut_down(&self) {
        let _ = rustix::net::shutdown(&self.socket, Shutdown::Both);
    }

    /// A descriptor of the same socket, for the application.
    ///
    /// # Errors
    /// If the process has no free descriptor.
    pub(crate) fn duplicate(&self) -> io::Result<OwnedFd> {
        self.socket.try_clone()
    }

    /// Ends what the application has set: no call blocks.
    pub(crate) fn unblock(&self) {
        let _ = rustix::io::ioctl_fionbio(&self.socket, true);
    }

    /// Has the system report no fewer bytes of the peer than these, but for the end.
    ///
    /// It takes so many before they are read, then and later: a socket gets room for what it is to report. By itself
    /// it widens the receive buffer only for a peer that is read without pause (tcp(7), `tcp_moderate_rcvbuf`).
    /// `SO_RCVBUF` would keep the system from widening it further, and allows less.
    pub(crate) fn report_from(&self, bytes: usize) {
        let least = c_int::try_from(bytes).unwrap_or(c_int::MAX);
        set_option(&self.socket, libc::SOL_SOCKET, libc::SO_RCVLOWAT, least);
    }

    /// Has the system probe a peer that has closed its side. One that still reads
    /// acknowledges the probes; one that is gone resets the connection, after
    /// about a minute (tcp(7), `tcp_fin_timeout`).
    pub(crate) fn probe_peer(&self) {
        let socket = &self.socket;
        // A Unix socket has no such option, and tells a leave without it.
        let _ = sockopt::set_tcp_keepidle(socket, PROBE_INTERVAL)
            .and_then(|()| sockopt::set_tcp_keepintvl(socket, PROBE_INTERVAL))
            .and_then(|()| sockopt::set_socket_keepalive(socket, true));
    }
}
