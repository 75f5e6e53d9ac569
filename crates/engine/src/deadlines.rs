//! When a connection must be looked at next, and what is done then.
//!
//! Two functions of one snapshot ([`Wait`]: what a connection waits for) and no
//! state: [`due_ms`] says when its time is up, [`on_expiry`] what follows. The
//! wheel that brings the time is `timers.rs`; the reactor acts.

use crate::settings::ListenerSettings;

/// A time that does not come.
pub(crate) const NEVER: u64 = u64::MAX / 2;

/// What a connection waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wait {
    /// Its first request.
    FirstRequest { since_ms: u64 },
    /// The rest of a request's head.
    Head { since_ms: u64 },
    /// The next request. `until_ms`: it idled elsewhere before, so not longer.
    NextRequest { until_ms: u64 },
    /// More of a request's body, whose pace is judged at `due_ms`.
    Body { due_ms: u64 },
    /// The application, for the head of a response.
    Application { since_ms: u64 },
    /// A frame, or the time for a Ping.
    Frame { due_ms: u64 },
    /// The peer to close its side: a WebSocket.
    Close { until_ms: u64 },
    /// The same, once our side is closed: from when it is, whatever comes.
    Linger,
    /// The client to read.
    Reader,
    /// Nothing that has a time limit.
    Nothing,
}

/// What is done with a connection whose time is up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expiry {
    /// It is closed, and the client gets nothing.
    Close,
    /// The client gets a 408: the head took too long.
    HeadTimeout,
    /// The body goes on if enough of it came.
    JudgePace,
    /// The client gets a 504: the application took too long.
    Overdue,
    /// A Ping goes out, or no Pong has come for the last one.
    Ping,
    /// The client goes on if it has read anything.
    JudgeReader,
    /// It was not waiting any more.
    Nothing,
}

/// When the time is up; `None`: when it was to be before. `drains_until_ms`: the listener drains, and until then
/// its connections may bring one request more.
#[inline]
pub(crate) fn due_ms(
    wait: Wait,
    settings: &ListenerSettings,
    now_ms: u64,
    drains_until_ms: Option<u64>,
) -> Option<u64> {
    Some(match wait {
        Wait::FirstRequest { since_ms } | Wait::Head { since_ms } => {
            since_ms.saturating_add(settings.header_timeout_ms)
        }
        // The head of the last response may have left before draining began: it
        // did not say that no other follows.
        Wait::NextRequest { until_ms } => drains_until_ms
            .unwrap_or_else(|| now_ms.saturating_add(settings.keep_alive_timeout_ms))
            .min(until_ms),
        Wait::Application { since_ms } if settings.request_timeout_ms > 0 => {
            since_ms.saturating_add(settings.request_timeout_ms)
        }
        Wait::Reader => now_ms.saturating_add(settings.send_timeout_ms),
        Wait::Body { due_ms } | Wait::Frame { due_ms } => due_ms,
        Wait::Close { until_ms } => until_ms,
        Wait::Application { .. } | Wait::Nothing => NEVER,
        Wait::Linger => return None,
    })
}

pub(crate) fn on_expiry(wait: Wait) -> Expiry {
    match wait {
        Wait::FirstRequest { .. }
        | Wait::NextRequest { .. }
        | Wait::Close { .. }
        | Wait::Linger => Expiry::Close,
        Wait::Head { .. } => Expiry::HeadTimeout,
        Wait::Body { .. } => Expiry::JudgePace,
        Wait::Application { .. } => Expiry::Overdue,
        Wait::Frame { .. } => Expiry::Ping,
        Wait::Reader => Expiry::JudgeReader,
        Wait::Nothing => Expiry::Nothing,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> ListenerSettings {
        ListenerSettings {
            header_timeout_ms: 10,
            keep_alive_timeout_ms: 20,
            request_timeout_ms: 30,
            send_timeout_ms: 40,
            ..ListenerSettings::default()
        }
    }

    #[test]
    fn each_wait_has_its_time_and_its_end() {
        let table = [
            (Wait::FirstRequest { since_ms: 90 }, 100, Expiry::Close),
            (Wait::Head { since_ms: 95 }, 105, Expiry::HeadTimeout),
            (Wait::NextRequest { until_ms: NEVER }, 120, Expiry::Close),
            (Wait::NextRequest { until_ms: 110 }, 110, Expiry::Close),
            (Wait::Body { due_ms: 107 }, 107, Expiry::JudgePace),
            (Wait::Application { since_ms: 99 }, 129, Expiry::Overdue),
            (Wait::Frame { due_ms: 111 }, 111, Expiry::Ping),
            (Wait::Close { until_ms: 112 }, 112, Expiry::Close),
            (Wait::Reader, 140, Expiry::JudgeReader),
            (Wait::Nothing, NEVER, Expiry::Nothing),
        ];
        for (wait, due, expiry) in table {
            assert_eq!(due_ms(wait, &settings(), 100, None), Some(due), "{wait:?}");
            assert_eq!(on_expiry(wait), expiry, "{wait:?}");
        }
    }

    #[test]
    fn what_comes_from_a_client_does_not_make_us_linger_longer() {
        assert_eq!(due_ms(Wait::Linger, &settings(), 100, None), None);
        assert_eq!(on_expiry(Wait::Linger), Expiry::Close);
    }

    #[test]
    fn a_listener_that_drains_shortens_only_the_wait_for_the_next_request() {
        let drains = Some(103);
        let next = Wait::NextRequest { until_ms: NEVER };
        assert_eq!(due_ms(next, &settings(), 100, drains), Some(103));
        let younger = Wait::NextRequest { until_ms: 101 };
        assert_eq!(due_ms(younger, &settings(), 100, drains), Some(101));
        let first = Wait::FirstRequest { since_ms: 95 };
        assert_eq!(due_ms(first, &settings(), 100, drains), Some(105));
    }

    #[test]
    fn without_a_request_timeout_an_application_has_all_the_time() {
        let settings = ListenerSettings {
            request_timeout_ms: 0,
            ..settings()
        };
        let wait = Wait::Application { since_ms: 0 };
        assert_eq!(due_ms(wait, &settings, 100, None), Some(NEVER));
    }
}
