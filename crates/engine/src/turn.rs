//! One turn: from what is ready to what has happened.
//!
//! Owns: what is left to do in the turn. Always holds: no connection keeps the
//! others waiting: each gets its share, and what is left comes in the next turn.

use crate::accept::SupplyNews;
use crate::context::Context;
use crate::core::{Core, Current};
use crate::deadlines::{self, Expiry};
use crate::event::Event;
use crate::exchange::ConnectionId;
use crate::handoff::queue::Received;
use crate::link::Stage;
use crate::listener::Accepted;
use crate::poll_set::{NESTED, OVERCOMMIT, QUEUE, Report, SPECIAL, WAKEUP};
use crate::progress::{Progress, READING};
use crate::transport::Transport;
use rustix::event::epoll::EventFlags;
use rustix::io::Errno;
use std::collections::VecDeque;

/// How long a client may take to close its side once ours is closed.
const LINGER_MS: u64 = 5_000;

#[derive(Default)]
pub(crate) struct Turn {
    reports: VecDeque<Report>,
    /// Keys of connections whose deadline has passed.
    expired: Vec<u32>,
    /// The nested epoll set has something to report.
    nested_ready: bool,
}

impl Turn {
    /// Takes what the wait brought.
    pub(crate) fn begin(&mut self, core: &mut Core, reports: &[Report]) {
        core.cx.clock.tick();
        core.main_thread.resume();
        self.nested_ready = false;
        // First what was responded to: it leaves even if the client is just going.
        core.connections
            .begin_turn(|id| self.reports.push_back((id.to_u64(), EventFlags::empty())));
        // Then clients that are new: no other worker was woken for them, while a
        // connection that waits behind a slow handler is handed off (`guard.rs`).
        for &(data, flags) in reports {
            match data {
                NESTED => self.nested_ready = true,
                OVERCOMMIT => core.acceptor.accept_again(&core.set),
                WAKEUP => {}
                _ if data & SPECIAL != 0 => self.reports.push_back((data, flags)),
                _ => {}
            }
        }
        let connections = reports.iter().filter(|(data, _)| data & SPECIAL == 0);
        self.reports.extend(connections);
        let now_ms = core.cx.clock.now_ms;
        core.timers.expire(now_ms, &mut self.expired);
        let news = core.acceptor.check_supply(&core.set, now_ms);
        if let SupplyNews::Recovered { listener } = news {
            core.cx.events.push_back(Event::Recovered { listener });
        }
        core.register_queue();
    }

    /// True when the nested set has something to report.
    pub(crate) fn end(&mut self, core: &mut Core) -> bool {
        let Context { load, clock, .. } = &mut core.cx;
        core.acceptor.follow_load(&core.set, load, clock.now_ms);
        load.counters.connections = core.connections.len() as u64;
        load.counters.busy_ns += clock.since_tick_ns();
        load.tell(clock.now_ns);
        core.register_queue();
        self.nested_ready
    }

    /// The next thing that happened, until the turn is over.
    pub(crate) fn next_event(&mut self, core: &mut Core) -> Option<Event> {
        core.main_thread.steps += 1;
        // None of them can lead to another for ever: what the application writes then
        // is looked at in the next turn.
        if let Some(event) = core.cx.events.pop_front() {
            return Some(event);
        }
        loop {
            if let Some(event) = go_on(core) {
                return Some(event);
            }
            if !matches!(core.current, Current::Nothing) {
                continue;
            }
            if let Some((data, flags)) = self.reports.pop_front() {
                if data & SPECIAL == 0 {
                    begin(core, ConnectionId::from_u64(data), flags);
                } else {
                    core.acceptor.begin();
                    take_newcomer(core, data);
                }
            } else if let Some(key) = self.expired.pop() {
                expire(core, key);
            } else {
                return core.cx.events.pop_front();
            }
        }
    }
}

/// Goes on with the current connection, until it has brought its share.
#[inline(always)]
fn go_on(core: &mut Core) -> Option<Event> {
    match core.current {
        Current::Nothing => {}
        Current::Connection(key) => {
            if let Some(event) = step(core, key) {
                return Some(event);
            }
            settle(core, key);
            core.current = Current::Nothing;
        }
        Current::Newcomer(key, source) => {
            if let Some(event) = step(core, key) {
                return Some(event);
            }
            // One that has asked nothing yet ends the series: what else
            // waits there is for a worker with less to do.
            let asked = core.connections.get(key).is_none() || !core.cx.work.is_untouched();
            settle(core, key);
            core.current = Current::Nothing;
            if asked {
                take_newcomer(core, source);
            }
        }
    }
    None
}

/// A report of the epoll set, or (without flags) a connection that was
/// touched: makes it the current one.
fn begin(core: &mut Core, id: ConnectionId, flags: EventFlags) {
    let Ok(connection) = core.connections.find(id) else {
        return;
    };
    if let Some(reason) = connection.ends_by(flags) {
        return core.close_connection(id.key, Some(reason));
    }
    if flags == EventFlags::IN && core.cx.load.is_full() && leave_to_a_spare(core, id.key) {
        return;
    }
    let Some(connection) = core.connections.get_mut(id.key) else {
        return;
    };
    let wanted = connection.interest(connection.link.output.pending() > 0);
    // What is not wanted now would be reported again and again.
    let early = flags.intersection(READING).difference(wanted);
    // One whose requests wait already brings no more of them.
    let reads = wanted.contains(EventFlags::IN) && !connection.has_backlog();
    if !early.is_empty() {
        connection.link.unread = true;
        core.set_interest(id.key, wanted);
    }
    core.current = Current::Connection(id.key);
    load(core, id.key);
    if reads && flags.intersects(EventFlags::IN | EventFlags::HUP | EventFlags::ERR) {
        receive(core, id.key);
    }
}

