//! Everything that is open in this process, and the operations on one
//! connection.
//!
//! Owns: the epoll set, the table of connections, their deadlines, the
//! acceptor, and the transfer to other workers. Always holds: a connection in
//! the table is in the epoll set and has a deadline; every method may be called
//! inside a turn and outside of one. Knows no protocol, and of the turn only
//! which connection is current.

mod idle;
mod lending;
mod limits;
mod transit;
mod waiting;

use crate::accept::Acceptor;
use crate::admission::Admission;
use crate::connection::Connection;
use crate::connections::Connections;
use crate::context::Context;
use crate::deadlines::{self, LINGER_MS};
use crate::disk::{DiskTask, DiskWork};
use crate::event::{Broken, Event, ListenerNews};
use crate::exchange::ConnectionId;
use crate::handoff::main_thread::MainThread;
use crate::handoff::queue::{Metadata, Received};
use crate::handoff::transfer::Transfer;
use crate::link::{FileTurn, Flushed, Link, Stage};
use crate::nudge::Nudge;
use crate::orphan;
use crate::peer::Peer;
use crate::poll_set::{MANAGER, PollSet, WAKEUP};
use crate::progress::{Progress, READING};
use crate::relay;
use crate::scoreboard::Slot;
use crate::timers::Timers;
use crate::tls::Tls;
use crate::transport::{Lent, Transport};
use rustix::event::epoll::EventFlags;
use rustix::io::Errno;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

/// How often the output of a connection is filled again in its share of the turn.
const REFILLS: u32 = 16;

/// The connection that the turn works on.
#[derive(Clone, Copy)]
pub(crate) enum Current {
    Nothing,
    Connection(u32),
    /// It was accepted or adopted in this turn. The second field is the
    /// listener or the queue that it came from, as in the data of the epoll
    /// set: that may have more.
    New(u32, u64),
}

/// Whether the engine's descriptors are what they were.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Soundness {
    Sound,
    /// One is not, and the loop still turns. It was reported.
    Turning,
    /// The loop does not turn. It was reported.
    Lost,
}

pub(crate) struct Core {
    pub(crate) set: PollSet,
    pub(crate) connections: Connections,
    pub(crate) timers: Timers,
    pub(crate) acceptor: Acceptor,
    pub(crate) transfer: Transfer,
    pub(crate) main_thread: MainThread,
    pub(crate) cx: Context,
    pub(crate) current: Current,
    /// Connections to be closed when their file comes back, and why.
    closing: Vec<(ConnectionId, Option<&'static str>)>,
    soundness: Soundness,
    /// What is to be reported of it, when the turn has nothing else to do: what the
    /// application has written is sent first.
    pub(crate) broken: Option<Broken>,
    /// Connections that wait until the application can be called, in the order in which they
    /// asked.
    waiting: Vec<ConnectionId>,
    /// Connections of which streams wait for that.
    waiting_streams: Vec<ConnectionId>,
    /// When to try again to hand those off for which the queue had no room.
    hand_off_again_ms: Option<u64>,
    /// When to try again to lend streams.
    lend_again_ms: Option<u64>,
    /// When to look again for clients that wait although this worker is full.
    queue_due_ms: Option<u64>,
    /// A pidfd of the manager, in the epoll set.
    manager: Option<OwnedFd>,
    /// Of the threads that send and block, each for one wait: what one takes must not be another's.
    nudges: Vec<Nudge>,
}

impl Core {
    /// # Errors
    /// If the process has no descriptor for the epoll set or the wakeup.
    pub(crate) fn new() -> io::Result<Self> {
        let cx = Context::new();
        Ok(Core {
            set: PollSet::new(WAKEUP)?,
            connections: Connections::default(),
            timers: Timers::new(cx.clock.now_ms),
            acceptor: Acceptor::new(),
            transfer: Transfer::default(),
            main_thread: MainThread::new(),
            cx,
            current: Current::Nothing,
            closing: Vec::new(),
            soundness: Soundness::Sound,
            broken: None,
            waiting: Vec::new(),
            waiting_streams: Vec::new(),
            hand_off_again_ms: None,
            lend_again_ms: None,
            queue_due_ms: None,
            manager: None,
            nudges: Vec::new(),
        })
    }

