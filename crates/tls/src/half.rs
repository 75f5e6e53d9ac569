//! One direction of a connection: the traffic secret, its key, and the number of the
//! next record.

use crate::alert::Alert;
use crate::provider::aead::{Aad, LessSafeKey, Nonce};
use crate::suite::{IV_BYTES, SECRET_BYTES, Secret, Suite};
use std::ops::RangeFrom;

/// The content types of RFC 8446, section 5.1.
pub(crate) const ALERT: u8 = 21;
pub(crate) const HANDSHAKE: u8 = 22;
pub(crate) const DATA: u8 = 23;

pub(crate) const HEADER_BYTES: usize = 5;
/// The most that a record may hold (RFC 8446, section 5.1).
pub(crate) const PLAINTEXT_BYTES: usize = 1 << 14;
pub(crate) const TAG_BYTES: usize = 16;
/// The most that a protected record may hold (RFC 8446, section 5.2).
pub(crate) const CIPHERTEXT_BYTES: usize = PLAINTEXT_BYTES + 256;

/// The state of one direction in a message: the secret, and the record number.
pub(crate) const HALF_BYTES: usize = SECRET_BYTES + 8;

pub(crate) struct Half {
    suite: Suite,
    secret: Secret,
    key: LessSafeKey,
    iv: [u8; IV_BYTES],
    /// The number of the next record of this key.
    number: u64,
}

impl Half {
    fn from_secret(suite: Suite, secret: Secret, number: u64) -> Option<Self> {
        let (key, iv) = suite.key(&secret)?;
        Some(Half {
            suite,
            secret,
            key,
            iv,
            number,
        })
    }

    /// Continues with the next traffic secret (RFC 8446, section 7.2).
    pub(crate) fn update(&mut self) -> Result<(), Alert> {
        let next = self.suite.next_secret(&self.secret);
        *self = next
            .and_then(|secret| Self::from_secret(self.suite, secret, 0))
            .ok_or(Alert::InternalError)?;
        Ok(())
    }

    /// Whether the key must be updated before it seals more than one further record.
    #[inline]
    pub(crate) fn is_worn(&self) -> bool {
        self.number >= self.suite.records_per_key()
    }

    /// The nonce of the next record (RFC 8446, section 5.3). Each is given once.
    #[inline]
    fn nonce(&mut self) -> Result<Nonce, Alert> {
        let mut nonce = self.iv;
        let number = self.number.to_be_bytes();
        for (byte, other) in nonce.iter_mut().rev().zip(number.iter().rev()) {
            *byte ^= other;
        }
        self.number = self.number.checked_add(1).ok_or(Alert::InternalError)?;
        Ok(Nonce::assume_unique_for_key(nonce))
    }

    /// Opens the record whose ciphertext begins in `buffer` at `ciphertext`, and whose
    /// header was `header`. Its plaintext is moved to the beginning of `buffer`. Returns
    /// its content type and the length of its content.
    #[inline]
    pub(crate) fn open(
        &mut self,
        header: [u8; HEADER_BYTES],
        buffer: &mut [u8],
        ciphertext: RangeFrom<usize>,
    ) -> Result<(u8, usize), Alert> {
        let nonce = self.nonce()?;
        let plaintext = self
            .key
            .open_within(nonce, Aad::from(header), buffer, ciphertext)
            .map_err(|_| Alert::BadRecordMac)?;
        if plaintext.len() > PLAINTEXT_BYTES + 1 {
            return Err(Alert::RecordOverflow);
        }
        // The type is the last byte that is not zero; zeros behind it are padding.
        let end = plaintext.iter().rposition(|&byte| byte != 0);
        let end = end.ok_or(Alert::UnexpectedMessage)?;
        let kind = plaintext.get(end).copied();
        Ok((kind.ok_or(Alert::UnexpectedMessage)?, end))
    }

    /// Appends a record to `out`. Its content is what `write` appends: at most
    /// `PLAINTEXT_BYTES`.
    #[inline]
    pub(crate) fn seal(
        &mut self,
        kind: u8,
        out: &mut Vec<u8>,
        write: impl FnOnce(&mut Vec<u8>),
    ) -> Result<(), Alert> {
        let start = out.len();
        out.extend_from_slice(&[0; HEADER_BYTES]);
        write(out);
        out.push(kind);
        let length = out.len() - start - HEADER_BYTES + TAG_BYTES;
        let [high, low] = u16::try_from(length)
            .map_err(|_| Alert::InternalError)?
            .to_be_bytes();
        let header = [DATA, 3, 3, high, low];
        let nonce = self.nonce()?;
        let (place, content) = out
            .get_mut(start..)
            .and_then(|record| record.split_at_mut_checked(HEADER_BYTES))
            .ok_or(Alert::InternalError)?;
        place.copy_from_slice(&header);
        let tag = self
            .key
            .seal_in_place_separate_tag(nonce, Aad::from(header), content)
            .map_err(|_| Alert::InternalError)?;
        out.extend_from_slice(tag.as_ref());
        Ok(())
    }

    /// The secret, and the number of the next record.
    pub(crate) fn state(&self) -> (&[u8], u64) {
        let secret = self.secret.get(..self.suite.secret_bytes());
        (secret.unwrap_or_default(), self.number)
    }

    /// `None`: the secret has not the length of the suite's hash.
    pub(crate) fn write_state(
        suite: Suite,
        secret: &[u8],
        number: u64,
        out: &mut [u8; HALF_BYTES],
    ) -> Option<()> {
        let (place, number_place) = out.split_first_chunk_mut::<SECRET_BYTES>()?;
        let place = place.get_mut(..suite.secret_bytes())?;
        if secret.len() != place.len() {
            return None;
        }
        place.copy_from_slice(secret);
        number_place.copy_from_slice(&number.to_be_bytes());
        Some(())
    }

    pub(crate) fn import(suite: Suite, bytes: &[u8; HALF_BYTES]) -> Option<Self> {
        let (secret, number) = bytes.split_first_chunk::<SECRET_BYTES>()?;
        let number = number.try_into().ok()?;
        Self::from_secret(suite, Secret::new(*secret), u64::from_be_bytes(number))
    }
}
