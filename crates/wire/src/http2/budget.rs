//! What a client may cost on one connection without bringing work.
//!
//! One account for everything that has been used to exhaust servers: resets by the client and resets
//! that it provokes (CVE-2023-44487, CVE-2025-8671), CONTINUATION, empty frames, SETTINGS, PING,
//! PRIORITY and WINDOW_UPDATE floods, large header lists, windows of a few bytes. Requests that are
//! served, data that is sent, and time fill it again. Knows no clock: the caller passes the time.

/// What the client has done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cost {
    /// A stream was reset: by the client, or because of an error of it.
    Reset,
    Settings,
    Ping,
    Continuation,
    /// A frame without content: DATA, HEADERS fragments, padding only.
    Empty,
    Priority,
    Window,
    /// A frame of an unknown type.
    Unknown,
    /// A header list of so many bytes.
    List(usize),
    /// A frame of data was made small by a small window.
    SmallWindow,
    /// A stream beyond the limit.
    Refused,
}

/// What it holds at least.
const LEAST: i32 = 1_000;
/// What it holds for each stream that may be open: a client may reset all of them at once, as a proxy does
/// whose own clients leave, and have spent something before.
const PER_STREAM: i32 = 10;
const PER_SECOND: i32 = 100;
const PER_RESPONSE: i32 = 12;
const PER_DATA: i32 = 3;
/// The lists of ordinary requests are free.
const FREE_LIST_BYTES: usize = 8 * 1024;

#[derive(Debug)]
pub(super) struct Budget {
    left: i32,
    most: i32,
    since_ms: u64,
}

impl Budget {
    /// For a connection with at most so many streams at once.
    pub(super) fn new(max_streams: u32) -> Self {
        let streams = i32::try_from(max_streams).unwrap_or(i32::MAX);
        let most = streams.saturating_mul(PER_STREAM).max(LEAST);
        Self {
            left: most,
            most,
            since_ms: 0,
        }
    }

    /// Fills it for the time that has passed.
    pub(super) fn pass(&mut self, now_ms: u64) {
        let seconds = now_ms.saturating_sub(self.since_ms) / 1000;
        if seconds > 0 {
            self.since_ms = now_ms;
            let seconds = i32::try_from(seconds).unwrap_or(i32::MAX);
            self.earn(seconds.saturating_mul(PER_SECOND));
        }
    }

    fn earn(&mut self, units: i32) {
        self.left = self.left.saturating_add(units).min(self.most);
    }

    /// A response was sent whole.
    pub(super) fn responded(&mut self) {
        self.earn(PER_RESPONSE);
    }

    /// A frame of data was sent.
    pub(super) fn sent_data(&mut self) {
        self.earn(PER_DATA);
    }

    /// True: it is spent.
    #[must_use]
    pub(super) fn spend(&mut self, cost: Cost) -> bool {
        let units = match cost {
            Cost::Reset => 8,
            Cost::Settings | Cost::Continuation | Cost::Empty | Cost::Refused => 4,
            Cost::Ping | Cost::Unknown => 2,
            Cost::Priority | Cost::Window => 1,
            Cost::SmallWindow => PER_DATA + 4,
            Cost::List(bytes) => (bytes.saturating_sub(FREE_LIST_BYTES) / 1024).min(500) as i32,
        };
        self.left = self.left.saturating_sub(units);
        self.left < 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_spent_once_and_filled_by_time() {
        let mut budget = Budget::new(100);
        let resets = std::iter::repeat_with(|| budget.spend(Cost::Reset));
        assert_eq!(resets.take_while(|spent| !spent).count(), 125);
        budget.pass(10_000);
        assert!(!budget.spend(Cost::Reset));
        budget.pass(u64::MAX);
        assert_eq!(budget.left, budget.most);
    }

    #[test]
    fn every_stream_can_be_reset_at_once() {
        for streams in [1, 128, 1_024, 10_000] {
            let mut budget = Budget::new(streams);
            for _ in 0..streams {
                assert!(!budget.spend(Cost::Window) && !budget.spend(Cost::Reset));
            }
            let more = std::iter::repeat_with(|| budget.spend(Cost::Reset));
            let more = more.take_while(|spent| !spent).count();
            assert!(more <= 125.max(streams as usize / 8), "{streams}: {more}");
        }
    }

    #[test]
    fn a_client_that_works_is_never_stopped() {
        let mut budget = Budget::new(128);
        for _ in 0..10_000 {
            // A client that acknowledges each frame of data, twice, and cancels every second
            // request.
            for cost in [Cost::Reset, Cost::Window, Cost::Window, Cost::Ping] {
                assert!(!budget.spend(cost));
            }
            budget.sent_data();
            budget.responded();
        }
    }

    #[test]
    fn windows_of_one_byte_are_stopped() {
        let mut budget = Budget::new(128);
        let frames = std::iter::repeat_with(|| {
            budget.sent_data();
            budget.spend(Cost::Window) | budget.spend(Cost::SmallWindow)
        });
        assert!(frames.take(1_000).any(|spent| spent));
    }
}
