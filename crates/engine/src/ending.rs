//! The engine's part that sends, times out and closes.

use crate::connection::{ConnId, Phase, READING};
use crate::engine::{Engine, Event, NEVER};
use crate::output::{Sent, queued_in};
use rustix::event::epoll::EventFlags;
use std::os::fd::AsFd;
use understudy_wire::Reject;

const LINGER_MS: u64 = 5_000;
/// The minimum rate of a body is judged over windows of this length.
const RATE_WINDOW_MS: u64 = 5_000;

impl Engine {
    /// Sends what waits; true when nothing does any more.
    pub(crate) fn flush(&mut self, key: u32) -> bool {
        let Some(Some(conn)) = self.conns.get_mut(key as usize) else {
            return true;
        };
        if conn.output.pending() == 0 {
            return true;
        }
        let before = conn.output.pending();
        let result = conn.output.flush(conn.socket.as_fd(), &mut self.buffers);
        self.counters.bytes_out += (before - conn.output.pending()) as u64;
        match result {
            Ok(Sent::All) => true,
            Ok(Sent::Blocked { progress }) => {
                let due_ms = self
                    .clock
                    .now_ms
                    .saturating_add(conn.settings.send_timeout_ms);
                let begins = !conn.interest.contains(EventFlags::OUT);
                if progress || begins {
                    conn.queued = queued_in(conn.socket.as_fd());
                    self.timers.set(key, due_ms);
                }
                false
            }
            Err(_) => {
                self.lose(
                    key,
                    "the client closed the connection before its answer was sent",
                );
                true
            }
        }
    }

    /// Keeps what was not understood, sends what waits, and says what the
    /// connection waits for from now on.
    pub(crate) fn settle(&mut self, key: u32) {
        if let (Some(Some(conn)), Some(rest @ [_, ..])) =
            (self.conns.get_mut(key as usize), self.work.get(self.at..))
        {
            conn.input = self.buffers.take();
            conn.input.extend_from_slice(rest);
        }
        let sent = self.flush(key);
        let Some(conn) = self.conn_mut(key) else {
            return;
        };
        if sent {
            let backlog = conn.has_backlog();
            match conn.phase {
                Phase::Leaving => return self.leave(key),
                Phase::Waiting if conn.eof => return self.remove(key, None),
                Phase::Streaming if std::mem::take(&mut conn.tell_drained) => {
                    let conn = ConnId {
                        key,
                        serial: conn.serial,
                    };
                    self.events.push_back(Event::Drained { conn });
                }
                _ => {}
            }
            self.set_deadline(key);
            if backlog {
                self.postpone(key);
            }
        }
        let Some(conn) = self.conn_mut(key) else {
            return;
        };
        let wanted = conn.wants(!sent);
        // Reading is not given up before a report shows that it must be.
        let missing = wanted.difference(conn.interest);
        let surplus = conn.interest.difference(wanted | READING);
        if !missing.is_empty() || !surplus.is_empty() {
            self.watch(key, wanted);
        }
    }

    pub(crate) fn watch(&mut self, key: u32, interest: EventFlags) {
        let Some(Some(conn)) = self.conns.get_mut(key as usize) else {
            return;
        };
        conn.interest = interest;
        let id = ConnId {
            key,
            serial: conn.serial,
        };
        let data = id.to_u64();
        if self.set.modify(&conn.socket, data, interest).is_err() {
            self.lose(key, "the connection could not be watched");
        }
    }

    fn set_deadline(&mut self, key: u32) {
        let now_ms = self.clock.now_ms;
        let Some(conn) = self.conn(key) else {
            return;
        };
        let lingers_until_ms = self.lingers_until_ms(conn.listener);
        let settings = &conn.settings;
        let due_ms = match conn.phase {
            Phase::Waiting if conn.parser.is_some() || conn.requests == 0 => conn
                .head_since_ms
                .saturating_add(settings.header_timeout_ms),
            // The head of its last answer may have come before draining: nothing
            // told the client that there is no other.
            Phase::Waiting => lingers_until_ms
                .unwrap_or_else(|| now_ms.saturating_add(settings.keep_alive_timeout_ms)),
            // Set when they began; the window of the rate must not move.
            Phase::Collecting | Phase::Lingering => return,
            Phase::Offered | Phase::Handling | Phase::Streaming | Phase::Leaving => NEVER,
        };
        self.timers.set(key, due_ms);
    }

