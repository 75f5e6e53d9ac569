//! The header that a proxy sends at the start of a connection (HAProxy's PROXY protocol, versions 1
//! and 2), before TLS and HTTP.
//!
//! Always holds: the same bytes give the same result however they are split; bytes that cannot become a
//! header are refused at once, and one of more than [`MOST_BYTES`] as well.

use super::extensions::Extensions;
use super::node::Node;
use super::origin::Origin;
use super::refusals::{MALFORMED, NONE, TOO_LONG};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What a header says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Introduction {
    /// Its length. What follows is of the connection itself.
    pub len: usize,
    /// The client. `None`: the proxy speaks for itself (`LOCAL`), or cannot tell (`UNKNOWN`). Then it is
    /// the peer.
    pub origin: Option<Origin>,
    /// What the proxy tells besides, if it names the client.
    pub extensions: Extensions,
}

/// The longest header.
const MOST_BYTES: usize = 4096;

const SIGNATURE_1: &[u8] = b"PROXY ";
/// Its line end included.
const MOST_BYTES_1: usize = 107;
const SIGNATURE_2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// Before the addresses of version 2.
const FIXED_BYTES: usize = 16;

/// Reads the header at the start of `input`. `None`: it is not complete.
///
/// # Errors
/// Why there is no valid one, for a log.
pub fn introduction(input: &[u8]) -> Result<Option<Introduction>, &'static str> {
    let begins = |signature: &[u8]| {
        let len = input.len().min(signature.len());
        input.get(..len) == signature.get(..len)
    };
    if begins(SIGNATURE_2) {
        version_2(input)
    } else if begins(SIGNATURE_1) {
        version_1(input)
    } else {
        Err(NONE)
    }
}

// ---- version 1 ---------------------------------------------------------------------

fn version_1(input: &[u8]) -> Result<Option<Introduction>, &'static str> {
    let most = input.get(..MOST_BYTES_1).unwrap_or(input);
    let Some(at) = most.iter().position(|byte| matches!(byte, b'\r' | b'\n')) else {
        return match input.len() < MOST_BYTES_1 {
            true => Ok(None),
            false => Err(TOO_LONG),
        };
    };
    let (line, end) = most.split_at_checked(at).ok_or(MALFORMED)?;
    match end {
        [b'\r', b'\n', ..] => {}
        [b'\r'] if most.len() < MOST_BYTES_1 => return Ok(None),
        _ => return Err(MALFORMED),
    }
    let line = std::str::from_utf8(line).map_err(|_| MALFORMED)?;
    Ok(Some(Introduction {
        len: at + 2,
        origin: origin_of(line)?,
        extensions: Extensions::default(),
    }))
}

/// `PROXY`, the family, two addresses and two ports, with one space between them.
fn origin_of(line: &str) -> Result<Option<Origin>, &'static str> {
    let mut words = line.split(' ').skip(1);
    let is_v4 = match words.next() {
        Some("UNKNOWN") => return Ok(None),
        Some("TCP4") => true,
        Some("TCP6") => false,
        _ => return Err(MALFORMED),
    };
    let [source, target, source_port, target_port, more] = [(); 5].map(|()| words.next());
    let ip = |word: Option<&str>| {
        let ip: IpAddr = word.and_then(|word| word.parse().ok()).ok_or(MALFORMED)?;
        (ip.is_ipv4() == is_v4).then_some(ip).ok_or(MALFORMED)
    };
    let client = node(ip(source)?, port(source_port)?);
    ip(target)?;
    port(target_port)?;
    match more {
        None => Ok(Some(Origin {
            client,
            https: false,
        })),
        Some(_) => Err(MALFORMED),
    }
}

fn port(word: Option<&str>) -> Result<u16, &'static str> {
    let word = word.ok_or(MALFORMED)?;
    let is_decimal = word.bytes().all(|byte| byte.is_ascii_digit());
    let is_short = !word.starts_with('0') || word == "0";
    match word.parse() {
        Ok(port) if is_decimal && is_short => Ok(port),
        _ => Err(MALFORMED),
    }
}

