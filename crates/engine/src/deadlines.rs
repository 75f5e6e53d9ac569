//! Deadlines: what a connection waits for, until when, and what expiry does.
//!
//! Two pure functions of a snapshot ([`Wait`]: what a connection waits for):
//! [`due_ms`] is the deadline, [`on_expiry`] what happens then. `timers.rs`
//! holds the deadlines; the reactor acts.

use crate::settings::ListenerSettings;
use prefork_wire::RemoteError;

/// A deadline that never comes.
pub(crate) const NEVER: u64 = u64::MAX / 2;

/// How long a client may take to close its side after we have closed ours.
pub(crate) const LINGER_MS: u64 = 5_000;

/// The response when the application has taken too long (RFC 9110, section 15.6.5).
pub const OVERDUE: RemoteError = RemoteError {
    status: 504,
    reason: "the application did not respond in time",
};

/// What a connection waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wait {
    /// Its first request.
    FirstRequest { since_ms: u64 },
    /// The rest of a request's head.
    Head { since_ms: u64 },
    /// The next request. `until_ms`: an earlier deadline, of a connection that
    /// idled in another worker.
    NextRequest { until_ms: u64 },
    /// More of a request's body, whose rate is checked at `due_ms`.
    Body { due_ms: u64 },
    /// The application, for the head of a response.
    Application { since_ms: u64 },
    /// A frame, or the time for a Ping.
    Frame { due_ms: u64 },
    /// The peer's Close of a WebSocket.
    Close { until_ms: u64 },
    /// The peer to close its side. The deadline was set when ours was closed,
    /// and input does not move it.
    Linger,
    /// The client to read.
    Reader,
    /// What one of its streams waits for.
    Streams { due_ms: u64 },
    /// Nothing that has a time limit.
    Nothing,
}

/// What happens at a deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expiry {
    /// The connection is closed without a response.
    Close,
    /// The client gets a 408: the head took too long.
    HeadTimeout,
    /// The body continues if its rate is high enough.
    JudgePace,
    /// The client gets a 504: the application took too long.
    Overdue,
    /// A Ping is sent, or the connection is closed if the last Ping got no
    /// Pong.
    Ping,
    /// The connection continues if the client has read anything.
    JudgeReader,
    /// Each of its streams is judged by itself.
    JudgeStreams,
    /// The connection does not wait any more.
    Nothing,
}

/// The deadline; `None`: the one that is set stays. `drains_until_ms`: the listener drains, and its
/// idle connections are closed then.
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
        // The head of the last response may have been sent before draining
        // began, without Connection: close.
        Wait::NextRequest { until_ms } => drains_until_ms
            .unwrap_or_else(|| now_ms.saturating_add(settings.keep_alive_timeout_ms))
            .min(until_ms),
        Wait::Application { since_ms } if settings.request_timeout_ms > 0 => {
            since_ms.saturating_add(settings.request_timeout_ms)
        }
        Wait::Reader => now_ms.saturating_add(settings.send_timeout_ms),
        Wait::Body { due_ms } | Wait::Frame { due_ms } | Wait::Streams { due_ms } => due_ms,
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
        Wait::Streams { .. } => Expiry::JudgeStreams,
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
            (Wait::Streams { due_ms: 113 }, 113, Expiry::JudgeStreams),
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
