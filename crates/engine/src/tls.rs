//! A connection's TLS: what is between the bytes of the socket and those of the protocol.
//!
//! Owns: the state of the handshake or of the record layer, and the two kinds of
//! ciphertext that wait: of a record that is not complete, and what the socket has not
//! taken. Always holds: an idle connection has no buffer; all data that was received is
//! opened, so the socket alone tells whether there is more. Knows no socket.

use crate::vault::Kept;
use prefork_tls::{
    Config, Established, Handshake, PeerEnd, Progress, Records, STATE_BYTES, Session,
    missing_of_record, whole_records,
};
use rustls::{ProtocolVersion, ServerConnection};
use std::cell::Cell;
use std::io::{IoSlice, Read, Write};
use std::sync::Arc;
use zeroize::{Zeroize, Zeroizing};

/// The state of the record layer of a connection on its way to another process.
pub(crate) type Keys = Box<Zeroizing<[u8; STATE_BYTES]>>;

/// The most that one call seals: the socket may take less of it.
pub(crate) const SEAL_BYTES: usize = 128 * 1024;

/// More than the records of so much need besides it.
const RECORDS_BYTES: usize = 1024;

/// More than the functions of a handshake need of the stack: 24 KiB. By words, which costs an eighth.
const SCRUBBED_WORDS: usize = 3 * 1024;

const BROKEN: &str = "a record of TLS was changed on its way, or breaks the protocol";
const PLAIN: &str = "400 it does not speak TLS, as this port does";
const RENEGOTIATED: &str = "it asked to renegotiate TLS, which was refused";
const HALF_HANDSHAKE: &str = "the client left in the middle of the TLS handshake";
const HALF_RECORD: &str = "the client left in the middle of a record of TLS";
const NO_KEYS: &str = "no memory for the keys of TLS";

/// The first byte of a record of a handshake (RFC 8446, section 5.1).
const HANDSHAKE_RECORD: u8 = 22;

/// For a client that speaks without TLS.
const PLAIN_REFUSED: &[u8] = b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\n\
    Content-Length: 58\r\nConnection: close\r\n\r\n\
    This port speaks TLS: the address must begin with https://";

thread_local! {
    /// The buffer of ciphertext while nothing of it waits.
    static SCRATCH: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

enum State {
    /// Nothing was received yet.
    New(Config),
    Handshake(Handshake),
    Tls13(Kept),
    Rustls(Box<ServerConnection>),
    /// It failed.
    Over,
}

#[inline(never)]
fn import_keys(state: &[u8; STATE_BYTES]) -> Option<Kept> {
    Kept::new(Records::import(state)?)
}

/// Overwrites what the functions that have just returned left on the stack: a secret that
/// moves from one to the other leaves copies there.
#[inline(never)]
fn scrub_stack() {
    let mut room = std::hint::black_box([0u64; SCRUBBED_WORDS]);
    room.zeroize();
    std::hint::black_box(&room);
}

/// How the peer's side has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    Closed,
    /// By an error, or by the peer's alert.
    Failed,
}

pub(crate) struct Tls {
    state: State,
    /// The beginning of a record.
    rest: Vec<u8>,
    /// Ciphertext that the socket has not taken.
    out: Vec<u8>,
    ended: Option<Ended>,
    /// After the handshake.
    session: Option<Arc<Session>>,
    /// Why it has failed, if not by the client's alert, or what it has refused.
    failure: Option<&'static str>,
}

impl Tls {
    pub(crate) fn new(config: Config) -> Self {
        Self::in_state(State::New(config))
    }

    fn in_state(state: State) -> Self {
        Tls {
            state,
            rest: Vec::new(),
            out: Vec::new(),
            ended: None,
            session: None,
            failure: None,
        }
    }

    /// Continues with the keys of another process. `None`: they are no keys.
    pub(crate) fn import(keys: &Keys, session: Arc<Session>) -> Option<Self> {
        let state = import_keys(keys);
        scrub_stack();
        let mut tls = Self::in_state(State::Tls13(state?));
        tls.session = Some(session);
        Some(tls)
    }

    /// Whether [`Tls::export`] gives the keys: the record layer is ours, and the socket has taken
    /// what it has sealed.
    pub(crate) fn may_move(&self) -> bool {
        let State::Tls13(records) = &self.state else {
            return false;
        };
        self.out.is_empty() && self.ended.is_none() && records.may_move()
    }

    /// Whether the record layer is, or may become, ours.
    pub(crate) fn moves(&self) -> bool {
        !matches!(self.state, State::Rustls(_))
    }

