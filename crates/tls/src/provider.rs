//! The library of cryptography: ring, or AWS-LC with the feature `aws-lc`.
//!
//! Both have nearly the same interface. Only this file knows which it is.

pub(crate) use chosen::*;

#[cfg(not(feature = "aws-lc"))]
mod chosen {
    use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
    use ring::rand::{SecureRandom, SystemRandom};
    pub(crate) use ring::{aead, hkdf, rand};
    pub(crate) use rustls::crypto::ring::{
        DEFAULT_CIPHER_SUITES, default_provider, sign::any_supported_type,
    };

    /// Encrypts `text` in its place by AES-256-GCM with a random nonce, and appends the tag. Returns
    /// the nonce.
    pub(crate) fn seal(key: &[u8], aad: &[u8], text: &mut Vec<u8>) -> Option<[u8; NONCE_LEN]> {
        let mut nonce = [0; NONCE_LEN];
        SystemRandom::new().fill(&mut nonce).ok()?;
        let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key).ok()?);
        let once = Nonce::assume_unique_for_key(nonce);
        key.seal_in_place_append_tag(once, Aad::from(aad), text)
            .ok()?;
        Some(nonce)
    }
}

#[cfg(feature = "aws-lc")]
mod chosen {
    use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, RandomizedNonceKey};
    pub(crate) use aws_lc_rs::{aead, hkdf, rand};
    pub(crate) use rustls::crypto::aws_lc_rs::{
        DEFAULT_CIPHER_SUITES, default_provider, sign::any_supported_type,
    };

    /// As that of ring. The nonce must come from the library itself (FIPS 140-3).
    pub(crate) fn seal(key: &[u8], aad: &[u8], text: &mut Vec<u8>) -> Option<[u8; NONCE_LEN]> {
        let key = RandomizedNonceKey::new(&AES_256_GCM, key).ok()?;
        let nonce = key.seal_in_place_append_tag(Aad::from(aad), text).ok()?;
        Some(*nonce.as_ref())
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn with_the_feature_fips_all_is_fips() {
        assert_eq!(super::default_provider().fips(), cfg!(feature = "fips"));
    }
}
