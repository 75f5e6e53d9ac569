//! The central queue: connections that go from one worker to another.
//!
//! Owns: this process's two ends of the pair of sockets that all workers of a
//! pool share (unix(7), `SOCK_SEQPACKET`, `SCM_RIGHTS`), and the format of a
//! message. What has no limit of its own goes in a file along with the connection
//! (`attachment.rs`). Always holds: no call blocks; a received message is not
//! trusted, and at worst costs a connection that serves nothing. Knows no
//! connection and no reactor.

use crate::handoff::attachment;
use crate::listener::is_lasting;
use crate::peer::{PEER_BYTES, Peer};
use crate::tls::Keys;
use prefork_tls::{SESSION_BYTES, STATE_BYTES, Session};
use prefork_wire::proxy::Extensions;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fd::AsFd;
use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketType,
};
use rustix::time::Timespec;
use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::Arc;
use zeroize::Zeroizing;

/// The version of a message and of what goes along with it. Managers of different versions of the program may
/// share a queue, if this is the same: it changes with whatever a message has, or means.
pub const FORMAT: u32 = 1;

/// All messages have one size, so that their number follows from that of their bytes.
const MESSAGE_BYTES: usize = NUMBER_BYTES + PEER_BYTES + 1 + STATE_BYTES + SESSION_BYTES;
const NUMBER_BYTES: usize = 16;

/// A connection, and its attachment.
const RIGHTS: usize = 2;

/// The bits of the byte between the peer and the state.
const HAS_KEYS: u8 = 1;
const IS_NEW: u8 = 4;
const IS_LENT: u8 = 8;
const HAS_SESSION: u8 = 32;
const HAS_ATTACHMENT: u8 = 64;
const IS_IN_HEAD: u8 = 128;

/// What the next worker cannot read from the socket itself.
pub(crate) struct Metadata {
    /// The number of its listener, the same in all workers of a pool.
    pub(crate) listener: u32,
    /// How many requests it has sent so far.
    pub(crate) requests: u32,
    /// Its idle deadline (CLOCK_MONOTONIC), or that of its next head: a hand-off does not extend it.
    pub(crate) due_ms: u64,
    /// A part of that head was read.
    pub(crate) is_in_head: bool,
    /// The client, as the socket or the proxy in front names it.
    pub(crate) peer: Peer,
    /// What that proxy tells besides.
    pub(crate) extensions: Option<Arc<Extensions>>,
    /// A header of the PROXY protocol is to come.
    pub(crate) is_new: bool,
    /// It is one end of a pair: a stream of a connection that another worker has, whose end at the server has
    /// this address.
    pub(crate) lent: Option<Peer>,
    /// What the handshake has settled, of a client that speaks TLS.
    pub(crate) session: Option<Arc<Session>>,
    /// Of an encrypted connection. Only this message carries them, between processes of one
    /// pool.
    pub(crate) keys: Option<Keys>,
    /// What was read and not decoded (`Transport::undecoded`).
    pub(crate) undecoded: Vec<u8>,
    /// What was decoded and not parsed.
    pub(crate) input: Vec<u8>,
}

impl Metadata {
    fn to_bytes(&self, has_attachment: bool) -> Zeroizing<[u8; MESSAGE_BYTES]> {
        let number = u128::from(self.listener)
            | u128::from(self.requests) << 32
            | u128::from(self.due_ms) << 64;
        let mut bytes = Zeroizing::new([0; MESSAGE_BYTES]);
        let numbers = number.to_le_bytes().into_iter();
        let session = self.session.as_ref().map(|session| session.to_bytes());
        let session = session.unwrap_or([0; SESSION_BYTES]);
        let keys = self.keys.iter().flat_map(|keys| keys.iter().copied());
        // A stream has no keys of its own.
        let lent = self.lent.into_iter().flat_map(Peer::to_bytes);
        let all = numbers
            .chain(self.peer.to_bytes())
            .chain([self.bits() | bit(has_attachment, HAS_ATTACHMENT)])
            .chain(session)
            .chain(keys)
            .chain(lent);
        for (place, byte) in bytes.iter_mut().zip(all) {
            *place = byte;
        }
        bytes
    }

