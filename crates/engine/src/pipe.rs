//! Where a WebSocket writes: a connection, or a stream of one.

use crate::buffers::Buffers;
use crate::content::Content;
use crate::event::Client;
use crate::link::Link;

pub(crate) trait Pipe {
    fn client(&self) -> Client;

    /// Appends to the output with `write`.
    fn append(&mut self, buffers: &mut Buffers, write: impl FnOnce(&mut Vec<u8>));

    /// Queues the first `len` bytes of `content`.
    fn push(&mut self, buffers: &mut Buffers, content: Content<'_>, len: usize);

    /// Unsent bytes.
    fn pending(&self) -> usize;

    /// Nothing more is written or read.
    fn finish(&mut self);

    /// There is input that will not be read.
    fn note_unread(&mut self);
}

impl Pipe for Link {
    fn client(&self) -> Client {
        Link::client(self, 0)
    }

    fn append(&mut self, buffers: &mut Buffers, write: impl FnOnce(&mut Vec<u8>)) {
        self.output.append(buffers, write);
    }

    fn push(&mut self, buffers: &mut Buffers, content: Content<'_>, len: usize) {
        self.output.push(buffers, content, len);
    }

    fn pending(&self) -> usize {
        self.output.pending()
    }

    fn finish(&mut self) {
        Link::finish(self);
    }

    fn note_unread(&mut self) {
        self.unread = true;
    }
}
