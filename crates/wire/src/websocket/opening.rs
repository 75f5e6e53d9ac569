//! The opening handshake (RFC 6455 4.2): the request, and the response that accepts it.
//!
//! An [`Opening`] exists only for a valid request, so no other request can get a 101.

use super::deflate::DeflateConfig;
use crate::errors::{LocalError, RemoteError};
use crate::http1::response_fields::{write_field, write_fields};
use crate::http1::{Field, Head, Version};
use crate::tokens::members;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Names and values of fields that the server adds.
pub type OwnFields = Vec<(&'static [u8], Vec<u8>)>;

/// What the client offers, and what the response to it needs.
#[derive(Debug, Clone)]
pub struct Opening {
    /// `None` over HTTP/2, which has no key (RFC 8441 5).
    accept: Option<[u8; 28]>,
    deflate: Option<DeflateConfig>,
    subprotocols: Vec<Box<[u8]>>,
}

/// RFC 6455 1.3: the hash of the key with it proves that the server speaks WebSocket.
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

const OTHER_VERSION: RemoteError = RemoteError {
    status: 426,
    reason: "Sec-WebSocket-Version must be 13",
};
const BAD_KEY: RemoteError =
    RemoteError::bad_request("Sec-WebSocket-Key must be 16 bytes in base64, once");

impl Opening {
    /// Reads a head that [asks](Head::websocket) for a WebSocket.
    ///
    /// # Errors
    /// [`RemoteError`]. A response with status 426 needs the field `Sec-WebSocket-Version: 13`.
    pub fn read(head: &Head, input: &[u8]) -> Result<Self, RemoteError> {
        let mut values = values(head, input, b"sec-websocket-version");
        if !matches!((values.next(), values.next()), (Some(b"13"), None)) {
            return Err(OTHER_VERSION);
        }
        let accept = match head.version {
            Version::Http2 => None, // the stream proves it
            _ => Some(read_key(head, input)?),
        };
        let offered = |name| self::values(head, input, name);
        Ok(Self {
            accept,
            deflate: offered(b"sec-websocket-extensions").find_map(DeflateConfig::choose),
            subprotocols: offered(b"sec-websocket-protocol")
                .flat_map(members)
                .filter(|name| !name.is_empty())
                .map(Box::from)
                .collect(),
        })
    }

    /// The subprotocols that the client offers, in its order of preference.
    pub fn subprotocols(&self) -> impl Iterator<Item = &[u8]> {
        self.subprotocols.iter().map(AsRef::as_ref)
    }

    /// The compression that the client offers, as the server accepts it.
    #[must_use]
    pub fn deflate(&self) -> Option<&DeflateConfig> {
        self.deflate.as_ref()
    }

    /// The fields of the response over HTTP/2, which accepts by its status (RFC 8441 5).
    ///
    /// # Errors
    /// [`LocalError`], as for [`write_switching_protocols`].
    pub fn accepting_fields<'a>(
        &self,
        subprotocol: Option<&[u8]>,
        headers: impl Iterator<Item = (&'a [u8], &'a [u8])>,
    ) -> Result<OwnFields, LocalError> {
        self.check(subprotocol, headers)?;
        let mut fields = OwnFields::new();
        if let Some(name) = subprotocol {
            fields.push((b"sec-websocket-protocol", name.into()));
        }
        if let Some(deflate) = &self.deflate {
            let mut value = Vec::new();
            deflate.write(&mut value);
            fields.push((b"sec-websocket-extensions", value));
        }
        Ok(fields)
    }

    /// Whether the application may respond so.
    fn check<'a>(
        &self,
        subprotocol: Option<&[u8]>,
        mut headers: impl Iterator<Item = (&'a [u8], &'a [u8])>,
    ) -> Result<(), LocalError> {
        if let Some((name, _)) = headers.find(|(name, _)| is_handshake(name)) {
            return Err(LocalError::Handshake(name.into()));
        }
        match subprotocol {
            Some(name) if !self.subprotocols().any(|offered| offered == name) => {
                Err(LocalError::Subprotocol(name.into()))
            }
            _ => Ok(()),
        }
    }

    /// Declines compression.
    pub fn refuse_deflate(&mut self) {
        self.deflate = None;
    }
}

/// The response to the key of the client.
fn read_key(head: &Head, input: &[u8]) -> Result<[u8; 28], RemoteError> {
    let mut values = values(head, input, b"sec-websocket-key");
    let (Some(key), None) = (values.next(), values.next()) else {
        return Err(BAD_KEY);
    };
    let mut decoded = [0; 18];
    match STANDARD.decode_slice(key, &mut decoded) {
        Ok(16) => Ok(accept(key)),
        _ => Err(BAD_KEY),
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
    // 20 bytes make 28 characters, so this cannot fail.
    let _ = STANDARD.encode_slice(hash.digest().bytes(), &mut text);
    text
}

/// Writes the 101, after which the connection speaks WebSocket. `headers` are the application's fields.
///
/// # Errors
/// [`LocalError`] if one of them is invalid or belongs to the handshake, or if the client did not offer
/// that subprotocol. `out` is then unchanged.
pub fn write_switching_protocols<'a>(
    out: &mut Vec<u8>,
    opening: &Opening,
    subprotocol: Option<&[u8]>,
    headers: impl Iterator<Item = (&'a [u8], &'a [u8])> + Clone,
    date: &[u8; 29],
) -> Result<(), LocalError> {
    opening.check(subprotocol, headers.clone())?;
    let before = out.len();
    out.extend_from_slice(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n",
    );
    if let Some(accept) = &opening.accept {
        write_field(out, b"Sec-WebSocket-Accept", accept);
    }
    if let Some(name) = subprotocol {
        write_field(out, b"Sec-WebSocket-Protocol", name);
    }
    if let Some(deflate) = &opening.deflate {
        out.extend_from_slice(b"Sec-WebSocket-Extensions: ");
        deflate.write(out);
        out.extend_from_slice(b"\r\n");
    }
    let summary = write_fields(out, headers).inspect_err(|_| out.truncate(before))?;
    if !summary.dated {
        write_field(out, b"Date", date);
    }
    out.extend_from_slice(b"\r\n");
    Ok(())
}

fn is_handshake(name: &[u8]) -> bool {
    const PREFIX: &[u8] = b"sec-websocket-";
    name.eq_ignore_ascii_case(b"upgrade")
        || name
            .get(..PREFIX.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(PREFIX))
}
