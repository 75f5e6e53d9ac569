//! The files of a listener's certificates, as they are published to the processes that
//! serve it: read from PEM once, checked, and without a password.
//!
//! Always holds: an error names the file, in one line, and never its content; a key is
//! overwritten when it is dropped.

use crate::certificate::{Certificate, RevocationList};
use crate::files::{ConfigError, File, Files};
use crate::keys::read_key;
use crate::provider::any_supported_type;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use zeroize::Zeroizing;

/// What may change while a server runs.
#[derive(Default)]
pub struct Bundle {
    pub(crate) pairs: Vec<Pair>,
    pub(crate) client_ca: Vec<Vec<u8>>,
    pub(crate) revoked: Vec<Vec<u8>>,
}

/// In DER.
#[derive(Default)]
pub(crate) struct Pair {
    pub(crate) chain: Vec<Vec<u8>>,
    pub(crate) key: Zeroizing<Vec<u8>>,
}

impl Bundle {
    /// Reads and checks them. `now_s` is the time, in seconds of the Unix epoch.
    ///
    /// # Errors
    /// One of them cannot be used.
    pub fn read(files: &Files<'_>, now_s: u64) -> Result<Self, ConfigError> {
        let pairs = files
            .pairs
            .iter()
            .map(|(chain, key)| Pair::read(chain, key, files.password, now_s));
        Ok(Bundle {
            pairs: pairs.collect::<Result<_, _>>()?,
            client_ca: match &files.client_ca {
                Some(file) => certificates(file)?.1,
                None => Vec::new(),
            },
            revoked: match &files.revoked {
                Some(file) => revocation_lists(file)?,
                None => Vec::new(),
            },
        })
    }

    /// The server's own certificates, in the order of the pairs.
    pub fn certificates(&self) -> Vec<Certificate> {
        let first = |pair: &Pair| Certificate::read(pair.chain.first()?);
        self.pairs.iter().filter_map(first).collect()
    }

    /// The lists of revoked certificates of clients, in the order of their file.
    pub fn revocation_lists(&self) -> Vec<RevocationList> {
        let lists = self.revoked.iter();
        lists.filter_map(|der| RevocationList::read(der)).collect()
    }

    /// Whether both let in the same clients.
    pub fn has_clients_of(&self, other: &Bundle) -> bool {
        self.client_ca == other.client_ca && self.revoked == other.revoked
    }

    // ---- as bytes ----------------------------------------------------------------

    /// What [`Bundle::decode`] reads.
    pub fn encode(&self) -> Zeroizing<Vec<u8>> {
        let mut out = Zeroizing::new(Vec::new());
        put_count(&mut out, self.pairs.len());
        for pair in &self.pairs {
            put_all(&mut out, &pair.chain);
            put(&mut out, &pair.key);
        }
        put_all(&mut out, &self.client_ca);
        put_all(&mut out, &self.revoked);
        out
    }

    /// `None`: it is damaged.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let rest = &mut { bytes };
        let mut pairs = Vec::new();
        for _ in 0..take_count(rest)? {
            let chain = take_all(rest)?;
            let key = Zeroizing::new(take(rest)?);
            pairs.push(Pair { chain, key });
        }
        let (client_ca, revoked) = (take_all(rest)?, take_all(rest)?);
        rest.is_empty().then_some(Bundle {
            pairs,
            client_ca,
            revoked,
        })
    }
}

fn put_count(out: &mut Vec<u8>, count: usize) {
    out.extend_from_slice(&(count as u32).to_le_bytes());
}

fn put(out: &mut Vec<u8>, bytes: &[u8]) {
    put_count(out, bytes.len());
    out.extend_from_slice(bytes);
}

fn put_all(out: &mut Vec<u8>, all: &[Vec<u8>]) {
    put_count(out, all.len());
    for bytes in all {
        put(out, bytes);
    }
}

fn take_count(rest: &mut &[u8]) -> Option<usize> {
    let (count, after) = rest.split_first_chunk()?;
    *rest = after;
    usize::try_from(u32::from_le_bytes(*count)).ok()
}

fn take(rest: &mut &[u8]) -> Option<Vec<u8>> {
    let count = take_count(rest)?;
    let (bytes, after) = rest.split_at_checked(count)?;
    *rest = after;
    Some(bytes.to_vec())
}

fn take_all(rest: &mut &[u8]) -> Option<Vec<Vec<u8>>> {
    let count = take_count(rest)?;
    (0..count).map(|_| take(rest)).collect()
}

// ---- reading -------------------------------------------------------------------------

impl Pair {
    fn read(
        chain: &File<'_>,
        key: &File<'_>,
        password: Option<&[u8]>,
        now_s: u64,
    ) -> Result<Self, ConfigError> {
        let (certificates, chain_der) = certificates(chain)?;
        let pair = Pair {
            chain: chain_der,
            key: read_key(key, password)?,
        };
        check_fit(&pair, chain, key)?;
        check_order(&certificates, chain)?;
        if let Some(first) = certificates.first() {
            check_time(first, chain, now_s)?;
        }
        Ok(pair)
    }

    /// The key as rustls needs it.
    pub(crate) fn certified(&self) -> Result<CertifiedKey, rustls::Error> {
        let key = PrivateKeyDer::try_from(self.key.as_slice());
        let key = key.map_err(|text| rustls::Error::General(text.into()))?;
        let chain = self.chain.iter().map(|der| der.clone().into()).collect();
        Ok(CertifiedKey::new(chain, any_supported_type(&key)?))
    }

