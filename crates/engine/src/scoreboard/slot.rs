//! The worker's side: it writes its own page for every request.

use std::net::IpAddr;
use std::os::fd::OwnedFd;

use super::addresses::AddressKey;
use super::entries::{Entries, EntryId, RequestPhase};
use super::figures::SharedFigures;
use super::memory::SharedMemory;
use super::page::{Counters, Limit, SlotPage};
use super::state::State;
use super::word::Word;
use crate::peer::Peer;

/// The writer of a worker's page.
pub struct Slot {
    pub(super) memory: SharedMemory,
    wakeup: OwnedFd,
    index: usize,
    concurrency: u32,
    entries: Entries,
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
            entries: Entries::new(),
        };
        slot.change(slot.page().state.get(), |page| {
            page.pid.set(
                rustix::process::getpid()
                    .as_raw_nonzero()
                    .get()
                    .unsigned_abs(),
            );
        });
        slot
    }

    /// The number of the slot.
    #[inline]
    pub(crate) fn index(&self) -> u32 {
        self.index as u32
    }

    /// A request begins. `in_flight` includes it, and `now_ns` is not 0. Returns its entry.
    pub fn begin(
        &mut self,
        in_flight: u32,
        method: &[u8],
        path: &[u8],
        client: &Peer,
        now_ns: u64,
    ) -> EntryId {
        let (id, index) = self.entries.take();
        let path = match self.memory.manager().header.hides_paths.get() {
            true => &[],
            false => path,
        };
        self.change(self.state_with(in_flight), |page| {
            page.in_flight.set(in_flight);
            page.began_ns.set(now_ns);
            page.counts_figures.set(true);
            if let Some(entry) = page.entry(index) {
                entry.set(method, path, client, now_ns);
            }
        });
        id
    }

    /// A request has ended, which may have an entry. `in_flight` does not include it. The worker is spare at the
    /// end of the turn: before that it may begin the next one.
    pub fn end(&mut self, in_flight: u32, id: EntryId) {
        let index = self.entries.give_back(id);
        self.change(self.page().state.get(), |page| {
            page.in_flight.set(in_flight);
            if let Some(entry) = index.and_then(|index| page.entry(index)) {
                entry.clear();
            }
        });
    }

    /// Something else is done for a request that is in flight.
    #[inline]
    pub fn set_phase(&self, id: EntryId, phase: RequestPhase) {
        let Some(index) = self.entries.index_of(id) else {
            return;
        };
        if let Some(entry) = self.page().entry(index) {
            entry.set_phase(phase);
        }
    }

    /// Sets `Spare` when the worker is ready, and `Draining` before it exits. The other states
    /// follow from `begin` and `turn`.
    pub fn set_state(&self, state: State) {
        self.change(state, |_| {});
    }

    /// Writes the counters.
    pub fn count(&self, counters: &Counters) {
        self.change(self.page().state.get(), |page| page.set_counters(counters));
    }

    /// A turn has ended: writes the counters, and the worker is spare again if it has room for a request.
    pub fn turn(&self, now_ns: u64, counters: &Counters) {
        let state = match self.page().state.get() {
            State::Active => self.state_with(self.page().in_flight.get()),
            state => state,
        };
        self.change(state, |page| {
            page.turned_ns.set(now_ns);
            page.waiting.set(0);
            page.set_counters(counters);
        });
    }

    /// How long the loop was busy between two waits, at most.
    pub(crate) fn set_lag(&self, lag_ns: u64) {
        self.page().lag_ns.set(lag_ns);
    }

    /// This worker has served as many requests as it may: the manager spawns another one, and then has
    /// this one drain.
    pub fn ask_for_successor(&self) {
        self.page().asks_for_successor.set(true);
        self.wake_manager();
    }

    /// Whether it has begun to serve, and does not drain.
    pub(crate) fn serves(&self) -> bool {
        matches!(self.page().state.get(), State::Spare | State::Active)
    }

    /// A limit was applied.
    pub fn count_limit(&self, limit: Limit) {
        self.change(self.page().state.get(), |page| page.count_limit(limit));
    }

    /// Its own page.
    #[inline]
    fn page(&self) -> &SlotPage {
        self.memory.own_slot()
    }

    /// To count in. That is no write of the sequence: no other word belongs to it.
    #[inline]
    pub(crate) fn figures(&self) -> &SharedFigures {
        self.memory.own_figures()
    }

    /// Has readers look at the figures. A request that begins does so.
    pub(crate) fn show_figures(&self) {
        self.page().counts_figures.set(true);
    }

    /// When another worker reported a limit last.
    pub(crate) fn reported_elsewhere_ms(&self, limit: Limit) -> Option<u64> {
        let reported = |page: &SlotPage| page.reported_ms.get(limit as usize).map(Word::get);
        let last_ms = self.other_pages().filter_map(reported).max();
        last_ms.filter(|last_ms| *last_ms > 0)
    }

    /// This worker reports a limit.
    pub(crate) fn note_report(&self, limit: Limit, now_ms: u64) {
        if let Some(word) = self.page().reported_ms.get(limit as usize) {
            word.set(now_ms);
        }
    }

    /// The name of a client address in the tables of the pool.
    pub(crate) fn address_key(&self, address: IpAddr) -> AddressKey {
        AddressKey::new(address, self.memory.manager().seed.get())
    }

    /// A connection of this address was opened here.
    pub(crate) fn add_address(&self, key: AddressKey) {
        self.page().counts_addresses.set(true);
        if let Some(table) = self.memory.addresses(self.index) {
            table.add(key);
        }
    }

    /// It was closed.
    pub(crate) fn remove_address(&self, key: AddressKey) {
        if let Some(table) = self.memory.addresses(self.index) {
            table.remove(key);
        }
    }

    /// Whether an address has that many connections or more, in all workers. Another worker
    /// may accept one at the same time.
    pub(crate) fn has_connections(&self, key: AddressKey, most: u32) -> bool {
        let reach = self.memory.manager().reach.get() as usize;
        let mut left = most;
        for index in 0..reach {
            let used = self.memory.slot(index);
            if !used.is_some_and(|page| page.counts_addresses.get()) {
                continue;
            }
            let count = self
                .memory
                .addresses(index)
                .map_or(0, |table| table.count(key));
            left = left.saturating_sub(count);
            if left == 0 {
                return true;
            }
        }
        false
    }

    /// So many requests wait for this worker, whose main thread is stuck.
    pub(crate) fn set_waiting(&self, requests: u32) {
        self.page().waiting.set(requests);
    }

    /// How many requests wait for other workers whose main threads are stuck.
    pub(crate) fn waiting_elsewhere(&self) -> usize {
        let waiting = self.other_pages().map(|page| page.waiting.get() as usize);
        waiting.fold(0, usize::saturating_add)
    }

    /// The process runs, whatever its main thread does. Called by the guard.
    pub fn beat(&self, now_ns: u64) {
        self.page().beat_ns.set(now_ns);
    }

    /// Whether the manager has last found no spare in a pool that may not grow: active workers
    /// accept.
    pub fn overcommit(&self) -> bool {
        self.memory.manager().header.overcommit.get()
    }

    /// Whether to overcommit, and no worker has become spare since. If several become active at
    /// once, at least one of them sees that: see `fewer_spares_than`.
    pub fn must_overcommit(&self) -> bool {
        self.overcommit() && self.spares_elsewhere() == 0
    }

    /// The server is shutting down.
    pub fn stopping(&self) -> bool {
        self.memory.manager().header.stopping.get()
    }

    /// The lowest level that the log shows, as Python counts it; 0 is that of the start.
    pub fn log_level(&self) -> u32 {
        self.memory.manager().header.log_level.get()
    }

    /// Whether workers that exit are replaced.
    pub fn pool_is_kept(&self) -> bool {
        self.memory.manager().header.kept.get()
    }

    /// Whether workers of another pool adopt what is in the central queue.
    pub fn pool_is_succeeded(&self) -> bool {
        self.memory.manager().header.succeeded.get()
    }

    /// Whether workers accept in turn.
    #[inline]
    pub fn takes_turns(&self) -> bool {
        self.memory.manager().header.takes_turns.get()
    }

    /// Whether the pool may grow.
    pub fn may_grow(&self) -> bool {
        self.memory.manager().header.may_grow.get()
    }

    /// How many other workers could start one more request now. A starting worker could not.
    pub fn spares_elsewhere(&self) -> usize {
        let spares = self.others().filter(|&state| state == State::Spare);
        spares.count()
    }

    /// How many other workers are spare, or have begun a request after that time.
    pub fn moving_elsewhere(&self, since_ns: u64) -> usize {
        let moves = |page: &&SlotPage| match page.state.get_ordered() {
            State::Spare => true,
            State::Active => page.began_ns.get() > since_ns,
            _ => false,
        };
        self.other_pages().filter(moves).count()
    }

    /// Whether the pool may grow and, without this worker, has fewer spares than
    /// `min_spare`.
    pub fn spares_short(&self) -> bool {
        let header = &self.memory.manager().header;
        header.may_grow.get() && self.fewer_spares_than(header.min_spare.get() as usize)
    }

    /// Whether this worker was the last spare of a pool that may not grow, and the manager has
    /// not set overcommit yet.
    pub fn was_last_spare(&self) -> bool {
        let header = &self.memory.manager().header;
        !header.may_grow.get() && !header.overcommit.get() && self.fewer_spares_than(1)
    }

    /// The search begins at the next slot and ends when it has found enough, so it is cheap
    /// while there are many spares. Two workers that become active at once must not both count
    /// the other as spare: a worker writes its state before it reads the others, and all
    /// processes see these accesses in one order (`SeqCst`). So the last writer sees the
    /// states of all others, and at least that one wakes the manager.
    fn fewer_spares_than(&self, wanted: usize) -> bool {
        let spares = self.others().filter(|state| state.is_spare());
        spares.take(wanted).count() < wanted
    }

    /// The states of all other slots, from the next one on.
    fn others(&self) -> impl Iterator<Item = State> {
        self.other_pages().map(|page| page.state.get_ordered())
    }

    fn other_pages(&self) -> impl Iterator<Item = &SlotPage> {
        let reach = self.memory.manager().reach.get() as usize;
        (self.index + 1..self.index + reach).filter_map(move |index| {
            let is_before = index >= reach;
            self.memory
                .slot(if is_before { index - reach } else { index })
        })
    }

    /// Makes one write to the worker's page. Wakes the manager if there are too few spares now.
    ///
    /// A state in which the worker can take less is in order with the states of others, for
    /// `fewer_spares_than`. To come so late that another worker does not see it yet is the same as to become spare
    /// a little later. The state is written first: for the order, the processor waits for what was written before.
    fn change(&self, after: State, write: impl FnOnce(&SlotPage)) {
        let page = self.page();
        let before = page.state.get();
        page.sequence.write(|| {
            if after.is_spare() {
                page.state.set(after);
            } else if after != before {
                page.state.set_ordered(after);
            }
            write(page);
        });
        if before.is_spare() && !after.is_spare() && self.spares_short() {
            self.wake_manager();
        }
    }

    /// Wakes the manager.
    pub fn wake_manager(&self) {
        // It fails only if the counter is full, and then the eventfd is readable.
        let _ = rustix::io::write(&self.wakeup, &1_u64.to_ne_bytes());
    }

    fn state_with(&self, in_flight: u32) -> State {
        match self.page().state.get() {
            State::Draining => State::Draining, // a draining worker does not return
            _ if in_flight >= self.concurrency => State::Active,
            _ => State::Spare,
        }
    }
}
