//! The central queue: connections on their way from one worker to another.
//!
//! Owns: this process's two ends of the pair of sockets that all workers of a
//! pool share (unix(7), `SOCK_SEQPACKET`, `SCM_RIGHTS`), and the form of a
//! message. Always holds: nothing here waits; what comes out of the queue is not
//! trusted, and at worst a connection that serves nothing. Knows no
//! connection and no reactor.

use rustix::fd::AsFd;
use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags,
};
use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};

const MESSAGE_BYTES: usize = 16;

/// What the next worker cannot see from a connection itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Passage {
    /// The number of its listener, the same in all workers of a pool.
    pub(crate) listener: u32,
    /// How many requests it has brought so far.
    pub(crate) requests: u32,
    /// When it will have idled too long (CLOCK_MONOTONIC): a hand-off does not
    /// make it younger.
    pub(crate) due_ms: u64,
}

impl Passage {
    fn to_bytes(self) -> [u8; MESSAGE_BYTES] {
        let number = u128::from(self.listener)
            | u128::from(self.requests) << 32
            | u128::from(self.due_ms) << 64;
        number.to_le_bytes()
    }

    fn from_bytes(bytes: [u8; MESSAGE_BYTES]) -> Self {
        let number = u128::from_le_bytes(bytes);
        Passage {
            listener: number as u32,
            requests: (number >> 32) as u32,
            due_ms: (number >> 64) as u64,
        }
    }
}

pub(crate) enum Received {
    Connection(OwnedFd, Passage),
    /// A message that no worker of ours sends.
    Nonsense,
    Nothing,
}

pub struct Queue {
    entrance: OwnedFd,
    exit: OwnedFd,
    /// The last connection did not go in.
    pub(crate) refuses: bool,
    /// The exit is in the epoll set.
    pub(crate) registered: bool,
}

impl Queue {
    /// What is sent into `entrance` comes out of `exit`, here or in another
    /// process.
    pub fn new(entrance: OwnedFd, exit: OwnedFd) -> Self {
        Queue {
            entrance,
            exit,
            refuses: false,
            registered: false,
        }
    }

    pub(crate) fn exit(&self) -> BorrowedFd<'_> {
        self.exit.as_fd()
    }

    /// How many connections are in it.
    pub(crate) fn len(&self) -> usize {
        // Of a SEQPACKET socket the bytes of all messages (unix(7), SIOCINQ).
        let bytes = rustix::io::ioctl_fionread(&self.exit).unwrap_or(0);
        bytes as usize / MESSAGE_BYTES
    }

    /// Sends a connection in. The caller closes its own descriptor.
    ///
    /// # Errors
    /// `AGAIN` when the queue is full, `TOOMANYREFS` when too many descriptors
    /// are on their way; the connection is where it was.
    pub(crate) fn send(
        &mut self,
        connection: BorrowedFd<'_>,
        passage: Passage,
    ) -> Result<(), Errno> {
        let message = passage.to_bytes();
        let rights = [connection];
        let mut room = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut ancillary = SendAncillaryBuffer::new(&mut room);
        ancillary.push(SendAncillaryMessage::ScmRights(&rights));
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        let vector = [IoSlice::new(&message)];
        let sent = rustix::net::sendmsg(&self.entrance, &vector, &mut ancillary, flags);
        self.refuses = sent.is_err();
        sent.map(drop)
    }

    /// Takes the next connection out.
    pub(crate) fn receive(&self) -> Received {
        // One byte more than a message has: a longer one shows.
        let mut message = [0; MESSAGE_BYTES + 1];
        let mut room = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut room);
        let flags = RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC;
        let mut vector = [IoSliceMut::new(&mut message)];
        let received = rustix::net::recvmsg(&self.exit, &mut vector, &mut ancillary, flags);
        let bytes = match received {
            Ok(received) => received.bytes,
            Err(_) => return Received::Nothing,
        };
        let mut descriptors = ancillary.drain().filter_map(|message| match message {
            RecvAncillaryMessage::ScmRights(descriptors) => Some(descriptors),
            _ => None,
        });
        // Those behind the first, if any, close as they are dropped.
        let connection = descriptors.next().and_then(|mut rights| rights.next());
        match (connection, message.first_chunk()) {
            (Some(connection), Some(message)) if bytes == MESSAGE_BYTES => {
                Received::Connection(connection, Passage::from_bytes(*message))
            }
            _ => Received::Nonsense,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;

    fn queue() -> Queue {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let (entrance, exit) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None).unwrap();
        Queue::new(entrance, exit)
    }

    fn passage(number: u32) -> Passage {
        Passage {
            listener: number,
            requests: u32::MAX - number,
            due_ms: u64::MAX - u64::from(number),
        }
    }

    #[test]
    fn a_connection_comes_out_as_it_went_in() {
        let mut queue = queue();
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        queue.send(ours.as_fd(), passage(7)).unwrap();
        queue.send(ours.as_fd(), passage(8)).unwrap();
        drop(ours);
        assert_eq!(queue.len(), 2);
        let Received::Connection(socket, told) = queue.receive() else {
            panic!("nothing came out");
        };
        assert_eq!(told, passage(7));
        theirs.write_all(b"still here").unwrap();
        let mut received = [0; 10];
        UnixStream::from(socket).read_exact(&mut received).unwrap();
        assert_eq!(&received, b"still here");
        assert!(matches!(queue.receive(), Received::Connection(_, told) if told == passage(8)));
        assert!(matches!(queue.receive(), Received::Nothing));
        assert_eq!(queue.len(), 0);
    }

    #[test]
    fn a_full_queue_refuses_and_says_so() {
        let mut queue = queue();
        let (ours, _theirs) = UnixStream::pair().unwrap();
        let mut sent = 0;
        while queue.send(ours.as_fd(), passage(sent)).is_ok() {
            sent += 1;
            assert!(sent < 100_000);
        }
        assert!(queue.refuses);
        assert_eq!(queue.len(), sent as usize);
        assert!(matches!(queue.receive(), Received::Connection(..)));
        queue.send(ours.as_fd(), passage(0)).unwrap();
        assert!(!queue.refuses);
    }

    #[test]
    fn nonsense_is_dropped_with_what_came_along() {
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
            rustix::net::sendmsg(&queue.entrance, &vector, &mut ancillary, flags).unwrap();
        };
        let one = [ours.as_fd()];
        send(b"short", &one);
        send(&[0xff; 17], &one);
        send(&[0xff; 5000], &one);
        send(&[0xff; 16], &[]);
        for _ in 0..4 {
            assert!(matches!(queue.receive(), Received::Nonsense));
        }
        send(&[0xff; 16], &[ours.as_fd(); 5]);
        assert!(matches!(queue.receive(), Received::Connection(_, told) if told.listener == !0));
        drop(ours);
        assert_eq!(theirs.read(&mut [0; 1]).unwrap(), 0, "it is open nowhere");
    }
}
