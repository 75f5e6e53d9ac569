//! What a slot's worker is doing.

/// What a slot's worker is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum State {
    /// No worker has the slot.
    Empty = 0,
    /// Forked, not yet accepting. Counts towards the spares, or a slow start would cause a fork
    /// too many.
    Starting = 1,
    /// Could start one more request now.
    Spare = 2,
    /// Is as busy as it may be.
    Active = 3,
    /// Takes no new work and leaves when its requests are done.
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