    /// The body of the request is wanted; its pace is judged from now on.
    pub(crate) fn begin_collecting(&mut self, key: u32) {
        let due_ms = self.clock.now_ms + RATE_WINDOW_MS;
        if let Some(conn) = self.conn_mut(key) {
            conn.phase = Phase::Collecting;
            self.timers.set(key, due_ms);
        }
        self.touch(key);
    }

    pub(crate) fn expire(&mut self, key: u32) {
        // Something has happened to it in this very turn.
        if self.timers.is_set(key) {
            return;
        }
        let Some(conn) = self.conn_mut(key) else {
            return;
        };
        let rate = conn.settings.body_min_rate;
        match conn.phase {
            _ if conn.output.pending() > 0 => {
                // The socket asks for more when a good part of its queue has
                // left: until then a slow reader shows only in the queue.
                let queued = queued_in(conn.socket.as_fd());
                if queued >= conn.queued {
                    return self.lose(key, "the client did not read its answer");
                }
                conn.queued = queued;
                let timeout_ms = conn.settings.send_timeout_ms;
                let due_ms = self.clock.now_ms.saturating_add(timeout_ms);
                self.timers.set(key, due_ms);
            }
            Phase::Waiting if conn.parser.is_some() => {
                self.time_out(key, "the request head did not arrive in time");
            }
            Phase::Collecting => {
                let window = conn
                    .collecting
                    .as_deref_mut()
                    .map_or(0, |collecting| std::mem::take(&mut collecting.in_window));
                if window < rate * RATE_WINDOW_MS / 1000 {
                    self.time_out(key, "the request body came too slowly");
                } else {
                    self.timers.set(key, self.clock.now_ms + RATE_WINDOW_MS);
                }
            }
            Phase::Waiting | Phase::Lingering => self.remove(key, None),
            Phase::Offered | Phase::Handling | Phase::Streaming | Phase::Leaving => {}
        }
    }

    /// RFC 9110, section 15.5.9.
    fn time_out(&mut self, key: u32, reason: &'static str) {
        self.load(key);
        let reject = Reject {
            status: 408,
            reason,
        };
        let event = self.malformed(key, reject);
        self.events.push_back(event);
    }

    /// The last answer has left.
    fn leave(&mut self, key: u32) {
        let due_ms = self.clock.now_ms + LINGER_MS;
        let Some(conn) = self.conn_mut(key) else {
            return;
        };
        if !conn.body_unread && !conn.unread {
            return self.remove(key, None);
        }
        conn.phase = Phase::Lingering;
        if rustix::net::shutdown(&conn.socket, rustix::net::Shutdown::Write).is_err() {
            return self.remove(key, None);
        }
        let wanted = conn.wants(false);
        self.timers.set(key, due_ms);
        self.watch(key, wanted);
    }

    /// The client is gone, or has to go, before all was done.
    pub(crate) fn lose(&mut self, key: u32, why: &'static str) {
        self.remove(key, Some(why));
    }

    /// Closes a connection and forgets it.
    pub(crate) fn remove(&mut self, key: u32, interrupted: Option<&'static str>) {
        let Some(conn) = self.conns.get_mut(key as usize).and_then(Option::take) else {
            return;
        };
        self.wake();
        // Closing is not enough: the epoll set follows the socket, and a child
        // that the application forked may have it open.
        let _ = self.set.remove(&conn.socket);
        self.free.push(key);
        self.open -= 1;
        self.timers.clear(key);
        if conn.phase.in_flight() {
            self.let_go();
        }
        if conn.watched || conn.tell_drained || interrupted.is_some() {
            self.events.push_back(Event::Closed {
                conn: ConnId {
                    key,
                    serial: conn.serial,
                },
                listener: conn.listener,
                peer: conn.peer,
                interrupted,
            });
        }
        // Behind the end of its last connection: then the owner may go too.
        if let Some(listener) = self.listeners.get_mut(conn.listener as usize) {
            listener.open -= 1;
            if listener.draining && listener.open == 0 {
                let listener = conn.listener;
                self.events.push_back(Event::Empty { listener });
            }
        }
    }
}