    pub(crate) fn close(&mut self) {
        if self.soundness != Soundness::Sound {
            self.forget_descriptors();
        }
        if self.main_thread.guard.is_some() {
            let _ = self.set.wake(); // the guard may be waiting for it
        }
        self.cx.flush_log(self.cx.clock.read_ms());
        self.set.close();
        self.forget();
    }

    /// In a forked child: closes its copies of the descriptors. It wakes no
    /// guard, which exists in the parent only, and tells no peer.
    pub(crate) fn discard(&mut self) {
        self.set.discard();
        std::mem::forget(self.main_thread.guard.take());
        if let Some(log) = &mut self.cx.log {
            log.forget();
        }
        self.forget();
    }

    fn forget(&mut self) {
        self.acceptor.close_all();
        let connections = std::mem::take(&mut self.connections);
        if connections.any_lent() {
            std::mem::forget(connections); // a thread uses the descriptor of one
        }
        self.timers = Timers::new(self.cx.clock.now_ms);
        self.current = Current::Nothing;
        self.waiting.clear();
        self.waiting_streams.clear();
        self.hand_off_again_ms = None;
        self.lend_again_ms = None;
        self.queue_due_ms = None;
        self.cx.admission = Admission::default();
        self.cx.log = None;
        self.cx.events.clear();
        self.cx.load.leave_pool();
        self.transfer.leave();
        self.main_thread.guard = None;
        self.manager = None;
        self.nudges.clear();
    }

    /// When the access log has something to do.
    #[inline]
    pub(crate) fn log_due_ms(&self) -> Option<u64> {
        self.cx.log.as_ref()?.due_ms()
    }

    /// Has this process end with its manager.
    ///
    /// # Errors
    /// Those of [`orphan::watch`] and of `epoll_ctl(2)`.
    pub(crate) fn end_with(&mut self, manager: i32) -> io::Result<()> {
        let manager = orphan::watch(manager)?;
        self.set.add(&manager, MANAGER, EventFlags::IN)?;
        self.manager = Some(manager);
        Ok(())
    }

    /// Ends the owner's wait, if it waits. May be called on any thread.
    pub(crate) fn wake(&mut self) {
        if self.main_thread.must_be_woken() {
            if let Err(error) = self.set.wake() {
                self.report_broken("the descriptor that wakes the loop", error, true);
            }
        }
    }

    /// The process ends: it closes no number that may be another file's by now.
    fn forget_descriptors(&mut self) {
        self.acceptor.forget_all();
        std::mem::forget(std::mem::take(&mut self.transfer));
        std::mem::forget(std::mem::take(&mut self.connections));
        std::mem::forget(self.manager.take());
        std::mem::forget(std::mem::take(&mut self.nudges));
        self.set.forget();
    }

    /// Reports once that a descriptor is unusable. `turns`: the loop can go on
    /// until the requests in flight are done.
    pub(crate) fn report_broken(&mut self, what: &'static str, error: Errno, turns: bool) {
        let now = match turns && self.set.is_usable() {
            true => Soundness::Turning,
            false => Soundness::Lost,
        };
        if now > self.soundness {
            self.soundness = now;
            self.broken = Some(Broken {
                what,
                error: error.into(),
                turns: now == Soundness::Turning,
            });
        }
    }

    /// Takes a listening socket that cannot accept out of use. If the pool ends,
    /// its manager has shut the socket down, and this process is about to hear
    /// of it.
    pub(crate) fn lose_listener(&mut self, number: u32, error: Errno) {
        self.acceptor.close(&self.set, number);
        self.register_queue();
        let refusal = self.acceptor.take_refusal();
        if self.cx.load.slot().is_none_or(Slot::pool_is_kept) {
            let turns = refusal.is_none_or(|refusal| !refusal.stays);
            self.report_broken("the listening socket", error, turns);
        }
    }

    /// Takes the queue out of use. Without an error it was shut down: the manager
    /// sees that too, and replaces it.
    pub(crate) fn lose_queue(&mut self, error: Option<Errno>) {
        let stays = self.transfer.leave_set(&self.set).is_err();
        if let Some(error) = error {
            self.report_broken("the queue of connections", error, !stays);
        }
    }

