//! Which certificate a client gets.

use crate::bundle::Bundle;
use crate::certificate::{Certificate, to_pem};
use crate::files::ConfigError;
use rustls::SupportedCipherSuite;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

/// Chooses by the name that the client asks for (SNI): a certificate with that name, else
/// one with a wildcard for it, else the first one. Among several the first is taken whose
/// key the client can verify.
pub(crate) struct Resolver {
    keys: Vec<Key>,
    /// Places in `keys`, by the names of the certificates.
    by_name: HashMap<String, Vec<usize>>,
}

#[derive(Clone)]
struct Key {
    key: Arc<CertifiedKey>,
    /// The server's own certificate.
    pem: Arc<str>,
}

thread_local! {
    /// The certificate that was chosen last in the current call of rustls.
    static CHOSEN: RefCell<Option<Arc<str>>> = const { RefCell::new(None) };
}

impl Resolver {
    /// # Errors
    /// There is no certificate, or a key of no kind that can be used.
    pub(crate) fn of(bundle: &Bundle) -> Result<Self, ConfigError> {
        let keys = bundle.pairs.iter().map(|pair| pair.certified());
        let keys: Vec<CertifiedKey> = keys.collect::<Result<_, _>>()?;
        if keys.is_empty() {
            return Err(ConfigError("there is no certificate".into()));
        }
        let mut by_name: HashMap<String, Vec<usize>> = HashMap::new();
        for (number, key) in keys.iter().enumerate() {
            let certificate = key.cert.first().map(|der| Certificate::read(der));
            for host in certificate.into_iter().flatten().flat_map(|one| one.hosts) {
                by_name.entry(host).or_default().push(number);
            }
        }
        let key = |key: CertifiedKey| Key {
            pem: key
                .cert
                .first()
                .map(|der| to_pem(der))
                .unwrap_or_default()
                .into(),
            key: Arc::new(key),
        };
        Ok(Resolver {
            keys: keys.into_iter().map(key).collect(),
            by_name,
        })
    }

    /// # Errors
    /// A key that none of the ciphers can be used with: each of its handshakes would fail.
    pub(crate) fn check(&self, suites: &[SupportedCipherSuite]) -> Result<(), ConfigError> {
        let useless = self.keys.iter().map(|key| &key.key).find(|key| {
            let fits = |suite: &SupportedCipherSuite| match suite {
                SupportedCipherSuite::Tls12(suite) => key.key.choose_scheme(suite.sign).is_some(),
                SupportedCipherSuite::Tls13(_) => true,
            };
            !suites.iter().any(fits)
        });
        let Some(key) = useless else { return Ok(()) };
        let certificate = key.cert.first().and_then(|der| Certificate::read(der));
        let subject = certificate.map(|one| one.subject).unwrap_or_default();
        Err(ConfigError(format!(
            "none of the ciphers can be used with the key of the certificate of {subject}"
        )))
    }

    /// The first one that [`Resolver::choose`] would try.
    pub(crate) fn certificate_for(&self, name: Option<&str>) -> Option<Arc<str>> {
        let place = self.places(name).and_then(|places| places.first());
        let key = self.keys.get(place.copied().unwrap_or(0))?;
        Some(Arc::clone(&key.pem))
    }

    /// The places of the certificates for a name.
    fn places(&self, name: Option<&str>) -> Option<&Vec<usize>> {
        let name = name?.to_ascii_lowercase();
        let name = name.strip_suffix('.').unwrap_or(&name);
        // A wildcard stands for one label (RFC 9525, section 6.3).
        let wildcard = || {
            let (_, parent) = name.split_once('.')?;
            self.by_name.get(&format!("*.{parent}"))
        };
        self.by_name.get(name).or_else(wildcard)
    }

    fn choose(&self, hello: &ClientHello<'_>) -> Option<Key> {
        let all: Vec<usize>;
        let places = match self.places(hello.server_name()) {
            Some(places) => places,
            None => {
                all = (0..self.keys.len()).collect();
                &all
            }
        };
        let schemes = hello.signature_schemes();
        let mut keys = places.iter().filter_map(|place| self.keys.get(*place));
        let first = keys.clone().next();
        let fits = |key: &&Key| key.key.key.choose_scheme(schemes).is_some();
        keys.find(fits).or(first).cloned()
    }
}

impl fmt::Debug for Resolver {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Resolver")
    }
}

impl ResolvesServerCert for Resolver {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let chosen = self.choose(&hello)?;
        CHOSEN.set(Some(chosen.pem));
        Some(chosen.key)
    }
}

/// The server's own certificate that was chosen in the current call of rustls, as PEM.
pub(crate) fn take_chosen() -> Option<Arc<str>> {
    CHOSEN.take()
}
