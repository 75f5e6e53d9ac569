//! The output queue of one connection.
//!
//! Owns: the bytes between the application's response and the transport. Always
//! holds: they are sent in order, each once; an empty queue holds no memory. A
//! large payload is not copied: it is sent from the application's memory,
//! together with its framing, in one vectored write. A file is sent by the
//! kernel (sendfile(2)), and that may wait for the disk: the queue only prepares
//! the call ([`Output::file_send`]). The head before a file shares a packet with
//! its first bytes.

use crate::buffers::Buffers;
use crate::content::{Content, FilePart, Payload};
use crate::transport::{FileSend, FileSent, Transport};
use rustix::io::Errno;
use std::collections::VecDeque;
use std::io::IoSlice;

/// Up to this size a copy costs less than one more vector in the write.
pub const COPY_LIMIT: usize = 16 * 1024;
const VECTORS: usize = 16;
/// A client that reads as fast as we send must not delay all others.
const SENDS_PER_TURN: u32 = 16;

/// The same for a file, which one call could send whole.
const FILE_BYTES_PER_SEND: usize = 1024 * 1024;

enum Segment {
    Bytes(Vec<u8>),
    /// The payload, and how many of its bytes to send.
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
    /// The queue is empty.
    All,
    /// The socket is full, or the connection's share of the turn is used.
    /// `progress`: something was sent.
    Blocked { progress: bool },
    /// A file is next.
    File { progress: bool },
}

/// Why the connection must be closed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The peer has closed the connection.
    Peer,
    /// A file has become shorter, or cannot be read.
    File,
    /// The program has closed the descriptor.
    Descriptor,
}

/// Almost every response is one short run of bytes, in `first`: the queue
/// behind it is not allocated then, and an idle connection has no room for it.
#[derive(Default)]
pub(crate) struct Output {
    first: Vec<u8>,
    #[expect(
        clippy::box_collection,
        reason = "nearly all queues need no second segment"
    )]
    rest: Option<Box<VecDeque<Segment>>>,
    /// How many bytes of the front are sent.
    sent: usize,
    pending: usize,
}

impl Output {
    /// Unsent bytes.
    pub(crate) fn pending(&self) -> usize {
        self.pending
    }

    /// Appends to the buffer at the end of the queue with `write`.
    pub(crate) fn append<R>(
        &mut self,
        buffers: &mut Buffers,
        write: impl FnOnce(&mut Vec<u8>) -> R,
    ) -> R {
        let tail = match self.rest.as_deref_mut() {
            Some(rest) if !rest.is_empty() => {
                if !matches!(rest.back(), Some(Segment::Bytes(_))) {
                    rest.push_back(Segment::Bytes(Vec::new()));
                }
                match rest.back_mut() {
                    Some(Segment::Bytes(bytes)) => bytes,
                    _ => &mut self.first,
                }
            }
            _ => {
                if self.first.capacity() == 0 {
                    self.first = buffers.take();
                }
                &mut self.first
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
                self.push_segment(Segment::Payload(payload, len));
            }
            Content::File(part) => {
                let len = len.min(part.len);
                self.pending += len;
                self.push_segment(Segment::File(FilePart { len, ..part }));
            }
        }
    }

    fn push_segment(&mut self, segment: Segment) {
        self.rest.get_or_insert_default().push_back(segment);
    }

    /// The segment behind `first`.
    fn second(&self) -> Option<&Segment> {
        self.rest.as_deref()?.front()
    }

    /// Sends as much as the socket takes of what is before the next file.
    ///
    /// # Errors
    /// [`Failure`], for any error but a full socket.
    pub(crate) fn flush(
        &mut self,
        transport: &mut Transport,
        buffers: &mut Buffers,
    ) -> Result<Sent, Failure> {
        let mut progress = false;
        for _ in 0..SENDS_PER_TURN {
            if self.pending == 0 {
                break;
            }
            if self.file_is_next() {
                return Ok(Sent::File { progress });
            }
            match self.send_once(transport) {
                Ok(sent) => {
                    progress = true;
                    self.advance(sent, buffers);
                }
                Err(Errno::AGAIN) => return Ok(Sent::Blocked { progress }),
                Err(Errno::INTR) => {}
                Err(Errno::BADF | Errno::NOTSOCK) => return Err(Failure::Descriptor),
                Err(_) => return Err(Failure::Peer),
            }
        }
        if self.pending > 0 {
            return Ok(Sent::Blocked { progress });
        }
        if !progress {
            self.advance(0, buffers); // what was written may be empty
        }
        Ok(Sent::All)
    }

