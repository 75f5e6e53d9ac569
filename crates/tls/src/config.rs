//! What a listener offers: certificates, versions and protocols.

use crate::secrets::SecretLog;
use rustls::ServerConfig;
use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::NoServerSessionStorage;
use std::fmt;
use std::sync::Arc;

/// The name of HTTP/2 over TLS (RFC 9113 3.2).
pub(crate) const HTTP2: &[u8] = b"h2";

/// A chain of certificates and the private key of the first one, as PEM texts.
pub struct KeyPair<'a> {
    pub chain: &'a [u8],
    pub key: &'a [u8],
}

/// Why there can be no [`Config`]: one line, without the content of a key.
#[derive(Debug)]
pub struct ConfigError(String);

impl fmt::Display for ConfigError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl std::error::Error for ConfigError {}

/// Shared by all connections of a listener.
#[derive(Clone)]
pub struct Config(pub(crate) Arc<ServerConfig>);

impl fmt::Debug for Config {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Config")
    }
}

impl Config {
    /// # Errors
    /// The PEM texts hold no certificate or no key, or they do not fit.
    pub fn new(pair: &KeyPair<'_>) -> Result<Self, ConfigError> {
        let chain: Vec<_> = CertificateDer::pem_slice_iter(pair.chain)
            .collect::<Result<_, _>>()
            .map_err(|error| ConfigError(format!("the certificate is no PEM: {error}")))?;
        let key = PrivateKeyDer::from_pem_slice(pair.key)
            .map_err(|error| ConfigError(format!("the key is no PEM: {error}")))?;
        let mut config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(error)?
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .map_err(error)?;
        config.alpn_protocols = vec![HTTP2.to_vec(), b"http/1.1".to_vec()];
        config.session_storage = Arc::new(NoServerSessionStorage {});
        // The record layer goes on with them.
        config.enable_secret_extraction = true;
        config.key_log = Arc::new(SecretLog);
        Ok(Config(Arc::new(config)))
    }
}

fn error(error: rustls::Error) -> ConfigError {
    ConfigError(error.to_string())
}
