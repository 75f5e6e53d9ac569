//! How bytes reach a peer: every socket call on a connection.
//!
//! Owns: the connected socket, and what is between its bytes and those of the protocol: TLS, or a
//! header of the PROXY protocol before it. Always holds: no call blocks, except
//! [`RoomWaiter::wait_for_room`]. Knows no protocol, no buffer policy and no epoll set.

use crate::content::FilePart;
use crate::introduction::{Introduced, Introducing};
use crate::peer::Peer;
use crate::tcp_info::tcp_info;
use crate::tls::{Ended, Keys, SEAL_BYTES, Tls};
use prefork_tls::{Config, Session};
use prefork_wire::proxy::Introduction;
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvFlags, SendAncillaryBuffer, SendFlags, Shutdown, SocketFlags, SocketType,
    sockopt,
};
use std::ffi::c_int;
use std::io::{self, IoSlice};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

mod detached;

pub(crate) use detached::{FileSend, FileSent, Room, RoomWaiter};

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

/// No call on a socket waits, whatever its open file says: another process that has it can
/// change that.
const SEND: SendFlags = SendFlags::NOSIGNAL.union(SendFlags::DONTWAIT);

/// Between the probes of a peer that has closed its side.
const PROBE_INTERVAL: Duration = Duration::from_secs(15);

