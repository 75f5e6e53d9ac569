//! The guard: a thread that looks after a worker whose main thread is stuck.
//!
//! Each millisecond (less often while handlers are fast) it checks whether the
//! main thread has made progress. If not, it hands off the connections that
//! wait for the main thread (`transfer.rs`), and those that follow. If one step
//! takes longer than `request_timeout`, or the main thread is blocked for
//! `heartbeat_timeout`, it responds with 504 and ends the process. While the main thread waits, the guard sleeps until a deadline is
//! overdue: a main thread that does not wake for one is stuck as well, behind
//! another thread. If another loop waits for the reactor, the guard cannot tell
//! whether that loop waits or works: the loop is blocked if the epoll set has
//! reports and the reactor is not called.
//!
//! The decision is [`judge`], a pure function of a snapshot. Always holds: the
//! guard uses the reactor only under its lock, and never Python; in the steady
//! state it allocates nothing.

use crate::event::RequestId;
use crate::handoff::main_thread::{Activity, GuardHandle, MainThread};
use crate::poll_set::{QUEUE, REPORTS, Report, Waiter, brings_clients};
use std::io;
use std::sync::{Arc, Mutex, PoisonError, TryLockError, Weak};
use std::thread::{Builder, park, park_timeout, sleep};
use std::time::{Duration, Instant};

const TICK: Duration = Duration::from_millis(1);
/// After this many ticks without work for the main thread, the guard sleeps.
/// More than one, so that under some load a request does not have to wake the
/// guard.
const IDLE_TICKS: u32 = 2;
/// A main thread that makes more steps than this in a millisecond has handlers
/// that cost less than a check. It is checked each `SELDOM` ticks.
const FAST_STEPS: u64 = 16;
const SELDOM: u32 = 10;
/// How long to wait for connections of a stuck main thread before checking
/// whether its request is overdue.
const STUCK_LOOK: Duration = Duration::from_millis(50);
/// As blocked counts at most so much between two checks: a process that was stopped was not blocked.
const MOST_BETWEEN_CHECKS: Duration = Duration::from_millis(200);
/// How often the scoreboard hears from a worker that has a request in flight.
const BEAT: Duration = Duration::from_secs(1);
/// For a handshake of TLS too: what is not used takes no memory.
const STACK_BYTES: usize = 256 * 1024;

/// What the guard has done about a main thread that is stuck.
pub struct Stuck {
    /// The request that it is stuck in.
    pub request: String,
    pub request_id: RequestId,
}

/// Ends the process on the guard's thread: logs what was done first.
pub type EndStuck = fn(&Stuck) -> !;

/// What a guard needs of a reactor.
pub(crate) trait Guarded {
    fn main_thread(&mut self) -> &mut MainThread;

    /// How much longer the main thread may wait before it is overdue. `None`:
    /// no limit.
    fn may_wait(&self) -> Option<Duration>;

    /// Writes to the scoreboard that this process runs. Returns whether a request is
    /// in flight, so that it has to be written again after `BEAT`.
    fn beat(&mut self) -> bool;

    /// Waits on the epoll set.
    fn waiter(&self) -> Waiter;

    /// Hands off the connections that wait for the main thread, which has been
    /// stuck for so long. `reports` is then what waits on; returns whether streams of connections wait
    /// beside.
    fn hand_off_waiting(&mut self, reports: &mut Vec<Report>, stuck: Duration) -> bool;

    /// The main thread is blocked, for so long already. Writes it to the scoreboard. Returns whether the
    /// process serves: at its start and its end it may take longer.
    fn note_blocked(&mut self, blocked: Duration) -> bool;

    /// If `step` is longer than `request_timeout`, or `is_dead`: responds with 504 on every
    /// connection that owes a response. The process must end then.
    fn respond_for_stuck(&mut self, step: Duration, is_dead: bool) -> Option<Stuck>;
}

