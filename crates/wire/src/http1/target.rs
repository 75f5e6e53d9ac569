//! The request target (RFC 9112 3.2), and the authority in it or in Host (RFC 3986 3.2).

use std::net::Ipv6Addr;

use memchr::{memchr, memchr2};

use super::fields::Span;
use crate::errors::RemoteError;
use crate::tokens::{self, HOST};

/// The four forms of a request target (RFC 9112 3.2).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum TargetForm {
    /// `/path?query`
    #[default]
    Origin,
    /// `http://host/path?query`, as sent to a proxy.
    Absolute,
    /// `host:port`, with CONNECT only.
    Authority,
    /// `*`, with OPTIONS only.
    Asterisk,
}

/// The parts of a target, with the spans of `Head`.
#[derive(Debug, Default)]
pub(crate) struct Target {
    pub(crate) form: TargetForm,
    pub(crate) path: Span,
    pub(crate) query: Option<Span>,
    pub(crate) authority: Option<Span>,
}

const NO_FORM: RemoteError = RemoteError::bad_request("request target fits no form");
const BAD_AUTHORITY: RemoteError =
    RemoteError::bad_request("invalid authority in the request target");
const CONNECT_TARGET: RemoteError = RemoteError::bad_request("CONNECT needs a target of host:port");

impl Target {
    /// Parses the target at `span`. The caller has checked that its bytes are of class `TARGET`.
    pub(crate) fn parse(input: &[u8], method: &[u8], span: Span) -> Result<Self, RemoteError> {
        let bytes = span.of(input);
        if method == b"CONNECT" {
            return match Authority::parse(bytes) {
                Some(Authority { port: Some(_), .. }) => Ok(Self {
                    form: TargetForm::Authority,
                    authority: Some(span),
                    ..Self::default()
                }),
                _ => Err(CONNECT_TARGET),
            };
        }
        if bytes.first() == Some(&b'/') {
            return Ok(Self::default().split(bytes, span, 0));
        }
        if bytes == b"*" && method == b"OPTIONS" {
            return Ok(Self {
                form: TargetForm::Asterisk,
                path: span,
                ..Self::default()
            });
        }
        let (start, _) = scheme(bytes).ok_or(NO_FORM)?;
        let rest = bytes.get(start..).unwrap_or_default();
        let end = start + memchr2(b'/', b'?', rest).unwrap_or(rest.len());
        let authority = span.part(start, end);
        Authority::parse(authority.of(input)).ok_or(BAD_AUTHORITY)?;
        Ok(Self {
            form: TargetForm::Absolute,
            authority: Some(authority),
            ..Self::default()
        }
        .split(bytes, span, end))
    }

    /// Whether `bytes` are an authority without user information.
    pub(crate) fn is_authority(bytes: &[u8]) -> bool {
        Authority::parse(bytes).is_some()
    }

    /// Whether two authorities of a URI with this scheme are the same.
    pub(crate) fn is_same_host(scheme: &[u8], authority: &[u8], host: &[u8]) -> bool {
        let port = if scheme.eq_ignore_ascii_case(b"http") {
            80
        } else {
            443
        };
        Authority::are_same(authority, host, port)
    }

    /// Adds path and query, which begin `from` bytes into the target.
    #[inline]
    fn split(self, bytes: &[u8], span: Span, from: usize) -> Self {
        match memchr(b'?', bytes) {
            Some(mark) => Self {
                path: span.part(from, mark),
                query: Some(span.part(mark + 1, bytes.len())),
                ..self
            },
            None => Self {
                path: span.part(from, bytes.len()),
                ..self
            },
        }
    }
}

/// The length of `http://` or `https://` at the start of `target`, and its default port. `None` for other
/// schemes, which this server does not serve.
fn scheme(target: &[u8]) -> Option<(usize, u16)> {
    [(&b"http://"[..], 80), (&b"https://"[..], 443)]
        .into_iter()
        .find_map(|(scheme, port)| {
            let start = target.get(..scheme.len())?;
            start
                .eq_ignore_ascii_case(scheme)
                .then_some((scheme.len(), port))
        })
}

/// Whether Host names the authority of an absolute target (RFC 9112 3.2.2). Case is ignored, and the
/// default port of the scheme may be left out.
pub(crate) fn is_same_authority(target: &[u8], authority: &[u8], host: &[u8]) -> bool {
    scheme(target).is_some_and(|(_, port)| Authority::are_same(authority, host, port))
}

/// `host [ ":" port ]`, the host never empty.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Authority<'a> {
    pub(crate) host: &'a [u8],
    pub(crate) port: Option<u16>,
}

