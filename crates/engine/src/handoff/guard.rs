//! The guard: a thread that looks after a worker whose main thread is stuck.
//!
//! Each millisecond (more seldom while handlers are fast) it asks whether the
//! main thread has got any further. If not, it hands off the connections that
//! wait for it (`passing.rs`), and waits for more of them; if that lasts longer
//! than a request may take, it responds for it and ends the process. While the
//! main thread waits for something to do, the guard sleeps, until something is
//! overdue: a main thread that sleeps through that is stuck as well, behind
//! another thread. If another loop waits for the reactor, its waiting cannot be
//! told from its work: it is stuck when there is something for the reactor and
//! it does not come.
//!
//! What it finds is [`judge`], a pure function of what it saw. Always holds: it
//! touches the reactor only behind its lock, never Python; in its steady state
//! it allocates nothing.

use crate::handoff::main_thread::{GuardHandle, MainThread, Rest};
use crate::poll_set::{REPORTS, Report, Waiter, brings_clients};
use std::io;
use std::sync::{Arc, Mutex, PoisonError, TryLockError, Weak};
use std::thread::{Builder, park, park_timeout, sleep};
use std::time::{Duration, Instant};

const TICK: Duration = Duration::from_millis(1);
/// So many ticks in which the main thread had nothing to do end in sleep: a
/// worker under some load does not wake its guard with every request.
const IDLE_TICKS: u32 = 2;
/// A main thread that gets so far in a millisecond is in handlers that cost
/// less than to look at it: it is looked at each `SELDOM` ticks.
const FAST_STEPS: u64 = 16;
const SELDOM: u32 = 10;
/// How long a stuck main thread is left alone when nothing waits for it: its
/// request may have had its time by then.
const STUCK_LOOK: Duration = Duration::from_millis(50);
const STACK_BYTES: usize = 64 * 1024;

/// Ends the process, on the guard's thread and without the main one: tells
/// first where that is stuck. Given the request in which it is.
pub type LastWords = fn(&str) -> !;

/// What a guard looks after: a reactor.
pub(crate) trait Guarded {
    fn main_thread(&mut self) -> &mut MainThread;

    /// How long a main thread that sleeps may do so at most. `None`: for ever.
    fn may_sleep(&self) -> Option<Duration>;

    /// What to wait on until there is something to do.
    fn waiter(&self) -> Waiter;

    /// Hands off what waits for the main thread; `reports` is all that waits.
    fn relieve(&mut self, reports: &mut Vec<Report>);

    /// If `step` is longer than a request may take: responds to all of them,
    /// and returns the one that is stuck. The process must end.
    fn respond_for_stuck(&mut self, step: Duration) -> Option<String>;
}

/// Starts the guard of a reactor. It inherits the caller's signal mask, which
/// should be full: signals are the main thread's.
///
/// # Errors
/// When the process may have no further thread.
pub(crate) fn start<G: Guarded + Send + 'static>(
    guarded: &Arc<Mutex<G>>,
    last_words: LastWords,
) -> io::Result<()> {
    let mut guard = Guard {
        guarded: Arc::downgrade(guarded),
        reports: Vec::with_capacity(REPORTS),
        step: 0,
        since: Instant::now(),
        idle_ticks: 0,
        pause_ticks: 1,
        last_words,
    };
    let mut guarded = guarded.lock().unwrap_or_else(PoisonError::into_inner);
    let thread = Builder::new()
        .name("guard".into())
        .stack_size(STACK_BYTES)
        .spawn(move || guard.run())?
        .thread()
        .clone();
    guarded.main_thread().guard = Some(GuardHandle::new(thread));
    Ok(())
}

