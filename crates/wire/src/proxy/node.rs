//! One end of a connection, as a proxy names it (RFC 7239 6).

use crate::tokens;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A client, or a proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Node {
    /// `port` is 0 if it is not known.
    Inet { ip: IpAddr, port: u16 },
    /// It is connected over a Unix socket.
    Unix,
    /// Its address is not known, or hidden.
    Unknown,
}

impl Node {
    /// Reads `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]`, `[2001:db8::1]:80` or nginx's
    /// `unix:`. All else is unknown, such as `unknown` and `_hidden`.
    pub(super) fn parse(text: &[u8]) -> Self {
        if text == b"unix:" {
            return Node::Unix;
        }
        Self::inet(text).unwrap_or(Node::Unknown)
    }

    fn inet(text: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(text).ok()?;
        if let Ok(ip) = text.parse::<IpAddr>() {
            return Some(Self::at(ip, 0));
        }
        if let Some(bracketed) = text.strip_prefix('[') {
            let (address, rest) = bracketed.split_once(']')?;
            let ip = IpAddr::V6(address.parse::<Ipv6Addr>().ok()?);
            return match rest {
                "" => Some(Self::at(ip, 0)),
                rest => Some(Self::at(ip, port(rest.strip_prefix(':')?)?)),
            };
        }
        let (address, rest) = text.split_once(':')?;
        let ip = IpAddr::V4(address.parse::<Ipv4Addr>().ok()?);
        Some(Self::at(ip, port(rest)?))
    }

    fn at(ip: IpAddr, port: u16) -> Self {
        Node::Inet {
            ip: ip.to_canonical(),
            port,
        }
    }
}

/// A port; 0 for one that is hidden, such as `_x`.
fn port(text: &str) -> Option<u16> {
    if text.starts_with('_') {
        return Some(0);
    }
    u16::try_from(tokens::decimal(text.as_bytes())?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_an_address_perhaps_with_a_port() {
        for (text, ip, port) in [
            ("192.0.2.1", "192.0.2.1", 0),
            ("192.0.2.1:4711", "192.0.2.1", 4711),
            ("192.0.2.1:_hidden", "192.0.2.1", 0),
            ("2001:db8::1", "2001:db8::1", 0),
            ("[2001:db8::1]", "2001:db8::1", 0),
            ("[2001:db8::1]:65535", "2001:db8::1", 65535),
            ("::ffff:192.0.2.1", "192.0.2.1", 0),
            ("[::ffff:192.0.2.1]:80", "192.0.2.1", 80),
        ] {
            let ip = ip.parse().unwrap();
            assert_eq!(
                Node::parse(text.as_bytes()),
                Node::Inet { ip, port },
                "{text}"
            );
        }
        assert_eq!(Node::parse(b"unix:"), Node::Unix);
    }

    #[test]
    fn all_else_is_unknown() {
        for text in [
            "",
            "unknown",
            "_x",
            "example.com",
            "192.0.2.1:65536",
            "192.0.2.1:",
            "192.0.2.1:http",
            "192.0.2",
            "192.0.2.01",
            "0x7f.0.0.1",
            "2130706433",
            "[192.0.2.1]",
            "[::1",
            "::1]",
            "[::1]80",
            "[::1]:",
            "fe80::1%eth0",
            "192.0.2.1 ",
            "192.0.2.1;x",
            "\u{661}92.0.2.1",
            "unix",
            "unix:/run/x",
        ] {
            assert_eq!(Node::parse(text.as_bytes()), Node::Unknown, "{text}");
        }
        assert_eq!(Node::parse(b"\xff"), Node::Unknown);
    }
}
