//! The engine's part that passes connections on to other workers, and takes
//! theirs in.
//!
//! Always holds: a connection that is passed on has nothing in this process,
//! so its next worker goes on as if it had accepted it; one that is refused
//! stays as it was. To the application neither is an event. The queue's exit
//! is watched exactly while a listener is: whoever may accept may adopt.

use crate::connection::Conn;
use crate::event::Event;
use crate::exchange::{ConnectionId, ExchangeId};
use crate::listener::{ACCEPTING, Listening, Peer};
use crate::poll_set::Report;
use crate::poll_set::{ALARM, QUEUE, SPECIAL};
use crate::queue::{Passage, Queue, Received};
use crate::reactor::{ACCEPTS_PER_TURN, Current, Reactor};
use rustix::event::epoll::EventFlags;
use rustix::io::Errno;
use rustix::time::Timespec;
use std::os::fd::OwnedFd;
use std::sync::Arc;

impl Conn {
    /// Nothing of it is in this process, and nobody here waits for its end.
    fn may_move(&self) -> bool {
        self.is_idle()
            && self.parser.is_none()
            && !self.wants_closed
            && !self.wants_gone
            && !self.eof
    }
}

impl Reactor {
    // ---- away from here -------------------------------------------------------

    /// Sends a connection to whoever is spare. False: it stays.
    pub(crate) fn hand_on(&mut self, key: u32) -> bool {
        let Some(conn) = self.conn(key).filter(|conn| conn.may_move()) else {
            return false;
        };
        let idles_until_ms = self
            .timers
            .due_ms(key)
            .filter(|_| !self.draining(conn.listener));
        let timeout_ms = conn.settings.keep_alive_timeout_ms;
        let passage = Passage {
            listener: conn.listener,
            requests: conn.requests,
            due_ms: idles_until_ms.unwrap_or(self.clock.now_ms.saturating_add(timeout_ms)),
        };
        let Reactor { conns, queue, .. } = self;
        let (Some(Some(conn)), Some(queue)) = (conns.get(key as usize), queue) else {
            return false;
        };
        let keeps = self.slot.as_ref().is_some_and(|slot| slot.pool_is_kept());
        if !keeps
            || queue
                .send(rustix::fd::AsFd::as_fd(&conn.socket), passage)
                .is_err()
        {
            return false;
        }
        self.counters.handed_off += 1;
        self.remove(key, None);
        true
    }

    /// Whether a connection of a listener that drains goes on elsewhere, so
    /// that the answer it is given need not be its last.
    pub(crate) fn goes_on_elsewhere(&self, conn: &Conn) -> bool {
        let accepted = self.queue.as_ref().is_some_and(|queue| !queue.refuses);
        accepted && !conn.wants_closed && self.slot.as_ref().is_some_and(|slot| slot.pool_is_kept())
    }

    /// A worker that is busy enough leaves a request that is about to begin to
    /// a spare, or to one that is about to be forked.
    pub(crate) fn leaves_to_a_spare(&mut self, key: u32) -> bool {
        let (Some(slot), Some(queue)) = (&self.slot, &self.queue) else {
            return false;
        };
        let may = slot.may_grow() || slot.spares_elsewhere() > queue.len();
        may && self.hand_on(key)
    }

    /// For a thread beside one that is stuck: sends on what waits for that
    /// one, but no more than spares can take. What is left is looked at again
    /// at the next call. `reports` is all that waits.
    ///
    /// Looking takes nothing from the stuck one: all but the alarm is
    /// level-triggered, and that one is rung again.
    pub(crate) fn relieve(&mut self, reports: &mut Vec<Report>) {
        reports.clear();
        self.set.waiter().wait(Some(&Timespec::default()), reports);
        if reports.iter().any(|&(data, _)| data == ALARM) {
            self.set.ring();
        }
        let mut room = self.room_elsewhere();
        let before = self.counters.handed_off;
        for &(data, flags) in reports.iter() {
            let id = ExchangeId::only(ConnectionId::from_u64(data));
            // One that also ends is its owner's to hear.
            let asks = data & SPECIAL == 0 && flags == EventFlags::IN;
            if room > 0 && asks && self.named(id).is_some() && self.pass_by(id.connection.key) {
                room -= 1;
            }
        }
        if self.counters.handed_off > before {
            self.tell_counters();
        }
    }

