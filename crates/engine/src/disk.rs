//! Work that may wait for a disk: the owner does it without the reactor.
//!
//! The main thread waits, but the guard can use the reactor meanwhile: a slow
//! disk stops neither the hand-off of other connections nor their 504. Always
//! holds: the connection of a task stays open until the task has come back
//! ([`crate::Reactor::disk_done`]).

use crate::body::Store;
use crate::exchange::ConnectionId;
use crate::transport::{FileSend, FileSent};
use rustix::io::Errno;
use std::fs::File;

/// A task of [`crate::Event::Disk`].
pub struct DiskTask {
    pub(crate) connection: ConnectionId,
    /// The exchange on the connection, if the work is for one.
    pub(crate) stream: u32,
    pub(crate) work: DiskWork,
}

pub(crate) enum DiskWork {
    /// Bytes of a request body go to its file.
    Store(Store),
    /// A part of a file goes to the client.
    Send {
        send: FileSend,
        sent: Result<FileSent, Errno>,
    },
    /// A file that nothing needs any more is closed: that frees its blocks.
    Discard(Option<File>),
}

impl DiskTask {
    /// Does the work. It may block.
    pub fn run(&mut self) {
        match &mut self.work {
            DiskWork::Store(store) => store.run(),
            DiskWork::Send { send, sent } => *sent = send.run(),
            DiskWork::Discard(file) => drop(file.take()),
        }
    }
}
