//! One turn: from the reports of epoll to events.
//!
//! Owns: the work that is left in the turn. Always holds: each connection gets a
//! limited share of the turn, and what is left of its work is done in the next
//! turn.

use crate::accept::DescriptorNews;
use crate::arrival::Source;
use crate::connection::Connection;
use crate::core::{Core, Current};
use crate::deadlines::{self, Expiry};
use crate::disk::DiskTask;
use crate::event::{Event, ListenerNews};
use crate::exchange::ConnectionId;
use crate::handoff::queue::Received;
use crate::link::Stage;
use crate::listener::Accepted;
use crate::peer::Peer;
use crate::poll_set::{NESTED, OVERCOMMIT, QUEUE, REPORTS, Report, SPECIAL, WAKEUP, carrier_of};
use crate::progress::{Progress, READING};
use crate::scoreboard::{Limit, Slot};
use rustix::event::epoll::EventFlags;
use rustix::io::Errno;
use std::collections::{HashSet, VecDeque};
use std::os::fd::OwnedFd;

#[derive(Default)]
pub(crate) struct Turn {
    reports: VecDeque<Report>,
    /// Keys of silent connections whose deadline has passed.
    expired: Vec<u32>,
    /// Keys of others whose deadline has passed: first they get their share of
    /// the turn, and with it perhaps a new deadline.
    expired_late: Vec<u32>,
    /// The application has not run since the clock was read.
    clock_is_right: bool,
    end: TurnEnd,
    /// The step of the main thread before the first event.
    begun: u64,
}

/// What a turn leaves to the loop of the owner.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TurnEnd {
    /// The nested epoll set has something to report.
    Nested,
    /// The owner got no event and was not woken: it may begin the next turn at once.
    Quiet,
    #[default]
    Served,
}

impl Turn {
    /// Begins a turn with the reports of the wait.
    pub(crate) fn begin(&mut self, core: &mut Core, reports: &[Report]) {
        core.cx.clock.begin_turn();
        core.cx.time_responses();
        core.cx.load.lag.begin(core.cx.clock.now_ns);
        core.cx.arrival.end_wait(core.cx.clock.now_ns);
        self.clock_is_right = true;
        core.main_thread.resume();
        self.begun = core.main_thread.steps;
        self.end = match reports {
            [] => TurnEnd::Served,
            _ => TurnEnd::Quiet,
        };
        // First the connections that were changed between turns: a response must
        // be sent even if a report says that its client is leaving.
        core.connections
            .begin_turn(|id| self.reports.push_back((id.to_u64(), EventFlags::empty())));
        if core.may_end_waiting() {
            core.cx.arrival.brings_waiting();
            core.end_waiting(|id| self.reports.push_back((id.to_u64(), EventFlags::IN)));
        } else if core.is_hand_off_due() {
            core.hand_off_waiting();
        }
        if core.are_streams_due() {
            core.begin_streams(|id| self.reports.push_back((id.to_u64(), EventFlags::empty())));
        }
        // Then new clients: no other worker was woken for them. A known
        // connection that waits behind a slow handler is handed off (`guard.rs`).
        let listeners_at = self.reports.len();
        for &(data, flags) in reports {
            match data {
                NESTED => self.end = TurnEnd::Nested,
                OVERCOMMIT => core.acceptor.accept_again(&core.set),
                WAKEUP if self.end == TurnEnd::Quiet => self.end = TurnEnd::Served,
                WAKEUP => {}
                // A worker may serve one request only, and then ends
                // (`max_requests`). So the queue comes first as often as the
                // listeners: neither starves behind the other.
                QUEUE if core.cx.clock.is_even() => {
                    self.reports.insert(listeners_at, (data, flags));
                }
                _ if data & SPECIAL != 0 => self.reports.push_back((data, flags)),
                _ => {}
            }
        }
        let connections = reports.iter().filter(|(data, _)| data & SPECIAL == 0);
        self.reports.extend(connections);
        let now_ms = core.cx.clock.now_ms;
        self.expire_timers(core, reports.len() == REPORTS);
        if core.acceptor.is_retry_due(now_ms) && !core.set.can_open_descriptor() {
            core.close_idle(0, Errno::MFILE);
        }
        core.acceptor.retry_crowded(&core.set, now_ms);
        let news = core.acceptor.retry_descriptors(&core.set, now_ms);
        if let DescriptorNews::Resumed { listener } = news {
            let news = ListenerNews::AcceptResumed;
            core.cx.events.push_back(Event::Listener { listener, news });
        }
        core.register_queue();
    }

