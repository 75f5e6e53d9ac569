//! What a listener offers: certificates, versions, ciphers and protocols.
//!
//! Always holds: a handshake begins with the newest certificates that are published, and
//! goes on with them.

use crate::bundle::Bundle;
use crate::ciphers::Cipher;
use crate::files::ConfigError;
use crate::provider::default_provider;
use crate::published::{Published, Tickets};
use crate::resolver::Resolver;
use crate::secrets::SecretLog;
use crate::session::Version;
use rustls::crypto::CryptoProvider;
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, VerifierBuilderError, WebPkiClientVerifier};
use rustls::version::{TLS12, TLS13};
use rustls::{RootCertStore, ServerConfig, SupportedProtocolVersion};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The name of HTTP/2 over TLS (RFC 9113 3.2).
pub(crate) const HTTP2: &[u8] = b"h2";

/// Whether clients have certificates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientAuth {
    /// They are not asked for one.
    None,
    /// Those that have one send it, and it must be valid.
    Optional,
    Required,
}

/// What does not change while a server runs.
#[derive(Clone, Debug)]
pub struct Settings {
    pub min_version: Version,
    pub client_auth: ClientAuth,
    /// In the order of preference, if the client has none. Empty: all.
    pub ciphers: Vec<Cipher>,
    /// By ALPN (RFC 7301), in the order of preference.
    pub protocols: Vec<Vec<u8>>,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            min_version: Version::Tls12,
            client_auth: ClientAuth::None,
            ciphers: Vec::new(),
            protocols: vec![HTTP2.to_vec(), b"http/1.1".to_vec()],
        }
    }
}

/// Shared by all connections of a listener.
#[derive(Clone)]
pub struct Config(Arc<Shared>);

struct Shared {
    settings: Settings,
    published: Arc<dyn Published>,
    known: Mutex<Known>,
}

/// The newest that this process has seen.
struct Known {
    generation: u64,
    config: Arc<ServerConfig>,
    resolver: Arc<Resolver>,
}

impl Known {
    fn new(
        generation: u64,
        settings: &Settings,
        bundle: &Bundle,
        published: &Arc<dyn Published>,
    ) -> Result<Self, ConfigError> {
        let resolver = Arc::new(Resolver::of(bundle)?);
        let config = server_config(settings, bundle, published, &resolver)?;
        resolver.check(&config.crypto_provider().cipher_suites)?;
        Ok(Known {
            generation,
            config: Arc::new(config),
            resolver,
        })
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Config")
    }
}

impl Config {
    /// `bundle` is what is published now.
    ///
    /// # Errors
    /// The bundle does not fit the settings.
    pub fn new(
        settings: Settings,
        bundle: &Bundle,
        published: Arc<dyn Published>,
    ) -> Result<Self, ConfigError> {
        let known = Known::new(published.generation(), &settings, bundle, &published)?;
        Ok(Config(Arc::new(Shared {
            settings,
            published,
            known: Mutex::new(known),
        })))
    }

    /// Whether a bundle could take the place of the one that is published.
    ///
    /// # Errors
    /// It does not fit the settings.
    pub fn check(&self, bundle: &Bundle) -> Result<(), ConfigError> {
        Known::new(0, &self.0.settings, bundle, &self.0.published).map(drop)
    }

    /// For a handshake that begins now.
    pub(crate) fn current(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.known().config)
    }

    /// The server's own certificate that a client gets which asks for this name, as PEM.
    pub fn certificate_for(&self, name: Option<&str>) -> Option<Arc<str>> {
        self.known().resolver.certificate_for(name)
    }

    /// The newest, if this process can read it.
    fn known(&self) -> MutexGuard<'_, Known> {
        let shared = &*self.0;
        let mut known = shared.known.lock().unwrap_or_else(PoisonError::into_inner);
        if shared.published.generation() != known.generation {
            if let Some((generation, bytes)) = shared.published.bundle() {
                known.generation = generation;
                // It was checked before it was published.
                let bundle = Bundle::decode(&bytes).unwrap_or_default();
                let newer = Known::new(generation, &shared.settings, &bundle, &shared.published);
                if let Ok(newer) = newer {
                    *known = newer;
                }
            }
        }
        known
    }
}

fn server_config(
    settings: &Settings,
    bundle: &Bundle,
    published: &Arc<dyn Published>,
    resolver: &Arc<Resolver>,
) -> Result<ServerConfig, ConfigError> {
    let mut provider = default_provider();
    if !settings.ciphers.is_empty() {
        let suites = settings.ciphers.iter().filter_map(|cipher| cipher.suite());
        provider.cipher_suites = suites.collect();
    }
    let versions = versions(settings, &provider)?;
    let provider = Arc::new(provider);
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&versions)?;
    let builder = match settings.client_auth {
        ClientAuth::None => builder.with_no_client_auth(),
        auth => builder.with_client_cert_verifier(verifier(auth, bundle, provider)?),
    };
    let mut config = builder.with_cert_resolver(Arc::clone(resolver) as Arc<_>);
    config.alpn_protocols = settings.protocols.clone();
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.ticketer = Arc::new(Tickets(Arc::clone(published)));
    // Each worker takes it as often as it comes, so a second one would only cost.
    config.send_tls13_tickets = 1;
    // The record layer goes on with them.
    config.enable_secret_extraction = true;
    config.key_log = Arc::new(SecretLog);
    Ok(config)
}

/// Those that are wanted, and have a cipher.
fn versions(
    settings: &Settings,
    provider: &CryptoProvider,
) -> Result<Vec<&'static SupportedProtocolVersion>, ConfigError> {
    let wanted: &[_] = match settings.min_version {
        Version::Tls12 => &[&TLS13, &TLS12],
        Version::Tls13 => &[&TLS13],
    };
    let has_cipher = |version: &SupportedProtocolVersion| {
        let mut suites = provider.cipher_suites.iter();
        suites.any(|suite| suite.version() == version)
    };
    let versions: Vec<_> = wanted
        .iter()
        .copied()
        .filter(|version| has_cipher(version))
        .collect();
    match versions.is_empty() {
        true => Err(ConfigError("none of the ciphers is for TLS 1.3".into())),
        false => Ok(versions),
    }
}

fn verifier(
    auth: ClientAuth,
    bundle: &Bundle,
    provider: Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, ConfigError> {
    let mut roots = RootCertStore::empty();
    for der in &bundle.client_ca {
        roots.add(der.clone().into())?;
    }
    let revoked = bundle.revoked.iter().map(|der| der.clone().into());
    let mut builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
        .with_crls(revoked)
        .enforce_revocation_expiration();
    if auth == ClientAuth::Optional {
        builder = builder.allow_unauthenticated();
    }
    builder.build().map_err(|error| match error {
        VerifierBuilderError::InvalidCrl(_) => {
            ConfigError("a list of revoked certificates is damaged, or of an unknown kind".into())
        }
        _ => ConfigError("there is no certificate that those of clients follow from".into()),
    })
}
