//! WebSocket messages that wait for the application: how many bytes of one connection, and of all
//! connections of the process.
//!
//! Owns: the counters, and whether a connection may be read. Always holds: a message is counted from
//! its first byte until its [`Held`] is dropped, wherever it waits. The counters are shared with the
//! owner of the messages, who takes them without the engine. Knows no socket and no frame.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};

/// A connection with more than this is read only if the application waits for a message.
const MOST_BYTES: usize = 64 * 1024;
/// If all connections together have more than this, the same is true of each.
const MOST_BYTES_OF_ALL: usize = 32 * 1024 * 1024;
/// The overhead of a message, so that empty messages count too.
const MESSAGE_BYTES: usize = 64;

/// A number of bytes with a limit. Once over it, it is full until half of that is left: otherwise
/// each message would stop and resume reading.
struct Level {
    most: usize,
    bytes: AtomicUsize,
    is_full: AtomicBool,
}

impl Level {
    fn new(most: usize) -> Self {
        Level {
            most,
            bytes: AtomicUsize::new(0),
            is_full: AtomicBool::new(false),
        }
    }

    fn add(&self, bytes: usize) {
        if self.bytes.fetch_add(bytes, Relaxed) + bytes > self.most {
            self.is_full.store(true, Relaxed);
        }
    }

    /// True: it was full, and is not any more.
    fn remove(&self, bytes: usize) -> bool {
        let left = self.bytes.fetch_sub(bytes, Relaxed) - bytes;
        left <= self.most / 2 && self.is_full() && self.is_full.swap(false, Relaxed)
    }

    fn is_full(&self) -> bool {
        self.is_full.load(Relaxed)
    }
}

/// The unread messages of all connections.
pub(crate) struct UnreadOfAll {
    level: Level,
    /// It was full, and the connections do not know that it is not any more.
    has_resumed: AtomicBool,
}

impl Default for UnreadOfAll {
    fn default() -> Self {
        UnreadOfAll {
            level: Level::new(MOST_BYTES_OF_ALL),
            has_resumed: AtomicBool::new(false),
        }
    }
}

impl UnreadOfAll {
    fn remove(&self, bytes: usize) {
        if self.level.remove(bytes) {
            self.has_resumed.store(true, Relaxed);
        }
    }

    /// True, once: every connection may be read again.
    pub(crate) fn take_resumed(&self) -> bool {
        self.has_resumed.load(Relaxed) && self.has_resumed.swap(false, Relaxed)
    }
}

/// The unread messages of one connection, and whether the application waits for one.
pub struct Unread {
    all: Arc<UnreadOfAll>,
    messages: Level,
    /// Bytes of an incomplete message.
    partial: AtomicUsize,
    is_wanted: AtomicBool,
    /// What follows the messages is an error of the peer.
    is_faulty: AtomicBool,
}

/// Counts one message while it waits.
pub struct Held {
    /// `None` once it is released.
    unread: Option<Arc<Unread>>,
    bytes: usize,
}

impl Drop for Held {
    #[inline]
    fn drop(&mut self) {
        if let Some(unread) = self.unread.take() {
            unread.give_back(self.bytes);
        }
    }
}

impl Drop for Unread {
    fn drop(&mut self) {
        self.set_partial(0);
    }
}

impl Unread {
    pub(crate) fn new(all: &Arc<UnreadOfAll>) -> Arc<Self> {
        Arc::new(Unread {
            all: Arc::clone(all),
            messages: Level::new(MOST_BYTES),
            partial: AtomicUsize::new(0),
            is_wanted: AtomicBool::new(false),
            is_faulty: AtomicBool::new(false),
        })
    }

    /// Counts a complete message. The application does not wait any more.
    pub(crate) fn hold(self: &Arc<Self>, len: usize) -> Held {
        let bytes = len + MESSAGE_BYTES;
        self.messages.add(bytes);
        self.all.level.add(bytes);
        self.is_wanted.store(false, Relaxed);
        Held {
            unread: Some(Arc::clone(self)),
            bytes,
        }
    }

    /// A message does not wait any more. True: the connection was full, and is not any
    /// more.
    fn give_back(&self, bytes: usize) -> bool {
        self.all.remove(bytes);
        self.messages.remove(bytes)
    }

    /// Counts what has come of an incomplete message.
    #[inline]
    pub(crate) fn set_partial(&self, bytes: usize) {
        if self.partial.load(Relaxed) == bytes {
            return;
        }
        let before = self.partial.swap(bytes, Relaxed);
        if bytes > before {
            self.all.level.add(bytes - before);
        } else if bytes < before {
            self.all.remove(before - bytes);
        }
    }