    /// `None`: no worker sends it.
    fn from_bytes(bytes: &[u8; MESSAGE_BYTES], attachment: Option<&OwnedFd>) -> Option<Self> {
        let (number, rest) = bytes.split_first_chunk::<NUMBER_BYTES>()?;
        let (peer, rest) = rest.split_first_chunk()?;
        let (&bits, rest) = rest.split_first()?;
        let (session, keys) = rest.split_first_chunk::<SESSION_BYTES>()?;
        let number = u128::from_le_bytes(*number);
        let attached = match bits & HAS_ATTACHMENT {
            0 => Vec::new(),
            _ => attachment::read(attachment?)?,
        };
        let mut attached = attached.into_iter();
        let undecoded = attached.next().unwrap_or_default();
        let input = attached.next().unwrap_or_default();
        let extensions = attached.next().unwrap_or_default();
        let session = match bits & HAS_SESSION {
            0 => None,
            _ => Some(Session::from_bytes(session, attached.collect())?),
        };
        Some(Metadata {
            listener: number as u32,
            requests: (number >> 32) as u32,
            due_ms: (number >> 64) as u64,
            peer: Peer::from_bytes(peer),
            extensions: match extensions.as_slice() {
                [] => None,
                bytes => Some(Arc::new(Extensions::from_bytes(bytes)?)),
            },
            is_new: bits & IS_NEW != 0,
            is_in_head: bits & IS_IN_HEAD != 0,
            session: session.map(Arc::new),
            lent: match bits & IS_LENT {
                0 => None,
                _ => Some(Peer::from_bytes(keys.first_chunk()?)),
            },
            keys: match bits & HAS_KEYS {
                0 => None,
                _ => Some(Box::new(Zeroizing::new(*keys.first_chunk()?))),
            },
            undecoded,
            input,
        })
    }

    /// The certificates of the client, its own first, in DER.
    fn certificates(&self) -> &[Vec<u8>] {
        let session = self.session.as_ref();
        session.map_or(&[], |session| &session.client)
    }

    /// What does not fit into the message, if there is something.
    ///
    /// # Errors
    /// Those of [`attachment::write`].
    fn attachment(&self) -> Result<Option<OwnedFd>, Errno> {
        let extensions = self.extensions.as_ref();
        let extensions = extensions.map_or(&[][..], |told| told.as_bytes());
        let parts = [&*self.undecoded, &*self.input, extensions];
        let certificates = self.certificates().iter().map(Vec::as_slice);
        let parts = parts.into_iter().chain(certificates);
        match parts.clone().all(<[u8]>::is_empty) {
            true => Ok(None),
            false => attachment::write(parts).map(Some),
        }
    }

    fn bits(&self) -> u8 {
        bit(self.keys.is_some(), HAS_KEYS)
            | bit(self.session.is_some(), HAS_SESSION)
            | bit(self.is_in_head, IS_IN_HEAD)
            | bit(self.is_new, IS_NEW)
            | bit(self.lent.is_some(), IS_LENT)
    }
}

fn bit(is_set: bool, bit: u8) -> u8 {
    if is_set { bit } else { 0 }
}

pub(crate) enum Received {
    Connection(OwnedFd, Metadata),
    /// A message that no worker sends.
    Invalid,
    Nothing,
    /// A process that shares the queue has shut it down.
    Closed,
    /// The descriptor is not the queue's any more.
    Broken(Errno),
}

/// The result of a hand-off.
pub(crate) enum Sent {
    Yes,
    /// The connection stays here: it may not move now, or the queue is full.
    No,
    /// As [`Received::Closed`].
    Closed,
    /// As [`Received::Broken`].
    Broken(Errno),
}

