//! The engine's part that lets clients in.
//!
//! Always holds: a listener is in the epoll set exactly when its state is
//! `On`; a process that is full, or has no descriptor left, keeps the door to
//! itself closed and leaves clients to the others.

use crate::connection::{Conn, Phase, READING};
use crate::event::Event;
use crate::exchange::ConnectionId;
use crate::listener::{ACCEPTING, Accepted, Listener, Listening, Peer, Supply};
use crate::poll_set::{GATE, QUEUE, SPECIAL};
use crate::reactor::{Current, Reactor};
use crate::scoreboard::Slot;
use crate::settings::ListenerSettings;
use rustix::event::epoll::EventFlags;
use rustix::io::Errno;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

const STARVED_RETRY_MS: u64 = 250;
const GATE_AGAIN_MS: u64 = 50;

impl Reactor {
    /// Accepts clients of a listening, non-blocking socket from now on.
    ///
    /// # Errors
    /// Those of `epoll_ctl(2)`.
    pub fn listen(&mut self, socket: OwnedFd, settings: ListenerSettings) -> io::Result<u32> {
        let number = self.listeners.len() as u32;
        self.listeners.push(Listener {
            socket: Some(socket),
            settings: Arc::new(settings),
            state: Listening::Paused,
            open: 0,
            draining: false,
            linger_until_ms: 0,
        });
        if let Err(error) = self.set_listening(number, Listening::On) {
            self.listeners.pop();
            return Err(error);
        }
        Ok(number)
    }

    /// Stops accepting (`false`) or goes on (`true`); the socket stays open.
    ///
    /// # Errors
    /// Those of `epoll_ctl(2)`.
    pub fn accepting(&mut self, listener: u32, yes: bool) -> io::Result<()> {
        let state = if yes {
            Listening::On
        } else {
            Listening::Paused
        };
        self.set_listening(listener, state)
    }

    /// Closes a listener's socket in this process. Connections that came
    /// through it live on.
    pub fn unlisten(&mut self, listener: u32) {
        // Closing is not enough: the epoll set follows the socket, and other
        // processes have it open.
        let _ = self.set_listening(listener, Listening::Closed);
        if let Some(listener) = self.listeners.get_mut(listener as usize) {
            listener.socket = None;
        }
    }

    /// Closes a listener for good. Its connections go on in another worker; if
    /// none takes them they may ask once more within `linger_ms`, and are told
    /// that it was the last time. When all are gone, [`Event::Empty`] comes.
    pub fn drain(&mut self, listener: u32, linger_ms: u64) {
        self.unlisten(listener);
        let Some(place) = self.listeners.get_mut(listener as usize) else {
            return;
        };
        let due_ms = self.clock.now_ms.saturating_add(linger_ms);
        place.linger_until_ms = due_ms;
        for key in self.keys_of(listener) {
            if self.pass_by(key) {
                continue;
            }
            match self.conn(key) {
                Some(conn) if conn.is_idle() && linger_ms == 0 => self.remove(key, None),
                Some(conn) if conn.is_idle() => self.timers.set(key, due_ms),
                Some(conn) if conn.phase == Phase::Open => self.say_goodbye(key),
                _ => {}
            }
        }
        if let Some(place) = self.listeners.get_mut(listener as usize) {
            place.draining = true;
        }
        self.see_off(listener);
        self.wake(); // whoever waits elsewhere for a turn
    }

    /// Closes every connection of a listener at once, whatever it owes.
    pub fn abort_all(&mut self, listener: u32) {
        for key in self.keys_of(listener) {
            self.lose(key, "the server was shut down");
        }
    }

    fn keys_of(&self, listener: u32) -> Vec<u32> {
        (0..self.conns.len() as u32)
            .filter(|&key| self.conn(key).is_some_and(|conn| conn.listener == listener))
            .collect()
    }

    pub(crate) fn draining(&self, listener: u32) -> bool {
        let listener = self.listeners.get(listener as usize);
        listener.is_some_and(|listener| listener.draining)
    }

    /// Until when a connection of a listener that drains may ask once more.
    pub(crate) fn lingers_until_ms(&self, listener: u32) -> Option<u64> {
        let listener = self.listeners.get(listener as usize)?;
        listener.draining.then_some(listener.linger_until_ms)
    }

    pub(crate) fn set_listening(&mut self, number: u32, state: Listening) -> io::Result<()> {
        let Some(listener) = self.listeners.get_mut(number as usize) else {
            return Ok(());
        };
        let (Some(socket), was_on) = (&listener.socket, listener.state == Listening::On) else {
            return Ok(());
        };
        listener.state = state;
        match (was_on, state == Listening::On) {
            (false, true) => self
                .set
                .add(socket, SPECIAL | u64::from(number), ACCEPTING)?,
            // An exclusive entry cannot be changed, only removed (epoll_ctl(2)).
            (true, false) => self.set.remove(socket)?,
            _ => {}
        }
        self.mind_the_queue();
        Ok(())
    }

