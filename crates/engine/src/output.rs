//! What waits to leave on one connection.
//!
//! Owns: the bytes between the application's answer and the socket. Always
//! holds: they leave in order, each once; an empty queue holds no memory. A
//! large payload is not copied: it stays where the application made it and is
//! sent from there, beside its framing, in one vectored write.

use crate::buffers::Buffers;
use rustix::io::Errno;
use rustix::net::{SendAncillaryBuffer, SendFlags};
use std::collections::VecDeque;
use std::ffi::c_int;
use std::io::IoSlice;
use std::os::fd::BorrowedFd;

/// Up to here copying costs less than one more vector in the write.
pub const COPY_LIMIT: usize = 16 * 1024;
const VECTORS: usize = 16;
/// A client that reads as fast as we send must not keep all others waiting.
const SENDS_PER_TURN: u32 = 16;

/// Bytes that somebody else owns, kept alive until they have been sent.
pub type Payload = Box<dyn AsRef<[u8]> + Send + Sync>;

/// A piece of a response's body on its way in.
pub enum Content<'a> {
    /// Small: copied behind what already waits.
    Copied(&'a [u8]),
    /// Large: sent from where it is.
    Kept(Payload),
}

impl Content<'_> {
    pub fn len(&self) -> usize {
        match self {
            Content::Copied(bytes) => bytes.len(),
            Content::Kept(payload) => payload.as_ref().as_ref().len(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

enum Segment {
    Bytes(Vec<u8>),
    /// The payload and how many of its bytes may go.
    Payload(Payload, usize),
}

impl Segment {
    fn bytes(&self) -> &[u8] {
        match self {
            Segment::Bytes(bytes) => bytes,
            Segment::Payload(payload, len) => {
                let whole = payload.as_ref().as_ref();
                whole.get(..*len).unwrap_or(whole)
            }
        }
    }
}

/// SIOCOUTQ of linux/sockios.h.
const OUT_QUEUE: rustix::ioctl::Opcode = 0x5411;

/// Bytes that the system has taken for a socket and its peer has not.
pub(crate) fn queued_in(socket: BorrowedFd<'_>) -> c_int {
    // SAFETY: this request writes one c_int, and nothing else (tcp(7), unix(7)).
    let queued = unsafe {
        let request = rustix::ioctl::Getter::<OUT_QUEUE, c_int>::new();
        rustix::ioctl::ioctl(socket, request)
    };
    queued.unwrap_or(0)
}

pub(crate) enum Sent {
    /// Nothing waits any more.
    All,
    /// The socket took no more, or had its share of the turn; `progress`
    /// tells whether it took anything.
    Blocked { progress: bool },
}

/// Almost every answer is one short run of bytes: that one is `first`, and
/// the queue behind it is never allocated.
#[derive(Default)]
pub(crate) struct Output {
    first: Vec<u8>,
    rest: VecDeque<Segment>,
    /// How much of the front has left.
    sent: usize,
    pending: usize,
}

impl Output {
    /// Bytes that have not left yet.
    pub(crate) fn pending(&self) -> usize {
        self.pending
    }

    /// The buffer at the end of the queue, to append to with `write`.
    pub(crate) fn append<R>(
        &mut self,
        buffers: &mut Buffers,
        write: impl FnOnce(&mut Vec<u8>) -> R,
    ) -> R {
        let tail = if self.rest.is_empty() {
            if self.first.capacity() == 0 {
                self.first = buffers.take();
            }
            &mut self.first
        } else {
            if !matches!(self.rest.back(), Some(Segment::Bytes(_))) {
                self.rest.push_back(Segment::Bytes(Vec::new()));
            }
            match self.rest.back_mut() {
                Some(Segment::Bytes(bytes)) => bytes,
                _ => &mut self.first,
            }
        };
        let before = tail.len();
        let result = write(tail);
        self.pending = self.pending + tail.len() - before;
        result
    }

    /// Queues the first `len` bytes of `content`.
    pub(crate) fn push(&mut self, buffers: &mut Buffers, content: Content<'_>, len: usize) {
        match content {
            Content::Copied(bytes) => {
                let bytes = bytes.get(..len).unwrap_or(bytes);
                self.append(buffers, |out| out.extend_from_slice(bytes));
            }
            Content::Kept(payload) => {
                let len = len.min(payload.as_ref().as_ref().len());
                self.pending += len;
                self.rest.push_back(Segment::Payload(payload, len));
            }
        }
    }

    /// Sends what the socket takes.
    ///
    /// # Errors
    /// Any error of `sendmsg(2)` but a full socket buffer: the peer is gone.
    pub(crate) fn flush(
        &mut self,
        socket: BorrowedFd<'_>,
        buffers: &mut Buffers,
    ) -> Result<Sent, Errno> {
        let mut progress = false;
        for _ in 0..SENDS_PER_TURN {
            if self.pending == 0 {
                break;
            }
            match self.send_once(socket) {
                Ok(sent) => {
                    progress = true;
                    self.advance(sent, buffers);
                }
                Err(Errno::AGAIN) => return Ok(Sent::Blocked { progress }),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error),
            }
        }
        if self.pending > 0 {
            return Ok(Sent::Blocked { progress });
        }
        self.advance(0, buffers);
        Ok(Sent::All)
    }

    fn send_once(&self, socket: BorrowedFd<'_>) -> Result<usize, Errno> {
        if self.rest.is_empty() {
            let unsent = self.first.get(self.sent..).unwrap_or_default();
            return rustix::net::send(socket, unsent, SendFlags::NOSIGNAL);
        }
        let mut vectors = [IoSlice::new(&[]); VECTORS];
        let mut skip = self.sent;
        let segments = std::iter::once(self.first.as_slice())
            .chain(self.rest.iter().map(Segment::bytes))
            .filter_map(|bytes| {
                let unsent = bytes.get(skip..).unwrap_or_default();
                skip = skip.saturating_sub(bytes.len());
                (!unsent.is_empty()).then_some(unsent)
            });
        for (vector, bytes) in vectors.iter_mut().zip(segments) {
            *vector = IoSlice::new(bytes);
        }
        rustix::net::sendmsg(
            socket,
            &vectors,
            &mut SendAncillaryBuffer::default(),
            SendFlags::NOSIGNAL,
        )
    }

    /// Drops what has left, and gives its memory back.
    fn advance(&mut self, sent: usize, buffers: &mut Buffers) {
        self.pending -= sent;
        self.sent += sent;
        // A queue that is never empty must not keep all that ever went through it.
        if self.sent > COPY_LIMIT
            && self.sent > self.first.len() / 2
            && self.sent < self.first.len()
        {
            self.first.drain(..self.sent);
            self.sent = 0;
        }
        if self.sent >= self.first.len() && (self.pending == 0 || !self.rest.is_empty()) {
            self.sent -= self.first.len();
            buffers.give(std::mem::take(&mut self.first));
            while let Some(segment) = self.rest.pop_front() {
                let len = segment.bytes().len();
                match segment {
                    _ if len <= self.sent => self.sent -= len,
                    // What follows is the front now; `first` can only hold bytes.
                    Segment::Bytes(bytes) => {
                        self.first = bytes;
                        return;
                    }
                    payload => {
                        self.rest.push_front(payload);
                        return;
                    }
                }
            }
            self.rest = VecDeque::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;

    fn kept(bytes: Vec<u8>) -> Content<'static> {
        Content::Kept(Box::new(bytes))
    }

    #[test]
    fn everything_leaves_in_order_through_a_narrow_socket() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        let mut buffers = Buffers::default();
        let mut output = Output::default();
        let mut expected = Vec::new();
        for round in 0..40u8 {
            let head = vec![round; 100 + usize::from(round)];
            output.append(&mut buffers, |out| out.extend_from_slice(&head));
            expected.extend_from_slice(&head);
            let body = vec![round.wrapping_mul(7); 50_000];
            let len = if round % 3 == 0 { 10 } else { body.len() };
            expected.extend_from_slice(&body[..len]);
            output.push(&mut buffers, kept(body), len);
        }
        assert_eq!(output.pending(), expected.len());
        let mut received = Vec::new();
        loop {
            let sent = output.flush(ours.as_fd(), &mut buffers).unwrap();
            let mut piece = vec![0; 30_000];
            let read = theirs.read(&mut piece).unwrap();
            received.extend_from_slice(&piece[..read]);
            if matches!(sent, Sent::All) {
                break;
            }
        }
        drop(ours);
        theirs.read_to_end(&mut received).unwrap();
        assert!(received == expected);
        assert_eq!(output.pending(), 0);
        assert_eq!(output.first.capacity(), 0, "an empty queue holds no memory");
    }

    #[test]
    fn appending_behind_a_payload_keeps_the_order() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let mut buffers = Buffers::default();
        let mut output = Output::default();
        output.push(&mut buffers, kept(b"one ".to_vec()), 4);
        output.append(&mut buffers, |out| out.extend_from_slice(b"two "));
        output.append(&mut buffers, |out| out.extend_from_slice(b"three "));
        output.push(&mut buffers, Content::Copied(b"four and more"), 4);
        assert!(matches!(
            output.flush(ours.as_fd(), &mut buffers),
            Ok(Sent::All)
        ));
        drop(ours);
        let mut received = String::new();
        theirs.read_to_string(&mut received).unwrap();
        assert_eq!(received, "one two three four");
    }

    #[test]
    fn a_queue_that_is_never_empty_does_not_keep_what_has_left() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        let mut buffers = Buffers::default();
        let mut output = Output::default();
        let (mut written, mut read) = (Vec::new(), Vec::new());
        let mut piece = vec![0; 8_000];
        for round in 0..2_000u32 {
            while output.pending() < 400_000 {
                let bytes = [round as u8; 10_000];
                output.push(&mut buffers, Content::Copied(&bytes), bytes.len());
                written.extend_from_slice(&bytes);
            }
            assert!(matches!(
                output.flush(ours.as_fd(), &mut buffers),
                Ok(Sent::Blocked { .. })
            ));
            let len = theirs.read(&mut piece).unwrap();
            read.extend_from_slice(&piece[..len]);
        }
        assert!(written.len() > 10_000_000);
        assert!(
            output.first.capacity() < 2_000_000,
            "{}",
            output.first.capacity()
        );
        assert!(written.starts_with(&read));
    }

    #[test]
    fn a_peer_that_left_is_an_error() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        drop(theirs);
        let mut buffers = Buffers::default();
        let mut output = Output::default();
        output.push(&mut buffers, Content::Copied(b"late"), 4);
        assert!(matches!(
            output.flush(ours.as_fd(), &mut buffers),
            Err(Errno::PIPE)
        ));
    }
}
