//! What a step of a protocol asks of the reactor.

use crate::event::Event;
use rustix::event::epoll::EventFlags;

/// A client that leaves this much of its responses unread gets no further ones.
pub const HIGH_WATER: usize = 64 * 1024;

/// What the epoll set reports of a connection that is read.
pub(crate) const READING: EventFlags = EventFlags::IN.union(EventFlags::RDHUP);

pub(crate) enum Progress {
    Event(Event),
    /// Something must come first: from the peer, or from the application.
    Wait,
    /// What waits is to be sent, and only then to be gone on with.
    Flush,
    /// The connection is over; the reason, if that is too early.
    Close(Option<&'static str>),
    /// What is written is sent as far as the peer takes it, then the connection is over.
    Abort(Event),
}
