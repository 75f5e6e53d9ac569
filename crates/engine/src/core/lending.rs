//! Streams that wait until the application can be called, or that another worker serves.
//!
//! Always holds: a stream that is lent leaves its request here until the other worker has been sent the
//! socket; a connection whose streams wait is in the list of those, once.

use super::Core;
use crate::connection::Connection;
use crate::exchange::ConnectionId;
use crate::handoff::queue::Sent;
use crate::http2::carrier::Carrier;
use crate::nudge::Nudge;
use crate::poll_set::carrier_data;
use crate::progress::READING;
use crate::transport::Transport;
use rustix::event::epoll::EventFlags;
use std::io;

/// How long streams wait for the next try, if no worker could take them.
const LEND_AGAIN_MS: u64 = 20;

impl Core {
    /// Streams of a connection wait. If the application cannot be called for them here, other workers serve
    /// them, as many as can.
    pub(crate) fn settle_streams(&mut self, key: u32) {
        if !self.cx.load.may_begin_stream() {
            while self.transfer.can_be_taken_over(&self.cx.load) && self.lend_stream(key) {}
        }
        self.note_waiting_streams(key);
    }

    /// Lends streams that wait behind a stuck main thread: at most `room`, one of each connection at a time.
    /// Returns whether there are more.
    pub(crate) fn lend_waiting(&mut self, mut room: usize) -> bool {
        let current = self.current_key();
        let noted = self.waiting_streams.iter().map(|id| id.key);
        let mut keys: Vec<u32> = current
            .into_iter()
            .chain(noted.filter(|key| Some(*key) != current))
            .filter(|key| self.has_waiting_streams(*key))
            .collect();
        while room > 0 && !keys.is_empty() {
            keys.retain(|key| {
                let lends = room > 0 && self.lend_stream(*key);
                room -= usize::from(lends);
                if lends {
                    self.flush(*key); // windows may be opened
                }
                lends
            });
        }
        let noted = self.waiting_streams.iter().map(|id| id.key);
        let mut keys = current.into_iter().chain(noted);
        keys.any(|key| self.has_waiting_streams(key))
    }

    fn has_waiting_streams(&self, key: u32) -> bool {
        let connection = self.connections.get(key);
        connection.is_some_and(Connection::has_waiting_streams)
    }

    /// Goes on with a connection of HTTP/2 whose main thread is stuck, for a report of it: reads what has
    /// come, and sends what is framed. What is meant for the application waits for the main thread.
    pub(crate) fn serve_aside(&mut self, key: u32, flags: EventFlags) {
        self.cx.clock.tick();
        let Some(connection) = self.connections.get(key) else {
            return;
        };
        if let Some(reason) = connection.closing_reason(flags) {
            return self.close_connection(key, Some(reason));
        }
        if flags.intersects(READING | EventFlags::HUP | EventFlags::ERR) && connection.reads() {
            self.receive_aside(key);
        }
        self.flush_aside(key, flags.contains(EventFlags::OUT));
    }

    /// As [`Core::serve_aside`], for a report of the carrier of one of its streams.
    pub(crate) fn carry_aside(&mut self, key: u32, stream: u32) {
        self.cx.clock.tick();
        if let Some(connection) = self.connections.get_mut(key) {
            connection.carry(&mut self.cx, stream);
        }
        self.flush_aside(key, false);
    }

    /// Sends what is framed. `takes`: the socket has room, so what stays is a file, which the main thread
    /// sends: the set would report that room again and again.
    fn flush_aside(&mut self, key: u32, takes: bool) {
        let before = self.pending(key);
        let sent = self.flush(key);
        let waits_not = sent || takes && self.pending(key) == before;
        self.update_interest(key, waits_not, true);
        self.note_waiting_streams(key);
        // The main thread looks for what its application waits for, and for deadlines.
        self.schedule(key);
    }

