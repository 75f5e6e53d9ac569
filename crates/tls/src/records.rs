//! The record layer of TLS 1.3 after the handshake (RFC 8446, sections 4.6.3, 5, 6).
//!
//! Its state is two traffic secrets and two record numbers, so another process can
//! continue with it ([`Records::export`]). Always holds: what an error has ended opens
//! and seals nothing more but its alert; nothing of the peer is stored but an
//! incomplete handshake message, which has at most five bytes.

use crate::alert::Alert;
use crate::half::{
    ALERT, CIPHERTEXT_BYTES, DATA, HALF_BYTES, HANDSHAKE, HEADER_BYTES, Half, PLAINTEXT_BYTES,
    TAG_BYTES,
};
use crate::suite::Suite;
use std::io::IoSlice;
use zeroize::Zeroizing;

/// The size of an exported state: the number of the suite, both directions, the number of
/// idle records, and the beginning of a message after its length.
pub const STATE_BYTES: usize = 2 + 2 * HALF_BYTES + 2 + PARTIAL_BYTES;

/// How many records a peer may send that bring no data, between two that do. Each costs
/// as much as one that does.
const IDLE_RECORDS: u32 = 32;

const KEY_UPDATE: u8 = 24;
const KEY_UPDATE_BYTES: usize = 5;
/// One that is not complete lacks a byte.
const PARTIAL_BYTES: usize = KEY_UPDATE_BYTES - 1;
const CLOSE_NOTIFY: u8 = 0;
const USER_CANCELED: u8 = 90;
const WARNING: u8 = 1;
const FATAL: u8 = 2;

/// How the peer has ended its side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PeerEnd {
    /// By close_notify.
    Closed,
    /// By an alert that ends the connection: its number.
    Alert(u8),
}

/// What [`Records::open`] has found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opened {
    /// The plaintext ends here in the buffer.
    pub plaintext_end: usize,
    /// From here on the buffer has an incomplete record.
    pub rest: usize,
    pub end: Option<PeerEnd>,
}

pub struct Records {
    suite: Suite,
    receiving: Half,
    sending: Half,
    /// The beginning of a handshake message.
    partial: Vec<u8>,
    /// Records without data since the last one with data.
    idle_records: u32,
    /// The peer has asked for an update of our key.
    owes_update: bool,
    is_over: bool,
}

impl Records {
    /// That of [`Records::state_of`].
    pub fn new(suite: Suite, client: (&[u8], u64), server: (&[u8], u64)) -> Option<Self> {
        Self::import(&*Self::state_of(suite, client, server)?)
    }

    fn from_halves(suite: Suite, receiving: Half, sending: Half) -> Self {
        Records {
            suite,
            receiving,
            sending,
            partial: Vec::new(),
            idle_records: 0,
            owes_update: false,
            is_over: false,
        }
    }

    pub fn suite(&self) -> Suite {
        self.suite
    }

    // ---- receiving ---------------------------------------------------------------

    /// Opens the whole records of `buffer` from `start` on, and moves their data together
    /// there. What must be sent in return is appended to `reply`, also for an error.
    ///
    /// # Errors
    /// The alert with which the connection ends. It is in `reply`.
    #[inline]
    pub fn open(
        &mut self,
        buffer: &mut [u8],
        start: usize,
        reply: &mut Vec<u8>,
    ) -> Result<Opened, Alert> {
        let opened = self.open_all(buffer, start);
        let replied = match &opened {
            Ok(_) => self.pay_update(reply),
            Err(alert) => self.end(FATAL, *alert as u8, reply),
        };
        replied.and(opened)
    }

