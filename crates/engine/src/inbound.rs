//! A request's body on its way in.
//!
//! Owns: how far its decoding is, and the pace that it must keep. Somebody
//! either collects all of it before the application begins (`Collecting`), or
//! the application has begun and pulls it, piece by piece. Always holds: while
//! nobody wants it nothing is read from the socket, so a client can send no
//! faster than the application takes; and that time is not held against it.

use crate::answering::{LocalError, find};
use crate::body::Body;
use crate::connection::Phase;
use crate::event::Event;
use crate::exchange::ExchangeId;
use crate::reactor::Reactor;
use prefork_wire::{BodyDecoder, CONTINUE, RemoteError};

/// The minimum rate of a body is judged over windows of this length.
const RATE_WINDOW_MS: u64 = 5_000;

/// A part of a body, as the application reads it.
#[derive(Default)]
pub struct BodyPart {
    pub data: Vec<u8>,
    /// The body ends with it.
    pub last: bool,
}

/// The current window, which passes only while somebody wants the body.
enum Window {
    Held { left_ms: u64 },
    Runs { until_ms: u64 },
}

pub(crate) struct Inbound {
    pub(crate) decoder: BodyDecoder,
    /// What was collected.
    pub(crate) body: Body,
    /// Method and target of the request, for the scoreboard.
    pub(crate) request: (Box<[u8]>, Box<[u8]>),
    /// Bytes that came in the current window.
    pub(crate) in_window: u64,
    window: Window,
}

impl Inbound {
    pub(crate) fn new(decoder: BodyDecoder, method: &[u8], target: &[u8]) -> Self {
        Inbound {
            decoder,
            body: Body::Memory(Vec::new()),
            request: (method.into(), target.into()),
            in_window: 0,
            window: Window::Held {
                left_ms: RATE_WINDOW_MS,
            },
        }
    }

    pub(crate) fn is_wanted(&self) -> bool {
        matches!(self.window, Window::Runs { .. })
    }

    pub(crate) fn want(&mut self, now_ms: u64) {
        if let Window::Held { left_ms } = self.window {
            let until_ms = now_ms + left_ms;
            self.window = Window::Runs { until_ms };
        }
    }

    fn hold(&mut self, now_ms: u64) {
        if let Window::Runs { until_ms } = self.window {
            let left_ms = until_ms.saturating_sub(now_ms);
            self.window = Window::Held { left_ms };
        }
    }

    /// When its pace is to be judged; `None` while nobody wants it.
    pub(crate) fn due_ms(&self) -> Option<u64> {
        match self.window {
            Window::Held { .. } => None,
            Window::Runs { until_ms } => Some(until_ms),
        }
    }

    /// Ends a window; whether enough came in it.
    pub(crate) fn keeps_pace(&mut self, rate: u64, now_ms: u64) -> bool {
        self.window = Window::Runs {
            until_ms: now_ms + RATE_WINDOW_MS,
        };
        std::mem::take(&mut self.in_window) >= rate * RATE_WINDOW_MS / 1000
    }
}

impl Reactor {
    /// Takes on a request whose body the application will [`Reactor::pull`].
    /// Returns what came together with the head.
    ///
    /// # Errors
    /// [`LocalError`]; also if that breaks the rules: [`Event::Malformed`] follows.
    pub fn begin_pulling(&mut self, id: ExchangeId) -> Result<Option<BodyPart>, LocalError> {
        if find(&mut self.conns, id)?.phase != Phase::Offered {
            return Err(LocalError::OutOfTurn);
        }
        let came = if self.is_current(id.connection.key) {
            self.decode(id.connection.key)
        } else {
            Ok(None)
        };
        let piece = came.map_err(|reject| {
            let event = self.malformed(id.connection.key, reject);
            self.events.extend(event);
            LocalError::OutOfTurn
        })?;
        let conn = find(&mut self.conns, id)?;
        conn.phase = Phase::Handling;
        let inbound = conn.inbound.as_deref_mut();
        let (method, target) = inbound
            .map(|inbound| std::mem::take(&mut inbound.request))
            .unwrap_or_default();
        self.body_came(id.connection.key, piece.as_ref());
        self.take_on(&method, &target);
        Ok(piece)
    }

    /// Asks for more of the body: [`Event::BodyPart`] follows, once. Interim
    /// answers are past when the answer has begun (RFC 9110, section 10.1.1).
    ///
    /// # Errors
    /// [`LocalError`]; `OutOfTurn` if there is no more.
    pub fn pull(&mut self, id: ExchangeId) -> Result<(), LocalError> {
        let now_ms = self.clock.now_ms;
        let Reactor { conns, buffers, .. } = self;
        let conn = find(conns, id)?;
        let (Phase::Handling | Phase::Streaming, Some(inbound)) = (conn.phase, &mut conn.inbound)
        else {
            return Err(LocalError::OutOfTurn);
        };
        inbound.want(now_ms);
        if std::mem::take(&mut conn.expects_continue) && conn.phase == Phase::Handling {
            conn.output
                .append(buffers, |out| out.extend_from_slice(CONTINUE));
        }
        self.touch(id.connection.key);
        Ok(())
    }

    /// What has come of a body that the application waits for.
    pub(crate) fn read_piece(&mut self, key: u32) -> Option<Event> {
        let inbound = self.conn(key)?.inbound.as_deref()?;
        if !inbound.is_wanted() {
            return None;
        }
        let piece = match self.decode(key) {
            Ok(piece) => piece?,
            Err(reject) => return self.break_body_off(key, reject),
        };
        self.body_came(key, Some(&piece));
        let exchange = self.conn(key)?.id(key);
        Some(Event::BodyPart {
            exchange,
            part: piece,
        })
    }

    /// Decodes all that is there.
    fn decode(&mut self, key: u32) -> Result<Option<BodyPart>, RemoteError> {
        let Some(Some(conn)) = self.conns.get_mut(key as usize) else {
            return Ok(None);
        };
        let Some(inbound) = conn.inbound.as_deref_mut() else {
            return Ok(None);
        };
        let mut data = Vec::new();
        loop {
            let input = self.work.get(self.at..).unwrap_or_default();
            let decoded = inbound.decoder.decode(input, &conn.settings.limits)?;
            self.at += decoded.consumed;
            data.extend_from_slice(input.get(decoded.data).unwrap_or_default());
            if decoded.done || decoded.consumed == 0 {
                let last = decoded.done;
                return Ok((last || !data.is_empty()).then_some(BodyPart { data, last }));
            }
        }
    }

    /// Notes that a piece was read for the application.
    fn body_came(&mut self, key: u32, piece: Option<&BodyPart>) {
        let now_ms = self.clock.now_ms;
        let (Some(conn), Some(piece)) = (self.conn_mut(key), piece) else {
            return;
        };
        conn.taken_ms = now_ms; // its time begins anew with each piece
        if piece.last {
            conn.inbound = None;
            conn.body_unread = false;
        } else if let Some(inbound) = conn.inbound.as_deref_mut() {
            inbound.in_window += piece.data.len() as u64;
            inbound.hold(now_ms);
        }
    }

    /// The rest of a body that the application waits for will not come: the
    /// client hears why, unless its answer has begun.
    pub(crate) fn break_body_off(&mut self, key: u32, reject: RemoteError) -> Option<Event> {
        self.at = self.work.len();
        let conn = self.conn_mut(key)?;
        conn.inbound = None;
        let client = conn.client(key);
        if conn.phase == Phase::Handling {
            self.reject(client.exchange, &reject);
        } else {
            self.abort(client.exchange, None);
        }
        Some(Event::BodyFailed { client, reject })
    }
}
