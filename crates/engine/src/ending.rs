//! The engine's part that sends, times out and closes.

use crate::connection::{Phase, READING};
use crate::event::Event;
use crate::guard::OVERDUE;
use crate::inbound::Inbound;
use crate::output::{Failure, Sent, queued_in};
use crate::reactor::{NEVER, Reactor};
use prefork_wire::RemoteError;
use rustix::event::epoll::EventFlags;
use std::os::fd::AsFd;

const LINGER_MS: u64 = 5_000;

impl Reactor {
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
            Err(failure) => {
                let why = match failure {
                    Failure::Peer => "the client closed the connection before its answer was sent",
                    Failure::File => "a file became shorter while it was sent, or cannot be read",
                };
                self.lose(key, why);
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
                Phase::Streaming | Phase::Open if std::mem::take(&mut conn.tell_drained) => {
                    let exchange = conn.id(key);
                    self.events.push_back(Event::Drained { exchange });
                }
                _ => {}
            }
            self.set_deadline(key);
            if backlog {
                self.postpone(key);
            } else if self.leaves_with_its_listener(key) && self.hand_on(key) {
                return;
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
        let id = conn.connection_id(key);
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
                .unwrap_or_else(|| now_ms.saturating_add(settings.keep_alive_timeout_ms))
                .min(conn.idles_until_ms),
            // Set when they began.
            Phase::Closing | Phase::Lingering => return,
            Phase::Collecting | Phase::Handling | Phase::Streaming if conn.reads() => {
                let inbound = conn.inbound.as_deref();
                inbound.and_then(Inbound::due_ms).unwrap_or(NEVER)
            }
            Phase::Open => self.ping_due_ms(key),
            Phase::Offered | Phase::Handling if settings.request_timeout_ms > 0 => {
                conn.taken_ms.saturating_add(settings.request_timeout_ms)
            }
            _ => NEVER,
        };
        self.timers.set(key, due_ms);
    }

    fn leaves_with_its_listener(&self, key: u32) -> bool {
        self.conn(key)
            .is_some_and(|conn| self.draining(conn.listener))
    }

    /// The body of the request is wanted; its pace is judged from now on.
    pub(crate) fn begin_collecting(&mut self, key: u32) {
        let now_ms = self.clock.now_ms;
        if let Some(conn) = self.conn_mut(key) {
            conn.phase = Phase::Collecting;
            if let Some(inbound) = conn.inbound.as_deref_mut() {
                inbound.want(now_ms);
            }
        }
        self.touch(key);
    }

    pub(crate) fn expire(&mut self, key: u32) {
        // Something has happened to it in this very turn.
        if self.timers.is_set(key) {
            return;
        }
        let now_ms = self.clock.now_ms;
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
            Phase::Collecting | Phase::Handling | Phase::Streaming if conn.reads() => {
                let inbound = conn.inbound.as_deref_mut();
                match inbound.is_none_or(|inbound| inbound.keeps_pace(rate, now_ms)) {
                    true => self.set_deadline(key),
                    false => self.time_out(key, "the request body came too slowly"),
                }
            }
            Phase::Open => self.mind_the_pulse(key),
            // It may be that the queue has room by now.
            Phase::Waiting | Phase::Closing | Phase::Lingering => {
                if !(self.leaves_with_its_listener(key) && self.hand_on(key)) {
                    self.remove(key, None);
                }
            }
            Phase::Offered | Phase::Handling => self.give_out(key),
            Phase::Collecting | Phase::Streaming | Phase::Leaving => {}
        }
    }

    /// The application has had its time for a request.
    fn give_out(&mut self, key: u32) {
        let Some(conn) = self.conn(key) else {
            return;
        };
        let id = conn.id(key);
        let event = Event::Overdue {
            client: conn.client(key),
            request: conn.line(),
            after_ms: conn.settings.request_timeout_ms,
        };
        self.reject(id, &OVERDUE);
        self.events.push_back(event);
    }

    /// RFC 9110, section 15.5.9.
    fn time_out(&mut self, key: u32, reason: &'static str) {
        self.load(key);
        let reject = RemoteError {
            status: 408,
            reason,
        };
        let begun = self.conn(key).is_some_and(|conn| conn.phase.in_flight());
        let event = match begun {
            true => self.break_body_off(key, reject),
            false => self.malformed(key, reject),
        };
        self.events.extend(event);
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
        // Of a WebSocket that has ended nobody misses the rest.
        let missed = self
            .conn(key)
            .is_some_and(|conn| conn.websocket.is_none() || conn.phase == Phase::Open);
        self.remove(key, missed.then_some(why));
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
        self.spent.push(key);
        self.open -= 1;
        self.timers.clear(key);
        if conn.phase.in_flight() {
            self.let_go();
        }
        if conn.phase == Phase::Open {
            self.events.push_back(Event::Ended {
                client: conn.client(key),
                code: 1006,
                reason: String::new(),
                fault: None,
            });
        }
        let cut_short = interrupted.is_some() && conn.phase.is_open();
        if conn.wants_gone || conn.tell_drained || cut_short {
            self.events.push_back(Event::Gone {
                exchange: conn.id(key),
            });
        }
        if conn.wants_closed || interrupted.is_some() {
            self.events.push_back(Event::Closed {
                connection: conn.connection_id(key),
                listener: conn.listener,
                peer: conn.peer,
                interrupted,
            });
        }
        // Behind the end of its last connection: then the owner may go too.
        if let Some(listener) = self.listeners.get_mut(conn.listener as usize) {
            listener.open -= 1;
        }
        self.see_off(conn.listener);
    }
}
