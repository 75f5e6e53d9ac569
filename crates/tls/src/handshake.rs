//! A connection until its handshake is complete, by rustls.
//!
//! Always holds: rustls gets one record at a time, so that nothing of the client's data
//! is inside it when the handshake of TLS 1.3 ends and [`Records`] goes on. A connection
//! of TLS 1.2 stays with rustls; with the feature `fips` each does, because FIPS 140-3 has a
//! library number the records itself (its implementation guidance C.H).

use crate::ciphers::Cipher;
use crate::config::{Config, HTTP2};
use crate::records::{Records, STATE_BYTES};
use crate::resolver::take_chosen;
use crate::secrets::Secrets;
use crate::session::{Session, Version};
use crate::suite::Suite;
use rustls::{
    AlertDescription, CertificateError, CipherSuite, Error, HandshakeKind, PeerIncompatible,
    ProtocolVersion, ServerConnection,
};
use std::sync::Arc;
use zeroize::Zeroizing;

const HEADER_BYTES: usize = 5;
const HANDSHAKE: u8 = 22;
const CLIENT_HELLO: u8 = 1;
const TLS12: [u8; 2] = [3, 3];
/// RFC 5246, section 6.2.3.
const MAX_RECORD_BYTES: usize = (1 << 14) + 2048;

/// A handshake that is not complete.
pub struct Handshake {
    connection: Box<ServerConnection>,
    secrets: Secrets,
    /// The server's own certificate, as PEM.
    server: Option<Arc<str>>,
}

/// A connection that carries data.
pub enum Established {
    /// The state of its [`Records`].
    Tls13(Box<Zeroizing<[u8; STATE_BYTES]>>),
    /// It stays with rustls.
    Rustls(Box<ServerConnection>),
}

pub enum Progress {
    /// It needs more of the client.
    Handshake(Handshake),
    Established(Established, Session),
    /// It has failed, and the alert is in the output.
    Failed(&'static str),
}

impl Handshake {
    /// `None`: there is no memory or no randomness for it.
    pub fn new(config: &Config) -> Option<Self> {
        let connection = ServerConnection::new(config.current()).ok()?;
        Some(Handshake {
            connection: Box::new(connection),
            secrets: Secrets::default(),
            server: None,
        })
    }

    /// Reads whole records from the beginning of `input`, until the handshake is complete.
    /// Appends what must be sent to `out`. Returns how many bytes were read.
    pub fn read(mut self, input: &[u8], out: &mut Vec<u8>) -> (Progress, usize) {
        let mut consumed = 0;
        let mut failed = None;
        while self.connection.is_handshaking() && failed.is_none() {
            let rest = input.get(consumed..).unwrap_or_default();
            let Some(mut record) = first_record(rest) else {
                break;
            };
            consumed += record.len();
            failed = self.read_record(&mut record).err();
        }
        while self.connection.wants_write() {
            if self.connection.write_tls(out).is_err() {
                break; // a vector takes all
            }
        }
        let progress = match failed {
            Some(Error::PeerIncompatible(_)) if is_old(input) => Progress::Failed(NO_VERSION),
            Some(error) => Progress::Failed(reason(&error)),
            None if self.connection.is_handshaking() => Progress::Handshake(self),
            None => self.established(),
        };
        (progress, consumed)
    }

    fn read_record(&mut self, record: &mut &[u8]) -> Result<(), Error> {
        while !record.is_empty() {
            if self.connection.read_tls(record).is_err() {
                return Err(Error::General("its buffer is full".into()));
            }
        }
        let processed = self.connection.process_new_packets();
        self.secrets.take_logged();
        self.server = take_chosen().or(self.server.take());
        processed.map(drop)
    }

    fn established(self) -> Progress {
        let Some(session) = self.session() else {
            return Progress::Failed(INTERNAL);
        };
        if session.version == Version::Tls12 || cfg!(feature = "fips") {
            return Progress::Established(Established::Rustls(self.connection), session);
        }
        match self.into_state() {
            Some(state) => Progress::Established(Established::Tls13(Box::new(state)), session),
            None => Progress::Failed(INTERNAL),
        }
    }

    fn session(&self) -> Option<Session> {
        let connection = &self.connection;
        let version = match connection.protocol_version()? {
            ProtocolVersion::TLSv1_3 => Version::Tls13,
            _ => Version::Tls12,
        };
        let suite = connection.negotiated_cipher_suite()?.suite();
        let mut session = Session::new(version, Cipher::of_number(suite.into())?);
        session.server_name = connection.server_name().map(Box::from);
        session.resumed = connection.handshake_kind() == Some(HandshakeKind::Resumed);
        session.http2 = connection.alpn_protocol() == Some(HTTP2);
        session.server = self.server.clone();
        let client = connection.peer_certificates().unwrap_or_default();
        session.client = client.iter().map(|der| der.to_vec()).collect();
        Some(session)
    }

