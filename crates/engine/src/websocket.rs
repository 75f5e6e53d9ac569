//! WebSocket on one connection, from the 101 on (RFC 6455), or on one stream (RFC 8441).
//!
//! Owns: the upgraded exchange, and the frames in both directions: messages, Pings and Pongs, and
//! the closing handshake, which may take `CLOSE_MS`. Always holds: the application gets
//! [`Event::Ended`] exactly once, after the last message, and can send nothing afterwards; until
//! then the exchange is open and in flight. Knows no epoll, no timer and no other connection.

use crate::content::Content;
use crate::context::Context;
use crate::deadlines::{NEVER, Wait};
use crate::errors::LocalError;
use crate::event::{Ended, Event};
use crate::exchange::Exchange;
use crate::link::PeerEnd;
use crate::output::COPY_LIMIT;
use crate::phase::{Phase, Step};
use crate::pipe::Pipe;
use crate::progress::{HIGH_WATER, Progress, READING};
use crate::settings::WebSocketSettings;
use crate::unread::Unread;
use prefork_wire::websocket::{
    CloseCode, Deflater, Incoming, MessageDecoder, Opcode, Opening, RemoteError, write_close,
    write_frame_head, write_ping, write_pong,
};
use rustix::event::epoll::EventFlags;
use std::sync::Arc;

/// How long the peer may take for its Close after ours.
const CLOSE_MS: u64 = 5_000;
/// How long the application may take for the messages before an error of the peer: it may respond to
/// them before the WebSocket is closed.
const FAULT_MS: u64 = 1_000;
/// RFC 6455, section 7.4.1: the connection was lost without a Close.
const ABNORMAL_CLOSURE: u16 = 1006;

pub(crate) struct WebSocket {
    pub(crate) exchange: Exchange,
    decoder: MessageDecoder,
    deflater: Option<Deflater>,
    settings: WebSocketSettings,
    /// Says whether messages are read.
    unread: Arc<Unread>,
    /// Reading was stopped since the last frame. A Pong may be among what was not read.
    was_stopped: bool,
    /// An error of the peer, and until when the application may read the messages before it.
    fault: Option<(RemoteError, u64)>,
    /// The application got a message.
    has_given: bool,
    next_ping_ms: u64,
    /// When the last Ping was sent, if no frame has come since.
    pinged_ms: Option<u64>,
    /// The deadline for the peer's Close after ours.
    closes_until_ms: u64,
}

/// The end of a WebSocket, as reported to the application.
struct Ending {
    code: u16,
    reason: String,
    fault: Option<&'static str>,
}

// ---- what the peer sends -------------------------------------------------------

impl WebSocket {
    /// Continues an exchange whose 101 is written.
    pub(crate) fn new(
        exchange: Exchange,
        opening: &Opening,
        settings: WebSocketSettings,
        unread: Arc<Unread>,
        now_ms: u64,
    ) -> Self {
        WebSocket {
            exchange,
            decoder: MessageDecoder::new(settings.max_message, opening.deflate()),
            deflater: opening.deflate().map(Deflater::new),
            next_ping_ms: next_ping_ms(&settings, now_ms),
            settings,
            unread,
            was_stopped: false,
            fault: None,
            has_given: false,
            pinged_ms: None,
            closes_until_ms: NEVER,
        }
    }

    /// Messages may be sent and received. If false, the closing handshake has
    /// begun.
    #[inline]
    pub(crate) fn is_open(&self) -> bool {
        self.exchange.phase() == Phase::Open
    }

    /// Reads the current input.
    pub(crate) fn read(&mut self, link: &mut impl Pipe, cx: &mut Context) -> Progress {
        loop {
            if let Some((error, _)) = self.fault {
                return self.fault_follows(link, cx, error);
            }
            if !self.reads() {
                self.was_stopped = true;
                return Progress::Wait;
            }
            let (consumed, incoming) = match self.decoder.decode(cx.work.unparsed()) {
                Ok(decoded) => decoded,
                Err(error) => return self.fault_follows(link, cx, error),
            };
            cx.work.consume(consumed);
            if std::mem::take(&mut self.was_stopped) || consumed > 0 {
                self.pinged_ms = None;
            }
            self.unread.set_partial(self.decoder.buffered());
            let Some(incoming) = incoming else {
                return Progress::Wait;
            };
            if let Some(progress) = self.react(link, cx, incoming) {
                return progress;
            }
        }
    }

