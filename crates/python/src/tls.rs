//! What a listener needs to speak TLS: made in the manager before workers are forked, and
//! changed there.

use prefork_engine::SecretMemory;
use prefork_tls::{
    Bundle, Cipher, ClientAuth, Config, ConfigError, File, Files, Published, Settings, TicketKeys,
    Version,
};
use pyo3::exceptions::{PyOSError, PyValueError};
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use crate::core::locked;

/// The name of a file, and its content.
type NamedFile = (String, PyBackedBytes);
type Pairs = Vec<(NamedFile, NamedFile)>;
/// The pairs, the password of the keys, the certificates for clients, and the list of
/// revoked ones.
type Given = (
    Pairs,
    Option<PyBackedBytes>,
    Option<NamedFile>,
    Option<NamedFile>,
);

/// The certificates and settings with which a listener speaks TLS. Made in the manager, and
/// used by every worker that is forked afterwards. What the manager changes holds for the
/// handshakes that begin from then on.
///
/// `files` is a tuple. Its first item has a pair for each certificate: the chain, which
/// begins with the server's own, and its private key. The others may be None: the password
/// of encrypted keys, the certificates that those of clients follow from, and lists of
/// revoked ones. All are PEM; a file is a pair of its name and its content. `client_auth` is
/// none, optional or required. `ciphers` are names of OpenSSL or IANA, `protocols` names of
/// ALPN; without any, all are offered.
///
/// Raises ValueError if they cannot be used, with the name of the file and the reason, and
/// OSError without memory.
#[pyclass(frozen, module = "prefork._engine")]
pub struct TlsConfig {
    pub(crate) config: Config,
    memory: Arc<SecretMemory>,
    /// The newest, in the manager.
    bundle: Mutex<Bundle>,
}

#[pymethods]
impl TlsConfig {
    #[new]
    #[pyo3(signature = (files, *, client_auth = "none", min_version = "1.2", ciphers = Vec::new(), protocols = Vec::new()))]
    fn new(
        files: Given,
        client_auth: &str,
        min_version: &str,
        ciphers: Vec<String>,
        protocols: Vec<String>,
    ) -> PyResult<Self> {
        let default = Settings::default();
        let settings = Settings {
            min_version: match min_version {
                "1.3" => Version::Tls13,
                _ => Version::Tls12,
            },
            client_auth: match client_auth {
                "none" => ClientAuth::None,
                "optional" => ClientAuth::Optional,
                _ => ClientAuth::Required,
            },
            ciphers: ciphers
                .iter()
                .map(|name| cipher(name))
                .collect::<PyResult<_>>()?,
            protocols: match protocols.is_empty() {
                true => default.protocols,
                false => protocols.into_iter().map(String::into_bytes).collect(),
            },
        };
        let bundle = read(&files)?;
        let memory = Arc::new(SecretMemory::create()?);
        let keys = TicketKeys::generate().ok_or_else(no_randomness)?;
        memory.publish_ticket_keys(&keys);
        memory.publish(&bundle.encode())?;
        let published: Arc<dyn Published> = memory.clone();
        let config = Config::new(settings, &bundle, published).map_err(refused)?;
        Ok(TlsConfig {
            config,
            memory,
            bundle: Mutex::new(bundle),
        })
    }

    /// Manager: replaces the files. After a change of what clients are let in, no session
    /// is resumed that began before.
    ///
    /// Raises ValueError if they cannot be used, as the constructor does, and OSError if
    /// they are too large: then the former ones stay.
    fn update(&self, files: Given) -> PyResult<()> {
        let bundle = read(&files)?;
        self.config.check(&bundle).map_err(refused)?;
        let mut current = locked(&self.bundle);
        if !bundle.has_clients_of(&current) {
            let keys = TicketKeys::generate().ok_or_else(no_randomness)?;
            self.memory.publish_ticket_keys(&keys);
        }
        self.memory.publish(&bundle.encode())?;
        *current = bundle;
        Ok(())
    }

    /// Manager: makes tickets with the next key. Those of the previous one cannot be used
    /// any more.
    ///
    /// Raises OSError if the system has no randomness.
    fn rotate_tickets(&self) -> PyResult<()> {
        let keys = self.memory.ticket_keys().and_then(|keys| keys.rotated());
        self.memory
            .publish_ticket_keys(&keys.ok_or_else(no_randomness)?);
        Ok(())
    }

    /// Worker: only reads from now on what its manager publishes.
    ///
    /// Raises OSError.
    fn make_read_only(&self) -> PyResult<()> {
        Ok(self.memory.make_read_only()?)
    }

    /// Manager: the subject and the end of each certificate, in the order of `files`. The
    /// end is in seconds of the Unix epoch.
    #[getter]
    fn certificates(&self) -> Vec<(String, u64)> {
        let all = locked(&self.bundle).certificates();
        let pair = |one: prefork_tls::Certificate| (one.subject, one.not_after.unix_s);
        all.into_iter().map(pair).collect()
    }

    /// Manager: the issuer and the end of each list of revoked certificates, in the order of
    /// their file. From the end on, which is in seconds of the Unix epoch, certificates of that
    /// issuer are refused.
    #[getter]
    fn revocation_lists(&self) -> Vec<(String, u64)> {
        let all = locked(&self.bundle).revocation_lists();
        let pair = |one: prefork_tls::RevocationList| (one.issuer, one.next_update.unix_s);
        all.into_iter().map(pair).collect()
    }
}

fn cipher(name: &str) -> PyResult<Cipher> {
    Cipher::of_name(name).ok_or_else(|| {
        let known: Vec<_> = Cipher::all().map(|cipher| cipher.name).collect();
        let known = known.join(", ");
        PyValueError::new_err(format!(
            "there is no cipher {name}; expected some of {known}"
        ))
    })
}

fn read((pairs, password, client_ca, revoked): &Given) -> PyResult<Bundle> {
    let pairs: Vec<_> = pairs
        .iter()
        .map(|(chain, key)| (file(chain), file(key)))
        .collect();
    let files = Files {
        pairs: &pairs,
        password: password.as_deref(),
        client_ca: client_ca.as_ref().map(file),
        revoked: revoked.as_ref().map(file),
    };
    let now = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
    Bundle::read(&files, now.as_secs()).map_err(refused)
}

fn file((name, content): &NamedFile) -> File<'_> {
    File { name, content }
}

fn refused(error: ConfigError) -> PyErr {
    PyValueError::new_err(error.to_string())
}

fn no_randomness() -> PyErr {
    PyOSError::new_err("the system has no randomness")
}
