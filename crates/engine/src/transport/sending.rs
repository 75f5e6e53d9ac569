//! What goes to the peer, and whether the peer takes it.
//!
//! Always holds: what is encrypted goes out before anything else.

use super::detached::{self, FileSend, RoomWaiter};
use super::{Layer, Transport};
use crate::content::FilePart;
use crate::tls::SEAL_BYTES;
use rustix::io::Errno;
use rustix::net::{SendAncillaryBuffer, SendFlags, Shutdown};
use std::io::{self, IoSlice};
use std::os::fd::AsRawFd;

/// No call on a socket waits, whatever its open file says: another process that has it can
/// change that.
const SEND: SendFlags = SendFlags::NOSIGNAL.union(SendFlags::DONTWAIT);

/// How much of a request that is refused unread is taken from the socket.
const REFUSED_BYTES: usize = 16 * 1024;

impl Transport {
    /// Bytes that were given to [`Transport::send`] and that the socket has not taken.
    #[inline]
    pub(crate) fn unsent(&self) -> usize {
        self.tls().map_or(0, |tls| tls.unsent().len())
    }

    /// Sends them.
    ///
    /// # Errors
    /// `AGAIN` if the socket has not taken all of them.
    #[inline]
    pub(crate) fn flush(&mut self) -> Result<(), Errno> {
        match self.layer {
            None => Ok(()),
            Some(_) => self.flush_encrypted(),
        }
    }

    fn flush_encrypted(&mut self) -> Result<(), Errno> {
        let Some(Layer::Tls(tls)) = self.layer.as_deref_mut() else {
            return Ok(());
        };
        while !tls.unsent().is_empty() {
            match rustix::net::send(&self.socket, tls.unsent(), SEND) {
                Ok(sent) => tls.advance(sent),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Takes the first of `bytes`. Returns how many.
    #[inline]
    pub(crate) fn send(&mut self, bytes: &[u8]) -> Result<usize, Errno> {
        match self.tls() {
            None => rustix::net::send(&self.socket, bytes, SEND),
            Some(_) => self.send_encrypted(&[IoSlice::new(bytes)]),
        }
    }

    /// As [`Transport::send`]. `more`: more output follows at once and may share a packet
    /// (MSG_MORE).
    pub(crate) fn send_vectors(
        &mut self,
        vectors: &[IoSlice<'_>],
        more: bool,
    ) -> Result<usize, Errno> {
        if self.is_encrypted() {
            return self.send_encrypted(vectors);
        }
        let mut flags = SEND;
        flags.set(SendFlags::MORE, more);
        let mut ancillary = SendAncillaryBuffer::default();
        rustix::net::sendmsg(&self.socket, vectors, &mut ancillary, flags)
    }

    /// What is encrypted counts as sent: the socket takes it before anything else.
    fn send_encrypted(&mut self, vectors: &[IoSlice<'_>]) -> Result<usize, Errno> {
        self.flush()?;
        let sealed = self.tls_mut().and_then(|tls| tls.seal(vectors));
        let sealed = sealed.ok_or(Errno::CONNABORTED)?;
        match self.flush() {
            Ok(()) | Err(Errno::AGAIN) => Ok(sealed),
            Err(error) => Err(error),
        }
    }

    /// Prepares to send a part of a file after its first `sent` bytes, at most
    /// `most`.
    pub(crate) fn file_send(&self, part: FilePart, sent: usize, most: usize) -> FileSend {
        let (socket, most) = match self.tls() {
            None => (Some(self.socket.as_raw_fd()), most),
            Some(_) => (None, most.min(SEAL_BYTES)),
        };
        FileSend {
            socket,
            from: part.offset + sent as u64,
            len: (part.len - sent).min(most),
            file: part.file,
        }
    }

    /// Has the socket take no more than it can send soon (tcp(7), TCP_NOTSENT_LOWAT): of what waits here, the
    /// most urgent goes first.
    pub(crate) fn hold_back(&self) {
        detached::hold_back(&self.socket);
    }

    /// Notes the length of the socket's send queue, for [`Transport::peer_reads`].
    pub(crate) fn note_queued(&mut self) {
        self.noted = detached::queued(&self.socket);
    }

    /// Whether the peer has read anything since [`Transport::note_queued`]. A socket becomes
    /// writable only when a good part of its queue is sent: until then a slow
    /// reader shows only in the length of the queue.
    pub(crate) fn peer_reads(&mut self) -> bool {
        let before = self.noted;
        self.note_queued();
        self.noted < before
    }

    /// For another thread to wait on.
    ///
    /// # Errors
    /// If the process has no free descriptor.
    pub(crate) fn room_waiter(&self) -> io::Result<RoomWaiter> {
        Ok(RoomWaiter(self.socket.try_clone()?))
    }

    /// Closes our side: the peer reads the end of the stream after the output.
    ///
    /// # Errors
    /// Those of `shutdown(2)`.
    pub(crate) fn end_sending(&mut self) -> Result<(), Errno> {
        if let Some(tls) = self.tls_mut() {
            tls.close();
            let _ = self.flush(); // the next call fails as well
        }
        rustix::net::shutdown(&self.socket, Shutdown::Write)
    }

    /// Sends a response as far as the socket takes it at once, and closes the connection.
    pub(crate) fn respond_and_close(mut self, response: &[u8]) {
        let _ = self.send(response);
        let _ = self.end_sending();
        // What is unread at the close would reset the connection, and destroy the response.
        let mut request = Vec::with_capacity(REFUSED_BYTES);
        let _ = self.receive(&mut request);
    }
}
