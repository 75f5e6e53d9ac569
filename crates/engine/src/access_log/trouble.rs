//! What the log has to tell of itself: that it cannot be written, and how many lines were lost when it can.
//!
//! Always holds: there is one line about a failure, and one about its end. A failure that comes back
//! within a minute is not told again, only its end.

use rustix::io::Errno;

/// It is over when so long no line was lost.
const OVER_MS: u64 = 1_000;
const TOLD_AGAIN_MS: u64 = 60_000;

/// What the owner is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogNews {
    /// The log cannot be written, or its file cannot be opened. `goes_on`: the former file takes lines still.
    Fails { error: Errno, goes_on: bool },
    /// It is written again. So many lines were lost.
    Works { lost: u64 },
}

#[derive(Default)]
pub(super) struct Trouble {
    /// Why it fails now, and whether lines are written all the same.
    failure: Option<(Errno, bool)>,
    /// The failure is told.
    is_told: bool,
    told_ms: Option<u64>,
    /// Lines that were lost since the last time that it worked.
    lost: u64,
    lost_ms: u64,
    lost_in_all: u64,
}

impl Trouble {
    pub(super) fn lost_in_all(&self) -> u64 {
        self.lost_in_all
    }

    pub(super) fn lose(&mut self, lines: u64, now_ms: u64) {
        self.lost += lines;
        self.lost_in_all += lines;
        self.lost_ms = now_ms;
    }

    pub(super) fn fail(&mut self, error: Errno, goes_on: bool) {
        self.failure = Some((error, goes_on));
    }

    /// Lines are written, perhaps to the former file.
    #[inline]
    pub(super) fn is_written(&mut self) {
        if !self.failure.is_some_and(|(_, goes_on)| goes_on) {
            self.failure = None;
        }
    }

    #[inline]
    pub(super) fn works(&mut self) {
        self.failure = None;
    }

    /// Whether there is something to tell, now or later.
    #[inline]
    pub(super) fn is_open(&self) -> bool {
        self.lost > 0 || self.is_told || self.failure.is_some()
    }

    /// When there is something to tell.
    pub(super) fn due_ms(&self) -> Option<u64> {
        let is_over = self.failure.is_none() && self.is_open();
        is_over.then_some(self.lost_ms + OVER_MS)
    }

    /// What there is to tell. `is_empty`: no line waits for a reader.
    pub(super) fn news(&mut self, now_ms: u64, is_empty: bool) -> Option<LogNews> {
        if !self.is_open() {
            return None;
        }
        match self.failure {
            Some((error, goes_on)) => {
                let is_recent = |told_ms: u64| now_ms < told_ms.saturating_add(TOLD_AGAIN_MS);
                if self.is_told || self.told_ms.is_some_and(is_recent) {
                    return None;
                }
                self.is_told = true;
                self.told_ms = Some(now_ms);
                self.lost_ms = now_ms;
                Some(LogNews::Fails { error, goes_on })
            }
            None if is_empty && now_ms >= self.lost_ms + OVER_MS => {
                self.is_told = false;
                let lost = std::mem::take(&mut self.lost);
                Some(LogNews::Works { lost })
            }
            None => None,
        }
    }
}