impl<'a> Authority<'a> {
    /// Whether both are valid and name the same host and port; `port` is the default.
    fn are_same(one: &[u8], other: &[u8], port: u16) -> bool {
        let Some((one, other)) = Authority::parse(one).zip(Authority::parse(other)) else {
            return false;
        };
        one.host.eq_ignore_ascii_case(other.host)
            && one.port.unwrap_or(port) == other.port.unwrap_or(port)
    }

    /// `None` if it is malformed. User information is not allowed in HTTP (RFC 9110 4.2.4).
    pub(crate) fn parse(bytes: &'a [u8]) -> Option<Self> {
        let end = if bytes.first() == Some(&b'[') {
            literal_end(bytes)?
        } else {
            name_end(bytes)?
        };
        let (host, rest) = bytes.split_at_checked(end)?;
        let port = match rest {
            [] | [b':'] => None,
            [b':', digits @ ..] => Some(u16::try_from(tokens::decimal(digits)?).ok()?),
            _ => return None,
        };
        Some(Self { host, port })
    }
}

/// Where `[IPv6]` or `[IPvFuture]` ends.
fn literal_end(bytes: &[u8]) -> Option<usize> {
    let end = memchr(b']', bytes)?;
    let literal = bytes.get(1..end)?;
    let is_valid = match literal {
        [b'v' | b'V', address @ ..] => is_future_address(address),
        _ => std::str::from_utf8(literal).is_ok_and(|address| address.parse::<Ipv6Addr>().is_ok()),
    };
    is_valid.then_some(end + 1)
}

/// Whether `address` is the part of `IPvFuture` after its `v`: `1*HEXDIG "." 1*( unreserved / sub-delims
/// / ":" )`. Between brackets, a comma cannot make two joined Host lines look like one.
fn is_future_address(address: &[u8]) -> bool {
    let Some((version, address)) = memchr(b'.', address).map(|dot| address.split_at(dot)) else {
        return false;
    };
    let is_allowed = |byte: &u8| matches!(byte, b':' | b',') || tokens::is(HOST, *byte);
    !version.is_empty()
        && version.iter().all(u8::is_ascii_hexdigit)
        && address.len() > 1
        && address.iter().all(is_allowed)
}

/// Where a name or IPv4 address of at least one byte ends.
#[inline]
fn name_end(bytes: &[u8]) -> Option<usize> {
    let mut end = tokens::skip(bytes, 0, HOST);
    while let Some(b'%') = bytes.get(end) {
        if !bytes
            .get(end + 1..end + 3)?
            .iter()
            .all(u8::is_ascii_hexdigit)
        {
            return None;
        }
        end = tokens::skip(bytes, end + 3, HOST);
    }
    (end > 0).then_some(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_authority_is_a_host_and_perhaps_a_port() {
        for (text, host, port) in [
            ("example.com", "example.com", None),
            ("example.com:80", "example.com", Some(80)),
            ("example.com:", "example.com", None),
            ("127.0.0.1:65535", "127.0.0.1", Some(65535)),
            ("[::1]", "[::1]", None),
            ("[2001:db8::7]:8080", "[2001:db8::7]", Some(8080)),
            ("caf%C3%A9.example", "caf%C3%A9.example", None),
            ("a_b.example", "a_b.example", None),
            ("[v1.a]", "[v1.a]", None),
            (
                "[vAf.fe80::a+en1,~!$&'()*;=]:80",
                "[vAf.fe80::a+en1,~!$&'()*;=]",
                Some(80),
            ),
            ("[V7.:]", "[V7.:]", None),
        ] {
            let host = host.as_bytes();
            assert_eq!(
                Authority::parse(text.as_bytes()),
                Some(Authority { host, port }),
                "{text}"
            );
        }
        for wrong in [
            "",
            ":80",
            "a b",
            "a/b",
            "a@b",
            "user:pass@b",
            "a:b",
            "a:80:80",
            "a:65536",
            "a:+1",
            "a,b",
            "a%2",
            "a%zz",
            "a%",
            "::1",
            "[::1",
            "[::1]x",
            "[]",
            "[::g]",
            "[fe80::1%25eth0]",
            "[v1]",
            "[v1.]",
            "[v.a]",
            "[vg.a]",
            "[v1.a%20]",
            "[v1.a/b]",
            "[v1.a@b]",
            "[v1.a",
            "[v1.a]b",
            "[1.a]",
            "a\\b",
            "a?b",
            "caf\u{e9}",
            "a\tb",
            "a\"b",
            "a<b",
            "[1.2.3.4]",
        ] {
            assert_eq!(Authority::parse(wrong.as_bytes()), None, "{wrong:?}");
        }
    }
}
