//! The engine's part that speaks WebSocket (RFC 6455), once a request has been
//! answered with 101.
//!
//! Always holds: the application hears [`Event::Ended`] exactly once, after
//! the last message, and can send nothing from then on. Pings are answered,
//! sent and missed here; so is the closing handshake, which is given
//! `CLOSE_MS`. A connection counts as a request in flight until it has ended.

use crate::answering::{LocalError, find};
use crate::connection::Phase;
use crate::content::Content;
use crate::event::Event;
use crate::exchange::ExchangeId;
use crate::output::COPY_LIMIT;
use crate::reactor::{HIGH_WATER, NEVER, Reactor};
use crate::settings::WebSocketSettings;
use prefork_wire::websocket::{
    CloseCode, Deflater, Incoming, MessageDecoder, Opcode, Opening, RemoteError, write_close,
    write_frame_head, write_ping, write_pong, write_switching_protocols,
};

/// How long the peer has to answer our Close.
const CLOSE_MS: u64 = 5_000;

/// What only an upgraded connection has.
pub(crate) struct WebSocket {
    decoder: MessageDecoder,
    deflater: Option<Deflater>,
    settings: WebSocketSettings,
    /// The application has too much unread: nothing more is read for it.
    pub(crate) paused: bool,
    next_ping_ms: u64,
    /// When the Ping went out to which no frame has answered yet.
    pinged_ms: Option<u64>,
}

impl WebSocket {
    /// When the timer is to come.
    fn due_ms(&self) -> u64 {
        match self.pinged_ms {
            Some(pinged_ms) => pinged_ms.saturating_add(self.settings.ping_timeout_ms),
            None => self.next_ping_ms,
        }
    }

    fn next_ping_after(settings: &WebSocketSettings, now_ms: u64) -> u64 {
        match settings.ping_interval_ms {
            0 => NEVER,
            interval_ms => now_ms.saturating_add(interval_ms),
        }
    }
}

impl Reactor {
    // ---- what the application calls ----------------------------------------