    /// Schedules a changed connection for the next turn, unless it is the current
    /// one: the turn looks at that in any case.
    #[inline]
    pub(crate) fn schedule(&mut self, key: u32) {
        if !self.is_current(key) {
            self.schedule_next_turn(key);
        }
    }

    #[inline]
    pub(crate) fn is_current(&self, key: u32) -> bool {
        matches!(self.current, Current::Connection(now) | Current::New(now, _) if now == key)
    }

    /// The connection that the turn works on.
    pub(crate) fn current_key(&self) -> Option<u32> {
        match self.current {
            Current::Nothing => None,
            Current::Connection(key) | Current::New(key, _) => Some(key),
        }
    }

    /// Schedules a connection for the next turn.
    pub(crate) fn schedule_next_turn(&mut self, key: u32) {
        if self.connections.schedule(key) {
            self.wake();
        }
    }

    /// Reads what a connection has sent, outside of its share of the turn, without calling the
    /// application: a response waits for it.
    pub(crate) fn receive_aside(&mut self, key: u32) {
        let is_current = self.is_current(key);
        let Some(connection) = self.connections.get_mut(key) else {
            return;
        };
        let progress = connection.receive_aside(&mut self.cx, is_current);
        let event = self.apply(key, progress);
        self.cx.events.extend(event);
    }

    /// Reads WebSockets again after there were too many unread messages.
    #[inline]
    pub(crate) fn resume_websockets(&mut self) {
        if self.cx.unread.take_resumed() {
            for key in self.connections.keys_of_websockets() {
                self.schedule(key);
            }
        }
    }

    pub(crate) fn set_interest(&mut self, key: u32, interest: EventFlags) {
        let Some(connection) = self.connections.get_mut(key) else {
            return;
        };
        connection.interest = interest;
        let link = &connection.link;
        let data = link.id.to_u64();
        if self
            .set
            .modify(link.transport.fd(), data, interest)
            .is_err()
        {
            self.close_connection(key, Some("the program closed its descriptor"));
        }
    }

    /// Has the set report what is wanted now. `early`: a report of something that is not wanted has come, and
    /// would repeat at each wait. Otherwise interest in reading stays: most often it is wanted again before
    /// a report comes, and a system call is saved.
    #[inline]
    pub(crate) fn update_interest(&mut self, key: u32, sent: bool, early: bool) {
        let Some(connection) = self.connections.get(key) else {
            return;
        };
        let wanted = connection.interest(!sent);
        let kept = if early { EventFlags::empty() } else { READING };
        let missing = wanted.difference(connection.interest);
        let surplus = connection.interest.difference(wanted | kept);
        if !missing.is_empty() || !surplus.is_empty() {
            self.set_interest(key, wanted);
        }
    }

    /// Leaves the TLS of a connection to a thread, so that its bytes are plain here.
    ///
    /// # Errors
    /// If there is no descriptor or no thread for it. The connection is of no use then.
    pub(crate) fn relay(&mut self, key: u32) -> io::Result<()> {
        let Some(connection) = self.connections.get_mut(key) else {
            return Ok(());
        };
        let transport = &mut connection.link.transport;
        if transport.is_encrypted() {
            self.set.remove(transport.fd())?;
            relay::begin(transport)?;
            let data = connection.link.id.to_u64();
            self.set.add(transport.fd(), data, connection.interest)?;
        }
        Ok(())
    }

    #[inline]
    pub(crate) fn set_deadline(&mut self, key: u32) {
        let Some(connection) = self.connections.get(key) else {
            return;
        };
        let link = &connection.link;
        let due_ms = deadlines::due_ms(
            connection.waits_for(),
            &link.settings,
            self.cx.clock.now_ms,
            self.acceptor.drains_until_ms(link.listener),
        );
        if let Some(due_ms) = due_ms {
            self.timers.set(key, due_ms);
        }
    }

    /// Sends queued output. True: the queue is empty.
    #[inline]
    pub(crate) fn flush(&mut self, key: u32) -> bool {
        let sent = self.flush_and_refill(key);
        if !self.nudges.is_empty() {
            self.end_waits();
        }
        sent
    }