    #[inline]
    fn open_all(&mut self, buffer: &mut [u8], start: usize) -> Result<Opened, Alert> {
        let mut opened = Opened {
            plaintext_end: start,
            rest: start,
            end: None,
        };
        while !self.is_over {
            let rest = buffer.get(opened.rest..).unwrap_or_default();
            let Some(&header) = rest.first_chunk::<HEADER_BYTES>() else {
                break;
            };
            // The version has no meaning (section 5.1).
            let [outer, _, _, high, low] = header;
            let length = usize::from(u16::from_be_bytes([high, low]));
            if outer != DATA {
                return Err(Alert::UnexpectedMessage);
            }
            if length > CIPHERTEXT_BYTES {
                return Err(Alert::RecordOverflow);
            }
            if length <= TAG_BYTES {
                return Err(Alert::BadRecordMac);
            }
            if rest.len() < HEADER_BYTES + length {
                break;
            }
            let from = opened.plaintext_end;
            let next = opened.rest + HEADER_BYTES + length;
            let room = buffer.get_mut(from..next).ok_or(Alert::InternalError)?;
            let ciphertext = opened.rest + HEADER_BYTES - from;
            let (kind, length) = self.receiving.open(header, room, ciphertext..)?;
            let content = room.get(..length).unwrap_or_default();
            opened.rest = next;
            match kind {
                DATA if length > 0 && self.partial.is_empty() => {
                    opened.plaintext_end += length;
                    self.idle_records = 0;
                    continue;
                }
                // Nothing may stand between the parts of a message (section 5.1), and only data
                // may be empty (section 5.4).
                DATA if self.partial.is_empty() => {}
                HANDSHAKE if length > 0 => self.handshake(content)?,
                ALERT if length > 0 && self.partial.is_empty() => {
                    opened.end = self.alert(content)?
                }
                _ => return Err(Alert::UnexpectedMessage),
            }
            self.idle_records += 1;
            if self.idle_records > IDLE_RECORDS {
                return Err(Alert::UnexpectedMessage);
            }
        }
        Ok(opened)
    }

    /// Reads a part of a handshake message. The only one that a client may send is
    /// KeyUpdate, which ends with its record (section 5.1).
    fn handshake(&mut self, content: &[u8]) -> Result<(), Alert> {
        let room = KEY_UPDATE_BYTES - self.partial.len();
        let (now, behind) = content.split_at(room.min(content.len()));
        self.partial.extend_from_slice(now);
        if self.partial.first() != Some(&KEY_UPDATE) {
            return Err(Alert::UnexpectedMessage);
        }
        let length = self.partial.get(1..).unwrap_or_default();
        if !length.iter().zip([0, 0, 1]).all(|(&is, must)| is == must) {
            return Err(Alert::DecodeError);
        }
        if !behind.is_empty() {
            return Err(Alert::UnexpectedMessage);
        }
        match self.partial.get(KEY_UPDATE_BYTES - 1) {
            None => return Ok(()),
            Some(0) => {}
            Some(1) => self.owes_update = true,
            Some(_) => return Err(Alert::IllegalParameter),
        }
        self.partial = Vec::new();
        self.receiving.update()
    }

    fn alert(&mut self, content: &[u8]) -> Result<Option<PeerEnd>, Alert> {
        let &[_, description] = content else {
            return Err(Alert::DecodeError);
        };
        let end = match description {
            USER_CANCELED => return Ok(None),
            CLOSE_NOTIFY => PeerEnd::Closed,
            other => PeerEnd::Alert(other),
        };
        // What follows is not read (section 6.1).
        self.is_over = true;
        Ok(Some(end))
    }

    // ---- sending -----------------------------------------------------------------

