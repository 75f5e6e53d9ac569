//! What a listener needs to speak TLS, made once before workers are forked.

use prefork_tls::{Config, KeyPair};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

/// The certificates and settings with which a listener speaks TLS. Made in the manager,
/// and used by every worker.
///
/// `chain` and `key` are PEM texts: the certificates, beginning with the server's own,
/// and its private key without a password.
///
/// Raises ValueError if they cannot be used, with the reason.
#[pyclass(frozen, module = "prefork._engine")]
pub struct TlsConfig {
    pub(crate) config: Config,
}

#[pymethods]
impl TlsConfig {
    #[new]
    fn new(chain: &[u8], key: &[u8]) -> PyResult<Self> {
        let config = Config::new(&KeyPair { chain, key });
        let config = config.map_err(|error| PyValueError::new_err(error.to_string()))?;
        Ok(TlsConfig { config })
    }
}