    fn pending(&self, key: u32) -> usize {
        let connection = self.connections.get(key);
        connection.map_or(0, |connection| connection.link.pending())
    }

    /// What ends the wait of a thread for a client of HTTP/2.
    ///
    /// # Errors
    /// If the process has no free descriptor.
    pub(crate) fn nudge(&mut self) -> io::Result<Nudge> {
        let nudge = Nudge::new()?;
        self.nudges.push(nudge.clone());
        Ok(nudge)
    }

    /// Sends the first stream that waits to another worker. False: it stays.
    fn lend_stream(&mut self, key: u32) -> bool {
        let Some(connection) = self.connections.get_mut(key) else {
            return false;
        };
        let set = &self.set;
        let carrier = connection.offer_stream(|stream, head, bytes| {
            let (ours, theirs) = Transport::pair()?;
            let carrier = Carrier::new(ours, set, carrier_data(key, stream), head, bytes)?;
            Ok((stream, carrier, theirs))
        });
        let Some(Ok((stream, carrier, theirs))) = carrier else {
            return false;
        };
        let now_ms = self.cx.clock.now_ms;
        let (link, load) = (&connection.link, &self.cx.load);
        let sent = self.transfer.lend(theirs.fd(), link, load, now_ms);
        if let Sent::Yes = sent {
            self.cx.load.counters.handed_off += 1;
            connection.lend_stream(&mut self.cx, stream, carrier);
            if self.acceptor.is_draining(connection.link.listener) {
                connection.close_after_response(&mut self.cx); // it may have begun after that
            }
            return true;
        }
        carrier.close();
        match sent {
            Sent::Closed => self.lose_queue(None),
            Sent::Broken(error) => self.lose_queue(Some(error)),
            Sent::Yes | Sent::No => {}
        }
        false
    }

    /// The listener drains. If the pool shuts down, no other worker may come to the queue for the streams
    /// that were lent: this one, which waits for them, adopts what is left in it.
    pub(crate) fn adopt_own_streams(&mut self, number: u32) {
        let keys = self.connections.keys_of(number);
        let has_lent = |key: &u32| {
            let connection = self.connections.get(*key);
            connection.is_some_and(Connection::has_lent_streams)
        };
        if keys.iter().any(has_lent) {
            self.adopt_remaining(number);
        }
    }

    // ---- those that wait -----------------------------------------------------------

    /// Notes that streams of a connection wait until the application can be called.
    pub(crate) fn note_waiting_streams(&mut self, key: u32) {
        let Some(connection) = self.connections.get_mut(key) else {
            return;
        };
        if connection.has_waiting_streams() && connection.note_waiting_streams() {
            self.waiting_streams.push(connection.link.id);
        }
        if !self.waiting_streams.is_empty() && self.cx.load.pool_is_kept() {
            self.lend_again_ms = Some(self.cx.clock.now_ms + LEND_AGAIN_MS);
        }
    }

    /// When streams that wait are looked at again.
    pub(crate) fn lend_again_ms(&self) -> Option<u64> {
        self.lend_again_ms
    }

    /// Whether streams wait although the application can be called.
    pub(crate) fn may_begin_streams(&self) -> bool {
        !self.waiting_streams.is_empty() && self.cx.load.may_begin_stream()
    }

    /// Whether streams wait that can begin, or that can be lent again.
    pub(crate) fn are_streams_due(&self) -> bool {
        let due_ms = self.lend_again_ms;
        self.may_begin_streams() || due_ms.is_some_and(|due_ms| due_ms <= self.cx.clock.now_ms)
    }

    /// Passes each connection whose streams have waited to `look_at`.
    pub(crate) fn begin_streams(&mut self, mut look_at: impl FnMut(ConnectionId)) {
        self.lend_again_ms = None;
        for id in std::mem::take(&mut self.waiting_streams) {
            if let Ok(connection) = self.connections.find_mut(id) {
                connection.forget_waiting_streams();
                look_at(id);
            }
        }
    }
}
