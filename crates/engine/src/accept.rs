//! Accepting: which listeners are in the epoll set, and why the others are not.
//!
//! Owns: the listeners, what is known of the supply of descriptors, and the
//! overcommit descriptor. Always holds: a listener is in the epoll set exactly
//! when its state is `On`; a process that is full, or has no descriptor left,
//! leaves clients to the others. Knows no connection.

use crate::listener::{ACCEPTING, Accepted, Listener, Listening};
use crate::load::Load;
use crate::poll_set::{OVERCOMMIT, PollSet, SPECIAL};
use crate::scoreboard::Slot;
use crate::settings::ListenerSettings;
use rustix::event::epoll::EventFlags;
use std::io;
use std::os::fd::OwnedFd;

/// How many clients one listener may bring in a turn.
pub(crate) const ACCEPTS_PER_TURN: u32 = 16;
const STARVED_RETRY_MS: u64 = 250;
const OVERCOMMIT_AGAIN_MS: u64 = 50;

/// Whether the process has descriptors for more clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Supply {
    Enough,
    /// No: `listener` was told so.
    Short {
        listener: u32,
        retry_ms: u64,
    },
    /// Clients are accepted again; it is over if no descriptor is missing until then.
    Tried {
        listener: u32,
        until_ms: u64,
    },
}

/// What a look at the supply has found.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum SupplyNews {
    None,
    /// Accepting is tried again.
    Retried,
    /// `listener` may be told that it is over.
    Recovered {
        listener: u32,
    },
}

/// Readable while no worker of the pool is spare and none can come.
#[derive(Default)]
struct Overcommit {
    fd: Option<OwnedFd>,
    registered: bool,
    /// When to look at it again, if it was readable and not heeded.
    again_ms: Option<u64>,
}

pub(crate) struct Acceptor {
    listeners: Vec<Listener>,
    supply: Supply,
    overcommit: Overcommit,
    /// How many clients the listener that is being served may still bring in this turn.
    left: u32,
}

impl Acceptor {
    pub(crate) fn new() -> Self {
        Acceptor {
            listeners: Vec::new(),
            supply: Supply::Enough,
            overcommit: Overcommit::default(),
            left: 0,
        }
    }

    // ---- the listeners ---------------------------------------------------------

    /// Adds a listener and accepts its clients. Returns its number.
    ///
    /// # Errors
    /// Those of `epoll_ctl(2)`.
    pub(crate) fn listen(
        &mut self,
        set: &PollSet,
        socket: OwnedFd,
        settings: ListenerSettings,
    ) -> io::Result<u32> {
        let number = self.listeners.len() as u32;
        self.listeners.push(Listener::new(socket, settings));
        if let Err(error) = self.set_state(set, number, Listening::On) {
            self.listeners.pop();
            return Err(error);
        }
        Ok(number)
    }

    pub(crate) fn get(&self, number: u32) -> Option<&Listener> {
        self.listeners.get(number as usize)
    }

    pub(crate) fn get_mut(&mut self, number: u32) -> Option<&mut Listener> {
        self.listeners.get_mut(number as usize)
    }

    /// # Errors
    /// Those of `epoll_ctl(2)`.
    pub(crate) fn set_state(
        &mut self,
        set: &PollSet,
        number: u32,
        state: Listening,
    ) -> io::Result<()> {
        let Some(listener) = self.listeners.get_mut(number as usize) else {
            return Ok(());
        };
        let (Some(socket), was_on) = (&listener.socket, listener.state == Listening::On) else {
            return Ok(());
        };
        listener.state = state;
        match (was_on, state == Listening::On) {
            (false, true) => set.add(socket, SPECIAL | u64::from(number), ACCEPTING)?,
            // An exclusive entry cannot be changed, only removed (epoll_ctl(2)).
            (true, false) => set.remove(socket)?,
            _ => {}
        }
        Ok(())
    }

    /// Accepts the next client of a listener.
    pub(crate) fn accept(&mut self, number: u32, load: &Load) -> Accepted {
        let is_on = |listener: &&Listener| listener.state == Listening::On;
        if self.get(number).filter(is_on).is_none() || !self.take_one(load) {
            return Accepted::Nothing;
        }
        self.get(number).map_or(Accepted::Nothing, Listener::accept)
    }

    /// Closes a listener's socket in this process.
    pub(crate) fn close(&mut self, set: &PollSet, number: u32) {
        // To close it is not enough: the epoll set follows the socket, and
        // other processes have it open.
        let _ = self.set_state(set, number, Listening::Closed);
        if let Some(listener) = self.get_mut(number) {
            listener.socket = None;
        }
    }

    pub(crate) fn close_all(&mut self) {
        self.listeners.clear();
        self.overcommit = Overcommit::default();
    }

    /// Whether any client is accepted.
    pub(crate) fn is_accepting(&self) -> bool {
        let mut listeners = self.listeners.iter();
        listeners.any(|listener| listener.state == Listening::On)
    }

