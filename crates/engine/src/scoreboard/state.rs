//! The state of a slot's worker.

/// The state of a slot's worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum State {
    /// No worker has the slot.
    Empty = 0,
    /// Forked, and not accepting yet. It counts as a spare, or a slow start would cause too
    /// many forks.
    Starting = 1,
    /// It could start one more request now.
    Spare = 2,
    /// It has as many requests in flight as it may.
    Active = 3,
    /// It takes no new work and exits when its requests are done.
    Draining = 4,
}

impl State {
    /// Whether a worker in this state will take the next request.
    pub(super) fn is_spare(self) -> bool {
        matches!(self, State::Starting | State::Spare)
    }
}

impl std::fmt::Display for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            State::Empty => "empty",
            State::Starting => "starting",
            State::Spare => "spare",
            State::Active => "active",
            State::Draining => "draining",
        })
    }
}
