//! Messages of a WebSocket that the application has not received.
//!
//! Always holds: with more than `MOST_BYTES` in it nothing is read from the
//! peer, until half of that is left.

use prefork_wire::websocket::Message;
use std::collections::VecDeque;

const MOST_BYTES: usize = 64 * 1024;
/// What a message costs besides its bytes: many empty ones are a lot too.
const MESSAGE_BYTES: usize = 64;

#[derive(Default)]
pub(crate) struct Inbox {
    messages: VecDeque<Message>,
    bytes: usize,
    is_paused: bool,
}

impl Inbox {
    /// Adds a message. True: reading is to be paused now.
    pub(crate) fn push(&mut self, message: Message) -> bool {
        self.bytes += message.len() + MESSAGE_BYTES;
        self.messages.push_back(message);
        let pauses = !self.is_paused && self.bytes > MOST_BYTES;
        self.is_paused |= pauses;
        pauses
    }

    /// Takes the oldest message, and says whether reading is to go on now.
    pub(crate) fn pop(&mut self) -> Option<(Message, bool)> {
        let message = self.messages.pop_front()?;
        self.bytes -= message.len() + MESSAGE_BYTES;
        let resumes = self.is_paused && self.bytes <= MOST_BYTES / 2;
        self.is_paused &= !resumes;
        Some((message, resumes))
    }
}