    fn file_is_next(&self) -> bool {
        self.sent >= self.first.len() && matches!(self.second(), Some(Segment::File(_)))
    }

    /// The call that sends more of the file that is next. `None`: no file is.
    pub(crate) fn file_send(&self, transport: &Transport) -> Option<FileSend> {
        match self.second() {
            Some(Segment::File(part)) if self.file_is_next() => {
                let sent = self.sent - self.first.len();
                Some(transport.file_send(part.clone(), sent, FILE_BYTES_PER_SEND))
            }
            _ => None,
        }
    }

    /// The call of [`Output::file_send`] was made. Returns how many bytes were sent:
    /// none if the socket is full.
    ///
    /// # Errors
    /// [`Failure`].
    pub(crate) fn file_sent(
        &mut self,
        transport: &mut Transport,
        sent: Result<FileSent, Errno>,
        buffers: &mut Buffers,
    ) -> Result<usize, Failure> {
        let sent = sent.and_then(|sent| match sent {
            FileSent::Sent(sent) => Ok(sent),
            FileSent::Read(part) => transport.send(&part),
        });
        match sent {
            Ok(sent) => {
                self.advance(sent, buffers);
                Ok(sent)
            }
            Err(Errno::AGAIN | Errno::INTR) => Ok(0),
            // The file has ended, or cannot be read.
            Err(Errno::NODATA | Errno::IO | Errno::INVAL | Errno::BADF) => Err(Failure::File),
            Err(_) => Err(Failure::Peer),
        }
    }

    fn send_once(&self, transport: &mut Transport) -> Result<usize, Errno> {
        let unsent = self.first.get(self.sent..).unwrap_or_default();
        match self.second() {
            None => transport.send(unsent),
            Some(_) => self.send_vectors(transport),
        }
    }

    /// Sends the bytes in memory before the first file.
    fn send_vectors(&self, transport: &mut Transport) -> Result<usize, Errno> {
        let mut vectors = [IoSlice::new(&[]); VECTORS];
        let mut skip = self.sent;
        let rest = || self.rest.iter().flat_map(|rest| rest.iter());
        let segments = std::iter::once(self.first.as_slice())
            .chain(rest().map_while(Segment::bytes))
            .filter_map(|bytes| {
                let unsent = bytes.get(skip..).unwrap_or_default();
                skip = skip.saturating_sub(bytes.len());
                (!unsent.is_empty()).then_some(unsent)
            });
        for (vector, bytes) in vectors.iter_mut().zip(segments) {
            *vector = IoSlice::new(bytes);
        }
        // The head before a file is not sent in a packet of its own.
        let before_file = rest().any(|segment| segment.bytes().is_none());
        transport.send_vectors(&vectors, before_file)
    }

    /// Drops sent bytes and frees their memory.
    fn advance(&mut self, sent: usize, buffers: &mut Buffers) {
        self.pending -= sent;
        self.sent += sent;
        // A queue that never becomes empty must not keep what is sent.
        if self.sent > COPY_LIMIT
            && self.sent > self.first.len() / 2
            && self.sent < self.first.len()
        {
            self.first.drain(..self.sent);
            self.sent = 0;
        }
        if self.sent >= self.first.len() && (self.pending == 0 || self.second().is_some()) {
            self.sent -= self.first.len();
            buffers.give(std::mem::take(&mut self.first));
            let Some(rest) = self.rest.as_deref_mut() else {
                return;
            };
            while let Some(segment) = rest.pop_front() {
                let len = segment.len();
                match segment {
                    _ if len <= self.sent => self.sent -= len,
                    // The next segment becomes the front; `first` can only hold
                    // bytes.
                    Segment::Bytes(bytes) => {
                        self.first = bytes;
                        return;
                    }
                    payload => {
                        rest.push_front(payload);
                        return;
                    }
                }
            }
            self.rest = None;
        }
    }
}

#[cfg(test)]
mod tests;
