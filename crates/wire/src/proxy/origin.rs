//! What the fields of trusted proxies make of a request.
//!
//! Always holds: what a proxy that is not trusted says is removed from the head, so that no application
//! reads it; a head that is returned looks as if the client had spoken to this server.

use super::forwarded::{Said, forwarded, x_forwarded};
use super::names::{is_forwarded, is_x_forwarded};
use super::naming::Naming;
use super::networks::Networks;
use super::node::Node;
use crate::http1::{Authority, Field, Head, Span};
use crate::tokens::{self, HOST};

/// Which fields are heeded. A proxy writes one family, and may pass on what a client sent of the other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Family {
    /// `X-Forwarded-For` and those with it.
    #[default]
    XForwarded,
    /// `Forwarded` (RFC 7239).
    Forwarded,
    /// Neither: the application reads them as they came.
    Off,
}

/// The proxies that are trusted, and with what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trusted {
    pub networks: Networks,
    /// They write or remove each of the fields. Otherwise only the client's address and scheme are
    /// heeded: many a proxy passes on an `X-Forwarded-Host` that a client sends.
    pub with_all: bool,
}

impl Default for Trusted {
    /// A proxy on the same machine, with address and scheme.
    fn default() -> Self {
        let local = Networks::parse(["127.0.0.0/8", "::1", "unix"]);
        Self {
            networks: local.unwrap_or_default(),
            with_all: false,
        }
    }
}

/// What a listener expects of the proxies in front of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Proxies {
    pub family: Family,
    pub trusted: Trusted,
    /// Where the ids of requests come from.
    pub naming: Naming,
}

/// Where a request comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    pub client: Node,
    /// The client speaks TLS.
    pub https: bool,
}

impl Proxies {
    /// Where a request comes from whose head has fields of these families (`Head::forwarded`).
    /// `connection` is the peer that sent it, and how. The head gets the host and the prefix that the
    /// proxies say; `bytes`, which its spans refer to, grow by them.
    pub fn resolve(&self, connection: Origin, bytes: &mut Vec<u8>, head: &mut Head) -> Origin {
        let trusted = self.trusted.networks.contain(connection.client);
        let family = self.family;
        head.fields.retain(|field| {
            let name = field.name.of(bytes);
            match family {
                Family::Off => true,
                Family::XForwarded if trusted => is_x_forwarded(name) || !is_forwarded(name),
                Family::Forwarded if trusted => !is_x_forwarded(name),
                _ => !is_forwarded(name),
            }
        });
        if !trusted || family == Family::Off {
            return connection;
        }
        let networks = &self.trusted.networks;
        let said = match family {
            Family::Forwarded => forwarded(head, bytes, networks),
            _ => x_forwarded(head, bytes, networks),
        };
        let origin = Origin {
            client: said.client.unwrap_or(connection.client),
            https: said.https.unwrap_or(connection.https),
        };
        let mut place = Place::of(&said, head, bytes, origin.https, self.trusted.with_all);
        if let Some(host) = place.host.take() {
            set_host(head, bytes, &host);
        }
        head.prefix = place.prefix.map(|prefix| append(bytes, &prefix));
        head.port = place.port;
        origin
    }
}

/// Where the client reaches the application.
struct Place {
    /// The new value of Host, if it changes.
    host: Option<Vec<u8>>,
    prefix: Option<Vec<u8>>,
    /// If it is said or follows from what is said.
    port: Option<u16>,
}

impl Place {
    fn of(said: &Said<'_>, head: &Head, bytes: &[u8], https: bool, with_all: bool) -> Self {
        let usual = if https { 443 } else { 80 };
        let stated = said.host.as_deref().filter(|_| with_all);
        let stated = stated.and_then(Authority::parse);
        let port = said.port.filter(|_| with_all);
        let host = head.host.and_then(|host| Authority::parse(host.of(bytes)));
        let changes = stated.is_some() || port.is_some();
        let host = stated.or(host);
        // A host says its port unless that is the usual one; a proxy may have left it out.
        let in_host = host.as_ref().and_then(|host| host.port);
        let effective = in_host.or(port);
        Place {
            host: host.filter(|_| changes).map(|host| {
                let mut text = host.host.to_vec();
                if let Some(port) = effective.filter(|port| *port != usual) {
                    text.push(b':');
                    text.extend_from_slice(itoa::Buffer::new().format(port).as_bytes());
                }
                text
            }),
            prefix: said
                .prefix
                .filter(|prefix| with_all && is_prefix(prefix))
                .map(|prefix| {
                    let end = prefix.iter().rposition(|byte| *byte != b'/');
                    let kept = end.map_or(0, |end| end + 1);
                    prefix.get(..kept).unwrap_or_default().to_vec()
                }),
            port: (changes || said.https.is_some()).then(|| port.or(in_host).unwrap_or(usual)),
        }
    }
}

/// Whether it is a path that cannot be read as anything else when it is put in front of one: `//` would
/// begin an authority. Of encoded bytes only those are allowed that are not ASCII.
fn is_prefix(path: &[u8]) -> bool {
    let mut rest = match path {
        [b'/', b'/', ..] => return false,
        [b'/', rest @ ..] => rest,
        _ => return false,
    };
    loop {
        let plain = rest.iter().position(|byte| {
            !(tokens::is(HOST, *byte) || matches!(byte, b'/' | b':' | b'@' | b','))
        });
        let Some(at) = plain else {
            return true;
        };
        match rest.get(at..) {
            Some([b'%', high, low, after @ ..])
                if matches!(high, b'8' | b'9' | b'a'..=b'f' | b'A'..=b'F')
                    && low.is_ascii_hexdigit() =>
            {
                rest = after;
            }
            _ => return false,
        }
    }
}

fn set_host(head: &mut Head, bytes: &mut Vec<u8>, host: &[u8]) {
    let value = append(bytes, host);
    let is_host = |field: &&mut Field| field.name.of(bytes).eq_ignore_ascii_case(b"host");
    match head.fields.iter_mut().find(is_host) {
        Some(field) => field.value = value,
        // HTTP/1.0 may have none.
        None => {
            let name = append(bytes, b"Host");
            head.fields.push(Field { name, value });
        }
    }
    head.host = Some(value);
}

fn append(bytes: &mut Vec<u8>, part: &[u8]) -> Span {
    let start = bytes.len();
    bytes.extend_from_slice(part);
    Span::new(start, bytes.len())
}
