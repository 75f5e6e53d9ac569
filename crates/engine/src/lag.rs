//! How long the loop of this process is busy between two waits.
//!
//! What becomes ready in that time has to wait for it: the loop's lag. Owns: the longest time of the last
//! two windows. Always holds: it is measured once in a turn, and never for a request.

/// So long a maximum is kept at least; at most twice as long.
const WINDOW_NS: u64 = 10_000_000_000;

#[derive(Default)]
pub(crate) struct Lag {
    /// When the loop was woken; 0: it waits, or what it does is not measured.
    woken_ns: u64,
    window_ns: u64,
    longest_ns: u64,
    before_ns: u64,
}

impl Lag {
    /// The loop was woken.
    #[inline]
    pub(crate) fn begin(&mut self, now_ns: u64) {
        if self.woken_ns == 0 {
            self.woken_ns = now_ns;
        }
    }

    /// The loop is about to wait. Returns whether the longest time may be another one.
    #[inline]
    pub(crate) fn end(&mut self, now_ns: u64) -> bool {
        let woken_ns = std::mem::take(&mut self.woken_ns);
        woken_ns > 0 && self.note(now_ns.saturating_sub(woken_ns), now_ns)
    }

    /// The loop was busy for so long, or is still. Returns as `end` does.
    #[inline]
    pub(crate) fn note(&mut self, busy_ns: u64, now_ns: u64) -> bool {
        let is_over = now_ns.saturating_sub(self.window_ns) > WINDOW_NS;
        if is_over {
            self.turn_window(now_ns);
        }
        let is_longer = busy_ns > self.longest_ns;
        if is_longer {
            self.longest_ns = busy_ns;
        }
        is_over || is_longer
    }

    #[cold]
    fn turn_window(&mut self, now_ns: u64) {
        let is_last = now_ns.saturating_sub(self.window_ns) <= 2 * WINDOW_NS;
        self.before_ns = if is_last { self.longest_ns } else { 0 };
        self.longest_ns = 0;
        self.window_ns = now_ns;
    }

    /// The longest time of the last two windows.
    #[inline]
    pub(crate) fn longest_ns(&self) -> u64 {
        self.longest_ns.max(self.before_ns)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn the_longest_time_is_kept_for_a_while() {
        let mut lag = Lag::default();
        let mut busy = |from_s: u64, for_ns: u64| {
            lag.begin(from_s * SECOND);
            lag.begin(from_s * SECOND + 1); // a turn that follows without a wait
            lag.end(from_s * SECOND + for_ns);
            lag.longest_ns()
        };
        assert_eq!(busy(100, 5), 5);
        assert_eq!(busy(101, 3), 5);
        assert_eq!(busy(105, 9), 9);
        assert_eq!(busy(112, 2), 9);
        assert_eq!(busy(123, 1), 2);
        assert_eq!(busy(200, 1), 1, "nothing was measured in between");
    }

    #[test]
    fn what_is_not_a_turn_is_not_measured() {
        let mut lag = Lag::default();
        lag.end(7 * SECOND);
        assert_eq!(lag.longest_ns(), 0);
        lag.note(SECOND, 10 * SECOND);
        assert_eq!(lag.longest_ns(), SECOND, "a loop that is blocked now");
    }
}
