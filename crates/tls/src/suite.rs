//! The cipher suites of TLS 1.3 and their keys (RFC 8446, sections 5.3, 7.2, 7.3).

use crate::provider::{aead, hkdf};
use zeroize::Zeroizing;

/// The largest hash of a suite: SHA-384.
pub(crate) const SECRET_BYTES: usize = 48;
pub(crate) const IV_BYTES: usize = 12;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Suite {
    Aes128Gcm,
    Aes256Gcm,
    Chacha20Poly1305,
}

/// A traffic secret: the root of the keys of one direction.
pub(crate) type Secret = Zeroizing<[u8; SECRET_BYTES]>;

/// A length that HKDF-Expand is asked for.
struct Length(usize);

impl hkdf::KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

impl Suite {
    const ALL: [Suite; 3] = [Suite::Aes128Gcm, Suite::Aes256Gcm, Suite::Chacha20Poly1305];

    /// The suite with this number (RFC 8446, appendix B.4).
    pub(crate) fn from_number(number: u16) -> Option<Self> {
        Self::ALL.into_iter().find(|suite| suite.number() == number)
    }

    pub(crate) fn number(self) -> u16 {
        match self {
            Suite::Aes128Gcm => 0x1301,
            Suite::Aes256Gcm => 0x1302,
            Suite::Chacha20Poly1305 => 0x1303,
        }
    }

    /// Its registered name.
    pub fn name(self) -> &'static str {
        match self {
            Suite::Aes128Gcm => "TLS_AES_128_GCM_SHA256",
            Suite::Aes256Gcm => "TLS_AES_256_GCM_SHA384",
            Suite::Chacha20Poly1305 => "TLS_CHACHA20_POLY1305_SHA256",
        }
    }

    /// How many records one key may seal (RFC 8446, section 5.5, halved).
    pub(crate) fn records_per_key(self) -> u64 {
        match self {
            Suite::Aes128Gcm | Suite::Aes256Gcm => 1 << 23,
            Suite::Chacha20Poly1305 => u64::MAX - 1,
        }
    }

    fn aead(self) -> &'static aead::Algorithm {
        match self {
            Suite::Aes128Gcm => &aead::AES_128_GCM,
            Suite::Aes256Gcm => &aead::AES_256_GCM,
            Suite::Chacha20Poly1305 => &aead::CHACHA20_POLY1305,
        }
    }

    fn hkdf(self) -> hkdf::Algorithm {
        match self {
            Suite::Aes128Gcm | Suite::Chacha20Poly1305 => hkdf::HKDF_SHA256,
            Suite::Aes256Gcm => hkdf::HKDF_SHA384,
        }
    }

    pub(crate) fn secret_bytes(self) -> usize {
        match self {
            Suite::Aes128Gcm | Suite::Chacha20Poly1305 => 32,
            Suite::Aes256Gcm => 48,
        }
    }

    /// The key and the initialization vector of a traffic secret.
    pub(crate) fn key(self, secret: &Secret) -> Option<(aead::LessSafeKey, [u8; IV_BYTES])> {
        let algorithm = self.aead();
        let secret = self.prepared(secret)?;
        let mut bytes = Zeroizing::new([0; 32]);
        let bytes = bytes.get_mut(..algorithm.key_len())?;
        expand_label(&secret, b"key", bytes)?;
        let key = aead::UnboundKey::new(algorithm, bytes).ok()?;
        let mut iv = [0; IV_BYTES];
        expand_label(&secret, b"iv", &mut iv)?;
        Some((aead::LessSafeKey::new(key), iv))
    }

    /// The traffic secret after this one.
    pub(crate) fn next_secret(self, secret: &Secret) -> Option<Secret> {
        let mut next = Secret::new([0; SECRET_BYTES]);
        let bytes = next.get_mut(..self.secret_bytes())?;
        expand_label(&self.prepared(secret)?, b"traffic upd", bytes)?;
        Some(next)
    }

    /// The secret as HKDF uses it.
    fn prepared(self, secret: &Secret) -> Option<hkdf::Prk> {
        let secret = secret.get(..self.secret_bytes())?;
        Some(hkdf::Prk::new_less_safe(self.hkdf(), secret))
    }
}

/// HKDF-Expand-Label with an empty context (RFC 8446, section 7.1).
fn expand_label(secret: &hkdf::Prk, label: &[u8], out: &mut [u8]) -> Option<()> {
    const PREFIX: &[u8] = b"tls13 ";
    let length = u16::try_from(out.len()).ok()?.to_be_bytes();
    let label_length = [u8::try_from(PREFIX.len() + label.len()).ok()?];
    let info = [&length[..], &label_length, PREFIX, label, &[0]];
    secret
        .expand(&info, Length(out.len()))
        .and_then(|expanded| expanded.fill(out))
        .ok()
}