    /// A thread has read what clients sent, or has sent what was queued: others that wait for that look again.
    #[cold]
    fn end_waits(&mut self) {
        for nudge in self.nudges.drain(..) {
            nudge.give();
        }
    }

    fn flush_and_refill(&mut self, key: u32) -> bool {
        for _ in 0..REFILLS {
            if !self.flush_output(key) {
                return false;
            }
            let connection = self.connections.get_mut(key);
            if !connection.is_some_and(|connection| connection.refill(&mut self.cx)) {
                return true;
            }
        }
        self.flush_output(key);
        false
    }

    #[inline]
    fn flush_output(&mut self, key: u32) -> bool {
        let Some(connection) = self.connections.get_mut(key) else {
            return true;
        };
        let flushed = match connection.link.pending() {
            0 => Flushed::All,
            _ => connection.link.flush(&mut self.cx),
        };
        match flushed {
            Flushed::All => {
                connection.count_sent(&mut self.cx);
                true
            }
            Flushed::File => false,
            Flushed::Blocked { progress } => {
                if progress || !connection.interest.contains(EventFlags::OUT) {
                    connection.note_blocked(self.cx.clock.now_ms);
                    self.set_deadline(key);
                }
                false
            }
            Flushed::Failed(reason) => {
                self.close_connection(key, Some(reason));
                true
            }
        }
    }

    /// The work that sends some of the file that is next in a connection's output,
    /// if that may be done now.
    pub(crate) fn lend_file(&mut self, key: u32) -> Option<DiskTask> {
        let link = &mut self.connections.get_mut(key)?.link;
        Some(DiskTask {
            connection: link.id,
            stream: 0,
            work: DiskWork::Send {
                send: link.lend_file()?,
                sent: Err(Errno::AGAIN),
            },
        })
    }

    /// Work for a disk is done. It may have taken long.
    pub(crate) fn disk_done(&mut self, task: DiskTask) {
        let DiskTask {
            connection: id,
            stream,
            work,
        } = task;
        self.cx.clock.tick();
        let Ok(connection) = self.connections.find_mut(id) else {
            return;
        };
        let failed = match work {
            DiskWork::Store(store) => {
                let cx = &mut self.cx;
                // The request has not waited for the worker, but for the disk.
                let ready_ns = std::mem::replace(&mut cx.work.ready_ns, cx.clock.now_ns);
                let event = connection.stored(cx, stream, store);
                cx.work.ready_ns = ready_ns;
                cx.events.extend(event);
                None
            }
            DiskWork::Send { sent, .. } => {
                let cx = &mut self.cx;
                connection.link.file_sent(cx, sent).err().map(Some)
            }
            DiskWork::Discard(_) => None,
        };
        connection.link.file = match connection.link.file {
            FileTurn::Lent => FileTurn::Ready,
            other => other,
        };
        let closing = self.closing.iter().position(|&(closing, _)| closing == id);
        let closing = closing.map(|at| self.closing.swap_remove(at).1);
        if let Some(reason) = closing.or(failed) {
            self.close_connection(id.key, reason);
        } else {
            self.schedule(id.key);
        }
    }

    /// Does what a protocol asks for. Returns the event for the owner.
    pub(crate) fn apply(&mut self, key: u32, progress: Progress) -> Option<Event> {
        match progress {
            Progress::Event(event) => Some(event),
            Progress::Wait | Progress::Flush => None,
            Progress::Close(interrupted) => {
                self.close_connection(key, interrupted);
                None
            }
            Progress::Abort(event) => {
                self.flush(key);
                self.close_connection(key, None);
                Some(event)
            }
        }
    }

    /// The last response of a connection is sent.
    pub(crate) fn end_connection(&mut self, key: u32) {
        let Some(connection) = self.connections.get_mut(key) else {
            return;
        };
        let link = &mut connection.link;
        if !link.unread || link.transport.end_sending().is_err() {
            return self.close_connection(key, None);
        }
        link.stage = Stage::Lingering;
        let wanted = connection.interest(false);
        self.timers.set(key, self.cx.clock.now_ms + LINGER_MS);
        self.set_interest(key, wanted);
    }