    /// Takes the connections whose deadline has passed. The silent ones come
    /// before everything else in the turn: what a client sends while a handler
    /// runs comes too late, and must not be closed with its request unread.
    /// `more_reports`: the epoll set may have more to report.
    fn expire_timers(&mut self, core: &mut Core, more_reports: bool) {
        let now_ms = core.cx.clock.now_ms;
        core.timers.expire(now_ms, &mut self.expired);
        if self.expired.is_empty() {
            return;
        }
        let keys = self.reports.iter().map(|(data, _)| data);
        let active: HashSet<u32> = keys
            .filter(|data| **data & SPECIAL == 0)
            .map(|data| ConnectionId::from_u64(*data).key)
            .collect();
        self.expired.retain(|key| {
            let is_active = active.contains(key);
            if is_active {
                self.expired_late.push(*key);
            } else if more_reports {
                core.timers.set(*key, now_ms); // of the next turn
            }
            !is_active && !more_reports
        });
    }

    pub(crate) fn end(&mut self, core: &mut Core) -> TurnEnd {
        core.cx.clock.tick();
        core.cx.time_responses();
        core.follow_load();
        core.follow_queue();
        core.cx.load.counters.busy_ns += core.cx.clock.turn_ns();
        core.publish();
        if let Some(refusal) = core.acceptor.take_refusal() {
            core.report_broken("a listening socket", refusal.error, !refusal.stays);
        }
        // Each call of `next_event` is a step, and the last one brings nothing.
        let is_quiet = core.main_thread.steps <= self.begun + 1;
        match self.end {
            TurnEnd::Quiet if !is_quiet => TurnEnd::Served,
            end => end,
        }
    }

    /// The next event; `None` when the turn is over.
    pub(crate) fn next_event(&mut self, core: &mut Core) -> Option<Event> {
        core.main_thread.steps += 1;
        if !std::mem::take(&mut self.clock_is_right) {
            core.cx.clock.tick();
            core.cx.time_responses();
        }
        // This ends: what the application writes on an event is handled in the next
        // turn.
        if let Some(event) = core.cx.events.pop_front() {
            return Some(event);
        }
        loop {
            if let Some(event) = continue_current(core) {
                return Some(event);
            }
            if !matches!(core.current, Current::Nothing) {
                continue;
            }
            if let Some(key) = self.expired.pop() {
                expire(core, key);
            } else if let Some((data, flags)) = self.reports.pop_front() {
                if data & SPECIAL == 0 {
                    begin(core, ConnectionId::from_u64(data), flags);
                } else if let Some((key, stream)) = carrier_of(data) {
                    carry(core, key, stream);
                } else {
                    core.acceptor.begin();
                    accept_or_adopt(core, data);
                }
            } else if let Some(key) = self.expired_late.pop() {
                expire(core, key);
            } else {
                let event = core.cx.events.pop_front();
                return event.or_else(|| core.broken.take().map(Event::Broken));
            }
        }
    }
}

/// Continues with the current connection until its share is used.
#[inline(always)]
fn continue_current(core: &mut Core) -> Option<Event> {
    match core.current {
        Current::Nothing => {}
        Current::Connection(key) => {
            if let Some(event) = step(core, key) {
                return Some(event);
            }
            if let Some(task) = end_share(core, key) {
                return Some(Event::Disk(task));
            }
            core.current = Current::Nothing;
        }
        Current::New(key, source) => {
            if let Some(event) = step(core, key) {
                return Some(event);
            }
            // A client that has sent no request yet ends the series: less busy
            // workers accept the others.
            let asked = core.connections.get(key).is_none() || !core.cx.work.has_no_request();
            if let Some(task) = end_share(core, key) {
                return Some(Event::Disk(task));
            }
            core.current = Current::Nothing;
            if asked {
                accept_or_adopt(core, source);
            }
        }
    }
    None
}

