//! The extensions (TLVs) of a header of the PROXY protocol, version 2: what a proxy tells besides addresses.
//!
//! Always holds: [`Extensions`] are well-formed, and have all that applications may ask for.

use super::refusals::MALFORMED;
use std::borrow::Cow;

const ALPN: u8 = 0x01;
const AUTHORITY: u8 = 0x02;
const CHECKSUM: u8 = 0x03;
const PADDING: u8 = 0x04;
const UNIQUE_ID: u8 = 0x05;
const TLS: u8 = 0x20;
const TLS_VERSION: u8 = 0x21;
const TLS_NAME: u8 = 0x22;
const TLS_CIPHER: u8 = 0x23;
const TLS_SIGNATURE: u8 = 0x24;
const TLS_KEY: u8 = 0x25;
const NAMESPACE: u8 = 0x30;

/// The bit of a client that has used TLS (`PP2_CLIENT_SSL`).
const CLIENT_TLS: u8 = 1;

/// What a proxy tells about a connection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Extensions {
    /// As they came.
    bytes: Box<[u8]>,
    https: bool,
}

impl Extensions {
    /// Reads those of a header, which begin at `from`.
    ///
    /// # Errors
    /// Why they are not valid, for a log.
    pub(super) fn read(header: &[u8], from: usize) -> Result<Self, &'static str> {
        let mut kept = Vec::new();
        let mut at = from;
        while at < header.len() {
            let (one, end) = extension(header, at).ok_or(MALFORMED)?;
            match one.kind {
                CHECKSUM => super::checksum::verify(header, end - one.value.len(), one.value)?,
                PADDING => {}
                _ => kept.extend_from_slice(header.get(at..end).unwrap_or_default()),
            }
            at = end;
        }
        Self::from_bytes(&kept).ok_or(MALFORMED)
    }

    /// Those of [`Extensions::as_bytes`]. `None`: they are malformed.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let mut https = false;
        let mut at = 0;
        while at < bytes.len() {
            let (one, end) = extension(bytes, at)?;
            if one.kind == TLS {
                let (client, _, more) = of_tls(one.value)?;
                https = client & CLIENT_TLS != 0;
                let mut place = 0;
                while place < more.len() {
                    place = extension(more, place)?.1;
                }
            }
            at = end;
        }
        let bytes = bytes.into();
        Some(Extensions { bytes, https })
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Whether the client speaks TLS.
    #[inline]
    pub fn https(&self) -> bool {
        self.https
    }

    /// Each with its name: as nginx has it after `$proxy_protocol_tlv_`, and the number of one that has no
    /// name.
    pub fn named(&self) -> Vec<(Cow<'static, str>, Cow<'_, [u8]>)> {
        let mut named = Vec::new();
        for one in all(&self.bytes) {
            if one.kind != TLS {
                named.push((name(one.kind), one.value.into()));
            } else if let Some((_, verified, more)) = of_tls(one.value) {
                let verified = verified.to_string().into_bytes();
                named.push(("ssl_verify".into(), verified.into()));
                let more = all(more).map(|one| (name_of_tls(one.kind), one.value.into()));
                named.extend(more);
            }
        }
        named
    }
}

struct Extension<'a> {
    kind: u8,
    value: &'a [u8],
}

/// The one that begins at `at`, and its end.
fn extension(bytes: &[u8], at: usize) -> Option<(Extension<'_>, usize)> {
    let &[kind, high, low]: &[u8; 3] = bytes.get(at..)?.first_chunk()?;
    let start = at + 3;
    let end = start + usize::from(u16::from_be_bytes([high, low]));
    let value = bytes.get(start..end)?;
    Some((Extension { kind, value }, end))
}

fn all(bytes: &[u8]) -> impl Iterator<Item = Extension<'_>> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let (one, end) = extension(bytes, at)?;
        at = end;
        Some(one)
    })
}

/// The client's bits, the result of verifying its certificate, and the extensions of the one about TLS.
fn of_tls(value: &[u8]) -> Option<(u8, u32, &[u8])> {
    let (&client, rest) = value.split_first()?;
    let (&verified, more) = rest.split_first_chunk()?;
    Some((client, u32::from_be_bytes(verified), more))
}

