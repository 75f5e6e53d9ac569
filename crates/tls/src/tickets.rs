//! Session tickets (RFC 8446, section 4.6.1; RFC 5077) that every process resumes which
//! has the same keys.
//!
//! A ticket is the name of its key, a random nonce, and the sealed state. The keys rotate:
//! tickets are made with the current one, and those of the previous one are read until the
//! next rotation. The server keeps no state for a ticket.

use crate::provider::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use crate::provider::rand::{SecureRandom, SystemRandom};
use crate::provider::seal;
use zeroize::Zeroizing;

/// How long a key makes tickets, and how long a ticket may be used. Two rotations later
/// its key is gone.
pub const TICKET_LIFETIME_S: u32 = 12 * 3600;

const NAME_BYTES: usize = 16;
const KEY_BYTES: usize = 32;
const ONE_BYTES: usize = NAME_BYTES + KEY_BYTES;
/// The size of [`TicketKeys`] as bytes.
pub const TICKET_KEYS_BYTES: usize = 3 * ONE_BYTES;

/// The previous, the current and the next key, each after its name.
#[derive(Clone, PartialEq, Eq)]
pub struct TicketKeys(Zeroizing<[u8; TICKET_KEYS_BYTES]>);

impl TicketKeys {
    /// `None`: the system has no randomness.
    pub fn generate() -> Option<Self> {
        let mut keys = Zeroizing::new([0; TICKET_KEYS_BYTES]);
        SystemRandom::new().fill(keys.as_mut_slice()).ok()?;
        Some(TicketKeys(keys))
    }

    /// The current key becomes the previous one, and the next the current. `None`: the
    /// system has no randomness.
    pub fn rotated(&self) -> Option<Self> {
        let mut keys = self.clone();
        keys.0.copy_within(ONE_BYTES.., 0);
        let next = keys.0.get_mut(2 * ONE_BYTES..)?;
        SystemRandom::new().fill(next).ok()?;
        Some(keys)
    }

    pub fn from_bytes(bytes: [u8; TICKET_KEYS_BYTES]) -> Self {
        TicketKeys(Zeroizing::new(bytes))
    }

    pub fn as_bytes(&self) -> &[u8; TICKET_KEYS_BYTES] {
        &self.0
    }

    fn all(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.0.chunks(ONE_BYTES).map(|one| one.split_at(NAME_BYTES))
    }

    pub(crate) fn seal(&self, plain: &[u8]) -> Option<Vec<u8>> {
        let (name, key) = self.all().nth(1)?;
        let mut sealed = plain.to_vec();
        let nonce = seal(key, name, &mut sealed)?;
        Some([name, &nonce, &sealed].concat())
    }

    pub(crate) fn open(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        let (name, rest) = ticket.split_at_checked(NAME_BYTES)?;
        let (nonce, sealed) = rest.split_first_chunk::<NONCE_LEN>()?;
        let (_, key) = self.all().find(|(known, _)| *known == name)?;
        let mut opened = sealed.to_vec();
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key).ok()?);
        let opening = key.open_in_place(nonce, Aad::from(name), &mut opened);
        let length = opening.ok()?.len();
        opened.truncate(length);
        Some(opened)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ticket_is_read_until_its_key_has_been_rotated_out() {
        let keys = TicketKeys::generate().unwrap();
        let ticket = keys.seal(b"state").unwrap();
        let once = keys.rotated().unwrap();
        let twice = once.rotated().unwrap();
        assert_eq!(keys.open(&ticket).as_deref(), Some(&b"state"[..]));
        assert_eq!(once.open(&ticket).as_deref(), Some(&b"state"[..]));
        assert_eq!(twice.open(&ticket), None);
        assert_eq!(twice.rotated().unwrap().open(&ticket), None);
    }

    #[test]
    fn a_process_that_has_not_seen_a_rotation_reads_the_tickets_made_after_it() {
        let keys = TicketKeys::generate().unwrap();
        let ticket = keys.rotated().unwrap().seal(b"state").unwrap();
        assert_eq!(keys.open(&ticket).as_deref(), Some(&b"state"[..]));
    }

    #[test]
    fn a_changed_ticket_is_refused() {
        let keys = TicketKeys::generate().unwrap();
        let ticket = keys.seal(b"state").unwrap();
        for at in 0..ticket.len() {
            let mut changed = ticket.clone();
            changed[at] ^= 1;
            assert_eq!(keys.open(&changed), None, "{at}");
            assert_eq!(keys.open(&ticket[..at]), None, "{at}");
        }
    }

    #[test]
    fn two_tickets_of_the_same_state_differ() {
        let keys = TicketKeys::generate().unwrap();
        assert_ne!(keys.seal(b"state"), keys.seal(b"state"));
    }
}
