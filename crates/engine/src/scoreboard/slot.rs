//! The worker's side: its own page, on the path of every request.

use std::os::fd::OwnedFd;

use super::memory::SharedMemory;
use super::page::{Counters, SlotPage};
use super::state::State;

/// A worker's place on the scoreboard, and its writer.
pub struct Slot {
    pub(super) memory: SharedMemory,
    wakeup: OwnedFd,
    index: usize,
    concurrency: u32,
}

impl Slot {
    pub(super) fn new(
        memory: SharedMemory,
        wakeup: OwnedFd,
        index: usize,
        concurrency: u32,
    ) -> Self {
        let slot = Self {
            memory,
            wakeup,
            index,
            concurrency: concurrency.max(1),
        };
        slot.change(|page| {
            page.pid.set(
                rustix::process::getpid()
                    .as_raw_nonzero()
                    .get()
                    .unsigned_abs(),
            );
            page.state.get()
        });
        slot
    }

    /// A request begins; with it, `in_flight` are open.
    pub fn begin(&self, in_flight: u32, method: &[u8], path: &[u8], now_ns: u64) {
        self.change(|page| {
            page.in_flight.set(in_flight);
            page.request_started_ns.set(now_ns);
            page.method.set(method);
            page.path.set(path);
            self.state_with(in_flight, page)
        });
    }

    /// A request ended; without it, `in_flight` are open.
    pub fn end(&self, in_flight: u32) {
        self.change(|page| {
            page.in_flight.set(in_flight);
            self.state_with(in_flight, page)
        });
    }

    /// `Spare` when ready to accept, `Draining` when leaving: all else follows from `begin` and
    /// `end`.
    pub fn set_state(&self, state: State) {
        self.change(|_| state);
    }

    /// Tells the totals; once a turn of the loop.
    pub fn turn(&self, now_ns: u64, counters: &Counters) {
        self.change(|page| {
            page.turned_ns.set(now_ns);
            page.set_counters(counters);
            page.state.get()
        });
    }

    /// No spare was left and none could come when the manager looked last: active workers accept.
    pub fn overcommit(&self) -> bool {
        self.memory.manager().header.overcommit.get()
    }

    /// Overcommit, and no worker has become spare since. Of several that become active at once one
    /// sees that, at least: see `fewer_spares_than`.
    pub fn must_overcommit(&self) -> bool {
        self.overcommit() && self.spares_elsewhere() == 0
    }

    /// The server is shutting down.
    pub fn stopping(&self) -> bool {
        self.memory.manager().header.stopping.get()
    }

    /// Workers that go are replaced.
    pub fn pool_is_kept(&self) -> bool {
        self.memory.manager().header.kept.get()
    }

    /// A spare that is missing may be forked.
    pub fn may_grow(&self) -> bool {
        self.memory.manager().header.may_grow.get()
    }

    /// How many other workers could start one more request now. One that still boots could not.
    pub fn spares_elsewhere(&self) -> usize {
        let spares = self.others().filter(|&state| state == State::Spare);
        spares.count()
    }

    /// Whether the pool could grow and, besides this worker, has fewer spares than it wants.
    pub fn spares_short(&self) -> bool {
        let header = &self.memory.manager().header;
        header.may_grow.get() && self.fewer_spares_than(header.min_spare.get() as usize)
    }

    /// Whether this worker was the last spare of a pool that cannot grow, and the manager has not
    /// yet said that active workers accept as well.
    pub fn was_the_last(&self) -> bool {
        let header = &self.memory.manager().header;
        !header.may_grow.get() && !header.overcommit.get() && self.fewer_spares_than(1)
    }

    /// The look goes round from the next slot on and ends as soon as it found enough, so it is
    /// cheap when spares are plenty. Two workers that stop being spare at once must not each
    /// count the other: a worker tells its state before it looks, and states are written and
    /// read in one order for all (`SeqCst`). So the last to tell sees all others, and at least
    /// that one wakes the manager.
    fn fewer_spares_than(&self, wanted: usize) -> bool {
        let spares = self.others().filter(|state| state.is_spare());
        spares.take(wanted).count() < wanted
    }

    /// The states of all other slots, from the next one on.
    fn others(&self) -> impl Iterator<Item = State> {
        let reach = self.memory.manager().reach.get() as usize;
        let others = (self.index + 1..reach).chain(0..self.index);
        others
            .filter_map(|index| self.memory.slot(index))
            .map(|page| page.state.get_ordered())
    }

    /// One write to our page, which ends with the state it returns. Wakes the manager if that
    /// took a spare away.
    fn change(&self, write: impl FnOnce(&SlotPage) -> State) {
        let Some(page) = self.memory.slot(self.index) else {
            return;
        };
        let before = page.state.get();
        let after = page.sequence.write(|| {
            let after = write(page);
            if after != before {
                page.state.set_ordered(after);
            }
            after
        });
        if before.is_spare() && !after.is_spare() && self.spares_short() {
            self.wake_manager();
        }
    }

    /// Has the manager look at the pool.
    pub fn wake_manager(&self) {
        // It can only fail because the counter is full: then the manager has long been told.
        let _ = rustix::io::write(&self.wakeup, &1_u64.to_ne_bytes());
    }

    fn state_with(&self, in_flight: u32, page: &SlotPage) -> State {
        match page.state.get() {
            State::Draining => State::Draining, // there is no way back
            _ if in_flight >= self.concurrency => State::Active,
            _ => State::Spare,
        }
    }
}