/// Makes a connection the current one, for a report of the epoll set, or
/// without flags if it was scheduled.
fn begin(core: &mut Core, id: ConnectionId, flags: EventFlags) {
    let Ok(connection) = core.connections.find(id) else {
        return;
    };
    if let Some(reason) = connection.closing_reason(flags) {
        return core.close_connection(id.key, Some(reason));
    }
    if !core.cx.load.may_begin() && waits(core, id.key) {
        return;
    }
    if flags == EventFlags::IN && core.cx.load.is_full() && hand_off_to_spare(core, id.key) {
        return;
    }
    let Some(connection) = core.connections.get_mut(id.key) else {
        return;
    };
    if let Some(exchange) = connection.note_half_close(flags) {
        core.cx.events.push_back(Event::HalfClosed { exchange });
    }
    let wanted = connection.interest(connection.link.pending() > 0);
    // A level-triggered report that is not wanted now would repeat at each
    // wait.
    let early = flags.intersection(READING).difference(wanted);
    // A connection with a backlog of requests is not read further.
    let reads = wanted.contains(EventFlags::IN) && !connection.has_backlog();
    if !early.is_empty() {
        connection.link.unread = true;
        core.set_interest(id.key, wanted);
    }
    core.current = Current::Connection(id.key);
    begin_share(core, id.key);
    if reads && flags.intersects(EventFlags::IN | EventFlags::HUP | EventFlags::ERR) {
        receive(core, id.key, Source::Reported);
    }
}

/// Makes a connection the current one, for a report of the carrier of one of its streams.
fn carry(core: &mut Core, key: u32, stream: u32) {
    if core.connections.get(key).is_none() {
        return;
    }
    core.current = Current::Connection(key);
    begin_share(core, key);
    if let Some(connection) = core.connections.get_mut(key) {
        connection.carry(&mut core.cx, stream);
    }
}

/// The application cannot be called now. A connection that has input for it goes to another worker,
/// or waits. False: it has none.
fn waits(core: &mut Core, key: u32) -> bool {
    let Some(connection) = core.connections.get_mut(key) else {
        return true;
    };
    if connection.link.stage == Stage::Waiting {
        return true;
    }
    connection.link.transport.shake_hands(); // it calls no application
    let link = &connection.link;
    // What is left of earlier responses is sent first.
    let must_wait = connection.brings_request()
        && link.pending() == 0
        && (connection.has_backlog() || link.transport.has_input());
    if must_wait && !core.hand_off(key) {
        core.make_wait(key);
    }
    must_wait
}

/// Begins a connection's share of the turn.
#[inline]
fn begin_share(core: &mut Core, key: u32) {
    if let Some(connection) = core.connections.get_mut(key) {
        connection.link.restore_input(&mut core.cx);
    } else {
        core.cx.work.begin(core.cx.clock.now_ns);
    }
    core.cx.work.ready_ns = core.cx.arrival.woken_ns;
}

#[inline]
fn receive(core: &mut Core, key: u32, source: Source) {
    if let Some(connection) = core.connections.get_mut(key) {
        let progress = connection.receive(&mut core.cx);
        if !core.cx.work.unparsed().is_empty() {
            let (link, now_ns) = (&connection.link, core.cx.clock.now_ns);
            let ask = || link.transport.received_ago_ns();
            core.cx.work.ready_ns = core.cx.arrival.of(source, now_ns, ask);
        }
        if !matches!(progress, Progress::Wait) {
            let event = core.apply(key, progress);
            core.cx.events.extend(event);
        }
    }
}

/// One step of the current connection through its protocol.
#[inline(always)] // an event is large: inlined, it is built where it is returned
fn step(core: &mut Core, key: u32) -> Option<Event> {
    loop {
        let progress = core.connections.get_mut(key)?.read(&mut core.cx);
        match progress {
            Progress::Event(event) => return Some(event),
            Progress::Wait => return None,
            Progress::Flush if core.flush(key) => {}
            progress => return core.apply(key, progress),
        }
    }
}

/// Ends a connection's share: keeps unparsed input, sends output, and sets the
/// deadline and the epoll interest. Returns the work that is to be done before:
/// the share goes on after it.
fn end_share(core: &mut Core, key: u32) -> Option<DiskTask> {
    let connection = core.connections.get(key)?;
    if connection.has_waiting_streams() {
        core.settle_streams(key);
    }
    let sent = core.flush(key);
    if !sent {
        let task = core.lend_file(key);
        if task.is_some() {
            return task;
        }
    }
    if let Some(connection) = core.connections.get_mut(key) {
        connection.link.keep_input(&mut core.cx);
    }
    let connection = core.connections.get_mut(key)?;
    while let Some(exchange) = connection.take_drained(sent) {
        core.cx.events.push_back(Event::Drained { exchange });
    }
    if sent {
        if connection.link.stage == Stage::Finishing {
            core.end_connection(key);
            return None;
        }
        if connection.is_over() {
            let cut = connection.link.transport.cut();
            core.close_connection(key, cut);
            return None;
        }
        let (backlog, listener) = (connection.has_backlog(), connection.link.listener);
        core.set_deadline(key);
        if backlog && !core.cx.load.may_begin() {
            core.make_wait(key);
        } else if backlog {
            core.schedule_next_turn(key);
        } else if core.acceptor.is_draining(listener) && core.hand_off(key) {
            return None;
        }
    } else if connection.is_http2() {
        core.set_deadline(key); // of its streams
    }
    core.update_interest(key, sent, false);
    None
}