fn name(kind: u8) -> Cow<'static, str> {
    match kind {
        ALPN => "alpn".into(),
        AUTHORITY => "authority".into(),
        UNIQUE_ID => "unique_id".into(),
        NAMESPACE => "netns".into(),
        _ => format!("0x{kind:02x}").into(),
    }
}

fn name_of_tls(kind: u8) -> Cow<'static, str> {
    match kind {
        TLS_VERSION => "ssl_version".into(),
        TLS_NAME => "ssl_cn".into(),
        TLS_CIPHER => "ssl_cipher".into(),
        TLS_SIGNATURE => "ssl_sig_alg".into(),
        TLS_KEY => "ssl_key_alg".into(),
        _ => format!("ssl_0x{kind:02x}").into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tlv(kind: u8, value: &[u8]) -> Vec<u8> {
        let len = u16::try_from(value.len()).unwrap().to_be_bytes();
        [&[kind], &len[..], value].concat()
    }

    fn tls(client: u8, verified: u8, more: &[u8]) -> Vec<u8> {
        tlv(TLS, &[&[client, 0, 0, 0, verified], more].concat())
    }

    fn text(extensions: &Extensions) -> Vec<(String, String)> {
        let text = |value: &[u8]| String::from_utf8(value.to_vec()).unwrap();
        let named = extensions.named().into_iter();
        named
            .map(|(name, value)| (name.into_owned(), text(&value)))
            .collect()
    }

    #[test]
    fn each_has_its_name() {
        let of_tls = [
            tlv(TLS_VERSION, b"TLSv1.3"),
            tlv(TLS_NAME, b"alice"),
            tlv(TLS_CIPHER, b"AES"),
            tlv(TLS_SIGNATURE, b"SHA256"),
            tlv(TLS_KEY, b"RSA2048"),
            tlv(0x26, b"X25519"),
        ];
        let bytes = [
            tlv(PADDING, &[0; 9]),
            tlv(ALPN, b"h2"),
            tlv(AUTHORITY, b"example.com"),
            tlv(UNIQUE_ID, b"7"),
            tls(7, 18, &of_tls.concat()),
            tlv(NAMESPACE, b"blue"),
            tlv(0xea, b"\x01vpce-1"),
            tlv(0xee, b""),
        ];
        let extensions = Extensions::read(&bytes.concat(), 0).unwrap();
        let expected = [
            ("alpn", "h2"),
            ("authority", "example.com"),
            ("unique_id", "7"),
            ("ssl_verify", "18"),
            ("ssl_version", "TLSv1.3"),
            ("ssl_cn", "alice"),
            ("ssl_cipher", "AES"),
            ("ssl_sig_alg", "SHA256"),
            ("ssl_key_alg", "RSA2048"),
            ("ssl_0x26", "X25519"),
            ("netns", "blue"),
            ("0xea", "\u{1}vpce-1"),
            ("0xee", ""),
        ];
        let expected = expected.map(|(name, value)| (name.to_string(), value.to_string()));
        assert_eq!(text(&extensions), expected);
        assert!(extensions.https());
        let moved = Extensions::from_bytes(extensions.as_bytes());
        assert_eq!(moved.as_ref(), Some(&extensions));
    }

    #[test]
    fn the_bit_of_the_client_decides_whether_it_speaks_tls() {
        for (client, expected) in [(0, false), (1, true), (2, false), (7, true)] {
            let extensions = Extensions::read(&tls(client, 0, &[]), 0).unwrap();
            assert_eq!(extensions.https(), expected, "{client}");
        }
        assert!(!Extensions::default().https());
    }

    #[test]
    fn padding_alone_is_nothing() {
        let extensions = Extensions::read(&tlv(PADDING, b"x"), 0).unwrap();
        assert!(extensions.is_empty());
        assert_eq!(extensions, Extensions::default());
    }

    #[test]
    fn what_is_cut_short_is_malformed() {
        let whole = tls(1, 0, &tlv(TLS_VERSION, b"TLSv1.3"));
        for end in 1..whole.len() {
            assert_eq!(Extensions::read(&whole[..end], 0), Err(MALFORMED), "{end}");
            // As the value of one that is complete itself.
            let inner = &whole[3..end.max(3)];
            let expected = inner.len() == 5;
            assert_eq!(
                Extensions::from_bytes(&tlv(TLS, inner)).is_some(),
                expected,
                "{end}"
            );
        }
    }
}
