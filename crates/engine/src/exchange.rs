//! One request and its response, and the ids of exchanges and connections.
//!
//! Owns: the phase of the exchange ([`Phase`]), what the request says about its
//! response, the unread rest of its body, the framing of the response, and
//! which events the application wants. Always holds: the phase changes only by
//! `advance`, which only `Context` calls, so that requests in flight are
//! counted in one place. Knows no transport and no protocol.

use crate::errors::LocalError;
use crate::load::Begun;
use crate::peer::Peer;
use crate::phase::{Phase, Step};
use crate::request_body::Incoming;
use crate::scoreboard::EntryId;
use prefork_wire::proxy::Origin;
use prefork_wire::{BodyEncoder, RequestContext};

/// Identifies one connection of the process. If its key is reused, the next
/// connection has another serial.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ConnectionId {
    pub(crate) key: u32,
    pub(crate) serial: u32,
}

impl ConnectionId {
    /// The id as one number, unique in this process.
    pub fn to_u64(self) -> u64 {
        u64::from(self.serial) << 32 | u64::from(self.key)
    }

    pub fn from_u64(number: u64) -> Self {
        ConnectionId {
            key: number as u32,
            serial: (number >> 32) as u32,
        }
    }
}

/// Identifies one request and its response. `stream` is its number on a
/// connection that carries many (RFC 9113, section 5.1.1); 0 in HTTP/1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ExchangeId {
    pub connection: ConnectionId,
    pub stream: u32,
}

impl ExchangeId {
    /// The only exchange of an HTTP/1 connection.
    pub(crate) fn only(connection: ConnectionId) -> Self {
        ExchangeId {
            connection,
            stream: 0,
        }
    }
}

/// Method, target and id of a request, kept if a log line may need them, or its response: seldom, so a
/// connection has only a pointer for it.
#[derive(Default)]
pub(crate) struct Label(Option<Box<LabelText>>);

struct LabelText {
    bytes: Vec<u8>,
    /// Of a request with a body, until the application begins: whose it is, and how long it has waited.
    client: Peer,
    wait_ns: u64,
    /// That of the request; empty without one.
    id: Vec<u8>,
}

impl Default for LabelText {
    fn default() -> Self {
        LabelText {
            bytes: Vec::new(),
            client: Peer::Unknown,
            wait_ns: 0,
            id: Vec::new(),
        }
    }
}

impl Label {
    pub(crate) fn set(&mut self, method: &[u8], target: &[u8]) {
        let bytes = &mut self.0.get_or_insert_default().bytes;
        bytes.clear();
        bytes.extend_from_slice(method);
        bytes.push(b' ');
        bytes.extend_from_slice(target);
    }

    /// Notes what is to be told when the application begins.
    pub(crate) fn note(&mut self, client: Peer, wait_ns: u64) {
        if let Some(text) = &mut self.0 {
            (text.client, text.wait_ns) = (client, wait_ns);
        }
    }

    /// The request begins, of which that was noted.
    pub(crate) fn begun(&self) -> Begun<'_> {
        let (method, target) = self.parts();
        let noted = self.0.as_ref();
        Begun {
            method,
            target,
            client: noted.map_or(Peer::Unknown, |text| text.client),
            wait_ns: noted.map_or(0, |text| text.wait_ns),
        }
    }

    pub(crate) fn set_id(&mut self, id: &[u8]) {
        let kept = &mut self.0.get_or_insert_default().id;
        kept.clear();
        kept.extend_from_slice(id);
    }

    /// The id of the request; empty without one.
    #[inline]
    pub(crate) fn id(&self) -> &[u8] {
        self.0.as_ref().map_or(&[], |text| &text.id)
    }

    /// As text, for an event; `None` without one.
    pub(crate) fn id_text(&self) -> Option<Box<str>> {
        let id = self.id();
        (!id.is_empty()).then(|| String::from_utf8_lossy(id).into())
    }

    pub(crate) fn parts(&self) -> (&[u8], &[u8]) {
        let mut parts = self.bytes().splitn(2, |&byte| byte == b' ');
        (
            parts.next().unwrap_or_default(),
            parts.next().unwrap_or_default(),
        )
    }

    /// Escaped for a log.
    pub(crate) fn line(&self) -> String {
        self.bytes().escape_ascii().to_string()
    }

    fn bytes(&self) -> &[u8] {
        self.0.as_ref().map_or(&[], |text| &text.bytes)
    }
}

pub(crate) struct Exchange {
    phase: Phase,
    pub(crate) context: RequestContext,
    pub(crate) encoder: BodyEncoder,
    /// The body of the request.
    pub(crate) body: Incoming,
    pub(crate) expects_continue: bool,
    /// [`crate::Event::Drained`] is wanted.
    pub(crate) wants_drained: bool,
    /// [`crate::Event::Gone`] is wanted.
    pub(crate) wants_gone: bool,
    /// That of the request on the scoreboard, while it is in flight.
    pub(crate) entry: EntryId,
    /// When the application got the last part of the request. 0: its response, which is complete, has no time.
    pub(crate) given_ns: u64,
    pub(crate) label: Label,
    /// Where the request comes from, if proxies in front have said that.
    pub(crate) origin: Option<Box<Origin>>,
}

impl Default for Exchange {
    fn default() -> Self {
        Exchange {
            phase: Phase::Idle,
            context: RequestContext::default(),
            encoder: BodyEncoder::Nothing,
            body: Incoming::default(),
            expects_continue: false,
            wants_drained: false,
            wants_gone: false,
            entry: EntryId::default(),
            given_ns: 0,
            label: Label::default(),
            origin: None,
        }
    }
}

impl Exchange {
    #[inline]
    pub(crate) fn phase(&self) -> Phase {
        self.phase
    }

    /// # Errors
    /// `OutOfTurn` if the phase does not allow `step`.
    #[inline(always)]
    pub(crate) fn expects(&self, step: Step) -> Result<(), LocalError> {
        match self.phase.after(step) {
            Some(_) => Ok(()),
            None => Err(LocalError::OutOfTurn),
        }
    }

    /// # Errors
    /// `OutOfTurn` unless the body of the response is being written.
    #[inline]
    pub(crate) fn expects_content(&self) -> Result<(), LocalError> {
        match self.phase {
            Phase::Streaming => Ok(()),
            _ => Err(LocalError::OutOfTurn),
        }
    }

    /// Takes a step. Returns the phases before and after it. Only for
    /// [`crate::context::Context::advance`].
    #[inline(always)]
    pub(crate) fn advance(&mut self, step: Step) -> Option<(Phase, Phase)> {
        let before = self.phase;
        self.phase = before.after(step)?;
        Some((before, self.phase))
    }

    pub(crate) fn given_ms(&self) -> u64 {
        self.given_ns / 1_000_000
    }

    /// Whether it is a request that the application of this worker has, or will have: not
    /// something malformed, and not one that another worker serves.
    #[inline]
    pub(crate) fn is_counted(&self) -> bool {
        self.phase == Phase::Offered || self.entry.is_some()
    }

    /// Whether this process, and not the client, is the reason that there is no
    /// head of a response yet.
    pub(crate) fn holds_up_head(&self) -> bool {
        self.phase.owes_head() || self.body.is_storing()
    }

    /// Whether [`crate::Event::Gone`] must be reported when the connection
    /// closes. `early`: it was closed before its end.
    pub(crate) fn must_report_gone(&self, early: bool) -> bool {
        self.wants_gone || self.wants_drained || early && self.phase.owes_response()
    }
}
