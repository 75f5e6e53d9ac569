//! Messages of a WebSocket that the application has not received.
//!
//! Always holds: above `MOST_BYTES`, reading from the peer is paused until half
//! of that is left.

use prefork_wire::websocket::Message;
use std::collections::VecDeque;

const MOST_BYTES: usize = 64 * 1024;
/// The overhead of a message, so that empty messages count too.
const MESSAGE_BYTES: usize = 64;

#[derive(Default)]
pub(crate) struct Inbox {
    messages: VecDeque<Message>,
    bytes: usize,
    is_paused: bool,
}

impl Inbox {
    /// Adds a message. True: reading must be paused now.
    pub(crate) fn push(&mut self, message: Message) -> bool {
        self.bytes += message.len() + MESSAGE_BYTES;
        self.messages.push_back(message);
        let pauses = !self.is_paused && self.bytes > MOST_BYTES;
        self.is_paused |= pauses;
        pauses
    }

    /// Takes the oldest message. The flag: reading must be resumed now.
    pub(crate) fn pop(&mut self) -> Option<(Message, bool)> {
        let message = self.messages.pop_front()?;
        self.bytes -= message.len() + MESSAGE_BYTES;
        let resumes = self.is_paused && self.bytes <= MOST_BYTES / 2;
        self.is_paused &= !resumes;
        Some((message, resumes))
    }
}