fn expire(core: &mut Core, key: u32) {
    // The connection was active in this turn and has a new deadline.
    if core.timers.is_set(key) {
        return;
    }
    let Some(connection) = core.connections.get_mut(key) else {
        return;
    };
    let expiry = deadlines::on_expiry(connection.waits_for());
    let listener = connection.link.listener;
    // The queue may have room again.
    if expiry == Expiry::Close && core.acceptor.is_draining(listener) && core.hand_off(key) {
        return;
    }
    let Some(connection) = core.connections.get_mut(key) else {
        return;
    };
    let progress = connection.expire(&mut core.cx, expiry);
    let event = core.apply(key, progress);
    core.cx.events.extend(event);
    core.set_deadline(key);
    core.schedule_next_turn(key);
}

/// Accepts a client of a listener, or adopts one from the queue (`source` is
/// the data of the epoll set), and makes it the current connection.
fn accept_or_adopt(core: &mut Core, source: u64) {
    let key = match source {
        QUEUE => adopt(core),
        listener => accept(core, listener as u32),
    };
    if let Some(key) = key {
        if !core.cx.load.may_begin() {
            if !core.hand_off(key) {
                core.schedule_backlog(key); // other bytes are reported
            }
            return;
        }
        core.current = Current::New(key, source);
        let backlog = core
            .connections
            .get(key)
            .is_some_and(Connection::has_backlog);
        begin_share(core, key);
        if !backlog {
            receive(
                core,
                key,
                match source {
                    QUEUE => Source::Adopted,
                    _ => Source::Accepted,
                },
            );
        }
    }
}

fn accept(core: &mut Core, number: u32) -> Option<u32> {
    loop {
        if !core.has_room(number) {
            return None;
        }
        match accept_next(core, number)? {
            (socket, peer) if core.has_too_many(number, &peer) => {
                core.refuse(number, socket, peer, Limit::Address);
            }
            (socket, peer) => {
                let transport = core.acceptor.get(number)?.transport(socket, peer);
                return core.add_connection(transport, peer, number);
            }
        }
    }
}

fn accept_next(core: &mut Core, number: u32) -> Option<(OwnedFd, Peer)> {
    let mut accepted = core.acceptor.accept(number, &core.cx.load);
    if let Accepted::NoDescriptor(error @ (Errno::MFILE | Errno::NFILE)) = accepted {
        if core.close_idle(number, error) {
            accepted = core.acceptor.accept_again_now(number);
        }
    }
    match accepted {
        Accepted::Client(socket, peer) => {
            if core.cx.load.slot().is_some_and(Slot::takes_turns) {
                core.acceptor.go_last(&core.set, number);
            }
            Some((socket, peer))
        }
        Accepted::Nothing => None,
        Accepted::NoDescriptor(error) => {
            core.report_no_descriptor(number, error);
            None
        }
        Accepted::Broken(error) => {
            core.lose_listener(number, error);
            None
        }
    }
}

fn adopt(core: &mut Core) -> Option<u32> {
    while core.transfer.is_registered() && core.acceptor.may_accept_next(&core.cx.load) {
        // Without a free descriptor, recvmsg(2) would drop the connection.
        if !core.set.can_open_descriptor() && !core.close_idle(0, Errno::MFILE) {
            core.report_no_descriptor(0, Errno::MFILE);
            return None;
        }
        match core.transfer.receive() {
            Received::Connection(socket, metadata) => {
                let key = core.adopt(socket, metadata.listener, metadata);
                if key.is_some() {
                    return key;
                }
            }
            Received::Invalid => {}
            Received::Nothing => return None,
            Received::Closed => core.lose_queue(None),
            Received::Broken(error) => core.lose_queue(Some(error)),
        }
    }
    None
}

/// A full worker leaves the next request of a connection to a spare, or to a
/// worker that is about to be forked.
fn hand_off_to_spare(core: &mut Core, key: u32) -> bool {
    core.transfer.can_be_taken_over(&core.cx.load) && core.hand_off(key)
}