    /// Ends and closes a connection. `interrupted`: the reason, if it had more
    /// to do.
    pub(crate) fn close_connection(&mut self, key: u32, interrupted: Option<&'static str>) {
        let link = self.connections.get(key).map(|connection| &connection.link);
        if let Some(link) = link.filter(|link| link.file == FileTurn::Lent) {
            self.closing.push((link.id, interrupted));
            return;
        }
        self.remove_connection(key, interrupted, true);
    }

    /// Closes the descriptor of a connection, which ends or goes on in another
    /// process. Closing alone does not end it if a child that the application
    /// forked has the socket open too.
    fn remove_connection(&mut self, key: u32, interrupted: Option<&'static str>, ends: bool) {
        let Some(mut connection) = self.connections.remove(key) else {
            return;
        };
        self.wake();
        // Closing would not remove it from the epoll set either.
        let removed = self.set.remove(connection.link.transport.fd());
        if ends && removed.is_ok() {
            connection.end_for_peer();
        }
        self.timers.clear(key);
        let listener = connection.link.listener;
        self.acceptor.less_crowded(self.cx.clock.now_ms);
        if let Some(key) = connection.link.counted {
            self.cx.admission.remove(&self.cx.load, key);
        }
        let transport = connection.close(&mut self.cx, interrupted);
        if let Err(error) = removed {
            // The number is free, or another file's: to close that would harm the program.
            std::mem::forget(transport);
            self.report_broken("the socket of a client", error, true);
        }
        // After the events of the connection: on `ListenerNews::Drained` the owner
        // may exit.
        if let Some(listener) = self.acceptor.get_mut(listener) {
            listener.open -= 1;
        }
        self.check_drained(listener);
    }

    /// Reports a draining listener whose last connection is closed. If the pool
    /// shuts down, no other worker may come to the queue: this one adopts what is
    /// left in it first. A worker that hands a connection off closes it here, so it
    /// checks again.
    pub(crate) fn check_drained(&mut self, number: u32) {
        let is_over = |core: &Self| {
            let listener = core.acceptor.get(number);
            listener
                .is_some_and(|listener| listener.drains_until_ms.is_some() && listener.open == 0)
        };
        if is_over(self) {
            self.adopt_remaining(number);
            if is_over(self) {
                self.cx.events.push_back(Event::Listener {
                    listener: number,
                    news: ListenerNews::Drained,
                });
            }
        }
    }

    pub(crate) fn adopt_remaining(&mut self, number: u32) {
        if self.cx.load.slot().is_none_or(Slot::pool_is_kept) {
            return;
        }
        let until_ms = self.acceptor.drains_until_ms(number).unwrap_or(0);
        loop {
            match self.transfer.receive() {
                Received::Connection(socket, metadata) => {
                    // The listeners of a pool have the same settings, and the connection's own
                    // listener may have drained already.
                    if let Some(key) = self.adopt(socket, number, metadata) {
                        // The next turn reads its request. Without one, it is closed at this
                        // time.
                        self.timers.set(key, until_ms.max(self.cx.clock.now_ms));
                        self.schedule_backlog(key);
                    }
                }
                Received::Invalid => {}
                Received::Nothing | Received::Closed | Received::Broken(_) => return,
            }
        }
    }

    /// Adopts a connection from the queue for a listener.
    pub(crate) fn adopt(
        &mut self,
        socket: OwnedFd,
        listener: u32,
        mut metadata: Metadata,
    ) -> Option<u32> {
        let peer = metadata.peer;
        // Of its own listener, also if another one takes it.
        let own = self.acceptor.get(metadata.listener)?;
        let session = metadata.session.take();
        let session = session.map(|session| own.complete(session));
        let transport = match (&metadata.keys, session, metadata.lent) {
            _ if metadata.is_new => own.transport(socket, peer),
            (_, session, Some(local)) => Transport::adopt_lent(socket, Lent { local, session })?,
            (Some(keys), Some(session), None) => {
                Transport::adopt(socket, Some(Tls::import(keys, session)?))?
            }
            _ => Transport::adopt(socket, None)?,
        };
        let key = self.add_connection(transport, peer, listener)?;
        self.cx.load.counters.adopted += 1;
        if let Some(connection) = self.connections.get_mut(key) {
            let Metadata {
                requests, due_ms, ..
            } = metadata;
            connection.resume(requests, due_ms, metadata.is_in_head, metadata.input);
            let link = &mut connection.link;
            link.extensions = metadata.extensions;
            link.transport.set_undecoded(metadata.undecoded);
        }
        self.set_deadline(key);
        Some(key)
    }