fn node(ip: IpAddr, port: u16) -> Node {
    Node::Inet {
        ip: ip.to_canonical(),
        port,
    }
}

// ---- version 2 ---------------------------------------------------------------------

fn version_2(input: &[u8]) -> Result<Option<Introduction>, &'static str> {
    let Some(&[command, kind, high, low]) = input
        .get(SIGNATURE_2.len()..)
        .and_then(|rest| rest.first_chunk())
    else {
        return Ok(None);
    };
    let is_local = match command {
        0x20 => true,
        0x21 => false,
        _ => return Err(MALFORMED),
    };
    let len = FIXED_BYTES + usize::from(u16::from_be_bytes([high, low]));
    if len > MOST_BYTES {
        return Err(TOO_LONG);
    }
    let Some(header) = input.get(..len) else {
        return Ok(None);
    };
    if is_local {
        return Ok(Some(Introduction {
            len,
            origin: None,
            extensions: Extensions::default(),
        }));
    }
    let body = header.get(FIXED_BYTES..).unwrap_or_default();
    let (client, address_len) = match kind {
        0x11 => (
            client_of(body, |ip: [u8; 4]| Ipv4Addr::from(ip).into())?,
            12,
        ),
        0x21 => (
            client_of(body, |ip: [u8; 16]| Ipv6Addr::from(ip).into())?,
            36,
        ),
        0x31 if body.len() >= 216 => (Some(Node::Unix), 216),
        // Datagrams do not come over a connection: as nginx, we look at no address.
        0x00..=0x02 => (None, 0),
        0x12 if body.len() >= 12 => (None, 12),
        0x22 if body.len() >= 36 => (None, 36),
        0x32 if body.len() >= 216 => (None, 216),
        _ => return Err(MALFORMED),
    };
    let extensions = match kind {
        0x00..=0x02 => Extensions::default(),
        _ => Extensions::read(header, FIXED_BYTES + address_len)?,
    };
    let https = extensions.https();
    let origin = client.map(|client| Origin { client, https });
    let extensions = match origin {
        Some(_) => extensions,
        None => Extensions::default(),
    };
    Ok(Some(Introduction {
        len,
        origin,
        extensions,
    }))
}

