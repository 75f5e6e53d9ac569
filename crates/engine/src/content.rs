//! A part of a response's body on its way in.

use std::os::fd::OwnedFd;
use std::sync::Arc;

/// Bytes that another part owns, kept alive until they have been sent.
pub type Payload = Box<dyn AsRef<[u8]> + Send + Sync>;

/// Bytes of a regular file, from `offset` on. They never come into user
/// space: the system sends them from where it has them (sendfile(2)).
#[derive(Clone)]
pub struct FilePart {
    pub file: Arc<OwnedFd>,
    pub offset: u64,
    pub len: usize,
}

pub enum Content<'a> {
    /// Small: copied behind what already waits.
    Copied(&'a [u8]),
    /// Large: sent from where it is.
    Kept(Payload),
    File(FilePart),
}

impl Content<'_> {
    /// What of it is in memory.
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