    #[inline]
    pub(crate) fn is_draining(&self, number: u32) -> bool {
        self.drains_until_ms(number).is_some()
    }

    /// Until when a connection of a listener that drains may bring one more request.
    #[inline]
    pub(crate) fn drains_until_ms(&self, number: u32) -> Option<u64> {
        self.get(number)?.drains_until_ms
    }

    fn change_all(&mut self, set: &PollSet, from: Listening, to: Listening) {
        for number in 0..self.listeners.len() as u32 {
            if self
                .get(number)
                .is_some_and(|listener| listener.state == from)
            {
                let _ = self.set_state(set, number, to);
            }
        }
    }

    // ---- how many clients ------------------------------------------------------

    /// A listener, or the queue, gets its share of the turn.
    pub(crate) fn begin(&mut self) {
        self.left = ACCEPTS_PER_TURN;
    }

    /// Whether one more client is taken; if so, it counts. Of the processes
    /// that wait for a client one is woken (EPOLLEXCLUSIVE). If it left the
    /// client there, full by a request that came in the same turn, no other
    /// would be woken: so the first of a turn is always taken.
    pub(crate) fn take_one(&mut self, load: &Load) -> bool {
        let takes = self.left == ACCEPTS_PER_TURN || self.left > 0 && !load.is_full();
        if takes {
            self.left -= 1;
        }
        takes
    }

    // ---- while the worker is full ------------------------------------------------

    pub(crate) fn join_pool(&mut self, overcommit: OwnedFd) {
        self.overcommit.fd = Some(overcommit);
    }

    /// At the end of a turn: a worker that is full leaves clients to the
    /// others, unless there is no other: a client in the queue of the kernel
    /// must find some worker.
    pub(crate) fn follow_load(&mut self, set: &PollSet, load: &Load, now_ms: u64) {
        if !load.is_limited() {
            return;
        }
        let full = load.is_full();
        if full {
            self.change_all(set, Listening::On, Listening::Full);
            if let (false, Some(slot)) = (self.overcommit.registered, load.slot()) {
                if slot.was_the_last() {
                    slot.wake_manager();
                }
            }
        } else {
            self.accept_again(set);
        }
        // A readable descriptor that is not heeded would be reported again and again: it is looked
        // at again once the spare that is there may have become busy.
        let unheeded = full && load.slot().is_some_and(Slot::overcommit);
        self.register_overcommit(set, full && !unheeded);
        self.overcommit.again_ms = unheeded.then(|| now_ms + OVERCOMMIT_AGAIN_MS);
    }

    /// The worker is not full any more, or overcommit has been called for.
    pub(crate) fn accept_again(&mut self, set: &PollSet) {
        self.change_all(set, Listening::Full, Listening::On);
    }

    fn register_overcommit(&mut self, set: &PollSet, registered: bool) {
        let overcommit = &mut self.overcommit;
        let (Some(fd), true) = (&overcommit.fd, registered != overcommit.registered) else {
            return;
        };
        let _ = match registered {
            true => set.add(fd, OVERCOMMIT, EventFlags::IN),
            false => set.remove(fd),
        };
        overcommit.registered = registered;
    }

    // ---- while there is no descriptor --------------------------------------------

    /// There is no descriptor for a client: none is accepted through any
    /// listener. True if that is new: it is told once, not at each try.
    pub(crate) fn starve(&mut self, set: &PollSet, listener: u32, now_ms: u64) -> bool {
        self.change_all(set, Listening::On, Listening::Starved);
        let is_new = self.supply == Supply::Enough;
        self.supply = Supply::Short {
            listener,
            retry_ms: now_ms + STARVED_RETRY_MS,
        };
        is_new
    }

    /// Accepts again once there is a descriptor to try it with.
    #[inline]
    pub(crate) fn check_supply(&mut self, set: &PollSet, now_ms: u64) -> SupplyNews {
        let next_ms = now_ms + STARVED_RETRY_MS;
        match self.supply {
            Supply::Short { listener, retry_ms } if retry_ms <= now_ms => {
                if !set.finds_room() {
                    self.supply = Supply::Short {
                        listener,
                        retry_ms: next_ms,
                    };
                    return SupplyNews::None;
                }
                self.change_all(set, Listening::Starved, Listening::On);
                self.supply = Supply::Tried {
                    listener,
                    until_ms: next_ms,
                };
                SupplyNews::Retried
            }
            Supply::Tried { listener, until_ms } if until_ms <= now_ms => {
                self.supply = Supply::Enough;
                SupplyNews::Recovered { listener }
            }
            _ => SupplyNews::None,
        }
    }

    /// When it is to be looked at again, whatever is readable.
    pub(crate) fn due_ms(&self) -> Option<u64> {
        let supply_ms = match self.supply {
            Supply::Enough => None,
            Supply::Short { retry_ms, .. } => Some(retry_ms),
            Supply::Tried { until_ms, .. } => Some(until_ms),
        };
        supply_ms.into_iter().chain(self.overcommit.again_ms).min()
    }
}

#[cfg(test)]
mod tests;
