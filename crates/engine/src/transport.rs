//! How bytes reach a peer: every socket call on a connection.
//!
//! Owns: the connected socket. Always holds: no call blocks, except
//! [`Transport::wait_for_room`]. Another kind of transport is another arm of
//! the enum. Knows no protocol, no buffer policy and no epoll set.

use crate::content::FilePart;
use crate::peer::Peer;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendAncillaryBuffer, SendFlags, Shutdown, sockopt};
use rustix::time::Timespec;
use std::ffi::c_int;
use std::io::{self, IoSlice};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::time::Duration;

pub(crate) enum Transport {
    /// Unencrypted.
    Plain(OwnedFd),
}

/// A part of a file that is to be sent. It may block, for the disk and not for the
/// peer.
pub(crate) struct FileSend {
    socket: RawFd,
    file: Arc<OwnedFd>,
    from: u64,
    len: usize,
}

impl FileSend {
    pub(crate) fn run(&self) -> Result<usize, Errno> {
        // SAFETY: the connection, which owns the socket, is not closed before this call has been
        // reported to it (`Output::is_lent`, `Core::close_connection`).
        let socket = unsafe { BorrowedFd::borrow_raw(self.socket) };
        let mut from = self.from;
        match rustix::fs::sendfile(socket, &self.file, Some(&mut from), self.len)? {
            0 => Err(Errno::NODATA),
            sent => Ok(sent),
        }
    }
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
}

/// The result of a wait for room.
pub(crate) enum Room {
    Yes,
    TimedOut,
    PeerGone,
    Failed,
}

/// Between the probes of a peer that has closed its side.
const PROBE_INTERVAL: Duration = Duration::from_secs(15);

/// SIOCOUTQ of linux/sockios.h.
const OUT_QUEUE: rustix::ioctl::Opcode = 0x5411;

impl Transport {
    /// A connection that another process accepted, and its peer; `None` if it
    /// is closed or not a connection.
    pub(crate) fn adopt(socket: OwnedFd) -> Option<(Self, Peer)> {
        let peer = rustix::net::getpeername(&socket).ok()?;
        rustix::io::ioctl_fionbio(&socket, true).ok()?;
        Some((Transport::Plain(socket), Peer::from_any(peer)))
    }

    #[inline]
    fn socket(&self) -> &OwnedFd {
        match self {
            Transport::Plain(socket) => socket,
        }
    }

