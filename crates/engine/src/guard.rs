//! The guard: a thread that looks after a worker whose main thread is stuck.
//!
//! Each millisecond (more seldom while handlers are fast) it asks whether the
//! main thread has got any further. If not, it passes on the connections that
//! wait for it (`handoff.rs`), and waits for more of them; if that lasts longer
//! than a request may take, it answers for it and ends the process. While the main thread waits for
//! something to do, the guard sleeps, until something is overdue: who sleeps
//! through that is stuck as well, behind another thread. If another loop waits
//! for the engine, nobody can tell its waiting from its work: it is stuck when
//! there is something for the engine and it does not come.
//!
//! Always holds: it touches the engine only behind its lock, never Python; in
//! its steady state it allocates nothing; the main thread pays for it with a
//! counter, and with a wake-up when both have been asleep.

use crate::connection::Phase;
use crate::poll_set::{REPORTS, Report, Waiter, is_a_door};
use crate::reactor::Reactor;
use prefork_wire::{RemoteError, write_error};
use std::io;
use std::sync::{Mutex, PoisonError, TryLockError, Weak};
use std::thread::{Builder, Thread, park, park_timeout, sleep};
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
/// How late the main thread may be when its sleep should end.
const GRACE: Duration = Duration::from_millis(500);
const STACK_BYTES: usize = 64 * 1024;

/// What the main thread is doing, as far as the guard is concerned.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rest {
    /// None: it is inside a turn, or runs what the owner does between turns.
    Busy,
    /// It waits, or is about to: whoever has news rings.
    Asleep,
    /// Another loop comes when there is something to do: whoever has news rings.
    Elsewhere,
    /// The alarm has been rung.
    Rung,
}

/// The engine's hold on its guard. The guard ends with it.
pub(crate) struct Watch {
    thread: Thread,
    parked: bool,
}

impl Watch {
    /// The main thread has something to do.
    pub(crate) fn resume(&mut self) {
        if std::mem::take(&mut self.parked) {
            self.thread.unpark();
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.thread.unpark();
    }
}

/// Ends the process, on the guard's thread and without the main one: tells
/// first where that is stuck. Given the request in which it is.
pub type LastWords = fn(&str) -> !;

/// Starts the guard of an engine. It inherits the caller's signal mask, which
/// should be full: signals are the main thread's.
///
/// # Errors
/// When the process may have no further thread.
pub fn start(engine: &std::sync::Arc<Mutex<Reactor>>, last_words: LastWords) -> io::Result<()> {
    let mut guard = Guard {
        engine: std::sync::Arc::downgrade(engine),
        reports: Vec::with_capacity(REPORTS),
        step: 0,
        since: Instant::now(),
        idle_ticks: 0,
        pause_ticks: 1,
        last_words,
    };
    let mut engine = engine.lock().unwrap_or_else(PoisonError::into_inner);
    let thread = Builder::new()
        .name("guard".into())
        .stack_size(STACK_BYTES)
        .spawn(move || guard.run())?
        .thread()
        .clone();
    engine.watch = Some(Watch {
        thread,
        parked: false,
    });
    Ok(())
}

enum Next {
    Tick,
    /// At most so long.
    Sleep(Option<Duration>),
    /// The same, but until there is something to do.
    Wait(Waiter, Option<Duration>),
    End,
}

struct Guard {
    engine: Weak<Mutex<Reactor>>,
    reports: Vec<Report>,
    /// Where the main thread was at the last tick, and since when.
    step: u64,
    since: Instant,
    idle_ticks: u32,
    /// How long it pauses before it looks again.
    pause_ticks: u32,
    last_words: LastWords,
}

impl Guard {
    fn run(&mut self) {
        loop {
            sleep(TICK * self.pause_ticks);
            match self.tick() {
                Next::Tick => {}
                // Both return at once if the main thread was quicker.
                Next::Sleep(Some(most)) => park_timeout(most),
                Next::Sleep(None) => park(),
                Next::Wait(waiter, most) => {
                    waiter.await_readable(most);
                }
                Next::End => return,
            }
        }
    }