/// Starts the guard of a reactor. It inherits the caller's signal mask, which
/// should be full: signals are the main thread's.
///
/// # Errors
/// If the thread cannot be created.
pub(crate) fn start<G: Guarded + Send + 'static>(
    guarded: &Arc<Mutex<G>>,
    heartbeat: Option<Duration>,
    end_stuck: EndStuck,
) -> io::Result<()> {
    let mut guard = Guard {
        guarded: Arc::downgrade(guarded),
        reports: Vec::with_capacity(REPORTS),
        step: 0,
        since: Instant::now(),
        blocked_since: None,
        blocked: Duration::ZERO,
        looked: Instant::now(),
        heartbeat,
        idle_ticks: 0,
        pause_ticks: 1,
        beats: false,
        end_stuck,
    };
    let mut guarded = guarded.lock().unwrap_or_else(PoisonError::into_inner);
    guarded.beat();
    let thread = Builder::new()
        .name("guard".into())
        .stack_size(STACK_BYTES)
        .spawn(move || guard.run())?
        .thread()
        .clone();
    guarded.main_thread().guard = Some(GuardHandle::new(thread));
    Ok(())
}

/// What the guard reads at a tick.
#[derive(Clone, Copy, Debug)]
struct Snapshot {
    /// Steps of the main thread since the last tick.
    steps: u64,
    /// How long the guard slept before this tick.
    slept_ticks: u32,
    activity: Activity,
    /// The main thread waits, and a deadline has passed.
    is_overdue: bool,
    /// For how many ticks it had nothing to do.
    idle_ticks: u32,
    /// The epoll set has reports, and another loop waits for the reactor.
    has_work: bool,
}

/// The decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// The main thread makes progress. `fast`: check less often.
    Progressing { fast: bool },
    /// It is in one step, or waits past a deadline.
    Stuck,
    /// The epoll set has reports, and the loop that waits for it does not call
    /// the reactor.
    LoopBlocked,
    /// It has had nothing to do since the last tick.
    Idle,
}

fn judge(seen: &Snapshot) -> Verdict {
    if seen.steps > 0 {
        let fast = seen.steps > FAST_STEPS * u64::from(seen.slept_ticks);
        return Verdict::Progressing { fast };
    }
    match seen.activity {
        Activity::Busy => Verdict::Stuck,
        _ if seen.is_overdue => Verdict::Stuck,
        Activity::WaitingElsewhere | Activity::Woken if seen.idle_ticks > 0 && seen.has_work => {
            Verdict::LoopBlocked
        }
        _ => Verdict::Idle,
    }
}

#[derive(Clone, Copy)]
enum Next {
    Tick,
    /// At most so long.
    Sleep(Option<Duration>),
    /// At most so long, or until the epoll set has reports.
    Wait(Duration),
    /// As `Wait`, for reports of which nothing is left but what comes: they are looked at without a pause.
    Watch(Duration),
    End,
}

struct Guard<G> {
    guarded: Weak<Mutex<G>>,
    reports: Vec<Report>,
    /// The main thread's step at the last tick, and when it began.
    step: u64,
    since: Instant,
    /// Since when the loop is blocked.
    blocked_since: Option<Instant>,
    /// For how long the main thread has been seen stuck, or its loop blocked.
    blocked: Duration,
    /// When that was last looked at.
    looked: Instant,
    /// How long it may be blocked.
    heartbeat: Option<Duration>,
    idle_ticks: u32,
    /// How long to sleep before the next tick.
    pause_ticks: u32,
    /// A request is in flight.
    beats: bool,
    end_stuck: EndStuck,
}

