//! One client's connection: where it stands, and what it has in hand.
//!
//! Owns: the socket, the bytes that wait in either direction, the place in
//! the protocol. Always holds: `phase` alone says what may happen next; an
//! idle connection holds no buffer. Knows no epoll, no timer wheel and no
//! other connection: `reactor.rs` moves it.

use crate::event::Client;
use crate::exchange::{ConnectionId, ExchangeId};
use crate::inbound::Inbound;
use crate::listener::Peer;
use crate::output::Output;
use crate::reactor::NEVER;
use crate::settings::ListenerSettings;
use crate::websocket::WebSocket;
use prefork_wire::{BodyEncoder, HeadParser, RequestContext};
use rustix::event::epoll::EventFlags;
use std::ffi::c_int;
use std::os::fd::OwnedFd;
use std::sync::Arc;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Between requests, or inside a head.
    Waiting,
    /// The application has the head and says what becomes of the body.
    Offered,
    /// The body is being received.
    Collecting,
    /// The application has the whole request.
    Handling,
    /// The head of the answer is written, its body is being made.
    Streaming,
    /// It speaks WebSocket: messages go either way.
    Open,
    /// We have said goodbye on it, and the peer has not yet.
    Closing,
    /// Answered; what is left is sent, then the connection ends.
    Leaving,
    /// Our side is closed. What still comes is read and dropped, so that the
    /// answer is not lost to a reset (RFC 9112, section 9.6).
    Lingering,
}

impl Phase {
    /// The application owes an answer, or the rest of one.
    pub(crate) fn in_flight(self) -> bool {
        matches!(self, Phase::Handling | Phase::Streaming | Phase::Open)
    }

    /// A request is open, and its response is not complete.
    pub(crate) fn is_open(self) -> bool {
        !matches!(
            self,
            Phase::Waiting | Phase::Closing | Phase::Leaving | Phase::Lingering
        )
    }

    pub(crate) fn reads(self) -> bool {
        matches!(
            self,
            Phase::Waiting | Phase::Collecting | Phase::Open | Phase::Closing | Phase::Lingering
        )
    }
}

pub(crate) struct Conn {
    pub(crate) socket: OwnedFd,
    pub(crate) peer: Peer,
    pub(crate) settings: Arc<ListenerSettings>,
    pub(crate) listener: u32,
    pub(crate) serial: u32,
    pub(crate) phase: Phase,
    /// What the epoll set has been told to report.
    pub(crate) interest: EventFlags,
    /// Received, not yet understood.
    pub(crate) input: Vec<u8>,
    /// Where the parser stands in a head that came in pieces.
    pub(crate) parser: Option<Box<HeadParser>>,
    /// When the first byte of that head came.
    pub(crate) head_since_ms: u64,
    /// The body of the current request, until all of it has come.
    pub(crate) inbound: Option<Box<Inbound>>,
    /// From the 101 on.
    pub(crate) websocket: Option<Box<WebSocket>>,
    pub(crate) output: Output,
    /// How much of it the system still had for the client when we last looked.
    pub(crate) queued: c_int,
    pub(crate) asked: RequestContext,
    pub(crate) encoder: BodyEncoder,
    /// The body of the current request has not been received.
    pub(crate) body_unread: bool,
    /// The socket has bytes, or the end of them, that nobody has read.
    pub(crate) unread: bool,
    pub(crate) expects_continue: bool,
    /// The peer has closed its side.
    pub(crate) eof: bool,
    /// [`crate::Event::Closed`] is wanted.
    pub(crate) wants_closed: bool,
    /// [`crate::Event::Gone`] is wanted.
    pub(crate) wants_gone: bool,
    /// The producer of the body wants to hear when its last piece has left.
    pub(crate) tell_drained: bool,
    /// It stands in the engine's list of connections to look at.
    pub(crate) touched: bool,
    pub(crate) requests: u32,
    /// Came from another worker, and had idled there: until when it may, at most.
    pub(crate) idles_until_ms: u64,
    /// When the application was given the current request.
    pub(crate) taken_ms: u64,
    /// Method and target of it, if somebody may have to name it.
    noted: Vec<u8>,
}

