//! The current time.
//!
//! Always holds: a time that is stored or compared was read after the application
//! last ran, because a handler may take seconds. So the clock is read when a turn
//! begins and each time the application returns to the turn (`next_event`), and
//! again by calls of the application that store a time. It costs some 25 ns, and
//! no system call (vdso(7)).

use prefork_wire::imf_fixdate;
use rustix::time::{ClockId, clock_gettime};

pub(crate) struct Clock {
    /// CLOCK_MONOTONIC at the last `tick`.
    pub(crate) now_ns: u64,
    pub(crate) now_ms: u64,
    turn_began_ns: u64,
    date_s: u64,
    date: [u8; 29],
}

impl Clock {
    pub(crate) fn new() -> Self {
        let mut clock = Clock {
            now_ns: 0,
            now_ms: 0,
            turn_began_ns: 0,
            date_s: 0,
            date: imf_fixdate(0),
        };
        clock.begin_turn();
        clock
    }

    pub(crate) fn begin_turn(&mut self) {
        self.tick();
        self.turn_began_ns = self.now_ns;
    }

    /// Reads the clock.
    #[inline]
    pub(crate) fn tick(&mut self) {
        self.now_ns = read_ns(ClockId::Monotonic);
        self.now_ms = self.now_ns / 1_000_000;
    }

    /// The value of the Date field of a response that is sent now (RFC 9110,
    /// section 6.6.1).
    #[inline]
    pub(crate) fn date(&mut self) -> [u8; 29] {
        let wall_s = clock_gettime(ClockId::RealtimeCoarse).tv_sec as u64;
        if wall_s != self.date_s {
            self.date_s = wall_s;
            self.date = imf_fixdate(wall_s);
        }
        self.date
    }

    /// How long the turn has taken at the last `tick`.
    pub(crate) fn turn_ns(&self) -> u64 {
        self.now_ns.saturating_sub(self.turn_began_ns)
    }

    pub(crate) fn read_ns(&self) -> u64 {
        read_ns(ClockId::Monotonic)
    }

    /// A coin: some bit of the time of the last `tick`.
    pub(crate) fn is_even(&self) -> bool {
        self.now_ns >> 10 & 1 == 0
    }

    pub(crate) fn read_ms(&self) -> u64 {
        read_ns(ClockId::Monotonic) / 1_000_000
    }
}

fn read_ns(id: ClockId) -> u64 {
    let time = clock_gettime(id);
    (time.tv_sec as u64).wrapping_mul(1_000_000_000) + time.tv_nsec as u64
}
