//! What the handshake has settled about a connection, for the application.

use crate::certificate::{Certificate, to_pem};
use crate::ciphers::Cipher;
use std::sync::{Arc, OnceLock};

const NUMBER_BYTES: usize = 6;
/// The longest name of a host (RFC 1035, section 2.3.4).
const NAME_BYTES: usize = 255;
/// The size of [`Session::to_bytes`].
pub const SESSION_BYTES: usize = NUMBER_BYTES + NAME_BYTES;

/// As long as the connection.
#[derive(Debug)]
pub struct Session {
    pub version: Version,
    pub cipher: Cipher,
    /// The name of the host that the client asked for (RFC 6066, section 3).
    pub server_name: Option<Box<str>>,
    /// The client has come back with a ticket.
    pub resumed: bool,
    /// The client has chosen HTTP/2 (ALPN).
    pub http2: bool,
    /// The server's own certificate, as PEM.
    pub server: Option<Arc<str>>,
    /// The client's certificates, its own first, in DER.
    pub client: Vec<Vec<u8>>,
    read: OnceLock<Option<Box<Certificate>>>,
    pem: OnceLock<Vec<String>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub enum Version {
    Tls12 = 0x0303,
    Tls13 = 0x0304,
}

impl Version {
    /// As OpenSSL calls it.
    pub fn name(self) -> &'static str {
        match self {
            Version::Tls12 => "TLSv1.2",
            Version::Tls13 => "TLSv1.3",
        }
    }
}

impl Session {
    pub fn new(version: Version, cipher: Cipher) -> Self {
        Session {
            version,
            cipher,
            server_name: None,
            resumed: false,
            http2: false,
            server: None,
            client: Vec::new(),
            read: OnceLock::new(),
            pem: OnceLock::new(),
        }
    }

    fn name(&self) -> &str {
        self.server_name.as_deref().unwrap_or_default()
    }

    /// What [`Session::from_bytes`] reads in another process. The client's certificates go along
    /// with it.
    pub fn to_bytes(&self) -> [u8; SESSION_BYTES] {
        let mut bytes = [0; SESSION_BYTES];
        let [version, more] = (self.version as u16).to_le_bytes();
        let [cipher, most] = self.cipher.number.to_le_bytes();
        let length = self.name().len().min(NAME_BYTES) as u8;
        let flags = u8::from(self.resumed) | u8::from(self.http2) << 1;
        let numbers = [version, more, cipher, most, flags, length];
        let all = numbers.into_iter().chain(self.name().bytes());
        bytes.iter_mut().zip(all).for_each(|(to, from)| *to = from);
        bytes
    }

    /// Without the server's certificate. `None`: it is no session.
    pub fn from_bytes(bytes: &[u8; SESSION_BYTES], client: Vec<Vec<u8>>) -> Option<Self> {
        let ([version, more, cipher, most, flags, length], name) =
            bytes.split_first_chunk::<NUMBER_BYTES>()?;
        let version = match u16::from_le_bytes([*version, *more]) {
            0x0303 => Version::Tls12,
            0x0304 => Version::Tls13,
            _ => return None,
        };
        let cipher = Cipher::of_number(u16::from_le_bytes([*cipher, *most]))?;
        let mut session = Session::new(version, cipher);
        session.resumed = flags & 1 != 0;
        session.http2 = flags & 2 != 0;
        let name = std::str::from_utf8(name.get(..usize::from(*length))?).ok()?;
        session.server_name = (!name.is_empty()).then(|| name.into());
        session.client = client;
        Some(session)
    }

    /// What is in the client's own certificate, if it has sent one. It is read once.
    pub fn client_certificate(&self) -> Option<&Certificate> {
        let der = self.client.first()?;
        let read = || Certificate::read(der).map(Box::new);
        self.read.get_or_init(read).as_deref()
    }

    /// The client's certificates as PEM. They are converted once.
    pub fn client_pem(&self) -> &[String] {
        let convert = || self.client.iter().map(|der| to_pem(der)).collect();
        self.pem.get_or_init(convert)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_moves_to_another_process() {
        for name in [None, Some("example.com"), Some(&*"n".repeat(255))] {
            let mut session = Session::new(Version::Tls13, Cipher::of_number(0x1301).unwrap());
            session.server_name = name.map(Box::from);
            session.resumed = true;
            let client = vec![vec![0x30]];
            let moved = Session::from_bytes(&session.to_bytes(), client.clone()).unwrap();
            assert_eq!(moved.client, client);
            assert_eq!(moved.version, Version::Tls13);
            assert_eq!(moved.cipher, session.cipher);
            assert_eq!(moved.server_name.as_deref(), name);
            assert!(moved.resumed);
        }
    }

    #[test]
    fn what_no_process_sends_is_refused() {
        for byte in 0..=255 {
            let _ = Session::from_bytes(&[byte; SESSION_BYTES], Vec::new());
        }
        assert!(Session::from_bytes(&[0; SESSION_BYTES], Vec::new()).is_none());
    }
}
