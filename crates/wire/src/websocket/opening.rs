//! The opening handshake (RFC 6455 4.2): the request that asks for a WebSocket, and the answer that
//! agrees.
//!
//! It always holds that an [`Opening`] is of a request that asked properly, so only such a request
//! can be answered with 101.

use super::deflate::DeflateConfig;
use crate::response::{write_field, write_fields};
use crate::tokens::members;
use crate::{Field, Head, LocalError, RemoteError};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// What a request offered, and what it is to be answered with.
#[derive(Debug, Clone)]
pub struct Opening {
    accept: [u8; 28],
    deflated: Option<DeflateConfig>,
    subprotocols: Vec<Box<[u8]>>,
}

/// RFC 6455 1.3: proves that the server has understood.
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

const OTHER_VERSION: RemoteError = RemoteError {
    status: 426,
    reason: "Sec-WebSocket-Version must be 13",
};
const BAD_KEY: RemoteError = RemoteError::bad("Sec-WebSocket-Key must be 16 bytes in base64, once");

impl Opening {
    /// What a head that [asks](Head::websocket) for a WebSocket offers.
    ///
    /// # Errors
    /// The [`RemoteError`] to answer; with 426 goes `Sec-WebSocket-Version: 13`.
    pub fn read(head: &Head, input: &[u8]) -> Result<Self, RemoteError> {
        let mut values = values(head, input, b"sec-websocket-version");
        if !matches!((values.next(), values.next()), (Some(b"13"), None)) {
            return Err(OTHER_VERSION);
        }
        let mut values = self::values(head, input, b"sec-websocket-key");
        let (Some(key), None) = (values.next(), values.next()) else {
            return Err(BAD_KEY);
        };
        let mut decoded = [0; 18];
        if !matches!(STANDARD.decode_slice(key, &mut decoded), Ok(16)) {
            return Err(BAD_KEY);
        }
        let offered = |name| self::values(head, input, name);
        Ok(Self {
            accept: accept(key),
            deflated: offered(b"sec-websocket-extensions").find_map(DeflateConfig::choose),
            subprotocols: offered(b"sec-websocket-protocol")
                .flat_map(members)
                .filter(|name| !name.is_empty())
                .map(Box::from)
                .collect(),
        })
    }

    /// The subprotocols that the client speaks, the dearest first.
    pub fn subprotocols(&self) -> impl Iterator<Item = &[u8]> {
        self.subprotocols.iter().map(AsRef::as_ref)
    }

    /// The compression that the client offered, in the form in which it is accepted.
    #[must_use]
    pub fn deflate(&self) -> Option<&DeflateConfig> {
        self.deflated.as_ref()
    }

    /// Goes without compression.
    pub fn refuse_deflate(&mut self) {
        self.deflated = None;
    }
}

fn values<'a>(
    head: &'a Head,
    input: &'a [u8],
    name: &'static [u8],
) -> impl Iterator<Item = &'a [u8]> {
    let named = move |field: &&Field| field.name.of(input).eq_ignore_ascii_case(name);
    head.fields
        .iter()
        .filter(named)
        .map(move |field| field.value.of(input))
}

fn accept(key: &[u8]) -> [u8; 28] {
    let mut hash = sha1_smol::Sha1::new();
    hash.update(key);
    hash.update(GUID);
    let mut text = [0; 28];
    // 20 bytes are 28 characters: it cannot fail.
    let _ = STANDARD.encode_slice(hash.digest().bytes(), &mut text);
    text
}

/// Writes the answer after which the connection speaks WebSocket.
///
/// `headers` are the application's own; those that are the handshake's it must not have.
///
/// # Errors
/// [`LocalError`] when it cannot be sent, or when the client did not offer that subprotocol; `out` is
/// then as it was.
pub fn write_switching_protocols<'a>(
    out: &mut Vec<u8>,
    opening: &Opening,
    subprotocol: Option<&[u8]>,
    headers: impl Iterator<Item = (&'a [u8], &'a [u8])> + Clone,
    date: &[u8; 29],
) -> Result<(), LocalError> {
    if let Some((name, _)) = headers.clone().find(|(name, _)| is_handshake(name)) {
        return Err(LocalError::Handshake(name.into()));
    }
    if let Some(name) = subprotocol {
        if !opening.subprotocols().any(|offered| offered == name) {
            return Err(LocalError::Subprotocol(name.into()));
        }
    }
    let before = out.len();
    out.extend_from_slice(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n",
    );
    write_field(out, b"Sec-WebSocket-Accept", &opening.accept);
    if let Some(name) = subprotocol {
        write_field(out, b"Sec-WebSocket-Protocol", name);
    }
    if let Some(deflated) = &opening.deflated {
        out.extend_from_slice(b"Sec-WebSocket-Extensions: ");
        deflated.write(out);
        out.extend_from_slice(b"\r\n");
    }
    let wishes = write_fields(out, headers).inspect_err(|_| out.truncate(before))?;
    if !wishes.dated {
        write_field(out, b"Date", date);
    }
    out.extend_from_slice(b"\r\n");
    Ok(())
}

fn is_handshake(name: &[u8]) -> bool {
    const OURS: &[u8] = b"sec-websocket-";
    name.eq_ignore_ascii_case(b"upgrade")
        || name
            .get(..OURS.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(OURS))
}