/// What the guard sees at a tick.
#[derive(Clone, Copy, Debug)]
struct Snapshot {
    /// How many steps the main thread has made since the last tick.
    steps: u64,
    /// How many ticks ago that was.
    slept_ticks: u32,
    rest: Rest,
    /// The main thread sleeps, and should not any more.
    is_overdue: bool,
    /// For how many ticks it has had nothing to do.
    idle_ticks: u32,
    /// There is something to do, and the main thread waits in another loop.
    has_news: bool,
}

/// What follows from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// The main thread gets on; `fast`: too fast to be looked at often.
    GetsOn { fast: bool },
    /// It is inside one step, or asleep, for too long.
    Stuck,
    /// There is something to do, and the loop that waits for it does not come.
    Missed,
    /// It has had nothing to do since the last tick.
    Idle,
}

fn judge(seen: &Snapshot) -> Verdict {
    if seen.steps > 0 {
        let fast = seen.steps > FAST_STEPS * u64::from(seen.slept_ticks);
        return Verdict::GetsOn { fast };
    }
    match seen.rest {
        Rest::Busy => Verdict::Stuck,
        _ if seen.is_overdue => Verdict::Stuck,
        Rest::Elsewhere | Rest::Woken if seen.idle_ticks > 0 && seen.has_news => Verdict::Missed,
        _ => Verdict::Idle,
    }
}

#[derive(Clone, Copy)]
enum Next {
    Tick,
    /// At most so long.
    Sleep(Option<Duration>),
    /// The same, but until there is something to do.
    Wait(Option<Duration>),
    End,
}

struct Guard<G> {
    guarded: Weak<Mutex<G>>,
    reports: Vec<Report>,
    /// Where the main thread was at the last tick, and since when.
    step: u64,
    since: Instant,
    idle_ticks: u32,
    /// How long it pauses before it looks again.
    pause_ticks: u32,
    last_words: LastWords,
}

impl<G: Guarded> Guard<G> {
    fn run(&mut self) {
        loop {
            sleep(TICK * self.pause_ticks);
            let (next, waiter) = self.tick();
            match (next, waiter) {
                // Both return at once if the main thread was quicker.
                (Next::Sleep(Some(most)), _) => park_timeout(most),
                (Next::Sleep(None), _) => park(),
                (Next::Wait(most), Some(waiter)) => {
                    waiter.await_readable(most);
                }
                (Next::End, _) => return,
                (Next::Tick | Next::Wait(_), _) => {}
            }
        }
    }

    /// Looks once; returns what is next, and what to wait on for that.
    fn tick(&mut self) -> (Next, Option<Waiter>) {
        let Some(guarded) = self.guarded.upgrade() else {
            return (Next::End, None);
        };
        let mut guarded = match guarded.try_lock() {
            Ok(guarded) => guarded,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            // It is in use. To wait would make its user wake us.
            Err(TryLockError::WouldBlock) => return (Next::Tick, None),
        };
        let seen = self.look(&mut *guarded);
        let next = match judge(&seen) {
            Verdict::GetsOn { fast } => {
                self.step += seen.steps;
                self.since = Instant::now();
                self.idle_ticks = 0;
                self.pause_ticks = if fast { SELDOM } else { 1 };
                self.rest(&mut *guarded)
            }
            Verdict::Stuck => self.help(&mut *guarded),
            Verdict::Missed => {
                self.pause_ticks = 1;
                guarded.relieve(&mut self.reports);
                self.rest(&mut *guarded)
            }
            Verdict::Idle => {
                self.pause_ticks = 1;
                self.idle_ticks += seen.slept_ticks;
                self.rest(&mut *guarded)
            }
        };
        let waiter = matches!(next, Next::Wait(_)).then(|| guarded.waiter());
        (next, waiter)
    }

