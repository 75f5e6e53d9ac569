//! The engine's part from bytes to events.

use crate::connection::{Phase, READING};
use crate::event::Event;
use crate::exchange::{ConnectionId, ExchangeId};
use crate::inbound::Inbound;
use crate::reactor::{Current, HEADS_PER_TURN, HIGH_WATER, NEVER, Reactor};
use prefork_wire::{BodyDecoder, BodyEncoder, HeadParser, RemoteError, RequestContext};
use rustix::event::epoll::EventFlags;
use rustix::io::Errno;
use rustix::net::RecvFlags;

const RECEIVE_BYTES: usize = 64 * 1024;

enum Step {
    Event(Event),
    /// Progress was made; there may be more to make.
    Again,
    /// The peer has to send more first.
    More,
}

/// How a peer ends its side of the connection.
enum End {
    Closed,
    Reset,
}

impl Reactor {
    /// A report of the epoll set, or (without flags) a connection that was
    /// touched: makes it the current one.
    pub(crate) fn begin(&mut self, id: ConnectionId, flags: EventFlags) {
        let Some(conn) = self.named(ExchangeId::only(id)) else {
            return;
        };
        let reads = conn.reads();
        if flags.intersects(EventFlags::ERR | EventFlags::HUP) && !reads {
            return self.lose(id.key, "the client reset the connection");
        }
        // Whoever reads learns it from what it reads, after what was sent before.
        let hears = conn.phase == Phase::Open || conn.inbound.is_some();
        if flags.contains(EventFlags::RDHUP) && conn.phase.in_flight() && !hears {
            return self.lose(id.key, "the client closed the connection");
        }
        if flags == EventFlags::IN && self.is_full() && self.leaves_to_a_spare(id.key) {
            return;
        }
        let Some(conn) = self.named(ExchangeId::only(id)) else {
            return;
        };
        let wanted = conn.wants(conn.output.pending() > 0);
        // What is not wanted now would be reported again and again.
        let early = flags.intersection(READING).difference(wanted);
        conn.unread |= !early.is_empty();
        // One whose requests wait already brings no more of them.
        let reads = wanted.contains(EventFlags::IN) && !conn.has_backlog();
        if !early.is_empty() {
            self.watch(id.key, wanted);
        }
        self.visit(id.key);
        if reads && flags.intersects(EventFlags::IN | EventFlags::HUP | EventFlags::ERR) {
            self.receive(id.key);
        }
        self.current = Current::Connection(id.key);
    }

    /// A connection gets its share of the turn.
    pub(crate) fn visit(&mut self, key: u32) {
        self.heads_left = HEADS_PER_TURN;
        self.load(key);
    }

    /// Puts what the connection has kept into the work buffer.
    pub(crate) fn load(&mut self, key: u32) {
        self.at = 0;
        self.work.clear();
        if let Some(Some(conn)) = self.conns.get_mut(key as usize) {
            if !conn.input.is_empty() {
                self.work.append(&mut conn.input);
                self.buffers.give(std::mem::take(&mut conn.input));
            }
        }
    }

    /// Adds to the work buffer what the socket has.
    pub(crate) fn receive(&mut self, key: u32) {
        self.work.reserve(RECEIVE_BYTES);
        let Some(Some(conn)) = self.conns.get_mut(key as usize) else {
            return;
        };
        let room_bytes = self.work.capacity() - self.work.len();
        let room = rustix::buffer::spare_capacity(&mut self.work);
        match rustix::net::recv(&conn.socket, room, RecvFlags::empty()) {
            Ok((0, _)) => self.end_of_input(key, End::Closed),
            Ok((received, _)) => {
                conn.unread = received == room_bytes;
                // While a body comes it is not the application that is slow.
                conn.taken_ms = self.clock.now_ms;
                self.counters.bytes_in += received as u64;
            }
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(_) => self.end_of_input(key, End::Reset),
        }
    }

    fn end_of_input(&mut self, key: u32, how: End) {
        let Some(conn) = self.conn_mut(key) else {
            return;
        };
        match (conn.phase, how) {
            (Phase::Waiting, _) if conn.parser.is_some() => {
                self.lose(key, "the client left in the middle of a request head");
            }
            (Phase::Collecting | Phase::Handling | Phase::Streaming, _) => {
                self.lose(key, "the client left in the middle of a request body");
            }
            (Phase::Open, End::Closed) => self.lose(key, "the client left without a close frame"),
            (Phase::Open, End::Reset) => self.lose(key, "the client reset the connection"),
            (Phase::Waiting, End::Closed) if conn.output.pending() > 0 => conn.eof = true,
            (Phase::Waiting, End::Reset) if conn.output.pending() > 0 => {
                self.lose(key, "the client reset the connection");
            }
            _ => self.remove(key, None),
        }
    }

    /// One step of the current connection through the protocol.
    pub(crate) fn step(&mut self, key: u32) -> Option<Event> {
        loop {
            match self.conn(key)?.phase {
                Phase::Waiting => {
                    if self.conn(key)?.output.pending() > HIGH_WATER && !self.flush(key) {
                        return None;
                    }
                    if self.at >= self.work.len() || self.heads_left == 0 {
                        return None;
                    }
                    self.heads_left -= 1;
                    return self.read_head(key);
                }
                Phase::Collecting => match self.read_body(key) {
                    Step::Event(event) => return Some(event),
                    Step::Again => {}
                    Step::More => return None,
                },
                Phase::Open | Phase::Closing => {
                    let event = self.read_frames(key);
                    // The peer's goodbye may have been read, and more behind it.
                    if event.is_some() || self.conn(key)?.phase != Phase::Leaving {
                        return event;
                    }
                }
                Phase::Leaving | Phase::Lingering => {
                    // Bytes that came behind the last request are for nobody,
                    // but remembered: they decide how the connection ends.
                    if self.at < self.work.len() {
                        self.at = self.work.len();
                        self.conn_mut(key)?.body_unread = true;
                    }
                    return None;
                }
                Phase::Handling | Phase::Streaming => return self.read_piece(key),
                Phase::Offered => return None,
            }
        }
    }

