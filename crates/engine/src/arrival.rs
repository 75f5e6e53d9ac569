//! When what the worker reads could be read first: from then on a request waits for it.
//!
//! The wait of the epoll set tells that something can be read, and not since when. If the loop was idle, it
//! is since now. If not, the kernel is asked when the bytes came (tcp(7), TCP_INFO: it counts in
//! milliseconds), but not often enough to be felt: where requests are quick, an estimate will do. A Unix
//! socket does not tell.
//!
//! Always holds: such a time is not after the present, and a connection that was open before the last wait
//! brought nothing before that wait.

/// A wait of so long has not found something that was ready before.
const IDLE_NS: u64 = 50_000;
/// In less time the kernel's milliseconds tell nothing.
const SHORT_NS: u64 = 1_000_000;
/// It is asked no more often. What it has said of a client that was accepted is right for the next ones so long:
/// they were in one queue.
const ASK_NS: u64 = 100_000;

/// How a connection has come to the turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// The wait has reported it.
    Reported,
    /// It was accepted in this turn.
    Accepted,
    /// Another worker has handed it off.
    Adopted,
}

#[derive(Default)]
pub(crate) struct Arrival {
    /// When the loop began to wait.
    waits_from_ns: u64,
    /// When the wait ended.
    pub(crate) woken_ns: u64,
    /// When what it has reported can have come first.
    earliest_ns: u64,
    /// When the kernel was asked last of a connection that the wait has reported.
    asked_ns: u64,
    /// When it was asked last of one that was accepted.
    asked_accepted_ns: u64,
    /// How long that one had waited.
    waited_ns: u64,
}

impl Arrival {
    /// The loop begins to wait.
    #[inline]
    pub(crate) fn begin_wait(&mut self, now_ns: u64) {
        self.waits_from_ns = now_ns;
    }

    /// The wait has ended.
    #[inline]
    pub(crate) fn end_wait(&mut self, now_ns: u64) {
        let was_idle = now_ns.saturating_sub(self.waits_from_ns) >= IDLE_NS;
        self.earliest_ns = if was_idle { now_ns } else { self.woken_ns };
        self.woken_ns = now_ns;
    }

    /// Connections that have waited for the application are among those of this turn.
    #[cold]
    pub(crate) fn brings_waiting(&mut self) {
        self.earliest_ns = 0;
    }

    /// Since when that could be read which was just received. `ask`: how long ago it came, by the kernel.
    #[inline]
    pub(crate) fn of(
        &mut self,
        source: Source,
        now_ns: u64,
        ask: impl FnOnce() -> Option<u64>,
    ) -> u64 {
        let busy_ns = self.woken_ns.saturating_sub(self.earliest_ns);
        match source {
            Source::Reported if busy_ns < SHORT_NS => self.woken_ns,
            Source::Reported => self.of_reported(busy_ns, now_ns, ask),
            Source::Accepted if busy_ns == 0 && now_ns < self.woken_ns + SHORT_NS => now_ns,
            Source::Accepted => self.of_accepted(now_ns, ask),
            Source::Adopted => ask().map_or(now_ns, |ago_ns| now_ns.saturating_sub(ago_ns)),
        }
    }

    fn of_reported(&mut self, busy_ns: u64, now_ns: u64, ask: impl FnOnce() -> Option<u64>) -> u64 {
        let has_waited = self.earliest_ns == 0;
        let may_ask = has_waited || is_due(&mut self.asked_ns, now_ns);
        match may_ask.then(ask).flatten() {
            Some(ago_ns) => now_ns
                .saturating_sub(ago_ns)
                .clamp(self.earliest_ns, self.woken_ns),
            None if has_waited => self.woken_ns,
            None => self.woken_ns - busy_ns / 2,
        }
    }

