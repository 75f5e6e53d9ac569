//! Which connections are closed when no descriptor is left for a new client.

use super::Core;
use crate::accept::ACCEPTS_PER_TURN;
use crate::deadlines::{LINGER_MS, Wait};
use crate::event::{Event, ListenerNews};
use rustix::io::Errno;

impl Core {
    /// Closes connections that have nothing in flight, because there is no descriptor
    /// for a client of `listener`: those that have idled for longest, and if none
    /// idles, those whose request head is incomplete for longest. False: there is
    /// neither.
    pub(crate) fn close_idle(&mut self, listener: u32, error: Errno) -> bool {
        let closed = self.make_room();
        if closed && self.acceptor.must_report_idle_closed(self.cx.clock.now_ms) {
            let news = ListenerNews::IdleClosed(error.into());
            self.cx.events.push_back(Event::Listener { listener, news });
        }
        closed
    }

    /// Closes connections that have nothing in flight, those first that idle. False: there
    /// is none.
    pub(crate) fn make_room(&mut self) -> bool {
        self.close_oldest(Self::idles_since_ms) || self.close_oldest(Self::reads_since_ms)
    }

    /// Closes the oldest of the connections for which `since_ms` has a time. False:
    /// there is none.
    fn close_oldest(&mut self, since_ms: impl Fn(&Self, u32) -> Option<u64>) -> bool {
        let mut open: Vec<(u64, u32)> = self
            .connections
            .keys()
            .filter(|key| !self.is_current(*key))
            .filter_map(|key| Some((since_ms(self, key)?, key)))
            .collect();
        open.sort_unstable();
        // All of them are looked at, so one call closes several if they are many.
        let most = (open.len() / 16).clamp(1, ACCEPTS_PER_TURN as usize);
        let mut closed = 0;
        for (_, key) in open {
            let connection = self.connections.get(key);
            // Its next request, or the rest of it, may have come.
            if connection.is_none_or(|connection| connection.link.transport.has_input()) {
                continue;
            }
            self.close_connection(key, None);
            closed += 1;
            if closed == most {
                break;
            }
        }
        closed > 0
    }

    /// Since when a connection has an incomplete request head.
    fn reads_since_ms(&self, key: u32) -> Option<u64> {
        match self.connections.get(key)?.waits_for() {
            Wait::Head { since_ms } => Some(since_ms),
            _ => None,
        }
    }

    /// Since when a connection waits for its next request, for its first one, or after
    /// its last one for the client to close its side.
    fn idles_since_ms(&self, key: u32) -> Option<u64> {
        let connection = self.connections.get(key)?;
        match connection.waits_for() {
            Wait::Linger => Some(self.timers.due_ms(key)?.saturating_sub(LINGER_MS)),
            _ if !connection.is_idle() => None,
            Wait::FirstRequest { since_ms } => Some(since_ms),
            Wait::NextRequest { .. } => {
                let timeout_ms = connection.link.settings.keep_alive_timeout_ms;
                Some(self.timers.due_ms(key)?.saturating_sub(timeout_ms))
            }
            _ => None,
        }
    }
}
