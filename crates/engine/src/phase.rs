//! The phase of an exchange: every phase, and every step from one to another.
//!
//! The whole state machine is the table in [`Phase::after`], in the manner of
//! h11's `_state.py`. A step that has no place in it is an error: of the
//! application (`LocalError::OutOfTurn`), or of the engine (an assertion).
//! Whether an exchange is in flight, whether a response is owed and whether it
//! was the last one follow from its phase.

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// There is no request.
    Idle,
    /// Another worker has the request, and owes the response.
    Lent,
    /// The application has the head, and decides how to read the body.
    Offered,
    /// The body is received. The application gets it whole.
    Collecting,
    /// The application has the request and owes the head of the response.
    Handling,
    /// The head of the response is written, its body is not complete.
    Streaming,
    /// A WebSocket is open, or the application has taken the connection over.
    Open,
    /// The exchange is over, and it was the last one of its connection.
    Done,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// A request without a body has come.
    Request,
    /// The head of a request has come, and a body follows.
    RequestWithBody,
    /// Another worker serves the request.
    Lend,
    /// The peer sent something malformed, to which a response is owed.
    Malformed,
    /// The application asks for the whole body.
    Collect,
    /// The whole body has come, or cannot be stored.
    Collected,
    /// The application begins, and asks for the body in parts.
    Pull,
    /// The head of the response is written.
    Start,
    /// The response is a 101, or the application takes the connection over.
    Upgrade,
    /// The response is complete, and another request may follow.
    Finish,
    /// The response is complete, and is the last one.
    FinishLast,
    /// The engine has responded instead of the application. It is the last response.
    Reject,
    /// The WebSocket has ended, or the application has done with the connection.
    End,
    /// The connection is closed, in any phase.
    Abort,
}

impl Phase {
    /// The phase that follows; `None` if the step has no place in this one.
    #[inline(always)] // the step is known where it is called
    pub(crate) fn after(self, step: Step) -> Option<Phase> {
        Some(match (self, step) {
            (Phase::Idle, Step::Request) => Phase::Handling,
            (Phase::Idle, Step::RequestWithBody) => Phase::Offered,
            (Phase::Idle, Step::Lend) => Phase::Lent,
            (Phase::Lent, Step::FinishLast | Step::Reject) => Phase::Done,
            (Phase::Idle | Phase::Offered | Phase::Collecting, Step::Malformed) => Phase::Handling,
            (Phase::Offered, Step::Collect) => Phase::Collecting,
            (Phase::Offered, Step::Pull) => Phase::Handling,
            (Phase::Collecting, Step::Collected) => Phase::Handling,
            (Phase::Offered | Phase::Handling, Step::Start) => Phase::Streaming,
            (Phase::Offered | Phase::Handling, Step::Reject) => Phase::Done,
            (Phase::Handling, Step::Upgrade) => Phase::Open,
            (Phase::Streaming, Step::Finish) => Phase::Idle,
            (Phase::Streaming, Step::FinishLast) => Phase::Done,
            (Phase::Open, Step::End) => Phase::Done,
            (_, Step::Abort) => Phase::Done,
            _ => return None,
        })
    }

    /// The application has the request and has not completed the response.
    #[inline]
    pub(crate) fn is_in_flight(self) -> bool {
        matches!(self, Phase::Handling | Phase::Streaming | Phase::Open)
    }

    /// The response is not complete.
    pub(crate) fn owes_response(self) -> bool {
        !matches!(self, Phase::Idle | Phase::Done)
    }

    /// The application owes the head of the response.
    pub(crate) fn owes_head(self) -> bool {
        matches!(self, Phase::Offered | Phase::Handling)
    }

    /// Part of a response has been sent, and more follows.
    pub(crate) fn is_sending(self) -> bool {
        matches!(self, Phase::Streaming | Phase::Open)
    }

    /// No other request follows on the connection.
    #[inline]
    pub(crate) fn was_last(self) -> bool {
        self == Phase::Done
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PHASES: [Phase; 8] = [
        Phase::Idle,
        Phase::Lent,
        Phase::Offered,
        Phase::Collecting,
        Phase::Handling,
        Phase::Streaming,
        Phase::Open,
        Phase::Done,
    ];
    const STEPS: [Step; 14] = [
        Step::Request,
        Step::RequestWithBody,
        Step::Lend,
        Step::Malformed,
        Step::Collect,
        Step::Collected,
        Step::Pull,
        Step::Start,
        Step::Upgrade,
        Step::Finish,
        Step::FinishLast,
        Step::Reject,
        Step::End,
        Step::Abort,
    ];

    /// A row for each phase, a column for each step, in the order of the lists
    /// above: the first letter of the phase that follows (W: Open), or a dot.
    const TABLE: [&str; 8] = [
        "HOLH.........D", // Idle
        "..........DD.D", // Lent
        "...HC.HS...D.D", // Offered
        "...H.H.......D", // Collecting
        ".......SW..D.D", // Handling
        ".........ID..D", // Streaming
        "............DD", // Open
        ".............D", // Done
    ];

    fn letter(phase: Option<Phase>) -> &'static str {
        match phase {
            None => ".",
            Some(Phase::Idle) => "I",
            Some(Phase::Lent) => "L",
            Some(Phase::Offered) => "O",
            Some(Phase::Collecting) => "C",
            Some(Phase::Handling) => "H",
            Some(Phase::Streaming) => "S",
            Some(Phase::Open) => "W",
            Some(Phase::Done) => "D",
        }
    }

    #[test]
    fn each_step_leads_where_the_table_says_and_nowhere_else() {
        for (phase, row) in PHASES.iter().zip(TABLE) {
            let found: String = STEPS
                .iter()
                .map(|&step| letter(phase.after(step)))
                .collect();
            assert_eq!(found, row, "{phase:?}");
        }
    }

    #[test]
    fn every_phase_is_reached_and_every_one_but_the_last_is_left() {
        let mut reached = vec![Phase::Idle];
        let mut at = 0;
        while let Some(&phase) = reached.get(at) {
            let next = STEPS.iter().filter_map(|&step| phase.after(step));
            for next in next {
                if !reached.contains(&next) {
                    reached.push(next);
                }
            }
            at += 1;
        }
        assert_eq!(reached.len(), PHASES.len());
    }

    #[test]
    fn a_request_is_in_flight_from_the_application_to_the_end_of_its_response() {
        for phase in PHASES {
            for step in STEPS {
                let Some(next) = phase.after(step) else {
                    continue;
                };
                let ends = matches!(
                    step,
                    Step::Finish | Step::FinishLast | Step::Reject | Step::End | Step::Abort
                );
                assert!(!next.is_in_flight() || !ends, "{phase:?} {step:?}");
                assert!(!phase.is_in_flight() || next.is_in_flight() || ends);
                // Only a complete response lets another request follow.
                assert_eq!(next == Phase::Idle, step == Step::Finish);
                assert!(next.owes_response() || ends, "{phase:?} {step:?}");
            }
        }
    }
}
