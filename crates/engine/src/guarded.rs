//! The reactor as its guard sees it (`handoff/guard.rs`).

use crate::exchange::ConnectionId;
use crate::handoff::guard::Guarded;
use crate::handoff::main_thread::MainThread;
use crate::poll_set::{Report, SPECIAL, WAKEUP, Waiter};
use crate::reactor::Reactor;
use rustix::event::epoll::EventFlags;
use rustix::time::Timespec;
use std::time::Duration;

/// How late the main thread may be when its sleep should end.
const GRACE: Duration = Duration::from_millis(500);

impl Guarded for Reactor {
    fn main_thread(&mut self) -> &mut MainThread {
        &mut self.core.main_thread
    }

    fn may_sleep(&self) -> Option<Duration> {
        let due = Duration::from_millis(self.core.timers.next_ms()?) + GRACE;
        let now = Duration::from_millis(self.core.cx.clock.read_ms());
        Some(due.saturating_sub(now))
    }

    fn waiter(&self) -> Waiter {
        self.core.set.waiter()
    }

    /// Hands off no more than spares can take. What is left is looked at again
    /// at the next call. Looking takes nothing from the main thread: all but
    /// the wakeup is level-triggered, and that one is written again.
    fn relieve(&mut self, reports: &mut Vec<Report>) {
        reports.clear();
        self.core
            .set
            .waiter()
            .wait(Some(&Timespec::default()), reports);
        if reports.iter().any(|&(data, _)| data == WAKEUP) {
            self.core.set.wake();
        }
        let mut room = self.core.passing.room_elsewhere(&self.core.cx.load);
        let before = self.core.cx.load.counters.handed_off;
        for &(data, flags) in reports.iter() {
            let id = ConnectionId::from_u64(data);
            // One that also ends is for the main thread to hear of.
            let asks = data & SPECIAL == 0 && flags == EventFlags::IN;
            let is_open = asks && self.core.connections.find(id).is_ok();
            if room > 0 && is_open && self.core.hand_off_outside(id.key) {
                room -= 1;
            }
        }
        if self.core.cx.load.counters.handed_off > before {
            self.core.cx.load.tell(self.core.cx.clock.now_ns);
        }
    }

    fn respond_for_stuck(&mut self, step: Duration) -> Option<String> {
        let step_ms = u64::try_from(step.as_millis()).unwrap_or(u64::MAX);
        let stuck = self.core.connections.keys().find_map(|key| {
            let connection = self.core.connections.get(key)?;
            connection.stuck_request(step_ms)
        })?;
        for key in self.core.connections.keys() {
            if self.core.hand_off_outside(key) {
                continue;
            }
            if let Some(connection) = self.core.connections.get_mut(key) {
                connection.write_last_words(&mut self.core.cx);
                // The process ends in any case.
                let _ = connection.link.flush(&mut self.core.cx);
            }
        }
        Some(stuck)
    }
}