    /// Whether the key is that of certificate `number`.
    fn fits(&self, number: usize) -> Result<bool, rustls::Error> {
        let mut certified = self.certified()?;
        if number >= certified.cert.len() {
            return Ok(false);
        }
        certified.cert.rotate_left(number);
        let mismatch = rustls::InconsistentKeys::KeyMismatch.into();
        Ok(certified.keys_match().err() != Some(mismatch))
    }
}

fn check_fit(pair: &Pair, chain: &File<'_>, key: &File<'_>) -> Result<(), ConfigError> {
    let fits = pair.fits(0).map_err(|_| {
        key.error("the key is of no kind that can be used: expected RSA of 2048 bits or more, ECDSA with P-256 or P-384, or Ed25519")
    })?;
    if fits {
        return Ok(());
    }
    let other = (1..pair.chain.len()).find(|number| pair.fits(*number).unwrap_or(false));
    Err(match other {
        Some(other) => chain.error(format_args!(
            "the key in {} is that of certificate {}: the server's own must be the first",
            key.name,
            other + 1
        )),
        None => chain.error(format_args!(
            "the key in {} does not fit the certificate",
            key.name
        )),
    })
}

/// Each certificate is followed by that of its issuer (RFC 8446, section 4.4.2).
fn check_order(chain: &[Certificate], file: &File<'_>) -> Result<(), ConfigError> {
    for (number, (one, next)) in chain.iter().zip(chain.iter().skip(1)).enumerate() {
        if one.issuer != next.subject {
            let (number, issuer, found) = (number + 1, &one.issuer, &next.subject);
            return Err(file.error(format_args!(
                "certificate {number} is followed by {found}: expected its issuer, {issuer}"
            )));
        }
    }
    Ok(())
}

fn check_time(certificate: &Certificate, file: &File<'_>, now_s: u64) -> Result<(), ConfigError> {
    if certificate.not_after.unix_s < now_s {
        let end = &certificate.not_after.text;
        return Err(file.error(format_args!("the certificate expired on {end}")));
    }
    if certificate.not_before.unix_s > now_s {
        let begin = &certificate.not_before.text;
        return Err(file.error(format_args!("the certificate is not valid before {begin}")));
    }
    Ok(())
}

/// What is in a file, and the same in DER.
fn certificates(file: &File<'_>) -> Result<(Vec<Certificate>, Vec<Vec<u8>>), ConfigError> {
    file.check_sections()?;
    let ders = CertificateDer::pem_slice_iter(file.content).collect::<Result<Vec<_>, pem::Error>>();
    let ders = ders.map_err(|_| file.error("it is no PEM that can be read"))?;
    if ders.is_empty() {
        return Err(file.error("there is no certificate in it, as PEM"));
    }
    let ders: Vec<Vec<u8>> = ders.into_iter().map(|der| der.to_vec()).collect();
    let read = |(number, der): (usize, &Vec<u8>)| {
        Certificate::read(der)
            .ok_or_else(|| file.error(format_args!("certificate {} is damaged", number + 1)))
    };
    let certificates = ders
        .iter()
        .enumerate()
        .map(read)
        .collect::<Result<_, _>>()?;
    Ok((certificates, ders))
}

/// As PEM, or one as DER.
fn revocation_lists(file: &File<'_>) -> Result<Vec<Vec<u8>>, ConfigError> {
    if file.content.first() == Some(&0x30) {
        return Ok(vec![file.content.to_vec()]);
    }
    file.check_sections()?;
    let lists = CertificateRevocationListDer::pem_slice_iter(file.content);
    let lists = lists.collect::<Result<Vec<_>, pem::Error>>();
    let lists = lists.map_err(|_| file.error("it is no PEM that can be read"))?;
    if lists.is_empty() {
        return Err(file.error("there is no list of revoked certificates in it, as PEM"));
    }
    Ok(lists.into_iter().map(|list| list.to_vec()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bundle() -> Bundle {
        let pair = Pair {
            chain: vec![vec![1; 300], vec![2; 70_000]],
            key: Zeroizing::new(vec![3; 121]),
        };
        Bundle {
            pairs: vec![pair, Pair::default()],
            client_ca: vec![vec![4]],
            revoked: vec![Vec::new()],
        }
    }

    #[test]
    fn it_is_decoded_as_it_was_encoded() {
        for one in [bundle(), Bundle::default()] {
            let decoded = Bundle::decode(&one.encode()).unwrap();
            let pairs = decoded.pairs.iter().zip(&one.pairs);
            assert!(pairs.clone().count() == one.pairs.len());
            for (left, right) in pairs {
                assert_eq!(left.chain, right.chain);
                assert_eq!(left.key, right.key);
            }
            assert!(decoded.has_clients_of(&one));
        }
    }

    #[test]
    fn what_is_cut_or_longer_is_refused() {
        let whole = bundle().encode();
        for length in 0..whole.len() {
            assert!(Bundle::decode(&whole[..length]).is_none(), "{length}");
        }
        assert!(Bundle::decode(&[&whole[..], b"x"].concat()).is_none());
        assert!(Bundle::decode(&[0xff; 8]).is_none());
    }
}