impl<G: Guarded> Guard<G> {
    fn run(&mut self) {
        let mut pauses = true;
        loop {
            if pauses {
                sleep(TICK * self.pause_ticks);
            }
            let (next, waiter) = self.tick();
            pauses = !matches!(next, Next::Watch(_));
            match (next, waiter) {
                // Both return at once if the main thread has resumed meanwhile.
                (Next::Sleep(Some(most)), _) => park_timeout(most),
                (Next::Sleep(None), _) => park(),
                (Next::Wait(most) | Next::Watch(most), Some(waiter)) => {
                    waiter.await_readable(Some(most));
                }
                (Next::End, _) => return,
                (Next::Tick | Next::Wait(_) | Next::Watch(_), _) => {}
            }
        }
    }

    /// Checks once. Returns what to do next, and what to wait on.
    fn tick(&mut self) -> (Next, Option<Waiter>) {
        let Some(guarded) = self.guarded.upgrade() else {
            return (Next::End, None);
        };
        let mut guarded = match guarded.try_lock() {
            Ok(guarded) => guarded,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            // The main thread holds it. Waiting for the lock would cost the
            // main thread a system call.
            Err(TryLockError::WouldBlock) => return (Next::Tick, None),
        };
        self.beats = guarded.beat();
        let seen = self.read_snapshot(&mut *guarded);
        let verdict = judge(&seen);
        if verdict != Verdict::LoopBlocked {
            self.blocked_since = None;
        }
        let is_dead = self.is_dead(&mut *guarded, verdict);
        let next = match verdict {
            Verdict::Progressing { fast } => {
                self.step += seen.steps;
                self.since = Instant::now();
                self.idle_ticks = 0;
                self.pause_ticks = if fast { SELDOM } else { 1 };
                self.schedule(&mut *guarded)
            }
            Verdict::Stuck => self.handle_stuck(&mut *guarded, is_dead),
            Verdict::LoopBlocked => {
                self.pause_ticks = 1;
                let since = self.blocked_since.get_or_insert_with(Instant::now);
                guarded.hand_off_waiting(&mut self.reports, since.elapsed());
                self.end_if_stuck(&mut *guarded, Duration::ZERO, is_dead);
                self.schedule(&mut *guarded)
            }
            Verdict::Idle => {
                self.pause_ticks = 1;
                self.idle_ticks += seen.slept_ticks;
                self.schedule(&mut *guarded)
            }
        };
        let waiter = matches!(next, Next::Wait(_) | Next::Watch(_)).then(|| guarded.waiter());
        (next, waiter)
    }

    fn read_snapshot(&self, guarded: &mut G) -> Snapshot {
        let (steps, activity) = {
            let main_thread = guarded.main_thread();
            (main_thread.steps - self.step, main_thread.activity)
        };
        // The check is a system call: it is made only if the result matters.
        let looks = steps == 0 && self.idle_ticks > 0;
        let elsewhere = matches!(activity, Activity::WaitingElsewhere | Activity::Woken);
        Snapshot {
            steps,
            slept_ticks: self.pause_ticks,
            activity,
            is_overdue: guarded.may_wait() == Some(Duration::ZERO),
            idle_ticks: self.idle_ticks,
            has_work: looks && elsewhere && guarded.waiter().await_readable(Some(Duration::ZERO)),
        }
    }

    /// Whether the main thread is blocked for longer than it may be.
    fn is_dead(&mut self, guarded: &mut G, verdict: Verdict) -> bool {
        let now = Instant::now();
        let since = now.duration_since(std::mem::replace(&mut self.looked, now));
        if !matches!(verdict, Verdict::Stuck | Verdict::LoopBlocked) {
            self.blocked = Duration::ZERO;
            return false;
        }
        self.blocked += since.min(MOST_BETWEEN_CHECKS);
        let serves = guarded.note_blocked(self.blocked);
        serves && self.heartbeat.is_some_and(|most| self.blocked >= most)
    }

    fn end_if_stuck(&self, guarded: &mut G, step: Duration, is_dead: bool) {
        if let Some(stuck) = guarded.respond_for_stuck(step, is_dead) {
            // The lock is held, so that the main thread cannot use the reactor
            // any more.
            (self.end_stuck)(&stuck);
        }
    }