    /// The descriptor for the epoll set and the hand-off.
    #[inline]
    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.socket().as_fd()
    }

    /// The scheme of its URIs (RFC 9110, section 4.2).
    #[inline]
    pub(crate) fn scheme(&self) -> &'static str {
        match self {
            Transport::Plain(_) => "http",
        }
    }

    /// The cipher of an encrypted connection.
    pub(crate) fn cipher(&self) -> Option<&'static str> {
        match self {
            Transport::Plain(_) => None,
        }
    }

    /// Whether another process can continue with it: all of its state is in the kernel.
    pub(crate) fn may_move(&self) -> bool {
        match self {
            Transport::Plain(_) => true,
        }
    }

    pub(crate) fn local_address(&self) -> Peer {
        Peer::from_any(rustix::net::getsockname(self.socket()).ok())
    }

    /// Reads into the spare capacity of `buffer`.
    #[inline]
    pub(crate) fn receive(&self, buffer: &mut Vec<u8>) -> Received {
        let room_bytes = buffer.capacity() - buffer.len();
        let room = rustix::buffer::spare_capacity(buffer);
        match rustix::net::recv(self.socket(), room, RecvFlags::empty()) {
            Ok((0, _)) => Received::End,
            Ok((len, _)) => Received::Bytes {
                len,
                all_room: len == room_bytes,
            },
            Err(Errno::AGAIN | Errno::INTR) => Received::Nothing,
            Err(_) => Received::Reset,
        }
    }

    /// Whether the peer has sent something that is not read yet.
    pub(crate) fn has_input(&self) -> bool {
        let peeked = rustix::net::recv(self.socket(), &mut [0; 1], RecvFlags::PEEK);
        peeked.is_ok_and(|(len, _)| len > 0)
    }

    #[inline]
    pub(crate) fn send(&self, bytes: &[u8]) -> Result<usize, Errno> {
        rustix::net::send(self.socket(), bytes, SendFlags::NOSIGNAL)
    }

    /// `more`: more output follows at once and may share a packet (MSG_MORE).
    pub(crate) fn send_vectors(&self, vectors: &[IoSlice<'_>], more: bool) -> Result<usize, Errno> {
        let mut flags = SendFlags::NOSIGNAL;
        flags.set(SendFlags::MORE, more);
        let mut ancillary = SendAncillaryBuffer::default();
        rustix::net::sendmsg(self.socket(), vectors, &mut ancillary, flags)
    }

    /// Prepares to send a part of a file after its first `sent` bytes, at most
    /// `most`.
    pub(crate) fn file_send(&self, part: FilePart, sent: usize, most: usize) -> FileSend {
        FileSend {
            socket: self.socket().as_raw_fd(),
            from: part.offset + sent as u64,
            len: (part.len - sent).min(most),
            file: part.file,
        }
    }

    /// Bytes in the socket's send queue.
    pub(crate) fn queued(&self) -> c_int {
        // SAFETY: this request writes one c_int, and nothing else (tcp(7), unix(7)).
        let queued = unsafe {
            let request = rustix::ioctl::Getter::<OUT_QUEUE, c_int>::new();
            rustix::ioctl::ioctl(self.socket(), request)
        };
        queued.unwrap_or(0)
    }

    /// Closes our side: the peer reads the end of the stream after the output.
    ///
    /// # Errors
    /// Those of `shutdown(2)`.
    pub(crate) fn end_sending(&self) -> Result<(), Errno> {
        rustix::net::shutdown(self.socket(), Shutdown::Write)
    }

    /// Ends both directions, also for other descriptors of the socket.
    pub(crate) fn shut_down(&self) {
        let _ = rustix::net::shutdown(self.socket(), Shutdown::Both);
    }

    /// A descriptor of the same socket, for the application.
    ///
    /// # Errors
    /// If the process has no free descriptor.
    pub(crate) fn duplicate(&self) -> io::Result<OwnedFd> {
        self.socket().try_clone()
    }

    /// Ends what the application has set: no call blocks.
    pub(crate) fn unblock(&self) {
        let _ = rustix::io::ioctl_fionbio(self.socket(), true);
    }

    /// Has the system probe a peer that has closed its side. One that still reads
    /// acknowledges the probes; one that is gone resets the connection, after
    /// about a minute (tcp(7), `tcp_fin_timeout`).
    pub(crate) fn probe_peer(&self) {
        let socket = self.socket();
        // A Unix socket has no such option, and tells a leave without it.
        let _ = sockopt::set_tcp_keepidle(socket, PROBE_INTERVAL)
            .and_then(|()| sockopt::set_tcp_keepintvl(socket, PROBE_INTERVAL))
            .and_then(|()| sockopt::set_socket_keepalive(socket, true));
    }

    /// Duplicates the descriptor, for another thread to wait on.
    ///
    /// # Errors
    /// If the process has no free descriptor.
    pub(crate) fn try_clone(&self) -> io::Result<Self> {
        match self {
            Transport::Plain(socket) => Ok(Transport::Plain(socket.try_clone()?)),
        }
    }

    /// Blocks until the socket has room for more output.
    pub(crate) fn wait_for_room(&self, timeout: &Timespec) -> Room {
        // Not RDHUP: a peer that has closed its side may still read.
        let gone = PollFlags::HUP | PollFlags::ERR;
        loop {
            let mut fds = [PollFd::new(self.socket(), PollFlags::OUT)];
            let ready = match poll(&mut fds, Some(timeout)) {
                Err(Errno::INTR) => continue,
                Err(_) => return Room::Failed,
                Ok(ready) => ready,
            };
            let [fd] = &fds;
            return match ready {
                _ if fd.revents().intersects(gone) => Room::PeerGone,
                0 => Room::TimedOut,
                _ => Room::Yes,
            };
        }
    }
}