    /// Handles one frame or message. `None`: read the next one.
    fn react(
        &mut self,
        link: &mut impl Pipe,
        cx: &mut Context,
        incoming: Incoming,
    ) -> Option<Progress> {
        match incoming {
            Incoming::Message(message) if self.is_open() => {
                self.has_given = true;
                Some(Progress::Event(Event::Message {
                    exchange: link.client().exchange,
                    held: self.unread.hold(message.len()),
                    message,
                }))
            }
            // A peer that does not read gets no Pongs: they would fill the
            // memory.
            Incoming::Ping(payload) if self.is_open() && link.pending() < HIGH_WATER => {
                link.append(&mut cx.buffers, |out| write_pong(out, &payload));
                None
            }
            Incoming::Close(close) => {
                if self.is_open() {
                    // RFC 6455, section 5.5.1: the code is echoed.
                    link.append(&mut cx.buffers, |out| write_close(out, close.code, ""));
                }
                link.finish();
                let ending = Ending {
                    code: close.reported(),
                    reason: close.reason,
                    fault: None,
                };
                Some(self.end(link, cx, ending))
            }
            Incoming::Message(_) | Incoming::Ping(_) | Incoming::Pong => None,
        }
    }

    /// The peer broke the protocol. If the application has messages from before, it may read them first.
    fn fault_follows(
        &mut self,
        link: &mut impl Pipe,
        cx: &mut Context,
        error: RemoteError,
    ) -> Progress {
        let now_ms = cx.clock.now_ms;
        let (_, until_ms) = *self.fault.get_or_insert((error, now_ms + FAULT_MS));
        let is_settled = !self.has_given || self.unread.is_wanted();
        if is_settled || !self.is_open() || now_ms >= until_ms {
            return self.fail(link, cx, error);
        }
        self.unread.set_faulty();
        if cx.work.discard() {
            link.note_unread();
        }
        Progress::Wait
    }

    /// The peer broke the protocol: nothing more is read.
    fn fail(&mut self, link: &mut impl Pipe, cx: &mut Context, error: RemoteError) -> Progress {
        cx.work.discard();
        if self.is_open() {
            link.append(&mut cx.buffers, |out| {
                write_close(out, Some(error.code), error.reason);
            });
        }
        // Unread input would turn the close into a reset, which destroys the
        // Close frame.
        link.note_unread();
        link.finish();
        let ending = Ending {
            code: error.code.get(),
            reason: error.reason.to_owned(),
            fault: Some(error.reason),
        };
        self.end(link, cx, ending)
    }

    /// Reports the end to the application, once.
    fn end(&mut self, link: &impl Pipe, cx: &mut Context, ending: Ending) -> Progress {
        if !self.is_open() {
            return Progress::Wait;
        }
        self.unread.set_partial(0);
        self.exchange.wants_drained = false;
        cx.must_advance(&mut self.exchange, Step::End);
        Progress::Event(Event::Ended(Ended {
            client: link.client().behind(self.exchange.origin.as_deref()),
            code: ending.code,
            reason: ending.reason,
            fault: ending.fault,
            request_id: self.exchange.label.id_text(),
        }))
    }

    /// The peer has closed its side.
    pub(crate) fn peer_ended(&self, how: PeerEnd) -> Progress {
        Progress::Close(match (self.is_open(), how) {
            (_, PeerEnd::Refused(reason)) => Some(reason),
            (true, PeerEnd::Closed) => Some("the client left without a close frame"),
            (true, PeerEnd::Reset) => Some("the client reset the connection"),
            (false, _) => None,
        })
    }

    /// The connection is closed: reports the end to the application, if that was
    /// not done.
    pub(crate) fn abort(&mut self, link: &impl Pipe, cx: &mut Context) {
        let ending = Ending {
            code: ABNORMAL_CLOSURE,
            reason: String::new(),
            fault: None,
        };
        if let Progress::Event(event) = self.end(link, cx, ending) {
            cx.events.push_back(event);
        }
    }
}