    /// The main thread is stuck.
    fn handle_stuck(&mut self, guarded: &mut G, is_dead: bool) -> Next {
        self.pause_ticks = 1;
        let stuck_for = self.since.elapsed();
        let streams_wait = guarded.hand_off_waiting(&mut self.reports, stuck_for);
        self.end_if_stuck(guarded, stuck_for, is_dead);
        if self.reports.is_empty() && !streams_wait && guarded.main_thread().guard.is_some() {
            return Next::Watch(STUCK_LOOK);
        }
        // Other workers accept new clients. What is in the queue may be of this worker, and come back soon.
        let is_left = |&(data, _): &Report| brings_clients(data) && data != QUEUE;
        if !streams_wait && self.reports.iter().all(is_left) {
            self.pause_ticks = SELDOM;
        }
        self.schedule(guarded)
    }

    /// What to do until the next check: the guard sleeps if the main thread was
    /// idle for long enough.
    fn schedule(&mut self, guarded: &mut G) -> Next {
        let most = match (guarded.may_wait(), self.beats) {
            (most, true) => Some(most.map_or(BEAT, |most| most.min(BEAT))),
            (most, false) => most,
        };
        let main_thread = guarded.main_thread();
        if main_thread.guard.is_none() {
            return Next::End;
        }
        if self.idle_ticks < IDLE_TICKS {
            return Next::Tick;
        }
        self.idle_ticks = 0;
        if main_thread.activity != Activity::Waiting {
            // The other loop may take a report before the guard sees it, and be blocked by what that brings.
            return Next::Wait(most.map_or(BEAT, |most| most.min(BEAT)));
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
        activity: Activity::Waiting,
        is_overdue: false,
        idle_ticks: 1,
        has_work: false,
    };

    #[test]
    fn a_main_thread_that_makes_progress_is_left_alone() {
        let seen = Snapshot {
            steps: 1,
            activity: Activity::Busy,
            is_overdue: true,
            has_work: true,
            ..IDLE
        };
        assert_eq!(judge(&seen), Verdict::Progressing { fast: false });
        let fast = Snapshot { steps: 17, ..seen };
        assert_eq!(judge(&fast), Verdict::Progressing { fast: true });
        // As fast as that over a longer pause is not fast.
        let slower = Snapshot {
            slept_ticks: 10,
            ..fast
        };
        assert_eq!(judge(&slower), Verdict::Progressing { fast: false });
    }

    #[test]
    fn one_that_is_in_the_same_step_as_before_is_stuck() {
        let activity = Activity::Busy;
        assert_eq!(judge(&Snapshot { activity, ..IDLE }), Verdict::Stuck);
    }

    #[test]
    fn one_that_waits_is_stuck_only_when_it_is_overdue() {
        assert_eq!(judge(&IDLE), Verdict::Idle);
        let is_overdue = true;
        for activity in [
            Activity::Waiting,
            Activity::WaitingElsewhere,
            Activity::Woken,
        ] {
            let seen = Snapshot {
                activity,
                is_overdue,
                ..IDLE
            };
            assert_eq!(judge(&seen), Verdict::Stuck, "{activity:?}");
        }
    }

    #[test]
    fn only_another_loop_is_blocked_and_not_at_once() {
        let has_work = true;
        for activity in [Activity::WaitingElsewhere, Activity::Woken] {
            let seen = Snapshot {
                activity,
                has_work,
                ..IDLE
            };
            assert_eq!(judge(&seen), Verdict::LoopBlocked, "{activity:?}");
            let first = Snapshot {
                idle_ticks: 0,
                ..seen
            };
            assert_eq!(judge(&first), Verdict::Idle, "{activity:?}");
        }
        assert_eq!(judge(&Snapshot { has_work, ..IDLE }), Verdict::Idle);
    }
}