    /// Seals the first bytes of `vectors`, at most `most`, and appends the records to
    /// `out`. Returns how many bytes they hold.
    ///
    /// # Errors
    /// The connection cannot go on.
    pub fn seal(
        &mut self,
        vectors: &[IoSlice<'_>],
        most: usize,
        out: &mut Vec<u8>,
    ) -> Result<usize, Alert> {
        let total: usize = vectors.iter().map(|vector| vector.len()).sum();
        let total = total.min(most);
        let mut parts = vectors.iter();
        let mut part: &[u8] = &[];
        let mut sealed = 0;
        while sealed < total {
            if self.sending.is_worn() {
                self.update(out)?;
            }
            let length = (total - sealed).min(PLAINTEXT_BYTES);
            self.sending.seal(DATA, out, |out| {
                let mut room = length;
                while room > 0 {
                    if part.is_empty() {
                        match parts.next() {
                            Some(next) => part = next,
                            None => break,
                        }
                    }
                    let (now, later) = part.split_at(room.min(part.len()));
                    out.extend_from_slice(now);
                    room -= now.len();
                    part = later;
                }
            })?;
            sealed += length;
        }
        Ok(sealed)
    }

    /// Appends close_notify: the last record of our side.
    ///
    /// # Errors
    /// As [`Records::seal`].
    pub fn close(&mut self, out: &mut Vec<u8>) -> Result<(), Alert> {
        self.sending.seal(ALERT, out, |out| {
            out.extend_from_slice(&[WARNING, CLOSE_NOTIFY]);
        })
    }

    fn end(&mut self, level: u8, description: u8, out: &mut Vec<u8>) -> Result<(), Alert> {
        self.is_over = true;
        self.sending.seal(ALERT, out, |out| {
            out.extend_from_slice(&[level, description]);
        })
    }

    /// One update pays for all that were asked for since the last one (section 4.6.3).
    #[inline]
    fn pay_update(&mut self, out: &mut Vec<u8>) -> Result<(), Alert> {
        match std::mem::take(&mut self.owes_update) {
            true => self.update(out),
            false => Ok(()),
        }
    }

    /// Updates our key.
    fn update(&mut self, out: &mut Vec<u8>) -> Result<(), Alert> {
        const NOT_REQUESTED: u8 = 0;
        self.sending.seal(HANDSHAKE, out, |out| {
            out.extend_from_slice(&[KEY_UPDATE, 0, 0, 1, NOT_REQUESTED]);
        })?;
        self.sending.update()
    }

    // ---- another process ---------------------------------------------------------

    /// The state after a handshake. The secrets are those of the client's and the server's
    /// application traffic, the numbers those of the next record of each. `None`: a secret
    /// has not the length of the suite's hash.
    pub fn state_of(
        suite: Suite,
        client: (&[u8], u64),
        server: (&[u8], u64),
    ) -> Option<Zeroizing<[u8; STATE_BYTES]>> {
        let mut state = Zeroizing::new([0; STATE_BYTES]);
        let (number, halves) = state.split_first_chunk_mut::<2>()?;
        let (receiving, halves) = halves.split_first_chunk_mut::<HALF_BYTES>()?;
        *number = suite.number().to_be_bytes();
        Half::write_state(suite, client.0, client.1, receiving)?;
        Half::write_state(suite, server.0, server.1, halves.first_chunk_mut()?)?;
        Some(state)
    }

    /// The state for another process, which continues with it, also in the middle of a
    /// message. `None`: it is over.
    pub fn export(&self) -> Option<Zeroizing<[u8; STATE_BYTES]>> {
        if self.is_over {
            return None;
        }
        let (receiving, sending) = (self.receiving.state(), self.sending.state());
        let mut state = Self::state_of(self.suite, receiving, sending)?;
        let (_, behind) = state.split_at_mut_checked(2 + 2 * HALF_BYTES)?;
        let ([idle_records, length], partial) = behind.split_first_chunk_mut::<2>()?;
        *idle_records = u8::try_from(self.idle_records).ok()?;
        *length = u8::try_from(self.partial.len()).ok()?;
        let partial = partial.get_mut(..self.partial.len())?;
        partial.copy_from_slice(&self.partial);
        Some(state)
    }

    /// Whether [`Records::export`] gives a state.
    pub fn may_move(&self) -> bool {
        !self.is_over
    }

    /// Continues with the state of another process. `None`: it is not one.
    pub fn import(state: &[u8; STATE_BYTES]) -> Option<Self> {
        let (number, halves) = state.split_first_chunk::<2>()?;
        let (receiving, halves) = halves.split_first_chunk::<HALF_BYTES>()?;
        let (sending, behind) = halves.split_first_chunk::<HALF_BYTES>()?;
        let (&[idle_records, length], partial) = behind.split_first_chunk::<2>()?;
        let suite = Suite::from_number(u16::from_be_bytes(*number))?;
        let receiving = Half::import(suite, receiving)?;
        let sending = Half::import(suite, sending)?;
        let mut records = Self::from_halves(suite, receiving, sending);
        records.idle_records = idle_records.into();
        records.partial = partial.get(..usize::from(length))?.to_vec();
        Some(records)
    }
}

#[cfg(test)]
mod tests;