// ---- input and deadlines -------------------------------------------------------

impl WebSocket {
    /// Whether input is read now.
    pub(crate) fn reads(&self) -> bool {
        self.unread.may_be_read() || !self.is_open()
    }

    /// What the epoll set should report of the peer. A peer that reads slowly
    /// may still send.
    pub(crate) fn interest(&self) -> EventFlags {
        match self.reads() {
            true => READING,
            false => EventFlags::empty(),
        }
    }

    pub(crate) fn waits_for(&self) -> Wait {
        match (self.is_open(), self.pinged_ms) {
            (false, _) => Wait::Close {
                until_ms: self.closes_until_ms,
            },
            (true, _) if self.fault.is_some() => Wait::Frame {
                due_ms: self.fault.map_or(NEVER, |(_, until_ms)| until_ms),
            },
            (true, Some(pinged_ms)) => Wait::Frame {
                due_ms: pinged_ms.saturating_add(self.settings.ping_timeout_ms),
            },
            (true, None) => Wait::Frame {
                due_ms: self.next_ping_ms,
            },
        }
    }

    /// Sends a Ping, or closes the connection if the last one got no Pong.
    pub(crate) fn ping(&mut self, link: &mut impl Pipe, cx: &mut Context) -> Progress {
        if let Some((error, _)) = self.fault {
            return self.fail(link, cx, error);
        }
        // While reading is stopped, a Pong would not be read.
        let reads = self.reads() && !self.was_stopped;
        if self.pinged_ms.is_some() && reads {
            return Progress::Close(Some("the client did not respond to a ping in time"));
        }
        if let Some(deflater) = &mut self.deflater {
            deflater.release_idle();
        }
        self.next_ping_ms = next_ping_ms(&self.settings, cx.clock.now_ms);
        self.pinged_ms = reads.then_some(cx.clock.now_ms);
        link.append(&mut cx.buffers, write_ping);
        Progress::Wait
    }
}

// ---- what the application does ---------------------------------------------------

impl WebSocket {
    pub(crate) fn send(
        &mut self,
        link: &mut impl Pipe,
        cx: &mut Context,
        text: bool,
        content: Content<'_>,
    ) -> Result<usize, LocalError> {
        if !self.is_open() {
            return Err(LocalError::OutOfTurn);
        }
        let opcode = if text { Opcode::Text } else { Opcode::Binary };
        let deflated = match &mut self.deflater {
            Some(deflater) if content.len() >= Deflater::MIN_BYTES => {
                deflater.deflate(content.bytes())
            }
            _ => None,
        };
        let compressed = deflated.is_some();
        let content = match &deflated {
            // The buffer has much spare capacity, and many of them may be queued.
            Some(bytes) if bytes.len() <= COPY_LIMIT => Content::Copied(bytes),
            _ => deflated.map_or(content, |bytes| Content::Kept(Box::new(bytes))),
        };
        let len = content.len();
        link.append(&mut cx.buffers, |out| {
            write_frame_head(out, opcode, compressed, len);
        });
        link.push(&mut cx.buffers, content, len);
        Ok(link.pending())
    }

    /// Begins the closing handshake.
    ///
    /// # Errors
    /// `OutOfTurn` if the WebSocket has ended.
    pub(crate) fn close(
        &mut self,
        link: &mut impl Pipe,
        cx: &mut Context,
        code: CloseCode,
        reason: &str,
    ) -> Result<(), LocalError> {
        if !self.is_open() {
            return Err(LocalError::OutOfTurn);
        }
        link.append(&mut cx.buffers, |out| write_close(out, Some(code), reason));
        self.closes_until_ms = cx.clock.now_ms + CLOSE_MS;
        let ending = Ending {
            code: code.get(),
            reason: reason.to_owned(),
            fault: None,
        };
        if let Progress::Event(event) = self.end(link, cx, ending) {
            cx.events.push_back(event);
        }
        Ok(())
    }
}

fn next_ping_ms(settings: &WebSocketSettings, now_ms: u64) -> u64 {
    match settings.ping_interval_ms {
        0 => NEVER,
        interval_ms => now_ms.saturating_add(interval_ms),
    }
}