    fn into_state(self) -> Option<Zeroizing<[u8; STATE_BYTES]>> {
        let suite = match self.connection.negotiated_cipher_suite()?.suite() {
            CipherSuite::TLS13_AES_128_GCM_SHA256 => Suite::Aes128Gcm,
            CipherSuite::TLS13_AES_256_GCM_SHA384 => Suite::Aes256Gcm,
            CipherSuite::TLS13_CHACHA20_POLY1305_SHA256 => Suite::Chacha20Poly1305,
            _ => return None,
        };
        let Secrets { client, server } = self.secrets;
        let numbers = self.connection.dangerous_extract_secrets().ok()?;
        let client = client.as_ref()?.get(..suite.secret_bytes())?;
        let server = server.as_ref()?.get(..suite.secret_bytes())?;
        Records::state_of(suite, (client, numbers.rx.0), (server, numbers.tx.0))
    }
}

/// How many bytes the record that begins in `input` lacks, or its header.
pub fn missing_of_record(input: &[u8]) -> usize {
    match input.first_chunk::<HEADER_BYTES>() {
        Some([_, _, _, high, low]) => {
            let length = usize::from(u16::from_be_bytes([*high, *low]));
            (HEADER_BYTES + length).saturating_sub(input.len())
        }
        None => HEADER_BYTES - input.len(),
    }
}

const INTERNAL: &str = "the TLS handshake failed: an internal error";
const NO_VERSION: &str =
    "the TLS handshake failed: the client offers no version of TLS that is served";

/// Whether `input` begins with a ClientHello that offers nothing above TLS 1.1: rustls may refuse its ciphers
/// before its version.
fn is_old(input: &[u8]) -> bool {
    // The head of the record, then those of the message and its version (RFC 5246, sections 7.4 and 7.4.1.2).
    match input.first_chunk() {
        Some(&[HANDSHAKE, _, _, _, _, CLIENT_HELLO, _, _, _, major, minor]) => {
            [major, minor] < TLS12
        }
        _ => false,
    }
}

/// Why a handshake has failed, for the log.
fn reason(error: &Error) -> &'static str {
    match error {
        Error::PeerIncompatible(incompatible) => match incompatible {
            PeerIncompatible::Tls12NotOffered
            | PeerIncompatible::Tls12NotOfferedOrEnabled
            | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig
            | PeerIncompatible::SupportedVersionsExtensionRequired => NO_VERSION,
            _ => "the TLS handshake failed: the client offers no cipher or key that is served",
        },
        Error::NoApplicationProtocol => {
            "the TLS handshake failed: the client offers no protocol that is served"
        }
        Error::NoCertificatesPresented => {
            "the TLS handshake failed: the client has sent no certificate"
        }
        Error::InvalidCertificate(invalid) => of_certificate(invalid),
        Error::AlertReceived(alert) => match alert {
            AlertDescription::UnknownCA
            | AlertDescription::BadCertificate
            | AlertDescription::CertificateUnknown
            | AlertDescription::CertificateExpired => {
                "the TLS handshake failed: the client does not trust the certificate"
            }
            _ => "the TLS handshake failed: the client has ended it by an alert",
        },
        _ => "the TLS handshake failed: the client does not follow the protocol",
    }
}

fn of_certificate(invalid: &CertificateError) -> &'static str {
    match invalid {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "the TLS handshake failed: the client's certificate has expired"
        }
        CertificateError::Revoked => {
            "the TLS handshake failed: the client's certificate is revoked"
        }
        CertificateError::UnknownIssuer => {
            "the TLS handshake failed: the client's certificate is of an unknown issuer"
        }
        CertificateError::UnknownRevocationStatus => {
            "the TLS handshake failed: no list says whether the client's certificate is revoked"
        }
        CertificateError::ExpiredRevocationList
        | CertificateError::ExpiredRevocationListContext { .. } => {
            "the TLS handshake failed: the list of revoked certificates has expired"
        }
        _ => "the TLS handshake failed: the client's certificate is not valid",
    }
}

/// The length of the records from the beginning of `input` that are whole. What is no record belongs to them:
/// rustls refuses it at once.
pub fn whole_records(input: &[u8]) -> usize {
    let mut whole = 0;
    while let Some(rest) = input.get(whole..).filter(|rest| !rest.is_empty()) {
        let is_record = matches!(rest, [20..=23] | [20..=23, 3, ..]);
        match first_record(rest) {
            Some(record) if is_record => whole += record.len(),
            None if is_record => break,
            _ => return input.len(),
        }
    }
    whole
}

/// The first record, if all of it is there. One that is too long is refused by its header
/// alone.
fn first_record(input: &[u8]) -> Option<&[u8]> {
    let header = input.first_chunk::<HEADER_BYTES>()?;
    let [_, _, _, high, low] = header;
    match usize::from(u16::from_be_bytes([*high, *low])) {
        length if length > MAX_RECORD_BYTES => Some(header),
        length => input.get(..HEADER_BYTES + length),
    }
}