    /// A worker that is full leaves the door to the others, unless there is
    /// none: a request in the queue of the kernel must find somebody.
    pub(crate) fn mind_the_door(&mut self) {
        if self.concurrency == u32::MAX {
            return;
        }
        let full = self.is_full();
        if full {
            self.close_the_door(Listening::Full);
            if let (false, Some(slot)) = (self.gate_watched, &self.slot) {
                if slot.was_the_last() {
                    slot.wake_manager();
                }
            }
        } else {
            self.listen_again();
        }
        // An open gate that is not heeded would be reported again and again: it is looked at
        // again once the spare that is there may have become busy.
        let unheeded = full && self.slot.as_ref().is_some_and(Slot::overcommit);
        self.watch_gate(full && !unheeded);
        self.gate_again_ms = unheeded.then(|| self.clock.now_ms + GATE_AGAIN_MS);
    }

    /// This worker is no spare, and is not asked to take more than it should.
    pub(crate) fn is_full(&self) -> bool {
        self.in_flight >= self.concurrency && !self.slot.as_ref().is_some_and(Slot::must_overcommit)
    }

    pub(crate) fn listen_again(&mut self) {
        self.open_the_door(Listening::Full);
    }

    fn open_the_door(&mut self, closed_as: Listening) {
        self.move_the_door(closed_as, Listening::On);
    }

    fn close_the_door(&mut self, why: Listening) {
        self.move_the_door(Listening::On, why);
    }

    fn move_the_door(&mut self, from: Listening, to: Listening) {
        for number in 0..self.listeners.len() as u32 {
            let listener = self.listeners.get(number as usize);
            if listener.is_some_and(|listener| listener.state == from) {
                let _ = self.set_listening(number, to);
            }
        }
    }

    fn watch_gate(&mut self, watch: bool) {
        if let (Some(gate), true) = (&self.gate, watch != self.gate_watched) {
            let _ = if watch {
                self.set.add(gate, GATE, EventFlags::IN)
            } else {
                self.set.remove(gate)
            };
            self.gate_watched = watch;
        }
    }

    /// Lets in whoever is at a door, named as in the epoll set.
    pub(crate) fn let_in(&mut self, door: u64) {
        if door == QUEUE {
            self.adopt();
        } else {
            self.accept(door as u32);
        }
    }

    fn accept(&mut self, number: u32) {
        let Some(listener) = self.listeners.get(number as usize) else {
            return;
        };
        if listener.state != Listening::On || !self.may_take_one_more() {
            return;
        }
        self.accepts_left -= 1;
        match listener.accept() {
            Accepted::Client(socket, peer) => {
                let settings = Arc::clone(&listener.settings);
                if let Some(key) = self.admit(socket, peer, number, settings) {
                    self.visit(key);
                    self.receive(key);
                    self.current = Current::Newcomer(key, SPECIAL | u64::from(number));
                }
            }
            Accepted::Nobody => {}
            Accepted::Starved(error) => self.starve(number, error),
        }
    }

    pub(crate) fn admit(
        &mut self,
        socket: OwnedFd,
        peer: Peer,
        listener: u32,
        settings: Arc<ListenerSettings>,
    ) -> Option<u32> {
        let key = self.free.pop().unwrap_or(self.conns.len() as u32);
        let serial = self.next_serial;
        // The top bit of the epoll data tells connections from the rest.
        self.next_serial = (serial + 1) & 0x7fff_ffff;
        let id = ConnectionId { key, serial };
        if self.set.add(&socket, id.to_u64(), READING).is_err() {
            self.free.push(key);
            return None;
        }
        let header_timeout_ms = settings.header_timeout_ms;
        let mut conn = Box::new(Conn::new(socket, peer, listener, serial, settings));
        conn.head_since_ms = self.clock.now_ms;
        if key as usize == self.conns.len() {
            self.conns.push(None);
        }
        if let Some(place) = self.conns.get_mut(key as usize) {
            *place = Some(conn);
        }
        self.open += 1;
        if let Some(listener) = self.listeners.get_mut(listener as usize) {
            listener.open += 1;
        }
        self.timers
            .set(key, self.clock.now_ms.saturating_add(header_timeout_ms));
        Some(key)
    }

    /// There is no descriptor for a client: nobody is let in through any door.
    pub(crate) fn starve(&mut self, number: u32, error: Errno) {
        self.close_the_door(Listening::Starved);
        // Said once, not at each try.
        if self.supply == Supply::Enough {
            self.events.push_back(Event::Starved {
                listener: number,
                error: error.into(),
            });
        }
        self.supply = Supply::Short {
            listener: number,
            retry_ms: self.clock.now_ms + STARVED_RETRY_MS,
        };
    }

    /// Opens the door again once there is a descriptor to try it with.
    pub(crate) fn mind_the_supply(&mut self) {
        let now_ms = self.clock.now_ms;
        let next_ms = now_ms + STARVED_RETRY_MS;
        self.supply = match self.supply {
            Supply::Short { listener, retry_ms } if retry_ms <= now_ms => {
                if self.set.finds_room() {
                    self.open_the_door(Listening::Starved);
                    Supply::Tried {
                        listener,
                        until_ms: next_ms,
                    }
                } else {
                    Supply::Short {
                        listener,
                        retry_ms: next_ms,
                    }
                }
            }
            Supply::Tried { listener, until_ms } if until_ms <= now_ms => {
                self.events.push_back(Event::Recovered { listener });
                Supply::Enough
            }
            supply => supply,
        };
    }
}

#[cfg(test)]
mod tests;