    /// For [`Tls::import`]. The beginning of a record goes along ([`Tls::rest`]).
    pub(crate) fn export(&self) -> Option<Keys> {
        match &self.state {
            State::Tls13(records) if self.may_move() => records.export().map(Box::new),
            _ => None,
        }
    }

    /// The beginning of a record.
    pub(crate) fn rest(&self) -> &[u8] {
        &self.rest
    }

    pub(crate) fn set_rest(&mut self, rest: Vec<u8>) {
        self.rest = rest;
    }

    /// What the handshake has settled.
    pub(crate) fn session(&self) -> Option<&Arc<Session>> {
        self.session.as_ref()
    }

    /// Why it has failed, if not by the client's alert, or what it has refused.
    pub(crate) fn failure(&self) -> Option<&'static str> {
        self.failure
    }

    /// Whether the client has chosen HTTP/2.
    pub(crate) fn is_http2(&self) -> bool {
        self.session.as_ref().is_some_and(|session| session.http2)
    }

    /// Whether the client has begun a handshake that is not complete.
    pub(crate) fn is_in_handshake(&self) -> bool {
        matches!(self.state, State::Handshake(_))
    }

    /// What the client has not completed, if its side has ended.
    pub(crate) fn cut(&self) -> Option<&'static str> {
        match self.state {
            _ if self.ended.is_some() => None,
            State::Handshake(_) => Some(HALF_HANDSHAKE),
            State::Tls13(_) | State::Rustls(_) if !self.rest.is_empty() => Some(HALF_RECORD),
            _ => None,
        }
    }

    /// How many bytes the next record of a handshake lacks. `None`: there is no handshake,
    /// or no more of one.
    pub(crate) fn missing_of_handshake(&self) -> Option<usize> {
        match self.state {
            State::New(_) | State::Handshake(_) if self.ended.is_none() => {
                Some(missing_of_record(&self.rest))
            }
            _ => None,
        }
    }

    pub(crate) fn ended(&self) -> Option<Ended> {
        self.ended
    }

    // ---- receiving ---------------------------------------------------------------

    /// Puts the beginning of a record, which came before, at the end of `buffer`.
    #[inline]
    pub(crate) fn restore_rest(&mut self, buffer: &mut Vec<u8>) {
        buffer.append(&mut self.rest);
        self.rest = Vec::new();
    }

    /// `buffer` has ciphertext from `start` on: its data takes that place.
    #[inline]
    pub(crate) fn open(&mut self, buffer: &mut Vec<u8>, start: usize) {
        if buffer.len() == start {
            return; // a client may connect and wait
        }
        match &mut self.state {
            State::Tls13(records) => match records.open(buffer, start, &mut self.out) {
                Ok(opened) => {
                    let rest = buffer.get(opened.rest..).unwrap_or_default();
                    if !rest.is_empty() {
                        self.rest = rest.to_vec();
                    }
                    buffer.truncate(opened.plaintext_end);
                    self.ended = opened.end.map(|end| match end {
                        PeerEnd::Closed => Ended::Closed,
                        PeerEnd::Alert(_) => Ended::Failed,
                    });
                }
                Err(_) => {
                    buffer.truncate(start);
                    self.fail(BROKEN);
                }
            },
            State::Rustls(_) => self.open_by_rustls(buffer, start),
            State::New(_) | State::Handshake(_) => self.shake_hands(buffer, start),
            State::Over => buffer.truncate(start),
        }
    }

    fn fail(&mut self, reason: &'static str) {
        self.failure.get_or_insert(reason);
        self.end_by_alert();
    }

    fn end_by_alert(&mut self) {
        self.state = State::Over;
        self.ended = Some(Ended::Failed);
    }

    fn shake_hands(&mut self, buffer: &mut Vec<u8>, start: usize) {
        self.continue_handshake(buffer, start);
        if matches!(self.state, State::Tls13(_)) {
            scrub_stack();
        }
    }

    fn continue_handshake(&mut self, buffer: &mut Vec<u8>, start: usize) {
        let input = buffer.split_off(start);
        if input.is_empty() {
            return; // it is accepted before its client has sent anything
        }
        let handshake = match std::mem::replace(&mut self.state, State::Over) {
            State::New(_) if input.first() != Some(&HANDSHAKE_RECORD) => {
                self.out.extend_from_slice(PLAIN_REFUSED);
                self.failure = Some(PLAIN);
                self.ended = Some(Ended::Closed);
                return;
            }
            State::New(config) => Handshake::new(&config),
            State::Handshake(handshake) => Some(handshake),
            _ => None,
        };
        let Some(handshake) = handshake else {
            return self.fail(NO_KEYS);
        };
        let (progress, consumed) = handshake.read(&input, &mut self.out);
        let rest = input.get(consumed..).unwrap_or_default();
        self.state = match progress {
            Progress::Handshake(handshake) => {
                self.rest = rest.to_vec();
                State::Handshake(handshake)
            }
            Progress::Established(established, session) => {
                self.session = Some(Arc::new(session));
                let state = match established {
                    Established::Tls13(state) => import_keys(&state).map(State::Tls13),
                    Established::Rustls(connection) => Some(State::Rustls(connection)),
                };
                let Some(state) = state else {
                    return self.fail(NO_KEYS);
                };
                self.state = state;
                buffer.extend_from_slice(rest);
                return self.open(buffer, start);
            }
            Progress::Failed(reason) => {
                self.failure = Some(reason);
                self.ended = Some(Ended::Failed);
                State::Over
            }
        };
    }

    /// rustls gets whole records: it does not tell whether it has a part of one.
    fn open_by_rustls(&mut self, buffer: &mut Vec<u8>, start: usize) {
        let State::Rustls(connection) = &mut self.state else {
            return;
        };
        let input = buffer.split_off(start);
        let (mut whole, rest) = input.split_at(whole_records(&input));
        self.rest = rest.to_vec();
        let mut failed = None;
        while !whole.is_empty() && failed.is_none() && self.ended.is_none() {
            let is_read = connection.read_tls(&mut whole).is_ok();
            match connection.process_new_packets() {
                Ok(state) => {
                    let mut data = vec![0; state.plaintext_bytes_to_read()];
                    let is_read = is_read && connection.reader().read_exact(&mut data).is_ok();
                    failed = (!is_read).then_some(Some(BROKEN));
                    buffer.append(&mut data);
                    if state.peer_has_closed() {
                        self.ended = Some(Ended::Closed);
                    }
                }
                Err(rustls::Error::AlertReceived(_)) => failed = Some(None),
                Err(_) => failed = Some(Some(BROKEN)),
            }
        }
        // There is nothing else that a server of TLS 1.2 replies to.
        let is_tls12 = connection.protocol_version() == Some(ProtocolVersion::TLSv1_2);
        if is_tls12 && failed.is_none() && self.ended.is_none() && connection.wants_write() {
            self.failure = Some(RENEGOTIATED);
        }
        while connection.wants_write() && connection.write_tls(&mut self.out).is_ok() {}
        match failed {
            Some(Some(reason)) => self.fail(reason),
            Some(None) => self.end_by_alert(),
            None => {}
        }
    }

    // ---- sending -----------------------------------------------------------------

    /// Ciphertext that the socket has not taken.
    #[inline]
    pub(crate) fn unsent(&self) -> &[u8] {
        &self.out
    }

    /// The socket has taken so many bytes of it.
    pub(crate) fn advance(&mut self, sent: usize) {
        if sent < self.out.len() {
            self.out.drain(..sent);
        } else {
            let mut out = std::mem::take(&mut self.out);
            out.clear();
            if out.capacity() <= 2 * SEAL_BYTES {
                SCRATCH.set(out);
            }
        }
    }

    /// Seals the first bytes of `vectors`. Returns how many; `None`: none can be sealed.
    #[inline]
    pub(crate) fn seal(&mut self, vectors: &[IoSlice<'_>]) -> Option<usize> {
        if self.out.capacity() == 0 {
            self.out = SCRATCH.take();
        }
        match &mut self.state {
            State::Tls13(records) => {
                let total: usize = vectors.iter().map(|vector| vector.len()).sum();
                self.out.reserve(total.min(SEAL_BYTES) + RECORDS_BYTES);
                records.seal(vectors, SEAL_BYTES, &mut self.out).ok()
            }
            State::Rustls(connection) => {
                let sealed = connection.writer().write_vectored(vectors).ok()?;
                while connection.wants_write() {
                    connection.write_tls(&mut self.out).ok()?;
                }
                Some(sealed)
            }
            State::New(_) | State::Handshake(_) | State::Over => None,
        }
    }

    /// Adds close_notify to what is unsent, if the handshake is complete.
    pub(crate) fn close(&mut self) {
        match &mut self.state {
            State::Tls13(records) => {
                let _ = records.close(&mut self.out); // the peer reads the end of the socket
            }
            State::Rustls(connection) => {
                connection.send_close_notify();
                while connection.wants_write() && connection.write_tls(&mut self.out).is_ok() {}
            }
            State::New(_) | State::Handshake(_) | State::Over => {}
        }
    }
}
