//! One stream: its exchange, what of its request and its response waits, and its time limits.
//!
//! Always holds: it has its exchange itself, or its WebSocket has it.

use super::carrier::Carrier;
use super::queue::Queue;
use crate::deadlines::Wait;
use crate::exchange::Exchange;
use crate::link::Link;
use crate::phase::Phase;
use crate::request_body::RequestBody;
use crate::websocket::WebSocket;
use prefork_wire::Version;

/// How the response of a stream ends.
pub(super) enum Ending {
    /// More of it follows.
    Open,
    /// With the queue.
    Finish,
    /// With these fields, behind the queue.
    Trailers(Vec<(Vec<u8>, Vec<u8>)>),
    /// It has ended for the peer.
    Ended,
}

pub(super) struct Stream {
    pub(super) id: u32,
    pub(super) exchange: Exchange,
    /// Data of the request's body that is not taken yet.
    pub(super) input: Vec<u8>,
    pub(super) queue: Queue,
    pub(super) ending: Ending,
    /// A thread of the application waits until there is room in the queue.
    pub(super) is_awaited: bool,
    /// When the peer last let something of the queue be sent.
    pub(super) moved_ms: u64,
    /// The peer may send more of the body at once.
    pub(super) is_wide: bool,
    /// After the response that accepts it. It has the exchange then.
    pub(super) websocket: Option<Box<WebSocket>>,
    /// The peer has ended its side of a WebSocket.
    pub(super) has_ended: bool,
    /// The input of a WebSocket is not complete.
    pub(super) is_looked_at: bool,
    /// Another worker serves it.
    pub(super) carrier: Option<Box<Carrier>>,
}

/// What a stream waits for too long.
pub(super) enum Late {
    Body,
    Application,
    Window,
    Message,
}

impl Stream {
    pub(super) fn new(id: u32, now_ms: u64) -> Self {
        let mut exchange = Exchange::default();
        exchange.context.version = Version::Http2;
        exchange.context.keep_alive = true;
        Stream {
            id,
            exchange,
            input: Vec::new(),
            queue: Queue::default(),
            ending: Ending::Open,
            is_awaited: false,
            moved_ms: now_ms,
            is_wide: false,
            websocket: None,
            has_ended: false,
            is_looked_at: false,
            carrier: None,
        }
    }

    pub(super) fn exchange(&self) -> &Exchange {
        let websocket = self.websocket.as_ref();
        websocket.map_or(&self.exchange, |websocket| &websocket.exchange)
    }

    /// Whether the application goes on with the response as soon as it can.
    pub(super) fn is_continued(&self) -> bool {
        self.is_awaited || self.exchange().wants_drained
    }

    /// Whether a WebSocket has ended for both sides, except for what is queued.
    pub(super) fn is_over(&self) -> bool {
        !matches!(self.ending, Ending::Open) && !self.exchange().phase().owes_response()
    }

    /// The time at which a limit is over, and which one.
    pub(super) fn due(&self, link: &Link) -> Option<(u64, Late)> {
        let settings = &link.settings;
        let body = self.exchange.body.coming().and_then(RequestBody::due_ms);
        let body = body.map(|due_ms| (due_ms, Late::Body));
        let owes_head = matches!(self.exchange.phase(), Phase::Offered | Phase::Handling);
        let application = (owes_head && body.is_none() && settings.request_timeout_ms > 0)
            .then(|| {
                self.exchange
                    .given_ms()
                    .saturating_add(settings.request_timeout_ms)
            })
            .map(|due_ms| (due_ms, Late::Application));
        let window = (self.queue.len() > 0)
            .then(|| self.moved_ms.saturating_add(settings.send_timeout_ms))
            .map(|due_ms| (due_ms, Late::Window));
        let websocket = self
            .websocket
            .as_ref()
            .map(|websocket| websocket.waits_for());
        let message = match websocket {
            Some(Wait::Frame { due_ms } | Wait::Close { until_ms: due_ms }) => {
                Some((due_ms, Late::Message))
            }
            _ => None,
        };
        let all = [body, application, window, message].into_iter().flatten();
        all.min_by_key(|(due_ms, _)| *due_ms)
    }

    pub(super) fn due_ms(&self, link: &Link) -> Option<u64> {
        self.due(link).map(|(due_ms, _)| due_ms)
    }
}