    pub(crate) fn set_faulty(&self) {
        self.is_faulty.store(true, Relaxed);
    }

    /// Whether the application has all messages and waits for more.
    pub(crate) fn is_wanted(&self) -> bool {
        self.is_wanted.load(Relaxed)
    }

    pub(crate) fn may_be_read(&self) -> bool {
        !self.is_faulty.load(Relaxed) && (self.is_wanted() || !self.is_full())
    }

    /// Whether there are too many messages on this connection, or on all.
    fn is_full(&self) -> bool {
        self.messages.is_full() || self.all.level.is_full()
    }

    // ---- the owner of the messages -----------------------------------------------------

    /// The application waits for a message (`true`), or does not any more. Returns whether
    /// [`ExchangeHandle::resume_reading`](crate::ExchangeHandle::resume_reading) must follow.
    pub fn want(&self, yes: bool) -> bool {
        self.is_wanted.store(yes, Relaxed);
        yes && (self.is_full() || self.is_faulty.load(Relaxed))
    }
}

impl Held {
    /// The message was taken. Returns whether
    /// [`ExchangeHandle::resume_reading`](crate::ExchangeHandle::resume_reading) must follow.
    #[must_use]
    pub fn release(mut self) -> bool {
        let unread = self.unread.take();
        unread.is_some_and(|unread| {
            unread.give_back(self.bytes) || unread.all.has_resumed.load(Relaxed)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1024 * 1024;

    #[test]
    fn a_connection_with_many_messages_is_read_again_when_half_is_taken() {
        let unread = Unread::new(&Arc::default());
        let mut held: Vec<Held> = (0..65).map(|_| unread.hold(1024 - MESSAGE_BYTES)).collect();
        assert!(!unread.may_be_read());
        for left in (33..65).rev() {
            assert!(!held.pop().unwrap().release(), "{left}");
            assert!(!unread.may_be_read());
        }
        assert!(held.pop().unwrap().release());
        assert!(unread.may_be_read());
        assert!(!held.pop().unwrap().release());
    }

    #[test]
    fn empty_messages_count_too() {
        let unread = Unread::new(&Arc::default());
        let held: Vec<Held> = (0..2000).map(|_| unread.hold(0)).collect();
        assert!(!unread.may_be_read());
        drop(held);
        assert!(unread.may_be_read());
    }

    #[test]
    fn all_connections_share_one_limit() {
        let all = Arc::<UnreadOfAll>::default();
        let connections: Vec<Arc<Unread>> = (0..60).map(|_| Unread::new(&all)).collect();
        for unread in connections.iter().take(33) {
            assert!(unread.may_be_read());
            unread.set_partial(MIB);
        }
        assert!(connections.iter().all(|unread| !unread.may_be_read()));
        // The application waits on one: it is read, and no other.
        let waits = connections.last().unwrap();
        assert!(waits.want(true) && waits.may_be_read());
        let held = waits.hold(5);
        assert!(!waits.may_be_read(), "it got one");
        assert!(!held.release());
        assert!(!waits.want(false) && !all.take_resumed());
        // A message that is complete is counted once, until it is taken.
        for unread in connections.iter().take(33) {
            unread.set_partial(0);
        }
        assert!(waits.may_be_read() && all.take_resumed() && !all.take_resumed());
        let held: Vec<Held> = (0..33).map(|_| waits.hold(MIB)).collect();
        assert!(connections.iter().all(|unread| !unread.may_be_read()));
        let resumed = held.into_iter().map(Held::release).filter(|&yes| yes);
        assert!(resumed.count() > 0 && all.take_resumed());
    }

    #[test]
    fn what_a_connection_leaves_behind_is_counted_until_it_is_dropped() {
        let all = Arc::<UnreadOfAll>::default();
        let other = Unread::new(&all);
        let unread = Unread::new(&all);
        unread.set_partial(20 * MIB);
        let held = unread.hold(20 * MIB);
        drop(unread);
        assert!(!other.may_be_read());
        drop(held);
        assert!(other.may_be_read());
        assert_eq!(all.level.bytes.load(Relaxed), 0);
    }

    #[test]
    fn nothing_is_read_behind_an_error() {
        let unread = Unread::new(&Arc::default());
        unread.set_faulty();
        assert!(unread.want(true) && !unread.may_be_read());
    }
}
