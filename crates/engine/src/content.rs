//! A part of a response's body, as the application gives it.

use std::os::fd::OwnedFd;
use std::sync::Arc;

/// Bytes that the application owns, kept alive until they are sent.
pub type Payload = Box<dyn AsRef<[u8]> + Send + Sync>;

/// Bytes of a regular file, from `offset` on. The kernel sends them
/// (sendfile(2)): they are not copied to user space.
#[derive(Clone)]
pub struct FilePart {
    pub file: Arc<OwnedFd>,
    pub offset: u64,
    pub len: usize,
}

pub enum Content<'a> {
    /// Small: appended to the output buffer.
    Copied(&'a [u8]),
    /// Large: sent without a copy.
    Kept(Payload),
    File(FilePart),
}

impl Content<'_> {
    /// The bytes, if they are in memory; empty for a file.
    pub fn bytes(&self) -> &[u8] {
        match self {
            Content::Copied(bytes) => bytes,
            Content::Kept(payload) => payload.as_ref().as_ref(),
            Content::File(_) => &[],
        }
    }

    pub fn len(&self) -> usize {
        match self {
            Content::File(part) => part.len,
            _ => self.bytes().len(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
