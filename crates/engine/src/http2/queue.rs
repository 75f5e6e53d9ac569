//! What a stream has to send, until the windows of the peer allow it.
//!
//! Always holds: the content leaves in order, each byte once; an empty queue holds no memory. A
//! part that goes into a frame is copied: a frame is small. A file is not.

use crate::buffers::Buffers;
use crate::content::{Content, FilePart, Payload};
use crate::event::Client;
use crate::output::Output;
use crate::pipe::Pipe;
use std::collections::VecDeque;

enum Piece {
    Bytes(Vec<u8>),
    /// Its first bytes, so many, belong to the body.
    Payload(Payload, usize),
    File(FilePart),
}

impl Piece {
    fn len(&self) -> usize {
        match self {
            Piece::Bytes(bytes) => bytes.len(),
            Piece::Payload(payload, len) => payload.as_ref().as_ref().len().min(*len),
            Piece::File(part) => part.len,
        }
    }
}

/// Small parts share a piece up to this size.
const SHARED_BYTES: usize = 64 * 1024;

#[derive(Default)]
pub(super) struct Queue {
    pieces: VecDeque<Piece>,
    /// How many bytes of the first piece have left.
    gone: usize,
    len: usize,
}

impl Queue {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Appends with `write`.
    pub(super) fn append(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        let mut bytes = Vec::new();
        write(&mut bytes);
        let len = bytes.len();
        self.push(Content::Copied(&bytes), len);
    }

    /// Adds the first `len` bytes of `content`.
    pub(super) fn push(&mut self, content: Content<'_>, len: usize) {
        let piece = match content {
            Content::Copied(bytes) => {
                let bytes = bytes.get(..len).unwrap_or(bytes);
                match self.pieces.back_mut() {
                    Some(Piece::Bytes(last)) if last.len() < SHARED_BYTES => {
                        last.extend_from_slice(bytes);
                        self.len += bytes.len();
                        return;
                    }
                    _ => Piece::Bytes(bytes.to_vec()),
                }
            }
            Content::Kept(payload) => Piece::Payload(payload, len),
            Content::File(part) => Piece::File(FilePart {
                len: len.min(part.len),
                ..part
            }),
        };
        self.len += piece.len();
        self.pieces.push_back(piece);
    }

    /// Moves the next `len` bytes to `output`.
    pub(super) fn take(&mut self, mut len: usize, output: &mut Output, buffers: &mut Buffers) {
        while let Some(piece) = self.pieces.front().filter(|_| len > 0) {
            let taken = len.min(piece.len().saturating_sub(self.gone));
            let range = self.gone..self.gone + taken;
            match piece {
                Piece::Bytes(bytes) => {
                    let bytes = bytes.get(range).unwrap_or_default();
                    output.append(buffers, |out| out.extend_from_slice(bytes));
                }
                Piece::Payload(payload, _) => {
                    let bytes = payload.as_ref().as_ref().get(range).unwrap_or_default();
                    output.append(buffers, |out| out.extend_from_slice(bytes));
                }
                Piece::File(part) => {
                    let part = FilePart {
                        offset: part.offset + self.gone as u64,
                        len: taken,
                        ..part.clone()
                    };
                    output.push(buffers, Content::File(part), taken);
                }
            }
            len -= taken;
            self.len -= taken;
            self.gone += taken;
            if self.gone >= piece.len() {
                self.pieces.pop_front();
                self.gone = 0;
            }
        }
        if self.len == 0 {
            *self = Queue::default();
        }
    }
}

/// A stream, as its WebSocket writes to it.
pub(super) struct StreamPipe<'a> {
    pub(super) client: Client,
    pub(super) queue: &'a mut Queue,
    pub(super) is_finished: bool,
}

impl Pipe for StreamPipe<'_> {
    fn client(&self) -> Client {
        self.client
    }

    fn append(&mut self, _: &mut Buffers, write: impl FnOnce(&mut Vec<u8>)) {
        self.queue.append(write);
    }

    fn push(&mut self, _: &mut Buffers, content: Content<'_>, len: usize) {
        self.queue.push(content, len);
    }

    fn pending(&self) -> usize {
        self.queue.len()
    }

    fn finish(&mut self) {
        self.is_finished = true;
    }

    /// The end of the stream says so to the peer.
    fn note_unread(&mut self) {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::Transport;
    use std::io::Read;
    use std::os::unix::net::UnixStream;

    #[test]
    fn everything_leaves_in_order_in_parts_of_any_size() {
        for part in [1, 3, 7, 100] {
            let (mut buffers, mut output) = (Buffers::default(), Output::default());
            let mut queue = Queue::default();
            queue.push(Content::Copied(b"one "), 4);
            queue.push(Content::Copied(b"two and more"), 4);
            queue.push(Content::Kept(Box::new(b"three and more".to_vec())), 6);
            queue.push(Content::Copied(b"four"), 4);
            assert_eq!(queue.len(), 18);
            while queue.len() > 0 {
                queue.take(part.min(queue.len()), &mut output, &mut buffers);
            }
            let (ours, mut theirs) = UnixStream::pair().unwrap();
            let mut ours = Transport::new(ours.into(), None);
            output.flush(&mut ours, &mut buffers).unwrap();
            drop(ours);
            let mut text = String::new();
            theirs.read_to_string(&mut text).unwrap();
            assert_eq!(text, "one two three four");
        }
    }
}