pub struct Queue {
    sender: OwnedFd,
    receiver: OwnedFd,
    /// The last send failed: the queue is full.
    pub(crate) is_full: bool,
    /// The receiver is in the epoll set.
    pub(crate) registered: bool,
}

impl Queue {
    /// What is sent to `sender` is received from `receiver`, in this process or
    /// another one.
    pub fn new(sender: OwnedFd, receiver: OwnedFd) -> Self {
        Queue {
            sender,
            receiver,
            is_full: false,
            registered: false,
        }
    }

    pub(crate) fn receiver(&self) -> BorrowedFd<'_> {
        self.receiver.as_fd()
    }

    /// How many connections are in the queue.
    pub(crate) fn len(&self) -> usize {
        queue_length(self.receiver.as_fd())
    }

    /// Whether its sockets were shut down. An empty message looks the same to
    /// recvmsg(2).
    fn is_shut(&self) -> bool {
        let mut fds = [PollFd::new(&self.receiver, PollFlags::RDHUP)];
        let polled = poll(&mut fds, Some(&Timespec::default()));
        polled.is_ok_and(|ready| ready > 0)
    }

    /// Sends a connection. The caller closes its own descriptor.
    ///
    /// # Errors
    /// `AGAIN` if the queue is full, `TOOMANYREFS` if too many descriptors are
    /// in flight, `PIPE` if it was shut down; those of [`attachment::write`].
    /// Nothing was sent then.
    pub(crate) fn send(
        &mut self,
        connection: BorrowedFd<'_>,
        metadata: &Metadata,
    ) -> Result<(), Errno> {
        let attachment = metadata.attachment()?;
        let message = metadata.to_bytes(attachment.is_some());
        let rights = [
            connection,
            attachment.as_ref().map_or(connection, AsFd::as_fd),
        ];
        let rights = rights.get(..1 + usize::from(attachment.is_some()));
        let mut room = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(RIGHTS))];
        let mut ancillary = SendAncillaryBuffer::new(&mut room);
        ancillary.push(SendAncillaryMessage::ScmRights(rights.unwrap_or_default()));
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        let vector = [IoSlice::new(message.as_ref())];
        let sent = rustix::net::sendmsg(&self.sender, &vector, &mut ancillary, flags);
        self.is_full = sent.is_err();
        sent.map(drop)
    }

    /// Whether the descriptor to send to is another one by now. Otherwise it is
    /// the connection's that sendmsg(2) rejects.
    pub(crate) fn is_gone(&self) -> bool {
        rustix::net::sockopt::socket_type(&self.sender) != Ok(SocketType::SEQPACKET)
    }

    /// Receives the next connection.
    pub(crate) fn receive(&self) -> Received {
        // One byte more than a message has, to recognise a longer one.
        let mut message = Zeroizing::new([0; MESSAGE_BYTES + 1]);
        let mut room = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(RIGHTS))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut room);
        let flags = RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC;
        let mut vector = [IoSliceMut::new(message.as_mut())];
        let received = rustix::net::recvmsg(&self.receiver, &mut vector, &mut ancillary, flags);
        let bytes = match received {
            Ok(received) => received.bytes,
            Err(error) if is_lasting(error) => return Received::Broken(error),
            Err(_) => return Received::Nothing,
        };
        if bytes == 0 && self.is_shut() {
            return Received::Closed;
        }
        let mut descriptors = ancillary.drain().filter_map(|message| match message {
            RecvAncillaryMessage::ScmRights(descriptors) => Some(descriptors),
            _ => None,
        });
        // Further descriptors are closed when they are dropped.
        let mut rights = descriptors.next();
        let mut next = || rights.as_mut().and_then(Iterator::next);
        let (connection, attachment) = (next(), next());
        let message = message.first_chunk();
        let metadata = message.and_then(|bytes| Metadata::from_bytes(bytes, attachment.as_ref()));
        match (connection, metadata) {
            (Some(connection), Some(metadata)) if bytes == MESSAGE_BYTES => {
                Received::Connection(connection, metadata)
            }
            _ => Received::Invalid,
        }
    }
}