    /// How many connections other workers could take over now.
    fn room_elsewhere(&self) -> usize {
        match (&self.slot, &self.queue) {
            (Some(slot), Some(queue)) if slot.pool_is_kept() => {
                slot.spares_elsewhere().saturating_sub(queue.len())
            }
            _ => 0,
        }
    }

    /// `hand_on`, from outside of a turn.
    pub(crate) fn pass_by(&mut self, key: u32) -> bool {
        !self.is_current(key) && self.hand_on(key)
    }

    // ---- to here --------------------------------------------------------------

    /// Has the queue's exit in the epoll set exactly while a listener is.
    pub(crate) fn mind_the_queue(&mut self) {
        let open = self
            .listeners
            .iter()
            .any(|listener| listener.state == Listening::On);
        let Some(queue) = &mut self.queue else {
            return;
        };
        if open != queue.watched {
            let _ = if open {
                self.set.add(queue.exit(), QUEUE, ACCEPTING)
            } else {
                self.set.remove(queue.exit())
            };
            queue.watched = open;
        }
    }

    /// Takes the next connection out of the queue and makes it the current one.
    pub(crate) fn adopt(&mut self) {
        while self.queue.as_ref().is_some_and(|queue| queue.watched) && self.may_take_one_more() {
            // Without a descriptor the kernel would throw the connection away.
            if !self.set.finds_room() {
                return self.starve(0, Errno::MFILE);
            }
            self.accepts_left -= 1;
            match self.queue.as_ref().map(Queue::receive) {
                Some(Received::Connection(socket, passage)) => {
                    let Some(key) = self.take_in(socket, passage, passage.listener) else {
                        continue;
                    };
                    self.visit(key);
                    self.receive(key);
                    self.current = Current::Newcomer(key, QUEUE);
                    return;
                }
                Some(Received::Nonsense) => {}
                Some(Received::Nothing) | None => return,
            }
        }
    }

    /// Of those that wait at a door one is woken (EPOLLEXCLUSIVE). If it left the client there,
    /// full by a request that came in the same turn, nobody else would hear of him: so the first
    /// of a turn is always taken.
    pub(crate) fn may_take_one_more(&self) -> bool {
        self.accepts_left == ACCEPTS_PER_TURN || self.accepts_left > 0 && !self.is_full()
    }

    fn take_in(&mut self, socket: OwnedFd, passage: Passage, listener: u32) -> Option<u32> {
        let settings = Arc::clone(&self.listeners.get(listener as usize)?.settings);
        // It may be gone, or nothing that we could serve.
        let peer = rustix::net::getpeername(&socket).ok()?;
        rustix::io::ioctl_fionbio(&socket, true).ok()?;
        let key = self.admit(socket, Peer::from_any(peer), listener, settings)?;
        self.counters.adopted += 1;
        if let Some(conn) = self.conn_mut(key) {
            conn.requests = passage.requests;
            conn.idles_until_ms = passage.due_ms;
        }
        Some(key)
    }

    // ---- the end --------------------------------------------------------------

    /// When the last connection of a listener that drains is gone. While the
    /// pool is kept, somebody else comes to the queue; if it is not, nothing
    /// may stay there. Whoever sends into it looks here once more afterwards.
    pub(crate) fn see_off(&mut self, number: u32) {
        let is_over = |engine: &Self| {
            let listener = engine.listeners.get(number as usize);
            listener.is_some_and(|listener| listener.draining && listener.open == 0)
        };
        if is_over(self) {
            self.rescue(number);
            if is_over(self) {
                self.events.push_back(Event::Empty { listener: number });
            }
        }
    }

    fn rescue(&mut self, number: u32) {
        if self.slot.as_ref().is_none_or(|slot| slot.pool_is_kept()) {
            return;
        }
        let until_ms = self.lingers_until_ms(number).unwrap_or(0);
        while let Some(queue) = &self.queue {
            match queue.receive() {
                Received::Connection(socket, passage) => {
                    // The listeners of a pool are held to the same, and its own may be over.
                    if let Some(key) = self.take_in(socket, passage, number) {
                        // What it has asked is read in the next turn; if nothing, it ends there.
                        self.timers.set(key, until_ms.max(self.clock.now_ms));
                    }
                }
                Received::Nonsense => {}
                Received::Nothing => return,
            }
        }
    }
}
