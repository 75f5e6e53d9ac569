//! What waits to leave on one connection.
//!
//! Owns: the bytes between the application's response and the transport. Always
//! holds: they leave in order, each once; an empty queue holds no memory. A
//! large payload is not copied: it stays where the application made it and is
//! sent from there, beside its framing, in one vectored write; a file is sent
//! by the system (sendfile(2)), its head in the same packet as its beginning.

use crate::buffers::Buffers;
use crate::content::{Content, FilePart, Payload};
use crate::transport::Transport;
use rustix::io::Errno;
use std::collections::VecDeque;
use std::io::IoSlice;

/// Up to here copying costs less than one more vector in the write.
pub const COPY_LIMIT: usize = 16 * 1024;
const VECTORS: usize = 16;
/// A client that reads as fast as we send must not keep all others waiting.
const SENDS_PER_TURN: u32 = 16;

/// A file whose reader is as fast as the system must not keep all others waiting.
const FILE_BYTES_PER_SEND: usize = 1024 * 1024;

enum Segment {
    Bytes(Vec<u8>),
    /// The payload and how many of its bytes may go.
    Payload(Payload, usize),
    File(FilePart),
}

impl Segment {
    /// `None` for a file.
    fn bytes(&self) -> Option<&[u8]> {
        match self {
            Segment::Bytes(bytes) => Some(bytes),
            Segment::Payload(payload, len) => {
                let whole = payload.as_ref().as_ref();
                Some(whole.get(..*len).unwrap_or(whole))
            }
            Segment::File(_) => None,
        }
    }

    fn len(&self) -> usize {
        match self {
            Segment::File(part) => part.len,
            _ => self.bytes().map_or(0, <[u8]>::len),
        }
    }
}

pub(crate) enum Sent {
    /// Nothing waits any more.
    All,
    /// The socket took no more, or had its share of the turn; `progress`
    /// tells whether it took anything.
    Blocked { progress: bool },
}

/// Why nothing more can be sent.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The peer is gone.
    Peer,
    /// A file has fewer bytes than it had, or cannot be read.
    File,
}

/// Almost every response is one short run of bytes: that one is `first`, and
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
            Content::File(part) => {
                let len = len.min(part.len);
                self.pending += len;
                self.rest.push_back(Segment::File(FilePart { len, ..part }));
            }
        }
    }

    /// Sends what the socket takes.
    ///
    /// # Errors
    /// [`Failure`]: any error but a full socket buffer.
    pub(crate) fn flush(
        &mut self,
        transport: &Transport,
        buffers: &mut Buffers,
    ) -> Result<Sent, Failure> {
        let mut progress = false;
        for _ in 0..SENDS_PER_TURN {
            if self.pending == 0 {
                break;
            }
            match self.send_once(transport) {
                Ok(sent) => {
                    progress = true;
                    self.advance(sent, buffers);
                }
                Err(Errno::AGAIN) => return Ok(Sent::Blocked { progress }),
                Err(Errno::INTR) => {}
                // sendfile(2) found the end of the file, or could not read it.
                Err(Errno::NODATA | Errno::IO | Errno::INVAL | Errno::BADF) => {
                    return Err(Failure::File);
                }
                Err(_) => return Err(Failure::Peer),
            }
        }
        if self.pending > 0 {
            return Ok(Sent::Blocked { progress });
        }
        self.advance(0, buffers);
        Ok(Sent::All)
    }

    fn send_once(&self, transport: &Transport) -> Result<usize, Errno> {
        let unsent = self.first.get(self.sent..).unwrap_or_default();
        match self.rest.front() {
            None => transport.send(unsent),
            Some(Segment::File(part)) if unsent.is_empty() => {
                transport.send_file(part, self.sent - self.first.len(), FILE_BYTES_PER_SEND)
            }
            Some(_) => self.send_vectors(transport),
        }
    }

    /// Sends what is in memory before the first file.
    fn send_vectors(&self, transport: &Transport) -> Result<usize, Errno> {
        let mut vectors = [IoSlice::new(&[]); VECTORS];
        let mut skip = self.sent;
        let segments = std::iter::once(self.first.as_slice())
            .chain(self.rest.iter().map_while(Segment::bytes))
            .filter_map(|bytes| {
                let unsent = bytes.get(skip..).unwrap_or_default();
                skip = skip.saturating_sub(bytes.len());
                (!unsent.is_empty()).then_some(unsent)
            });
        for (vector, bytes) in vectors.iter_mut().zip(segments) {
            *vector = IoSlice::new(bytes);
        }
        // The head of a file does not leave in a packet of its own.
        let before_file = self.rest.iter().any(|segment| segment.bytes().is_none());
        transport.send_vectors(&vectors, before_file)
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
                let len = segment.len();
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
mod tests;
