//! A connection until its handshake is complete, by rustls.
//!
//! Always holds: rustls gets one record at a time, so that nothing of the client's data
//! is inside it when the handshake of TLS 1.3 ends and [`Records`] goes on. A connection
//! of TLS 1.2 stays with rustls.

use crate::config::{Config, HTTP2};
use crate::records::Records;
use crate::secrets::Secrets;
use crate::suite::Suite;
use rustls::{CipherSuite, ProtocolVersion, ServerConnection};

const HEADER_BYTES: usize = 5;
/// The most that a protected record of TLS 1.2 may hold (RFC 5246, section 6.2.3).
const RECORD_BYTES: usize = (1 << 14) + 2048;

/// A handshake that is not complete.
pub struct Handshake {
    connection: Box<ServerConnection>,
    secrets: Secrets,
}

/// A connection that carries data.
pub enum Established {
    Tls13(Box<Records>),
    Tls12(Box<ServerConnection>),
}

pub enum Progress {
    /// It needs more of the client.
    Handshake(Handshake),
    Established {
        established: Established,
        /// The client has chosen HTTP/2 (ALPN).
        http2: bool,
    },
    /// It has failed, and the alert is in the output.
    Failed(rustls::Error),
}

impl Handshake {
    /// `None`: there is no memory or no randomness for it.
    pub fn new(config: &Config) -> Option<Self> {
        let connection = ServerConnection::new(config.0.clone()).ok()?;
        Some(Handshake {
            connection: Box::new(connection),
            secrets: Secrets::default(),
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
            Some(error) => Progress::Failed(error),
            None if self.connection.is_handshaking() => Progress::Handshake(self),
            None => self.established(),
        };
        (progress, consumed)
    }

    fn read_record(&mut self, record: &mut &[u8]) -> Result<(), rustls::Error> {
        while !record.is_empty() {
            if self.connection.read_tls(record).is_err() {
                return Err(rustls::Error::General("its buffer is full".into()));
            }
        }
        let processed = self.connection.process_new_packets();
        self.secrets.take_logged();
        processed.map(drop)
    }

    fn established(self) -> Progress {
        let http2 = self.connection.alpn_protocol() == Some(HTTP2);
        let established = match self.connection.protocol_version() {
            Some(ProtocolVersion::TLSv1_3) => match self.into_records() {
                Some(records) => Established::Tls13(Box::new(records)),
                None => {
                    return Progress::Failed(rustls::Error::General("no traffic secrets".into()));
                }
            },
            _ => Established::Tls12(self.connection),
        };
        Progress::Established { established, http2 }
    }

    fn into_records(self) -> Option<Records> {
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
        Records::new(suite, (client, numbers.rx.0), (server, numbers.tx.0))
    }
}

/// The first record, if all of it is there. Of one that is longer than a record may be
/// it is the header: rustls refuses that.
fn first_record(input: &[u8]) -> Option<&[u8]> {
    let header @ [_, _, _, high, low] = input.first_chunk::<HEADER_BYTES>()?;
    match usize::from(u16::from_be_bytes([*high, *low])) {
        length if length > RECORD_BYTES => Some(header),
        length => input.get(..HEADER_BYTES + length),
    }
}
