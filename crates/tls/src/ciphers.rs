//! The cipher suites, by the names that OpenSSL has for them.

use crate::provider::DEFAULT_CIPHER_SUITES;
use rustls::SupportedCipherSuite;

/// A cipher suite.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cipher {
    /// As it is on the wire.
    pub number: u16,
    /// OpenSSL's name.
    pub name: &'static str,
    /// The size of its key.
    pub bits: u16,
}

/// OpenSSL's name, that of the registry, number, and bits of the key.
const ALL: [(&str, &str, u16, u16); 9] = [
    (
        "TLS_AES_256_GCM_SHA384",
        "TLS_AES_256_GCM_SHA384",
        0x1302,
        256,
    ),
    (
        "TLS_AES_128_GCM_SHA256",
        "TLS_AES_128_GCM_SHA256",
        0x1301,
        128,
    ),
    (
        "TLS_CHACHA20_POLY1305_SHA256",
        "TLS_CHACHA20_POLY1305_SHA256",
        0x1303,
        256,
    ),
    (
        "ECDHE-ECDSA-AES256-GCM-SHA384",
        "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
        0xc02c,
        256,
    ),
    (
        "ECDHE-ECDSA-AES128-GCM-SHA256",
        "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
        0xc02b,
        128,
    ),
    (
        "ECDHE-ECDSA-CHACHA20-POLY1305",
        "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
        0xcca9,
        256,
    ),
    (
        "ECDHE-RSA-AES256-GCM-SHA384",
        "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
        0xc030,
        256,
    ),
    (
        "ECDHE-RSA-AES128-GCM-SHA256",
        "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
        0xc02f,
        128,
    ),
    (
        "ECDHE-RSA-CHACHA20-POLY1305",
        "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
        0xcca8,
        256,
    ),
];

impl Cipher {
    /// All that can be offered, in the order of the default.
    pub fn all() -> impl Iterator<Item = Cipher> {
        let all = ALL.iter();
        all.map(|&(name, _, number, bits)| Cipher { number, name, bits })
            .filter(|cipher| cipher.suite().is_some())
    }

    pub fn of_number(number: u16) -> Option<Cipher> {
        Cipher::all().find(|cipher| cipher.number == number)
    }

    /// By OpenSSL's name or that of the registry, in any case.
    pub fn of_name(name: &str) -> Option<Cipher> {
        let is = |known: &str| known.eq_ignore_ascii_case(name);
        let known = ALL.iter().find(|known| is(known.0) || is(known.1))?;
        Cipher::of_number(known.2)
    }

    pub(crate) fn suite(self) -> Option<SupportedCipherSuite> {
        let mut suites = DEFAULT_CIPHER_SUITES.iter();
        suites
            .find(|known| u16::from(known.suite()) == self.number)
            .copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_of_the_provider_are_known_and_no_other() {
        assert_eq!(Cipher::all().count(), DEFAULT_CIPHER_SUITES.len());
        let fips = cfg!(feature = "fips");
        assert_eq!(Cipher::all().count(), if fips { 6 } else { ALL.len() });
        for cipher in Cipher::all() {
            assert_eq!(Cipher::of_name(cipher.name), Some(cipher));
        }
        assert_eq!(
            Cipher::of_name("tls_ecdhe_rsa_with_aes_128_gcm_sha256")
                .unwrap()
                .number,
            0xc02f
        );
        assert_eq!(Cipher::of_name("RC4-MD5"), None);
    }
}
