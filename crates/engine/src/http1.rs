//! HTTP/1: one exchange after another on a connection (RFC 9112).
//!
//! Owns: the exchange, and the parser of the next request's head. A state
//! machine over the current input (`Context::work`), the output of the link, and
//! the phase of the exchange. `requests` reads requests, `responses` writes
//! responses. Always holds: the last exchange finishes the link. Knows no epoll,
//! no timer and no other connection.

mod requests;
pub(crate) mod responses;

use crate::deadlines::{NEVER, Wait};
use crate::exchange::Exchange;
use crate::link::PeerSide;
use crate::phase::Phase;
use crate::progress::READING;
use crate::request_body::RequestBody;
use prefork_wire::{BodyEncoder, HeadParser};
use rustix::event::epoll::EventFlags;

pub(crate) struct Http1 {
    pub(crate) exchange: Exchange,
    /// The parser of an incomplete head.
    parser: Option<Box<HeadParser>>,
    /// When the first byte of that head came; before the first request, when
    /// the connection was accepted.
    head_since_ms: u64,
    pub(crate) requests: u32,
    /// Complete responses of which a part is unsent.
    ended: u16,
    /// The idle deadline of a connection that came from another worker.
    idles_until_ms: u64,
}

impl Http1 {
    pub(crate) fn new(now_ms: u64) -> Self {
        Http1 {
            exchange: Exchange::default(),
            parser: None,
            head_since_ms: now_ms,
            requests: 0,
            ended: 0,
            idles_until_ms: NEVER,
        }
    }

    /// Continues a connection of another worker, with the number of its requests and its idle
    /// deadline.
    pub(crate) fn resume(&mut self, requests: u32, idles_until_ms: u64) {
        self.requests = requests;
        self.idles_until_ms = idles_until_ms;
    }

    /// Continues a connection of another worker which waits for a head since then. `begun`: a part
    /// of the head was read, and is read again.
    pub(crate) fn resume_head(&mut self, requests: u32, since_ms: u64, begun: bool) {
        self.requests = requests;
        self.head_since_ms = since_ms;
        self.parser = begun.then(Box::default);
    }
}

// ---- input and deadlines -------------------------------------------------------

impl Http1 {
    /// Whether input is read now.
    #[inline]
    pub(crate) fn reads(&self) -> bool {
        match self.exchange.phase() {
            Phase::Idle | Phase::Collecting => true,
            Phase::Handling | Phase::Streaming => self.exchange.body.is_wanted(),
            Phase::Lent | Phase::Offered | Phase::Open | Phase::Done => false,
        }
    }

    /// Whether the application waits for a part of the body.
    #[inline]
    pub(crate) fn is_pulled(&self) -> bool {
        self.exchange.body.is_wanted() && self.exchange.phase().is_in_flight()
    }

    /// What the epoll set should report of the peer. `blocked`: output waits
    /// for it to read. A reset is reported in any case.
    #[inline]
    pub(crate) fn interest(&self, blocked: bool, peer_side: PeerSide) -> EventFlags {
        match self.exchange.phase() {
            Phase::Handling | Phase::Streaming if self.only_responds() => match peer_side {
                PeerSide::Open => EventFlags::RDHUP,
                PeerSide::Closed | PeerSide::Ended | PeerSide::Reset => EventFlags::empty(),
            },
            // The end of the body and the peer's FIN may be in the socket
            // together.
            Phase::Handling | Phase::Streaming if self.exchange.body.is_wanted() => READING,
            Phase::Idle | Phase::Collecting if !blocked => READING,
            _ => EventFlags::empty(),
        }
    }

    /// Whether only the response is left: the request is complete.
    pub(crate) fn only_responds(&self) -> bool {
        self.exchange.phase().is_in_flight() && self.exchange.body.coming().is_none()
    }

    #[inline]
    pub(crate) fn waits_for(&self) -> Wait {
        match self.exchange.phase() {
            Phase::Idle if self.parser.is_some() => Wait::Head {
                since_ms: self.head_since_ms,
            },
            Phase::Idle if self.requests == 0 => Wait::FirstRequest {
                since_ms: self.head_since_ms,
            },
            Phase::Idle => Wait::NextRequest {
                until_ms: self.idles_until_ms,
            },
            _ if self.reads() => {
                let incoming = self.exchange.body.coming();
                let due_ms = incoming.and_then(RequestBody::due_ms);
                due_ms.map_or(Wait::Nothing, |due_ms| Wait::Body { due_ms })
            }
            Phase::Offered | Phase::Handling => Wait::Application {
                since_ms: self.exchange.given_ms(),
            },
            _ => Wait::Nothing,
        }
    }

    /// Whether it is between two requests, with nothing of the next one read.
    #[inline]
    pub(crate) fn is_between_requests(&self) -> bool {
        self.exchange.phase() == Phase::Idle && self.parser.is_none()
    }

    /// Whether a part of the next head was read.
    pub(crate) fn is_in_head(&self) -> bool {
        self.is_idle() && self.parser.is_some()
    }

    /// Whether no byte of a request was read.
    #[inline]
    pub(crate) fn is_fresh(&self) -> bool {
        self.requests == 0 && self.is_between_requests()
    }

    /// When the connection was accepted, if it is fresh.
    pub(crate) fn since_ms(&self) -> u64 {
        self.head_since_ms
    }

    /// Whether a response is not sent whole whose end is the end of the connection. `unsent`: output waits.
    pub(crate) fn ends_with_connection(&self, unsent: bool) -> bool {
        let is_whole = self.exchange.phase() != Phase::Streaming && !unsent;
        self.exchange.encoder == BodyEncoder::Close && !is_whole
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.exchange.phase() == Phase::Idle
    }

    /// Whether the application is called when enough has been read.
    #[inline]
    pub(crate) fn brings_request(&self) -> bool {
        matches!(self.exchange.phase(), Phase::Idle | Phase::Collecting)
    }
}