    fn of_accepted(&mut self, now_ns: u64, ask: impl FnOnce() -> Option<u64>) -> u64 {
        if is_due(&mut self.asked_accepted_ns, now_ns) {
            self.waited_ns = ask().unwrap_or(0);
        }
        now_ns.saturating_sub(self.waited_ns)
    }
}

/// Whether the kernel may be asked again. If so, it is noted.
fn is_due(asked_ns: &mut u64, now_ns: u64) -> bool {
    let is_due = now_ns >= *asked_ns + ASK_NS;
    if is_due {
        *asked_ns = now_ns;
    }
    is_due
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    /// The loop was woken at 10 ms, was busy for so long, and has waited for so long since.
    fn after(busy_ns: u64, waited_ns: u64) -> (Arrival, u64) {
        let mut arrival = Arrival::default();
        arrival.begin_wait(0);
        arrival.end_wait(10 * MS);
        arrival.begin_wait(10 * MS + busy_ns);
        let now_ns = 10 * MS + busy_ns + waited_ns;
        arrival.end_wait(now_ns);
        (arrival, now_ns)
    }

    fn never() -> Option<u64> {
        panic!("the kernel was asked")
    }

    #[test]
    fn what_wakes_an_idle_loop_has_just_come() {
        let (mut arrival, now) = after(500 * MS, IDLE_NS);
        assert_eq!(arrival.of(Source::Reported, now + 9, never), now);
        assert_eq!(arrival.of(Source::Accepted, now + 9, never), now + 9);
    }

    #[test]
    fn after_a_busy_time_the_kernel_is_asked_and_believed_within_that_time() {
        for (ago, expected) in [(20 * MS, 90 * MS), (0, 110 * MS), (1000 * MS, 10 * MS)] {
            let (mut arrival, now) = after(100 * MS, 0);
            assert_eq!(now, 110 * MS);
            assert_eq!(arrival.of(Source::Reported, now, || Some(ago)), expected);
        }
        let (mut arrival, now) = after(SHORT_NS - 1, 0);
        assert_eq!(arrival.of(Source::Reported, now, never), now);
    }

    #[test]
    fn it_is_not_asked_again_at_once() {
        let (mut arrival, now) = after(100 * MS, 0);
        arrival.of(Source::Reported, now, || Some(0));
        let estimate = now - 50 * MS;
        assert_eq!(arrival.of(Source::Reported, now + 1, never), estimate);
        let later = now + ASK_NS;
        assert_eq!(arrival.of(Source::Reported, later, || None), estimate);
    }

    #[test]
    fn clients_of_one_queue_have_waited_alike() {
        let (mut arrival, now) = after(10, 0);
        let asked = arrival.of(Source::Accepted, now, || Some(70 * MS));
        assert_eq!(asked, now.saturating_sub(70 * MS));
        let (mut arrival, now) = (arrival, now + 1000 * MS);
        arrival.begin_wait(now);
        arrival.end_wait(now);
        assert_eq!(
            arrival.of(Source::Accepted, now, || Some(70 * MS)),
            now - 70 * MS
        );
        assert_eq!(
            arrival.of(Source::Accepted, now + 1, never),
            now + 1 - 70 * MS
        );
        let later = now + ASK_NS;
        assert_eq!(arrival.of(Source::Accepted, later, || None), later);
    }

    #[test]
    fn what_was_handed_off_came_when_the_kernel_says() {
        let (mut arrival, now) = after(10, IDLE_NS);
        assert_eq!(
            arrival.of(Source::Adopted, now, || Some(3 * MS)),
            now - 3 * MS
        );
        assert_eq!(arrival.of(Source::Adopted, now, || None), now);
    }

    #[test]
    fn what_has_waited_for_the_application_may_have_come_long_ago() {
        let (mut arrival, now) = after(10, 0);
        arrival.brings_waiting();
        assert_eq!(
            arrival.of(Source::Reported, now, || Some(5 * MS)),
            now - 5 * MS
        );
        assert_eq!(arrival.of(Source::Reported, now + 1, || None), now);
    }
}