/// How much of a request that is refused unread is taken from the socket.
const REFUSED_BYTES: usize = 16 * 1024;

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

    // ---- receiving ---------------------------------------------------------------

    /// Reads into the spare capacity of `buffer`.
    #[inline]
    pub(crate) fn receive(&mut self, buffer: &mut Vec<u8>) -> Received {
        match self.layer.as_deref() {
            None | Some(Layer::Lent(_)) => self.receive_bytes(buffer),
            Some(Layer::Tls(_)) => self.receive_encrypted(buffer),
            Some(Layer::Introduction(_)) => self.receive_introduction(buffer),
        }
    }

    #[inline]
    fn receive_bytes(&self, buffer: &mut Vec<u8>) -> Received {
        let room_bytes = buffer.capacity() - buffer.len();
        let room = rustix::buffer::spare_capacity(buffer);
        match rustix::net::recv(&self.socket, room, RecvFlags::DONTWAIT) {
            Ok((0, _)) => Received::End,
            Ok((len, _)) => Received::Bytes {
                len,
                all_room: len == room_bytes,
            },
            Err(Errno::AGAIN | Errno::INTR) => Received::Nothing,
            Err(_) => Received::Reset,
        }
    }

    #[inline(never)] // plain bytes are read at the same place, and that is short
    fn receive_encrypted(&mut self, buffer: &mut Vec<u8>) -> Received {
        let start = buffer.len();
        let Some(tls) = self.tls_mut() else {
            return Received::Nothing;
        };
        if let Some(ended) = tls.ended() {
            return received_at(ended);
        }
        tls.restore_rest(buffer);
        let received = self.receive_bytes(buffer);
        self.open(buffer, start, received)
    }

    /// `buffer` has ciphertext from `start` on, which `received` is the last part of.
    fn open(&mut self, buffer: &mut Vec<u8>, start: usize, received: Received) -> Received {
        let Some(tls) = self.tls_mut() else {
            return received;
        };
        tls.open(buffer, start);
        let ended = tls.ended();
        let replied = self.reply();
        let all_room = match received {
            Received::Bytes { all_room, .. } => all_room,
            // The end of a record that will not come.
            Received::End | Received::Reset => return received,
            _ => false,
        };
        let len = buffer.len() - start;
        match ended {
            _ if len > 0 => Received::Bytes { len, all_room },
            Some(ended) => received_at(ended),
            None if matches!(replied, Ok(()) | Err(Errno::AGAIN)) => Received::Nothing,
            None => Received::Reset,
        }
    }

    #[inline(never)]
    fn receive_introduction(&mut self, buffer: &mut Vec<u8>) -> Received {
        let start = buffer.len();
        let Some(Layer::Introduction(introducing)) = self.layer.as_deref_mut() else {
            return Received::Nothing;
        };
        if let Some(reason) = introducing.refusal() {
            return Received::Refused(reason);
        }
        introducing.restore_part(buffer);
        let received = self.receive_bytes(buffer);
        let Some(Layer::Introduction(introducing)) = self.layer.as_deref_mut() else {
            return received;
        };
        match introducing.read(buffer, start) {
            Introduced::Part if matches!(received, Received::Bytes { .. }) => Received::Nothing,
            Introduced::Part => received,
            Introduced::Refused(reason) => Received::Refused(reason),
            Introduced::All { introduction, tls } => {
                self.layer = layer_of(tls);
                Received::Introduced(introduction)
            }
        }
    }

    /// Sends what the record layer or the handshake replies, after input was opened.
    fn reply(&mut self) -> Result<(), Errno> {
        let replied = self.flush();
        if self.tls().is_some_and(|tls| tls.ended().is_some()) {
            // The socket reports its end, also if data is read first.
            let _ = rustix::net::shutdown(&self.socket, Shutdown::Read);
        }
        replied
    }

    /// Continues the handshake of an encrypted connection without its owner, and reads
    /// nothing of what is behind it.
    #[inline]
    pub(crate) fn shake_hands(&mut self) {
        if self.layer.is_some() {
            self.read_handshake();
        }
    }

    fn read_handshake(&mut self) {
        let mut record = Vec::new();
        while let Some(Layer::Tls(tls)) = self.layer.as_deref_mut() {
            let Some(missing) = tls.missing_of_handshake() else {
                return;
            };
            tls.restore_rest(&mut record);
            let start = record.len();
            record.resize(start + missing, 0);
            let room = record.get_mut(start..).unwrap_or_default();
            let received = rustix::net::recv(&self.socket, room, RecvFlags::DONTWAIT);
            let received = received.map_or(0, |(received, _)| received);
            record.truncate(start + received);
            tls.open(&mut record, 0);
            // What goes wrong here is left to the owner.
            if self.reply().is_err() || received == 0 {
                return;
            }
        }
    }

    /// Reads what is in `buffer` and has come behind a header.
    pub(crate) fn receive_rest(&mut self, buffer: &mut Vec<u8>) -> Received {
        let received = match buffer.len() {
            0 => Received::Nothing,
            len => Received::Bytes {
                len,
                all_room: false,
            },
        };
        self.open(buffer, 0, received)
    }

    /// How long ago the peer's last bytes came, in nanoseconds. The kernel counts in milliseconds or in ticks of
    /// its timer. `None`: of a socket that does not tell, as a Unix socket.
    pub(crate) fn received_ago_ns(&self) -> Option<u64> {
        let info = tcp_info(self.socket.as_fd())?;
        Some(u64::from(info.tcpi_last_data_recv) * 1_000_000)
    }

    /// Whether the peer has sent something that is not read yet.
    pub(crate) fn has_input(&self) -> bool {
        let peeked = rustix::net::recv(
            &self.socket,
            &mut [0; 1],
            RecvFlags::PEEK | RecvFlags::DONTWAIT,
        );
        peeked.is_ok_and(|(len, _)| len > 0)
    }

    // ---- sending -----------------------------------------------------------------

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

    /// Resets the connection, also for other descriptors of the socket: the peer gets an error, and not the
    /// end of the stream. A Unix socket cannot be reset.
    pub(crate) fn reset(&self) {
        if rustix::net::connect_unspec(&self.socket).is_err() {
            let _ = rustix::net::shutdown(&self.socket, Shutdown::Write);
        }
    }

    /// Sends a response as far as the socket takes it at once, and closes the connection.
    pub(crate) fn respond_and_close(mut self, response: &[u8]) {
        let _ = self.send(response);
        let _ = self.end_sending();
        // What is unread at the close would reset the connection, and destroy the response.
        let mut request = Vec::with_capacity(REFUSED_BYTES);
        let _ = self.receive(&mut request);
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

    /// For another thread to wait on.
    ///
    /// # Errors
    /// If the process has no free descriptor.
    pub(crate) fn room_waiter(&self) -> io::Result<RoomWaiter> {
        Ok(RoomWaiter(self.socket.try_clone()?))
    }
}

fn layer_of(tls: Option<Config>) -> Option<Box<Layer>> {
    tls.map(|config| Box::new(Layer::Tls(Tls::new(config))))
}

fn received_at(ended: Ended) -> Received {
    match ended {
        Ended::Closed => Received::End,
        Ended::Failed => Received::Failed,
    }
}