    fn look(&self, guarded: &mut G) -> Snapshot {
        let (steps, rest) = {
            let main_thread = guarded.main_thread();
            (main_thread.steps - self.step, main_thread.rest)
        };
        // A system call: only where it can matter.
        let looks = steps == 0 && self.idle_ticks > 0;
        let elsewhere = matches!(rest, Rest::Elsewhere | Rest::Woken);
        Snapshot {
            steps,
            slept_ticks: self.pause_ticks,
            rest,
            is_overdue: guarded.may_sleep() == Some(Duration::ZERO),
            idle_ticks: self.idle_ticks,
            has_news: looks && elsewhere && guarded.waiter().await_readable(Some(Duration::ZERO)),
        }
    }

    /// The main thread is stuck.
    fn help(&mut self, guarded: &mut G) -> Next {
        self.pause_ticks = 1;
        guarded.relieve(&mut self.reports);
        if let Some(request) = guarded.respond_for_stuck(self.since.elapsed()) {
            // With the reactor in hand: the main thread does no more harm.
            (self.last_words)(&request);
        }
        if self.reports.is_empty() && guarded.main_thread().guard.is_some() {
            return Next::Wait(Some(STUCK_LOOK));
        }
        if self.reports.iter().all(|&(data, _)| brings_clients(data)) {
            self.pause_ticks = SELDOM; // other workers accept these
        }
        self.rest(guarded)
    }

    /// Once the main thread has been idle for long enough the guard rests as well.
    fn rest(&mut self, guarded: &mut G) -> Next {
        let most = guarded.may_sleep();
        let main_thread = guarded.main_thread();
        if main_thread.guard.is_none() {
            return Next::End;
        }
        if self.idle_ticks < IDLE_TICKS {
            return Next::Tick;
        }
        self.idle_ticks = 0;
        if main_thread.rest != Rest::Asleep {
            return Next::Wait(most);
        }
        main_thread.park_guard();
        Next::Sleep(most)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDLE: Snapshot = Snapshot {
        steps: 0,
        slept_ticks: 1,
        rest: Rest::Asleep,
        is_overdue: false,
        idle_ticks: 1,
        has_news: false,
    };

    #[test]
    fn a_main_thread_that_gets_on_is_left_alone_whatever_else_there_is() {
        let seen = Snapshot {
            steps: 1,
            rest: Rest::Busy,
            is_overdue: true,
            has_news: true,
            ..IDLE
        };
        assert_eq!(judge(&seen), Verdict::GetsOn { fast: false });
        let fast = Snapshot { steps: 17, ..seen };
        assert_eq!(judge(&fast), Verdict::GetsOn { fast: true });
        // As fast as that over a longer pause is not fast.
        let slower = Snapshot {
            slept_ticks: 10,
            ..fast
        };
        assert_eq!(judge(&slower), Verdict::GetsOn { fast: false });
    }

    #[test]
    fn one_that_is_in_the_same_step_as_before_is_stuck() {
        let rest = Rest::Busy;
        assert_eq!(judge(&Snapshot { rest, ..IDLE }), Verdict::Stuck);
    }

    #[test]
    fn one_that_sleeps_is_stuck_only_behind_its_time() {
        assert_eq!(judge(&IDLE), Verdict::Idle);
        let is_overdue = true;
        for rest in [Rest::Asleep, Rest::Elsewhere, Rest::Woken] {
            let seen = Snapshot {
                rest,
                is_overdue,
                ..IDLE
            };
            assert_eq!(judge(&seen), Verdict::Stuck, "{rest:?}");
        }
    }

    #[test]
    fn news_are_missed_only_by_another_loop_and_not_at_once() {
        let has_news = true;
        for rest in [Rest::Elsewhere, Rest::Woken] {
            let seen = Snapshot {
                rest,
                has_news,
                ..IDLE
            };
            assert_eq!(judge(&seen), Verdict::Missed, "{rest:?}");
            let first = Snapshot {
                idle_ticks: 0,
                ..seen
            };
            assert_eq!(judge(&first), Verdict::Idle, "{rest:?}");
        }
        assert_eq!(judge(&Snapshot { has_news, ..IDLE }), Verdict::Idle);
    }
}
