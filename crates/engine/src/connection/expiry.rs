//! What a connection waits for, and what is done when that has taken too long.
//!
//! `deadlines.rs` has the limits; here they are carried out.

use super::{Connection, Protocol};
use crate::context::Context;
use crate::deadlines::{Expiry, OVERDUE, Wait};
use crate::event::RequestId;
use crate::link::Stage;
use crate::progress::Progress;
use crate::scoreboard::Limit;

const LATE_PREFACE: &str = "the HTTP/2 preface was not complete in time";

impl Connection {
    #[inline]
    pub(crate) fn waits_for(&self) -> Wait {
        match (self.link.stage, &self.protocol) {
            (Stage::Serving, Protocol::Http2(http2)) => http2.waits_for(&self.link),
            _ if self.link.pending() > 0 => Wait::Reader,
            (Stage::Lingering, _) => Wait::Linger,
            (Stage::Waiting | Stage::Finishing, _) => Wait::Nothing,
            (Stage::Serving, Protocol::Http1(http1)) => http1.waits_for(),
            (Stage::Serving, Protocol::WebSocket(websocket)) => websocket.waits_for(),
            (Stage::Serving, Protocol::TakenOver(_)) => Wait::Nothing,
        }
    }

    /// Its deadline has passed.
    pub(crate) fn expire(&mut self, cx: &mut Context, expiry: Expiry) -> Progress {
        let awaits_preface = self.awaits_preface(&self.link.input);
        let Connection { link, protocol, .. } = self;
        match (expiry, protocol) {
            (Expiry::JudgeReader, _) if !link.transport.peer_reads() => {
                Progress::Close(Some("the client did not read its response"))
            }
            (Expiry::HeadTimeout, Protocol::Http1(http1)) => {
                http1.reject_late(link, cx, "the request head did not arrive in time")
            }
            (Expiry::JudgePace, Protocol::Http1(http1)) => http1.judge_pace(link, cx),
            (Expiry::Overdue, Protocol::Http1(http1)) => http1.overdue(link, cx, &OVERDUE),
            (Expiry::JudgeStreams, Protocol::Http2(http2)) => http2.expire(link, cx),
            (Expiry::HeadTimeout, Protocol::Http2(http2)) => {
                cx.load.count_limit(Limit::Rate);
                Progress::Close(Some(match http2.is_in_preface() {
                    true => LATE_PREFACE,
                    false => "the request head did not arrive in time",
                }))
            }
            (Expiry::Close, Protocol::Http2(http2)) if link.stage == Stage::Serving => {
                http2.drain_now(link, cx);
                Progress::Wait
            }
            (Expiry::Ping, Protocol::WebSocket(websocket)) => websocket.ping(link, cx),
            (Expiry::Close, _) if link.transport.is_in_handshake() => {
                cx.load.count_limit(Limit::Rate);
                Progress::Close(Some("the TLS handshake was not complete in time"))
            }
            (Expiry::Close, _) if awaits_preface => {
                cx.load.count_limit(Limit::Rate);
                Progress::Close(Some(LATE_PREFACE))
            }
            (Expiry::Close, _) => Progress::Close(None),
            _ => Progress::Wait,
        }
    }

    /// The request whose response is overdue, if the main thread has been in one step for
    /// `step_ms`, or for longer than it may be blocked at all (`is_dead`).
    pub(crate) fn stuck_request(&self, step_ms: u64, is_dead: bool) -> Option<(String, RequestId)> {
        let timeout_ms = self.link.settings.request_timeout_ms;
        let is_stuck = is_dead || timeout_ms > 0 && step_ms >= timeout_ms;
        let stuck = self
            .exchanges()
            .find(|(_, exchange)| is_stuck && exchange.holds_up_head())?;
        let label = &stuck.1.label;
        Some((label.line(), label.id_text()))
    }

    /// Writes and logs a 504 if a head is owed: for a process that ends next.
    pub(crate) fn write_overdue_response(&mut self, cx: &mut Context) {
        let Connection { link, protocol, .. } = self;
        match protocol {
            Protocol::Http1(http1) if http1.exchange.holds_up_head() => {
                http1.write_error(link, cx, &OVERDUE);
                cx.load.count_refused(OVERDUE.status);
                let exchange = &http1.exchange;
                let client = link.client(0).behind(exchange.origin.as_deref());
                cx.log_own(client, Some(exchange), &OVERDUE);
            }
            Protocol::Http2(http2) => http2.write_overdue(link, cx, &OVERDUE),
            _ => {}
        }
    }
}
