//! The time of one turn: read once, used for everything in it.

use prefork_wire::imf_fixdate;
use rustix::time::{ClockId, clock_gettime};

pub(crate) struct Clock {
    /// CLOCK_MONOTONIC when the turn began.
    pub(crate) now_ns: u64,
    pub(crate) now_ms: u64,
    date_s: u64,
    date: [u8; 29],
}

impl Clock {
    pub(crate) fn new() -> Self {
        let mut clock = Clock {
            now_ns: 0,
            now_ms: 0,
            date_s: 0,
            date: imf_fixdate(0),
        };
        clock.tick();
        clock
    }

    /// A turn begins.
    pub(crate) fn tick(&mut self) {
        self.now_ns = read_ns(ClockId::Monotonic);
        self.now_ms = self.now_ns / 1_000_000;
        let wall_s = read_ns(ClockId::RealtimeCoarse) / 1_000_000_000;
        if wall_s != self.date_s {
            self.date_s = wall_s;
            self.date = imf_fixdate(wall_s);
        }
    }

    /// The value of the Date field (RFC 9110, section 6.6.1).
    pub(crate) fn date(&self) -> [u8; 29] {
        self.date
    }

    /// How long the turn has taken so far.
    pub(crate) fn since_tick_ns(&self) -> u64 {
        read_ns(ClockId::Monotonic).saturating_sub(self.now_ns)
    }

    pub(crate) fn read_ms(&self) -> u64 {
        read_ns(ClockId::Monotonic) / 1_000_000
    }
}

fn read_ns(id: ClockId) -> u64 {
    let time = clock_gettime(id);
    (time.tv_sec as u64).wrapping_mul(1_000_000_000) + time.tv_nsec as u64
}