/// Gives a connection its share of the turn.
#[inline]
fn load(core: &mut Core, key: u32) {
    if let Some(connection) = core.connections.get_mut(key) {
        connection.link.load(&mut core.cx);
    } else {
        core.cx.work.begin();
    }
}

#[inline]
fn receive(core: &mut Core, key: u32) {
    if let Some(connection) = core.connections.get_mut(key) {
        let progress = connection.receive(&mut core.cx);
        if !matches!(progress, Progress::Wait) {
            let event = core.carry_out(key, progress);
            core.cx.events.extend(event);
        }
    }
}

/// One step of the current connection through its protocol.
#[inline(always)] // an event is large: it is made where it is returned
fn step(core: &mut Core, key: u32) -> Option<Event> {
    loop {
        let progress = core.connections.get_mut(key)?.read(&mut core.cx);
        match progress {
            Progress::Event(event) => return Some(event),
            Progress::Wait => return None,
            Progress::Flush if core.flush(key) => {}
            progress => return core.carry_out(key, progress),
        }
    }
}

/// Keeps what was not understood, sends what waits, and says what the
/// connection waits for from now on.
fn settle(core: &mut Core, key: u32) {
    if let Some(connection) = core.connections.get_mut(key) {
        connection.link.keep(&mut core.cx);
    }
    let sent = core.flush(key);
    let Some(connection) = core.connections.get_mut(key) else {
        return;
    };
    if sent {
        if connection.link.stage == Stage::Finishing {
            return end_connection(core, key);
        }
        if connection.is_over() {
            return core.close_connection(key, None);
        }
        if let Some(exchange) = connection.take_drained() {
            core.cx.events.push_back(Event::Drained { exchange });
        }
        let (backlog, listener) = (connection.has_backlog(), connection.link.listener);
        core.set_deadline(key);
        if backlog {
            core.postpone(key);
        } else if core.acceptor.is_draining(listener) && core.hand_off(key) {
            return;
        }
    }
    let Some(connection) = core.connections.get(key) else {
        return;
    };
    let wanted = connection.interest(!sent);
    // Reading is not given up before a report shows that it must be.
    let missing = wanted.difference(connection.interest);
    let surplus = connection.interest.difference(wanted | READING);
    if !missing.is_empty() || !surplus.is_empty() {
        core.set_interest(key, wanted);
    }
}

fn expire(core: &mut Core, key: u32) {
    // Something has happened to it in this very turn.
    if core.timers.is_set(key) {
        return;
    }
    let Some(connection) = core.connections.get_mut(key) else {
        return;
    };
    let expiry = deadlines::on_expiry(connection.waits_for());
    let listener = connection.link.listener;
    // It may be that the queue has room by now.
    if expiry == Expiry::Close && core.acceptor.is_draining(listener) && core.hand_off(key) {
        return;
    }
    let Some(connection) = core.connections.get_mut(key) else {
        return;
    };
    let progress = connection.expire(&mut core.cx, expiry);
    let event = core.carry_out(key, progress);
    core.cx.events.extend(event);
    core.set_deadline(key);
    core.postpone(key);
}

/// The last response has left.
fn end_connection(core: &mut Core, key: u32) {
    let Some(connection) = core.connections.get_mut(key) else {
        return;
    };
    let link = &mut connection.link;
    if !link.unread || link.transport.end_sending().is_err() {
        return core.close_connection(key, None);
    }
    link.stage = Stage::Lingering;
    let wanted = connection.interest(false);
    core.timers.set(key, core.cx.clock.now_ms + LINGER_MS);
    core.set_interest(key, wanted);
}

/// Takes one from a listener or the queue, named as in the epoll set, and
/// makes it the current connection.
fn take_newcomer(core: &mut Core, source: u64) {
    let key = match source {
        QUEUE => adopt(core),
        listener => accept(core, listener as u32),
    };
    if let Some(key) = key {
        core.current = Current::Newcomer(key, source);
        load(core, key);
        receive(core, key);
    }
}

fn accept(core: &mut Core, number: u32) -> Option<u32> {
    match core.acceptor.accept(number, &core.cx.load) {
        Accepted::Client(socket, peer) => core.admit(Transport::Plain(socket), peer, number),
        Accepted::Nothing => None,
        Accepted::Starved(error) => {
            core.starve(number, error);
            None
        }
    }
}

fn adopt(core: &mut Core) -> Option<u32> {
    while core.passing.is_registered() && core.acceptor.take_one(&core.cx.load) {
        // Without a descriptor the kernel would throw the connection away.
        if !core.set.finds_room() {
            core.starve(0, Errno::MFILE);
            return None;
        }
        match core.passing.receive() {
            Received::Connection(socket, passage) => {
                let history = (passage.requests, passage.due_ms);
                let key = core.take_in(socket, passage.listener, history);
                if key.is_some() {
                    return key;
                }
            }
            Received::Nonsense => {}
            Received::Nothing => return None,
        }
    }
    None
}

/// A worker that is busy enough leaves a request that is about to begin to
/// a spare, or to one that is about to be forked.
fn leave_to_a_spare(core: &mut Core, key: u32) -> bool {
    core.passing.has_taker(&core.cx.load) && core.hand_off(key)
}