    fn read_head(&mut self, key: u32) -> Option<Event> {
        let conn = self.conn(key)?;
        let last = self.draining(conn.listener) && !self.goes_on_elsewhere(conn);
        let now_ms = self.clock.now_ms;
        let conn = self.conns.get_mut(key as usize)?.as_deref_mut()?;
        let input = self.work.get(self.at..).unwrap_or_default();
        let mut fresh = HeadParser::default();
        let resumed = conn.parser.is_some();
        let parser = conn.parser.as_deref_mut().unwrap_or(&mut fresh);
        let (head, consumed) = match parser.parse(input, &conn.settings.limits) {
            Ok(Some(parsed)) => parsed,
            Ok(None) => {
                if !resumed {
                    conn.parser = Some(Box::new(fresh));
                    conn.head_since_ms = now_ms;
                }
                return None;
            }
            Err(reject) => return self.malformed(key, reject),
        };
        let bytes = input.get(..consumed).unwrap_or_default().to_vec();
        self.at += consumed;
        conn.parser = None;
        conn.requests += 1;
        conn.asked = RequestContext {
            version: head.version,
            head_only: head.method.of(&bytes) == b"HEAD",
            keep_alive: head.keep_alive && conn.settings.keep_alive && !last,
        };
        conn.expects_continue = head.expect_continue;
        let (method, target) = (head.method.of(&bytes), head.target.of(&bytes));
        conn.idles_until_ms = NEVER;
        conn.taken_ms = now_ms;
        if conn.settings.request_timeout_ms > 0 {
            conn.note(method, target);
        }
        conn.inbound = BodyDecoder::new(head.framing)
            .map(|decoder| Box::new(Inbound::new(decoder, method, target)));
        conn.body_unread = conn.inbound.is_some();
        conn.phase = if conn.body_unread {
            Phase::Offered
        } else {
            Phase::Handling
        };
        let client = conn.client(key);
        if !conn.body_unread {
            self.take_on(method, target);
        }
        Some(Event::Request {
            client,
            bytes,
            head,
        })
    }

    /// Counts a request that is the application's from here on.
    pub(crate) fn take_on(&mut self, method: &[u8], target: &[u8]) {
        self.in_flight += 1;
        self.counters.requests += 1;
        if let Some(slot) = &self.slot {
            slot.begin(self.in_flight, method, target, self.clock.now_ns);
        }
        if self.counters.requests == self.max_requests {
            self.events.push_back(Event::Exhausted);
        }
    }

    /// Counts one that is no longer.
    pub(crate) fn let_go(&mut self) {
        self.in_flight = self.in_flight.saturating_sub(1);
        if let Some(slot) = &self.slot {
            slot.end(self.in_flight);
        }
    }

    fn read_body(&mut self, key: u32) -> Step {
        let Some(Some(conn)) = self.conns.get_mut(key as usize) else {
            return Step::More;
        };
        let Some(inbound) = conn.inbound.as_deref_mut() else {
            return Step::More;
        };
        let input = self.work.get(self.at..).unwrap_or_default();
        let decoded = match inbound.decoder.decode(input, &conn.settings.limits) {
            Ok(decoded) => decoded,
            Err(reject) => return self.malformed(key, reject).map_or(Step::More, Step::Event),
        };
        self.at += decoded.consumed;
        let data = input.get(decoded.data.clone()).unwrap_or_default();
        inbound.in_window += data.len() as u64;
        let mut kept = inbound.body.push(data, &conn.settings.spool);
        if kept.is_ok() && !decoded.done {
            return match decoded.consumed {
                0 => Step::More,
                _ => Step::Again,
            };
        }
        if kept.is_ok() {
            kept = inbound.body.rewind();
            conn.body_unread = false;
        }
        let collected = conn.inbound.take();
        conn.phase = Phase::Handling;
        conn.taken_ms = self.clock.now_ms;
        let exchange = conn.id(key);
        let Some(collected) = collected else {
            return Step::More;
        };
        let Inbound {
            body,
            request: (method, target),
            ..
        } = *collected;
        self.take_on(&method, &target);
        Step::Event(Event::Body {
            exchange,
            body: kept.map(|()| body),
        })
    }

    /// The peer broke the rules: nothing after this is read.
    pub(crate) fn malformed(&mut self, key: u32, reject: RemoteError) -> Option<Event> {
        self.at = self.work.len();
        let now_ms = self.clock.now_ms;
        let conn = self.conn_mut(key)?;
        conn.parser = None;
        conn.inbound = None;
        conn.asked = RequestContext::default();
        conn.encoder = BodyEncoder::Nothing;
        conn.body_unread = true;
        conn.requests += 1;
        conn.phase = Phase::Handling;
        conn.taken_ms = now_ms;
        conn.note(b"a malformed", b"request");
        let client = conn.client(key);
        self.in_flight += 1;
        Some(Event::Malformed { client, reject })
    }
}