    fn tick(&mut self) -> Next {
        let Some(engine) = self.engine.upgrade() else {
            return Next::End;
        };
        let mut engine = match engine.try_lock() {
            Ok(engine) => engine,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            // Somebody is at work in it. To wait would make them wake us.
            Err(TryLockError::WouldBlock) => return Next::Tick,
        };
        let slept_ticks = self.pause_ticks;
        let is_fast = engine.steps - self.step > FAST_STEPS * u64::from(slept_ticks);
        self.pause_ticks = if is_fast { SELDOM } else { 1 };
        if self.step != engine.steps {
            self.step = engine.steps;
            self.since = Instant::now();
            self.idle_ticks = 0;
        } else if engine.rest == Rest::Busy || engine.sleeps_on() == Some(Duration::ZERO) {
            engine.relieve(&mut self.reports);
            if let Some(request) = engine.give_up(self.since.elapsed()) {
                // With the engine in hand: the main thread does no more harm.
                (self.last_words)(&request);
            }
            if self.reports.is_empty() && engine.watch.is_some() {
                return Next::Wait(engine.waiter(), Some(STUCK_LOOK));
            }
            if self.reports.iter().all(|&(data, _)| is_a_door(data)) {
                self.pause_ticks = SELDOM; // whoever is there is for others to let in
            }
        } else if self.idle_ticks > 0 && engine.is_missed() {
            engine.relieve(&mut self.reports);
        } else {
            self.idle_ticks += slept_ticks;
        }
        let most = engine.sleeps_on();
        let waits_elsewhere = engine.rest != Rest::Asleep;
        let waiter = engine.waiter();
        match &mut engine.watch {
            None => Next::End,
            Some(watch) if self.idle_ticks >= IDLE_TICKS => {
                self.idle_ticks = 0;
                if waits_elsewhere {
                    return Next::Wait(waiter, most);
                }
                watch.parked = true;
                Next::Sleep(most)
            }
            Some(_) => Next::Tick,
        }
    }
}

impl Reactor {
    /// How long a main thread that sleeps may do so at most. `None`: for ever.
    fn sleeps_on(&self) -> Option<Duration> {
        let due = Duration::from_millis(self.timers.next_ms()?) + GRACE;
        Some(due.saturating_sub(Duration::from_millis(self.clock.read_ms())))
    }

    /// There is something to do, and the loop that waits for it does not come.
    fn is_missed(&self) -> bool {
        self.rest != Rest::Asleep && self.waiter().await_readable(Some(Duration::ZERO))
    }

    /// If the step that the main thread is in has lasted longer than a
    /// request may take: answers for every request of the application, passes
    /// all others on, and returns the one that is stuck. The process must end.
    fn give_up(&mut self, step: Duration) -> Option<String> {
        let stuck = (0..self.conns.len() as u32).find(|&key| {
            self.conn(key).is_some_and(|conn| {
                let timeout_ms = conn.settings.request_timeout_ms;
                timeout_ms > 0
                    && matches!(conn.phase, Phase::Offered | Phase::Handling)
                    && step >= Duration::from_millis(timeout_ms)
            })
        })?;
        let date = self.clock.date();
        for key in 0..self.conns.len() as u32 {
            if self.pass_by(key) {
                continue;
            }
            let Reactor { conns, buffers, .. } = self;
            let Some(Some(conn)) = conns.get_mut(key as usize) else {
                continue;
            };
            if matches!(conn.phase, Phase::Offered | Phase::Handling) {
                let head_only = conn.asked.head_only;
                conn.output
                    .append(buffers, |out| write_error(out, &OVERDUE, &date, head_only));
            }
            // Whatever becomes of it: there is nobody left to hear.
            let _ = conn
                .output
                .flush(std::os::fd::AsFd::as_fd(&conn.socket), buffers);
        }
        let conn = self.conn(stuck)?;
        Some(conn.line())
    }
}

/// RFC 9110, section 15.6.5.
pub(crate) const OVERDUE: RemoteError = RemoteError {
    status: 504,
    reason: "the application did not answer in time",
};
