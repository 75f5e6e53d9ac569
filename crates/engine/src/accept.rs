//! Accepting: which listeners are in the epoll set, and why others are not.
//!
//! Owns: the listeners, whether the process has free descriptors, and the
//! overcommit descriptor. Always holds: a listener is in the epoll set exactly
//! when its state is `On`; a process that is full, or has no free descriptor,
//! leaves clients to the others. Knows no connection.

use crate::listener::{ACCEPTING, Accepted, Listener, Listening};
use crate::load::Load;
use crate::poll_set::{OVERCOMMIT, PollSet, SPECIAL};
use crate::scoreboard::Slot;
use crate::settings::ListenerSettings;
use prefork_tls::Config;
use rustix::event::epoll::EventFlags;
use rustix::io::Errno;
use std::io;
use std::os::fd::OwnedFd;

/// How many clients one listener may bring in a turn.
pub(crate) const ACCEPTS_PER_TURN: u32 = 16;
const DESCRIPTOR_RETRY_MS: u64 = 250;
const CROWDED_RETRY_MS: u64 = 250;
const OVERCOMMIT_AGAIN_MS: u64 = 50;
/// A shortage is over if no idle connection had to be closed for so long.
const IDLE_CLOSED_MS: u64 = 60_000;

/// Whether the process has descriptors for more clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Descriptors {
    Available,
    /// No. It was reported for `listener`.
    Exhausted {
        listener: u32,
        retry_ms: u64,
    },
    /// Accepting is tried again. It has resumed if no accept fails until then.
    Retrying {
        listener: u32,
        until_ms: u64,
    },
}

/// What [`Acceptor::retry_descriptors`] has changed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum DescriptorNews {
    None,
    /// Accepting is tried again.
    Retried,
    /// Accepting has resumed. To be reported for `listener`.
    Resumed {
        listener: u32,
    },
}

/// The descriptor that is readable while the pool has no spare and may not grow.
#[derive(Default)]
struct Overcommit {
    fd: Option<OwnedFd>,
    registered: bool,
    /// When to look at it again, if it was readable and this worker did not
    /// accept.
    again_ms: Option<u64>,
}

pub(crate) struct Acceptor {
    listeners: Vec<Listener>,
    descriptors: Descriptors,
    /// Until then it is not reported again that idle connections are closed.
    idle_closed_until_ms: u64,
    overcommit: Overcommit,
    /// When to accept again, after the worker had as many connections as it may.
    crowded_until_ms: Option<u64>,
    /// How many clients the current listener may still bring in this turn.
    left: u32,
    /// The epoll set refused a change, because a descriptor is not the one that
    /// it was.
    refused: Option<Refusal>,
}

/// What the epoll set refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) error: Errno,
    /// The set cannot forget the descriptor: it goes on to report it, and takes
    /// clients from the other workers.
    pub(crate) stays: bool,
}

