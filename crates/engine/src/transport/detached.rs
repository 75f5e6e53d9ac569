//! What is done with a connection's socket without the reactor: a part of a file is sent, and a thread waits
//! for room.
//!
//! Always holds: what blocks here keeps no other connection waiting.

use super::options::set_option;
use crate::nudge::Nudge;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::time::Timespec;
use std::ffi::c_int;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::Arc;

/// SIOCOUTQ of linux/sockios.h.
const OUT_QUEUE: rustix::ioctl::Opcode = 0x5411;

/// A part of a file that is to be sent. It may block, for the disk and not for the
/// peer.
pub(crate) struct FileSend {
    /// `None`: the part is read, to be encrypted.
    pub(super) socket: Option<RawFd>,
    pub(super) file: Arc<OwnedFd>,
    pub(super) from: u64,
    pub(super) len: usize,
}

/// What [`FileSend::run`] has done.
pub(crate) enum FileSent {
    Sent(usize),
    /// The part, which is to be sent.
    Read(Vec<u8>),
}

impl FileSend {
    pub(crate) fn run(&self) -> Result<FileSent, Errno> {
        let Some(socket) = self.socket else {
            let mut part = Vec::with_capacity(self.len);
            let room = rustix::buffer::spare_capacity(&mut part);
            return match rustix::io::pread(&self.file, room, self.from)? {
                0 => Err(Errno::NODATA),
                _ => Ok(FileSent::Read(part)),
            };
        };
        // SAFETY: the connection, which owns the socket, is not closed before this call has been
        // reported to it (`Output::is_lent`, `Core::close_connection`).
        let socket = unsafe { BorrowedFd::borrow_raw(socket) };
        let mut from = self.from;
        match rustix::fs::sendfile(socket, &self.file, Some(&mut from), self.len)? {
            0 => Err(Errno::NODATA),
            sent => Ok(FileSent::Sent(sent)),
        }
    }
}

/// The result of a wait for room.
pub(crate) enum Room {
    Yes,
    TimedOut,
    PeerGone,
    Failed,
}

/// A duplicate of the descriptor.
pub(crate) struct RoomWaiter(pub(super) OwnedFd);

impl RoomWaiter {
    /// Bytes in the socket's send queue.
    pub(crate) fn queued(&self) -> c_int {
        queued(&self.0)
    }

    /// Blocks until the socket has room for more output; `input`: until it has input. A nudge ends it too.
    pub(crate) fn wait_for_room(
        &self,
        timeout: &Timespec,
        input: bool,
        nudge: Option<&Nudge>,
    ) -> Room {
        // Not RDHUP: a peer that has closed its side may still read.
        let gone = PollFlags::HUP | PollFlags::ERR;
        let awaited = if input { PollFlags::IN } else { PollFlags::OUT };
        loop {
            let nudge_fd = nudge.map_or(self.0.as_fd(), AsFd::as_fd);
            let mut fds = [
                PollFd::new(&self.0, awaited),
                PollFd::from_borrowed_fd(nudge_fd, PollFlags::IN),
            ];
            let used = fds.get_mut(..1 + usize::from(nudge.is_some()));
            let ready = match poll(used.unwrap_or_default(), Some(timeout)) {
                Err(Errno::INTR) => continue,
                Err(_) => return Room::Failed,
                Ok(ready) => ready,
            };
            let [socket, _] = &fds;
            let is_gone = socket.revents().intersects(gone);
            if let Some(nudge) = nudge.filter(|_| ready > 0) {
                nudge.take();
            }
            return match ready {
                _ if is_gone => Room::PeerGone,
                0 => Room::TimedOut,
                _ => Room::Yes,
            };
        }
    }
}

pub(super) fn queued(socket: &OwnedFd) -> c_int {
    // SAFETY: this request writes one c_int, and nothing else (tcp(7), unix(7)).
    let queued = unsafe {
        let request = rustix::ioctl::Getter::<OUT_QUEUE, c_int>::new();
        rustix::ioctl::ioctl(socket, request)
    };
    queued.unwrap_or(0)
}

/// How much the system takes of an HTTP/2 connection beyond what the peer's window lets it send.
const NOT_SENT_BYTES: c_int = 64 * 1024;

/// A Unix socket has no such option.
pub(super) fn hold_back(socket: &OwnedFd) {
    let level = libc::IPPROTO_TCP;
    set_option(socket, level, libc::TCP_NOTSENT_LOWAT, NOT_SENT_BYTES);
}