/// How many connections are in a queue with this receiving end.
pub fn queue_length(receiver: BorrowedFd<'_>) -> usize {
    // For a SEQPACKET socket, FIONREAD counts the bytes of all messages
    // (unix(7), SIOCINQ).
    let bytes = rustix::io::ioctl_fionread(receiver).unwrap_or(0);
    bytes as usize / MESSAGE_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;
    use prefork_tls::{Cipher, Version};
    use rustix::net::{AddressFamily, Shutdown, SocketFlags, socketpair};
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;

    fn queue() -> Queue {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let (sender, receiver) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None).unwrap();
        Queue::new(sender, receiver)
    }

    fn session_of(number: u32) -> Session {
        let cipher = Cipher::of_number(0x1301).unwrap();
        let mut session = Session::new(Version::Tls13, cipher);
        session.server_name = Some(format!("{number}.example.com").into());
        session.client = vec![vec![number as u8; 3000]; number as usize % 3];
        session
    }

    fn extensions_of(number: u32) -> Extensions {
        Extensions::from_bytes(&[5, 0, 1, number as u8]).unwrap()
    }

    fn metadata_of(number: u32) -> Metadata {
        Metadata {
            listener: number,
            requests: u32::MAX - number,
            due_ms: u64::MAX - u64::from(number),
            is_in_head: number % 7 == 0,
            peer: match number % 4 {
                0 => Peer::Unix,
                1 => Peer::Unknown,
                2 => Peer::Inet {
                    ip: "192.0.2.1".parse().unwrap(),
                    port: 4711,
                },
                _ => Peer::Inet {
                    ip: "2001:db8::1".parse().unwrap(),
                    port: u16::MAX,
                },
            },
            extensions: (number % 3 == 0).then(|| Arc::new(extensions_of(number))),
            is_new: number % 5 == 0,
            lent: (number % 2 == 0).then_some(Peer::Inet {
                ip: "198.51.100.1".parse().unwrap(),
                port: number as u16,
            }),
            session: (number % 3 > 0).then(|| Arc::new(session_of(number))),
            keys: (number % 2 == 1).then(|| Box::new(Zeroizing::new([number as u8; STATE_BYTES]))),
            undecoded: vec![1; number as usize % 4 * 5000],
            input: vec![2; number as usize % 5 * 15_000],
        }
    }

    fn assert_same(left: &Metadata, right: &Metadata) {
        let numbers = |data: &Metadata| (data.listener, data.requests, data.due_ms);
        assert_eq!(numbers(left), numbers(right));
        assert_eq!((left.peer, left.lent), (right.peer, right.lent));
        assert_eq!(left.bits(), right.bits());
        assert!(left.keys == right.keys);
        assert_eq!(left.extensions, right.extensions);
        let name = |data: &Metadata| data.session.as_ref()?.server_name.clone();
        assert_eq!(name(left), name(right));
        assert_eq!(left.certificates(), right.certificates());
        assert_eq!(left.undecoded, right.undecoded);
        assert_eq!(left.input, right.input);
    }

    #[test]
    fn a_connection_comes_out_as_it_went_in() {
        let mut queue = queue();
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        queue.send(ours.as_fd(), &metadata_of(7)).unwrap();
        for number in 8..23 {
            queue.send(ours.as_fd(), &metadata_of(number)).unwrap();
        }
        drop(ours);
        assert_eq!(queue.len(), 16);
        let Received::Connection(socket, metadata) = queue.receive() else {
            panic!("nothing came out");
        };
        assert_same(&metadata, &metadata_of(7));
        theirs.write_all(b"still here").unwrap();
        let mut received = [0; 10];
        UnixStream::from(socket).read_exact(&mut received).unwrap();
        assert_eq!(&received, b"still here");
        for number in 8..23 {
            let Received::Connection(_, metadata) = queue.receive() else {
                panic!("nothing came out");
            };
            assert_same(&metadata, &metadata_of(number));
        }
        assert!(matches!(queue.receive(), Received::Nothing));
        assert_eq!(queue.len(), 0);
    }

    /// If this fails, a message has changed: raise [`FORMAT`], and put the new sum here.
    #[test]
    fn messages_are_those_of_their_format() {
        let mut sum = 0xcbf2_9ce4_8422_2325_u64; // FNV-1a
        for number in 0..30 {
            for &byte in metadata_of(number).to_bytes(number % 2 == 0).iter() {
                sum = (sum ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
            }
        }
        assert_eq!(
            (FORMAT, MESSAGE_BYTES, sum),
            (1, 417, 12_732_060_437_631_459_811)
        );
    }

    #[test]
    fn a_full_queue_refuses_and_says_so() {
        let mut queue = queue();
        let (ours, _theirs) = UnixStream::pair().unwrap();
        let mut sent = 0;
        while queue.send(ours.as_fd(), &metadata_of(sent)).is_ok() {
            sent += 1;
            assert!(sent < 100_000);
        }
        assert!(queue.is_full);
        assert_eq!(queue.len(), sent as usize);
        assert!(matches!(queue.receive(), Received::Connection(..)));
        queue.send(ours.as_fd(), &metadata_of(0)).unwrap();
        assert!(!queue.is_full);
    }

    #[test]
    fn a_queue_that_was_shut_down_is_closed_and_an_empty_message_is_not() {
        for how in [Shutdown::Read, Shutdown::Write, Shutdown::Both] {
            let mut queue = queue();
            let (ours, _theirs) = UnixStream::pair().unwrap();
            let mut no_rights = SendAncillaryBuffer::default();
            rustix::net::sendmsg(&queue.sender, &[], &mut no_rights, SendFlags::empty()).unwrap();
            assert!(matches!(queue.receive(), Received::Invalid));
            rustix::net::shutdown(&queue.receiver, how).unwrap();
            if how == Shutdown::Write {
                continue; // it is only received from
            }
            assert!(matches!(queue.receive(), Received::Closed));
            assert_eq!(queue.send(ours.as_fd(), &metadata_of(1)), Err(Errno::PIPE));
        }
    }

    #[test]
    fn an_invalid_message_is_dropped_with_its_descriptors() {
        let queue = queue();
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let send = |message: &[u8], descriptors: &[BorrowedFd<'_>]| {
            let mut room = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(5))];
            let mut ancillary = SendAncillaryBuffer::new(&mut room);
            if !descriptors.is_empty() {
                ancillary.push(SendAncillaryMessage::ScmRights(descriptors));
            }
            let vector = [IoSlice::new(message)];
            let flags = SendFlags::empty();
            rustix::net::sendmsg(&queue.sender, &vector, &mut ancillary, flags).unwrap();
        };
        let one = [ours.as_fd()];
        send(b"short", &one);
        send(&[0xff; MESSAGE_BYTES + 1], &one);
        send(&[0xff; 5000], &one);
        send(&[0xff; MESSAGE_BYTES], &[]);
        // An attachment is announced, and there is none, or another thing.
        let announced = metadata_of(0).to_bytes(true);
        send(announced.as_ref(), &one);
        send(announced.as_ref(), &[ours.as_fd(); 2]);
        for _ in 0..6 {
            assert!(matches!(queue.receive(), Received::Invalid));
        }
        let message = metadata_of(4).to_bytes(false);
        send(message.as_ref(), &[ours.as_fd(); 5]);
        assert!(
            matches!(queue.receive(), Received::Connection(_, metadata) if metadata.listener == 4)
        );
        drop(ours);
        assert_eq!(theirs.read(&mut [0; 1]).unwrap(), 0, "it is open nowhere");
    }
}
