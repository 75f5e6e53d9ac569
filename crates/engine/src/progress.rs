//! What a protocol asks of the reactor after a step.

use crate::event::Event;
use rustix::event::epoll::EventFlags;

/// No further request of a client is read while more of its responses than this
/// is unsent.
pub const HIGH_WATER: usize = 64 * 1024;

/// What the epoll set reports of a connection that is read.
pub(crate) const READING: EventFlags = EventFlags::IN.union(EventFlags::RDHUP);

pub(crate) enum Progress {
    Event(Event),
    /// The protocol waits for the peer or for the application.
    Wait,
    /// Send the output first, then continue.
    Flush,
    /// Close the connection. The reason, if it had more to do.
    Close(Option<&'static str>),
    /// Send the output as far as the socket takes it, then close the connection.
    Abort(Event),
}