    /// Answers a request with 101: from here on the connection speaks
    /// WebSocket, [`Event::Message`] brings what the peer says and
    /// [`Event::Ended`] that it is over.
    ///
    /// # Errors
    /// [`LocalError`]; after `Invalid` the request still waits for its answer.
    pub fn upgrade<'a>(
        &mut self,
        id: ExchangeId,
        opening: &Opening,
        subprotocol: Option<&[u8]>,
        headers: impl Iterator<Item = (&'a [u8], &'a [u8])> + Clone,
        settings: WebSocketSettings,
    ) -> Result<(), LocalError> {
        let date = self.clock.date();
        let now_ms = self.clock.now_ms;
        let Reactor { conns, buffers, .. } = self;
        let conn = find(conns, id)?;
        if conn.phase != Phase::Handling {
            return Err(LocalError::OutOfTurn);
        }
        conn.output
            .append(buffers, |out| {
                write_switching_protocols(out, opening, subprotocol, headers, &date)
            })
            .map_err(LocalError::Invalid)?;
        conn.websocket = Some(Box::new(WebSocket {
            decoder: MessageDecoder::new(settings.max_message, opening.deflate()),
            deflater: opening.deflate().map(Deflater::new),
            next_ping_ms: WebSocket::next_ping_after(&settings, now_ms),
            settings,
            paused: false,
            pinged_ms: None,
        }));
        conn.phase = Phase::Open;
        let listener = conn.listener;
        if self.draining(listener) {
            self.say_goodbye(id.connection.key);
        }
        self.touch(id.connection.key);
        Ok(())
    }

    /// Sends a message, a text if `text` (which must be UTF-8). Returns how
    /// many bytes have not left yet: above a limit of its own the sender
    /// waits for [`Reactor::tell_drained`].
    ///
    /// # Errors
    /// [`LocalError`]: `OutOfTurn` after the connection has ended.
    pub fn send(
        &mut self,
        id: ExchangeId,
        text: bool,
        content: Content<'_>,
    ) -> Result<usize, LocalError> {
        let Reactor { conns, buffers, .. } = self;
        let conn = find(conns, id)?;
        let (Phase::Open, Some(websocket)) = (conn.phase, conn.websocket.as_deref_mut()) else {
            return Err(LocalError::OutOfTurn);
        };
        let opcode = if text { Opcode::Text } else { Opcode::Binary };
        let deflated = match &mut websocket.deflater {
            Some(deflater) if content.len() >= Deflater::MIN_BYTES => {
                deflater.deflate(content.bytes())
            }
            _ => None,
        };
        let compressed = deflated.is_some();
        let content = match &deflated {
            // Many may wait for their peer, and each has far more room than it needs.
            Some(bytes) if bytes.len() <= COPY_LIMIT => Content::Copied(bytes),
            _ => deflated.map_or(content, |bytes| Content::Kept(Box::new(bytes))),
        };
        let len = content.len();
        conn.output.append(buffers, |out| {
            write_frame_head(out, opcode, compressed, len);
        });
        conn.output.push(buffers, content, len);
        let unsent = conn.output.pending();
        self.touch(id.connection.key);
        Ok(unsent)
    }

    /// Begins the closing handshake; [`Event::Ended`] comes at once.
    ///
    /// # Errors
    /// [`LocalError`]: `OutOfTurn` after the connection has ended.
    pub fn close_websocket(
        &mut self,
        id: ExchangeId,
        code: CloseCode,
        reason: &str,
    ) -> Result<(), LocalError> {
        if find(&mut self.conns, id)?.phase != Phase::Open {
            return Err(LocalError::OutOfTurn);
        }
        self.begin_closing(id.connection.key, code, reason);
        Ok(())
    }

    /// Reads no more for a while (`true`), or goes on: messages stay with the
    /// peer, and its silence is not held against it.
    pub fn pause(&mut self, id: ExchangeId, yes: bool) {
        if let Some(websocket) = self
            .named(id)
            .and_then(|conn| conn.websocket.as_deref_mut())
        {
            websocket.paused = yes;
            websocket.pinged_ms = None;
            if !yes {
                self.touch(id.connection.key);
            }
        }
    }

    // ---- what the peer sends -----------------------------------------------

    /// Reads on in an upgraded connection; `None` when more must come.
    pub(crate) fn read_frames(&mut self, key: u32) -> Option<Event> {
        loop {
            let conn = self.conns.get_mut(key as usize)?.as_deref_mut()?;
            let websocket = conn.websocket.as_deref_mut()?;
            let open = conn.phase == Phase::Open;
            if !open && conn.phase != Phase::Closing || websocket.paused && open {
                return None;
            }
            let input = self.work.get(self.at..).unwrap_or_default();
            let (consumed, incoming) = match websocket.decoder.decode(input) {
                Ok(decoded) => decoded,
                Err(breach) => return self.break_off(key, breach),
            };
            self.at += consumed;
            if consumed > 0 {
                websocket.pinged_ms = None;
            }
            let id = conn.id(key);
            match incoming? {
                Incoming::Message(message) if open => {
                    return Some(Event::Message {
                        exchange: id,
                        message,
                    });
                }
                // A peer that reads nothing is not worth a queue of Pongs.
                Incoming::Ping(payload) if open && conn.output.pending() < HIGH_WATER => {
                    conn.output
                        .append(&mut self.buffers, |out| write_pong(out, &payload));
                }
                Incoming::Close(farewell) => {
                    if open {
                        // RFC 6455, section 5.5.1: the code is echoed.
                        conn.output
                            .append(&mut self.buffers, |out| write_close(out, farewell.code, ""));
                    }
                    let (code, reason) = (farewell.reported(), farewell.reason);
                    return self.part(key, Phase::Leaving, code, reason, None);
                }
                Incoming::Message(_) | Incoming::Ping(_) | Incoming::Pong => {}
            }
        }
    }

    /// The peer broke the rules: nothing after this is read.
    fn break_off(&mut self, key: u32, breach: RemoteError) -> Option<Event> {
        self.at = self.work.len();
        let Reactor { conns, buffers, .. } = self;
        let conn = conns.get_mut(key as usize)?.as_deref_mut()?;
        if conn.phase == Phase::Open {
            conn.output.append(buffers, |out| {
                write_close(out, Some(breach.code), breach.reason);
            });
        }
        // What it still sends must not turn the Close into a reset.
        conn.unread = true;
        let code = breach.code.get();
        let reason = breach.reason.to_owned();
        self.part(key, Phase::Leaving, code, reason, Some(breach.reason))
    }

    /// An upgraded connection goes on to its end; the event for the
    /// application, if it had not heard of it.
    fn part(
        &mut self,
        key: u32,
        next: Phase,
        code: u16,
        reason: String,
        fault: Option<&'static str>,
    ) -> Option<Event> {
        let conn = self.conns.get_mut(key as usize)?.as_deref_mut()?;
        let heard = conn.phase != Phase::Open;
        conn.phase = next;
        conn.tell_drained = false;
        if heard {
            return None;
        }
        let event = Event::Ended {
            client: conn.client(key),
            code,
            reason,
            fault,
        };
        self.let_go();
        Some(event)
    }

    // ---- how it ends, from our side ------------------------------------------

    fn begin_closing(&mut self, key: u32, code: CloseCode, reason: &str) {
        let due_ms = self.clock.now_ms + CLOSE_MS;
        let Reactor { conns, buffers, .. } = self;
        let Some(Some(conn)) = conns.get_mut(key as usize) else {
            return;
        };
        conn.output
            .append(buffers, |out| write_close(out, Some(code), reason));
        self.timers.set(key, due_ms);
        let event = self.part(key, Phase::Closing, code.get(), reason.to_owned(), None);
        self.events.extend(event);
        self.touch(key);
    }

    /// The listener drains. Connections that may ask once more are those of a
    /// worker that leaves alone: then the peer may come again, to another.
    pub(crate) fn say_goodbye(&mut self, key: u32) {
        let now_ms = self.clock.now_ms;
        let Some(conn) = self.conn(key).filter(|conn| conn.phase == Phase::Open) else {
            return;
        };
        let stays = self
            .listeners
            .get(conn.listener as usize)
            .is_some_and(|listener| listener.linger_until_ms > now_ms);
        let code = if stays {
            CloseCode::SERVICE_RESTART
        } else {
            CloseCode::GOING_AWAY
        };
        self.begin_closing(key, code, "");
    }

    /// When an open WebSocket is to be looked at again.
    pub(crate) fn ping_due_ms(&self, key: u32) -> u64 {
        let websocket = self.conn(key).and_then(|conn| conn.websocket.as_deref());
        websocket.map_or(NEVER, WebSocket::due_ms)
    }

    /// It is time for a Ping, or too late for its answer.
    pub(crate) fn mind_the_pulse(&mut self, key: u32) {
        let now_ms = self.clock.now_ms;
        let Reactor { conns, buffers, .. } = self;
        let Some(Some(conn)) = conns.get_mut(key as usize) else {
            return;
        };
        let Some(websocket) = conn.websocket.as_deref_mut() else {
            return;
        };
        // What a paused connection would answer is not read.
        if websocket.pinged_ms.is_some() && !websocket.paused {
            return self.lose(key, "the client did not answer a ping in time");
        }
        if let Some(deflater) = &mut websocket.deflater {
            deflater.release_idle();
        }
        websocket.next_ping_ms = WebSocket::next_ping_after(&websocket.settings, now_ms);
        if !websocket.paused {
            websocket.pinged_ms = Some(now_ms);
        }
        conn.output.append(buffers, write_ping);
        let due_ms = websocket.due_ms();
        self.timers.set(key, due_ms);
        self.postpone(key);
    }
}