impl Conn {
    pub(crate) fn new(
        socket: OwnedFd,
        peer: Peer,
        listener: u32,
        serial: u32,
        settings: Arc<ListenerSettings>,
    ) -> Self {
        Conn {
            socket,
            peer,
            settings,
            listener,
            serial,
            phase: Phase::Waiting,
            interest: READING,
            input: Vec::new(),
            parser: None,
            head_since_ms: 0,
            inbound: None,
            websocket: None,
            output: Output::default(),
            queued: 0,
            asked: RequestContext::default(),
            encoder: BodyEncoder::Nothing,
            body_unread: false,
            unread: false,
            expects_continue: false,
            eof: false,
            wants_closed: false,
            wants_gone: false,
            tell_drained: false,
            touched: false,
            requests: 0,
            idles_until_ms: NEVER,
            taken_ms: 0,
            noted: Vec::new(),
        }
    }

    pub(crate) fn note(&mut self, method: &[u8], target: &[u8]) {
        self.noted.clear();
        self.noted.extend_from_slice(method);
        self.noted.push(b' ');
        self.noted.extend_from_slice(target);
    }

    /// The request that was noted, fit for a log.
    pub(crate) fn line(&self) -> String {
        self.noted.escape_ascii().to_string()
    }

    /// Nothing has been asked and nothing is owed.
    pub(crate) fn is_idle(&self) -> bool {
        self.phase == Phase::Waiting && self.input.is_empty() && self.output.pending() == 0
    }

    /// Requests wait that could be read right now.
    pub(crate) fn has_backlog(&self) -> bool {
        self.phase == Phase::Waiting && self.parser.is_none() && !self.input.is_empty()
    }

    /// The application has as much of it as it can hold.
    pub(crate) fn is_paused(&self) -> bool {
        let websocket = self.websocket.as_deref();
        self.phase == Phase::Open && websocket.is_some_and(|websocket| websocket.paused)
    }

    pub(crate) fn client(&self, key: u32) -> Client {
        Client {
            exchange: self.id(key),
            listener: self.listener,
            peer: self.peer,
        }
    }

    pub(crate) fn connection_id(&self, key: u32) -> ConnectionId {
        ConnectionId {
            key,
            serial: self.serial,
        }
    }

    pub(crate) fn id(&self, key: u32) -> ExchangeId {
        ExchangeId::only(self.connection_id(key))
    }

    /// What comes now is read.
    pub(crate) fn reads(&self) -> bool {
        match self.phase {
            Phase::Handling | Phase::Streaming => {
                self.inbound.as_deref().is_some_and(Inbound::is_wanted)
            }
            phase => phase.reads() && !self.is_paused(),
        }
    }

    /// What the epoll set should report. `READING` costs nothing while the
    /// peer is silent, so it is given up only when a report came too early.
    pub(crate) fn wants(&self, blocked: bool) -> EventFlags {
        let mut wanted = match self.phase {
            _ if self.eof || self.is_paused() => EventFlags::empty(),
            // A peer that is slow to read may still have something to say.
            Phase::Open | Phase::Closing => READING,
            // A body whose end is in the socket may have the peer's behind it.
            phase if phase.in_flight() && self.inbound.is_some() => match self.reads() {
                true => READING,
                false => EventFlags::empty(),
            },
            phase if phase.in_flight() => EventFlags::RDHUP,
            phase if phase.reads() && !blocked => READING,
            _ => EventFlags::empty(),
        };
        if blocked {
            wanted |= EventFlags::OUT;
        }
        wanted
    }
}

pub(crate) const READING: EventFlags = EventFlags::IN.union(EventFlags::RDHUP);