    /// Schedules a connection that was adopted, if requests came with it: nothing reports them.
    pub(crate) fn schedule_backlog(&mut self, key: u32) {
        let connection = self.connections.get(key);
        if connection.is_some_and(Connection::has_backlog) {
            self.schedule_next_turn(key);
        }
    }

    /// Adds a connection of a listener. Returns its key.
    pub(crate) fn add_connection(
        &mut self,
        transport: Transport,
        peer: Peer,
        number: u32,
    ) -> Option<u32> {
        let listener = self.acceptor.get_mut(number)?;
        let settings = Arc::clone(&listener.settings);
        let id = self.connections.reserve();
        if self.set.add(transport.fd(), id.to_u64(), READING).is_err() {
            self.connections.spend(id.key);
            return None;
        }
        listener.open += 1;
        let counted = match transport.is_lent() {
            true => None, // its connection counts
            false => self.cx.admission.add(&self.cx.load, &settings, &peer),
        };
        let mut link = Link::new(transport, peer, id, number, settings);
        link.counted = counted;
        let connection = Connection::new(link, self.cx.clock.now_ms);
        self.connections.insert(connection);
        self.set_deadline(id.key);
        Some(id.key)
    }

    /// Pauses accepting, because there is no descriptor for a client, and
    /// reports it.
    pub(crate) fn report_no_descriptor(&mut self, listener: u32, error: Errno) {
        let now_ms = self.cx.clock.now_ms;
        if self
            .acceptor
            .pause_without_descriptor(&self.set, listener, now_ms)
        {
            let news = ListenerNews::AcceptPaused(error.into());
            self.cx.events.push_back(Event::Listener { listener, news });
        }
        self.register_queue();
    }

    /// Writes the totals to the scoreboard.
    #[inline]
    pub(crate) fn publish(&mut self) {
        let Context { load, clock, .. } = &mut self.cx;
        load.counters.connections = self.connections.len() as u64;
        load.publish(clock.now_ns);
    }

    /// Writes the totals in the middle of a turn.
    pub(crate) fn publish_totals(&mut self) {
        let load = &mut self.cx.load;
        load.counters.connections = self.connections.len() as u64;
        load.publish_totals();
    }

    /// Accepts and adopts while this worker has room, and only then.
    #[inline]
    pub(crate) fn follow_load(&mut self) {
        let Context { load, clock, .. } = &self.cx;
        self.acceptor.follow_load(&self.set, load, clock.now_ms);
        self.register_queue();
    }

    /// Keeps the queue in the epoll set exactly while a listener is in it.
    #[inline]
    pub(crate) fn register_queue(&mut self) {
        let accepting = self.acceptor.is_accepting();
        if let Err(error) = self.transfer.register(&self.set, accepting) {
            self.lose_queue(Some(error));
        }
    }

    /// Whether the next response on a connection must be its last.
    #[inline]
    pub(crate) fn is_last_response(&self, connection: &Connection) -> bool {
        self.acceptor.is_draining(connection.link.listener)
            && !self.transfer.would_accept(connection, &self.cx.load)
    }

    /// Ends what is open on a connection of a draining listener and would last:
    /// a WebSocket. If idle connections are given time to bring one more
    /// request, only this worker exits, and the close code says that the peer
    /// may connect again.
    pub(crate) fn drain_connection(&mut self, key: u32) {
        let now_ms = self.cx.clock.now_ms;
        if let Some(connection) = self.connections.get_mut(key) {
            let until_ms = self.acceptor.drains_until_ms(connection.link.listener);
            let others_stay = until_ms.is_some_and(|until_ms| until_ms > now_ms);
            connection.drain(&mut self.cx, others_stay);
        }
    }
}

#[cfg(test)]
mod tests;
