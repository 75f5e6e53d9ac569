//! Messages of a WebSocket that the application has not received.
//!
//! Always holds: the engine knows how much waits here, and is told when it may read
//! on. If messages are dropped instead, it finds that out in its next turn.

use crate::core::Core;
use prefork_engine::{ExchangeId, Held, Unread};
use prefork_wire::websocket::Message;
use std::collections::VecDeque;
use std::sync::Arc;

pub(crate) struct Inbox {
    core: Arc<Core>,
    exchange: ExchangeId,
    messages: VecDeque<(Message, Held)>,
    /// Set while the WebSocket is open.
    unread: Option<Arc<Unread>>,
}

impl Inbox {
    pub(crate) fn new(core: &Arc<Core>, exchange: ExchangeId) -> Self {
        Inbox {
            core: Arc::clone(core),
            exchange,
            messages: VecDeque::new(),
            unread: None,
        }
    }

    /// The WebSocket is open.
    pub(crate) fn open(&mut self, unread: Arc<Unread>) {
        self.unread = Some(unread);
    }

    pub(crate) fn push(&mut self, message: Message, held: Held) {
        self.messages.push_back((message, held));
    }

    /// Takes the oldest message.
    pub(crate) fn pop(&mut self) -> Option<Message> {
        let (message, held) = self.messages.pop_front()?;
        if held.release() {
            self.resume_reading();
        }
        Some(message)
    }

    /// The application waits for a message, or does not any more.
    pub(crate) fn want(&self, yes: bool) {
        if self.unread.as_ref().is_some_and(|unread| unread.want(yes)) {
            self.resume_reading();
        }
    }

    fn resume_reading(&self) {
        self.core.engine().exchange(self.exchange).resume_reading();
    }
}