/// The first address and the first port of two addresses and two ports.
fn client_of<const N: usize>(
    body: &[u8],
    ip: impl Fn([u8; N]) -> IpAddr,
) -> Result<Option<Node>, &'static str> {
    let source = body.first_chunk().ok_or(MALFORMED)?;
    let ports = body.get(2 * N..).and_then(|rest| rest.first_chunk());
    let &[high, low, _, _]: &[u8; 4] = ports.ok_or(MALFORMED)?;
    Ok(Some(node(ip(*source), u16::from_be_bytes([high, low]))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(ip: &str, port: u16, https: bool) -> Option<Origin> {
        let ip = ip.parse().unwrap();
        let client = Node::Inet { ip, port };
        Some(Origin { client, https })
    }

    /// Reads a header that is followed by more, whole and in all pieces.
    fn read(header: &[u8]) -> Result<Option<Origin>, &'static str> {
        let whole = introduction(&[header, b"GET / HTTP/1.1\r\n"].concat());
        let len = whole.as_ref();
        let len = len.map_or(header.len(), |read| read.as_ref().unwrap().len);
        for end in 0..header.len().min(len) {
            match introduction(&header[..end]) {
                Ok(read) => assert_eq!(read, None, "{end} of {header:?}"),
                Err(error) => assert_eq!(Err(error), whole.clone(), "{end} of {header:?}"),
            }
        }
        whole.map(|read| {
            let read = read.unwrap();
            assert_eq!(read.len, header.len());
            read.origin
        })
    }

    fn v2(command: u8, kind: u8, body: &[u8]) -> Vec<u8> {
        let len = u16::try_from(body.len()).unwrap().to_be_bytes();
        [SIGNATURE_2, &[command, kind], &len, body].concat()
    }

    fn tlv(kind: u8, value: &[u8]) -> Vec<u8> {
        let len = u16::try_from(value.len()).unwrap().to_be_bytes();
        [&[kind], &len[..], value].concat()
    }

    const V4: [u8; 12] = [192, 0, 2, 1, 198, 51, 100, 1, 0x12, 0x67, 0, 80];

    #[test]
    fn version_1_is_one_line() {
        for (line, expected) in [
            (
                "PROXY TCP4 192.0.2.1 198.51.100.1 4711 443\r\n",
                origin("192.0.2.1", 4711, false),
            ),
            (
                "PROXY TCP6 2001:db8::1 ::1 65535 0\r\n",
                origin("2001:db8::1", 65535, false),
            ),
            (
                "PROXY TCP6 ::ffff:192.0.2.1 ::1 1 2\r\n",
                origin("192.0.2.1", 1, false),
            ),
            ("PROXY UNKNOWN\r\n", None),
            ("PROXY UNKNOWN ffff::1 what ever 1 2\r\n", None),
        ] {
            assert_eq!(read(line.as_bytes()), Ok(expected), "{line}");
        }
    }

    #[test]
    fn a_malformed_line_is_refused() {
        for line in [
            "PROXY TCP4 192.0.2.1 198.51.100.1 4711\r\n",
            "PROXY TCP4 192.0.2.1 198.51.100.1 4711 443 x\r\n",
            "PROXY TCP4 192.0.2.1 198.51.100.1  4711 443\r\n",
            "PROXY TCP4 192.0.2.1 198.51.100.1 04711 443\r\n",
            "PROXY TCP4 192.0.2.1 198.51.100.1 +1 443\r\n",
            "PROXY TCP4 192.0.2.1 198.51.100.1 65536 443\r\n",
            "PROXY TCP4 2001:db8::1 ::1 1 2\r\n",
            "PROXY TCP6 192.0.2.1 198.51.100.1 1 2\r\n",
            "PROXY TCP4 192.0.2.1 ::1 1 2\r\n",
            "PROXY TCP4 192.0.2.1 198.51.100.1 4711 443\n",
            "PROXY TCP4 192.0.2.1 198.51.100.1 4711 443\rX",
            "PROXY UDP4 192.0.2.1 198.51.100.1 4711 443\r\n",
            "PROXY tcp4 192.0.2.1 198.51.100.1 4711 443\r\n",
            "PROXY \r\n",
            "PROXY \u{e9}\r\n",
        ] {
            assert_eq!(read(line.as_bytes()), Err(MALFORMED), "{line}");
        }
        assert_eq!(read(b"PROXY UNKNOWN \xff\r\n"), Err(MALFORMED));
        let long = format!("PROXY UNKNOWN {}", "x".repeat(94));
        assert_eq!(introduction(long.as_bytes()), Err(TOO_LONG));
        assert_eq!(introduction(&long.as_bytes()[..106]), Ok(None));
    }

    #[test]
    fn what_is_no_header_is_refused_at_its_first_byte() {
        for input in [
            "GET / HTTP/1.1\r\n",
            "proxy ",
            "\r\n\r\nGET",
            "PROXYTCP4",
            "\u{16}\u{3}\u{1}",
        ] {
            assert_eq!(read(input.as_bytes()), Err(NONE), "{input}");
        }
        assert_eq!(introduction(b""), Ok(None));
        assert_eq!(introduction(b"X"), Err(NONE));
    }

    #[test]
    fn version_2_names_the_client() {
        assert_eq!(
            read(&v2(0x21, 0x11, &V4)),
            Ok(origin("192.0.2.1", 4711, false))
        );
        let mut v6 = [0_u8; 36];
        v6[..4].copy_from_slice(&[0x20, 1, 0xd, 0xb8]);
        v6[15] = 1;
        v6[32..34].copy_from_slice(&[0x12, 0x67]);
        assert_eq!(
            read(&v2(0x21, 0x21, &v6)),
            Ok(origin("2001:db8::1", 4711, false))
        );
        let unix = Some(Origin {
            client: Node::Unix,
            https: false,
        });
        assert_eq!(read(&v2(0x21, 0x31, &[0; 216])), Ok(unix));
        for (command, kind, body) in [
            (0x20, 0x00, &[][..]),
            (0x20, 0x11, &V4),
            (0x20, 0xff, &[1]),
            (0x21, 0x00, &[1, 2, 3]),
            (0x21, 0x12, &V4),
        ] {
            assert_eq!(
                read(&v2(command, kind, body)),
                Ok(None),
                "{command:x} {kind:x}"
            );
        }
    }

    #[test]
    fn a_malformed_header_is_refused() {
        for (command, kind, body) in [
            (0x11, 0x11, &V4[..]),
            (0x22, 0x11, &V4),
            (0x21, 0x41, &V4),
            (0x21, 0x13, &V4),
            (0x21, 0x11, &V4[..11]),
            (0x21, 0x21, &[0; 35]),
            (0x21, 0x31, &[0; 215]),
            (0x21, 0x32, &[0; 12]),
        ] {
            assert_eq!(
                read(&v2(command, kind, body)),
                Err(MALFORMED),
                "{command:x} {kind:x}"
            );
        }
        let mut long = v2(0x21, 0x11, &V4);
        long[14..16].copy_from_slice(&4081_u16.to_be_bytes());
        assert_eq!(introduction(&long), Err(TOO_LONG));
        long[14..16].copy_from_slice(&4080_u16.to_be_bytes());
        assert_eq!(introduction(&long), Ok(None));
    }

    #[test]
    fn version_2_has_more_than_addresses() {
        let tls = tlv(
            0x20,
            &[
                7, 0, 0, 0, 0, 0x21, 0, 7, b'T', b'L', b'S', b'v', b'1', b'.', b'3',
            ],
        );
        let tlvs = [
            tlv(0x04, &[0; 5]),
            tlv(0x01, b"h2"),
            tlv(0x02, b"example.com"),
            tlv(0x05, b"id"),
            tls,
            tlv(0xee, b"of someone"),
        ];
        let header = v2(0x21, 0x11, &[&V4[..], &tlvs.concat()].concat());
        assert_eq!(read(&header), Ok(origin("192.0.2.1", 4711, true)));
        let extensions = introduction(&header).unwrap().unwrap().extensions;
        let named = extensions.named();
        let first = named.first().unwrap();
        assert_eq!((&*first.0, &*first.1), ("alpn", &b"h2"[..]));
        assert_eq!(named.len(), 6);
    }

    #[test]
    fn a_proxy_that_speaks_for_itself_has_no_extensions() {
        for (command, kind) in [(0x20, 0x11), (0x21, 0x00), (0x21, 0x12)] {
            let header = v2(command, kind, &[&V4[..], &tlv(0x02, b"a.example")].concat());
            let read = introduction(&header).unwrap().unwrap();
            assert_eq!((read.origin, read.extensions.is_empty()), (None, true));
        }
    }

    #[test]
    fn malformed_extensions_are_refused() {
        for wrong in [
            vec![1],
            vec![1, 0],
            vec![1, 0, 1],
            vec![1, 0xff, 0xff, 0],
            tlv(0x20, &[]),
            tlv(0x03, &[0; 3]),
        ] {
            let header = v2(0x21, 0x11, &[&V4[..], &wrong].concat());
            assert_eq!(read(&header), Err(MALFORMED), "{wrong:?}");
        }
    }
}