impl Acceptor {
    pub(crate) fn new() -> Self {
        Acceptor {
            listeners: Vec::new(),
            descriptors: Descriptors::Available,
            idle_closed_until_ms: 0,
            overcommit: Overcommit::default(),
            crowded_until_ms: None,
            left: 0,
            refused: None,
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
        tls: Option<Config>,
    ) -> io::Result<u32> {
        let number = self.listeners.len() as u32;
        self.listeners.push(Listener::new(socket, settings, tls));
        if let Err(error) = self.set_state(set, number, Listening::On) {
            self.listeners.pop();
            return Err(error.into());
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
    ) -> Result<(), Errno> {
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

    /// The numbers of the listeners.
    pub(crate) fn numbers(&self) -> std::ops::Range<u32> {
        0..self.listeners.len() as u32
    }

    /// Whether the number of requests that wait is limited.
    pub(crate) fn limits_queue(&self) -> bool {
        let mut listeners = self.listeners.iter();
        listeners.any(|listener| listener.settings.max_queue > 0)
    }

    /// Accepts the next client of a listener.
    pub(crate) fn accept(&mut self, number: u32, load: &Load) -> Accepted {
        let is_reported = self.left == ACCEPTS_PER_TURN;
        let is_on = |listener: &&Listener| listener.state == Listening::On;
        if self.get(number).filter(is_on).is_none() || !self.may_accept_next(load) {
            return Accepted::Nothing;
        }
        match self.get(number) {
            Some(listener) if is_reported || listener.has_client() => listener.accept(),
            _ => Accepted::Nothing,
        }
    }

    /// Goes behind the other workers. The kernel wakes the first one that waits for a client, in the order in
    /// which they have begun: without this, one has all clients that come one after the other.
    pub(crate) fn go_last(&mut self, set: &PollSet, number: u32) {
        if self
            .get(number)
            .is_some_and(|one| one.state == Listening::On)
        {
            self.change(set, number, Listening::Full);
            self.change(set, number, Listening::On);
        }
    }

    /// Tries again to accept the client that [`Acceptor::accept`] had no
    /// descriptor for.
    pub(crate) fn accept_again_now(&self, number: u32) -> Accepted {
        self.get(number).map_or(Accepted::Nothing, Listener::accept)
    }

    /// Closes a listener's socket in this process.
    pub(crate) fn close(&mut self, set: &PollSet, number: u32) {
        // To close it is not enough: the epoll set follows the socket, and
        // other processes have it open.
        self.change(set, number, Listening::Closed);
        let stays = self.refused.is_some_and(|refusal| refusal.stays);
        if let Some(listener) = self.get_mut(number) {
            let socket = listener.socket.take();
            if stays {
                std::mem::forget(socket); // the number is another file's
            }
        }
    }

    /// Forgets the descriptors, and closes none.
    pub(crate) fn forget_all(&mut self) {
        std::mem::forget(std::mem::take(&mut self.listeners));
        std::mem::forget(std::mem::take(&mut self.overcommit));
    }

    pub(crate) fn close_all(&mut self) {
        self.listeners.clear();
        self.overcommit = Overcommit::default();
    }

    /// Whether any listener accepts.
    pub(crate) fn is_accepting(&self) -> bool {
        let mut listeners = self.listeners.iter();
        listeners.any(|listener| listener.state == Listening::On)
    }

    #[inline]
    pub(crate) fn is_draining(&self, number: u32) -> bool {
        self.drains_until_ms(number).is_some()
    }

    /// The time until which an idle connection of a draining listener may bring one
    /// more request.
    #[inline]
    pub(crate) fn drains_until_ms(&self, number: u32) -> Option<u64> {
        self.get(number)?.drains_until_ms
    }

    fn change_all(&mut self, set: &PollSet, from: Listening, to: Listening) {
        for number in self.numbers() {
            if self
                .get(number)
                .is_some_and(|listener| listener.state == from)
            {
                self.change(set, number, to);
            }
        }
    }

    /// As [`Acceptor::set_state`], but keeps an error for [`Acceptor::take_refusal`].
    fn change(&mut self, set: &PollSet, number: u32, to: Listening) {
        if let Err(error) = self.set_state(set, number, to) {
            self.refuse(error, to != Listening::On);
        }
    }

    fn refuse(&mut self, error: Errno, stays: bool) {
        self.refused = self.refused.or(Some(Refusal { error, stays }));
    }

    /// What the epoll set has refused since the last call.
    #[inline]
    pub(crate) fn take_refusal(&mut self) -> Option<Refusal> {
        self.refused.take()
    }

    // ---- how many clients ------------------------------------------------------

    /// Begins the share of a listener, or of the queue, in the turn.
    pub(crate) fn begin(&mut self) {
        self.left = ACCEPTS_PER_TURN;
    }

    /// Whether one more client is accepted; if so, it is counted. The kernel
    /// wakes one process for a client (EPOLLEXCLUSIVE). If that process became
    /// full in the same turn and left the client there, no other process would
    /// be woken. So the first client of a turn is always accepted.
    pub(crate) fn may_accept_next(&mut self, load: &Load) -> bool {
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

    /// At the end of a turn: pauses accepting if the worker is full, or resumes
    /// it. A full worker watches the overcommit descriptor: if the pool has no
    /// spare and may not grow, full workers must accept too, unless their
    /// application cannot be called.
    pub(crate) fn follow_load(&mut self, set: &PollSet, load: &Load, now_ms: u64) {
        if !load.is_limited() {
            return;
        }
        let full = load.is_full();
        if full {
            self.change_all(set, Listening::On, Listening::Full);
            if let (false, Some(slot)) = (self.overcommit.registered, load.slot()) {
                if slot.was_last_spare() {
                    slot.wake_manager();
                }
            }
        } else {
            self.accept_again(set);
        }
        let may_overcommit = full && load.may_begin();
        // The descriptor is readable, but a spare exists and will accept. Registered, the
        // descriptor would be reported at each wait. It is checked again after a while, when that
        // spare may be busy.
        let unheeded = may_overcommit && load.slot().is_some_and(Slot::overcommit);
        self.register_overcommit(set, may_overcommit && !unheeded);
        self.overcommit.again_ms = unheeded.then(|| now_ms + OVERCOMMIT_AGAIN_MS);
    }

    /// Resumes accepting: the worker is not full any more, or must overcommit.
    pub(crate) fn accept_again(&mut self, set: &PollSet) {
        self.change_all(set, Listening::Full, Listening::On);
    }

    fn register_overcommit(&mut self, set: &PollSet, registered: bool) {
        let overcommit = &mut self.overcommit;
        let (Some(fd), true) = (&overcommit.fd, registered != overcommit.registered) else {
            return;
        };
        let changed = match registered {
            true => set.add(fd, OVERCOMMIT, EventFlags::IN),
            false => set.remove(fd),
        };
        overcommit.registered = registered;
        if let Err(error) = changed {
            self.refuse(error, !registered);
        }
    }

    // ---- while it has as many connections as it may ---------------------------------

    /// Pauses all listeners until a connection is closed, or one idles.
    pub(crate) fn pause_crowded(&mut self, set: &PollSet, now_ms: u64) {
        self.change_all(set, Listening::On, Listening::Crowded);
        self.crowded_until_ms = Some(now_ms + CROWDED_RETRY_MS);
    }

    /// A connection was closed.
    #[inline]
    pub(crate) fn less_crowded(&mut self, now_ms: u64) {
        if self.crowded_until_ms.is_some() {
            self.crowded_until_ms = Some(now_ms);
        }
    }

    /// Accepts again when that is due.
    #[inline]
    pub(crate) fn retry_crowded(&mut self, set: &PollSet, now_ms: u64) {
        if self
            .crowded_until_ms
            .is_some_and(|until_ms| until_ms <= now_ms)
        {
            self.crowded_until_ms = None;
            self.change_all(set, Listening::Crowded, Listening::On);
        }
    }

    // ---- while there is no descriptor --------------------------------------------

    /// Pauses all listeners, because there is no descriptor for a client. True
    /// if they were not paused for that before: it is reported once, not at
    /// each retry.
    pub(crate) fn pause_without_descriptor(
        &mut self,
        set: &PollSet,
        listener: u32,
        now_ms: u64,
    ) -> bool {
        self.change_all(set, Listening::On, Listening::NoDescriptor);
        let is_new = self.descriptors == Descriptors::Available;
        self.descriptors = Descriptors::Exhausted {
            listener,
            retry_ms: now_ms + DESCRIPTOR_RETRY_MS,
        };
        is_new
    }

    /// Whether accepting is to be tried again now.
    pub(crate) fn is_retry_due(&self, now_ms: u64) -> bool {
        matches!(self.descriptors, Descriptors::Exhausted { retry_ms, .. } if retry_ms <= now_ms)
    }

    /// Whether it must be reported that idle connections are closed: once for a
    /// shortage.
    pub(crate) fn must_report_idle_closed(&mut self, now_ms: u64) -> bool {
        let is_new = self.idle_closed_until_ms <= now_ms;
        self.idle_closed_until_ms = now_ms + IDLE_CLOSED_MS;
        is_new
    }

    /// Resumes accepting once a descriptor can be opened.
    #[inline]
    pub(crate) fn retry_descriptors(&mut self, set: &PollSet, now_ms: u64) -> DescriptorNews {
        let next_ms = now_ms + DESCRIPTOR_RETRY_MS;
        match self.descriptors {
            Descriptors::Exhausted { listener, retry_ms } if retry_ms <= now_ms => {
                if !set.can_open_descriptor() {
                    self.descriptors = Descriptors::Exhausted {
                        listener,
                        retry_ms: next_ms,
                    };
                    return DescriptorNews::None;
                }
                self.change_all(set, Listening::NoDescriptor, Listening::On);
                self.descriptors = Descriptors::Retrying {
                    listener,
                    until_ms: next_ms,
                };
                DescriptorNews::Retried
            }
            Descriptors::Retrying { listener, until_ms } if until_ms <= now_ms => {
                self.descriptors = Descriptors::Available;
                DescriptorNews::Resumed { listener }
            }
            _ => DescriptorNews::None,
        }
    }

    /// When the acceptor needs a turn, even if nothing is readable.
    pub(crate) fn due_ms(&self) -> Option<u64> {
        let retry_ms = match self.descriptors {
            Descriptors::Available => None,
            Descriptors::Exhausted { retry_ms, .. } => Some(retry_ms),
            Descriptors::Retrying { until_ms, .. } => Some(until_ms),
        };
        let others = self
            .overcommit
            .again_ms
            .into_iter()
            .chain(self.crowded_until_ms);
        retry_ms.into_iter().chain(others).min()
    }
}

#[cfg(test)]
mod tests;
