//! Sets of peers: networks, and peers over Unix sockets.

use super::node::Node;
use std::net::IpAddr;

/// Peers, as an administrator lists them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Networks {
    any: bool,
    unix: bool,
    networks: Vec<Network>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Network {
    is_v4: bool,
    address: u128,
    mask: u128,
}

impl Networks {
    /// Reads entries such as `10.0.0.0/8`, `2001:db8::1`, `unix`, and `*`, which is every peer. `None`:
    /// one of them is none of that.
    pub fn parse<'a>(entries: impl IntoIterator<Item = &'a str>) -> Option<Self> {
        let mut parsed = Self::default();
        for entry in entries {
            match entry {
                "*" => parsed.any = true,
                "unix" => parsed.unix = true,
                network => parsed.networks.push(Network::parse(network)?),
            }
        }
        Some(parsed)
    }

    /// Whether a peer is one of them. A node that is not known is none.
    #[must_use]
    pub fn contain(&self, node: Node) -> bool {
        match node {
            Node::Unknown => false,
            _ if self.any => true,
            Node::Unix => self.unix,
            Node::Inet { ip, .. } => {
                let (is_v4, address) = number(ip);
                self.networks
                    .iter()
                    .any(|network| network.is_v4 == is_v4 && network.has(address))
            }
        }
    }
}

impl Network {
    fn parse(text: &str) -> Option<Self> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix.parse::<u32>().ok()?)),
            None => (text, None),
        };
        let (is_v4, address) = number(address.parse().ok()?);
        let bits = if is_v4 { 32 } else { 128 };
        let host_bits = bits
            - prefix
                .filter(|prefix| *prefix <= bits)
                .or(prefix.is_none().then_some(bits))?;
        let mask = u128::MAX.checked_shl(host_bits).unwrap_or(0);
        Some(Network {
            is_v4,
            address: address & mask,
            mask,
        })
    }

    fn has(self, address: u128) -> bool {
        address & self.mask == self.address
    }
}

/// An IPv4 address that is mapped into IPv6 is the IPv4 address.
fn number(ip: IpAddr) -> (bool, u128) {
    match ip.to_canonical() {
        IpAddr::V4(ip) => (true, u128::from(ip.to_bits())),
        IpAddr::V6(ip) => (false, ip.to_bits()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(ip: &str) -> Node {
        Node::Inet {
            ip: ip.parse().unwrap(),
            port: 0,
        }
    }

    #[test]
    fn a_network_contains_its_addresses() {
        let networks = Networks::parse(["10.0.0.0/8", "192.0.2.7", "2001:db8::/32"]).unwrap();
        for (ip, is_in) in [
            ("10.0.0.0", true),
            ("10.255.255.255", true),
            ("11.0.0.0", false),
            ("192.0.2.7", true),
            ("192.0.2.8", false),
            ("::ffff:10.1.2.3", true),
            ("2001:db8:1::1", true),
            ("2001:db9::1", false),
            ("::1", false),
        ] {
            assert_eq!(networks.contain(node(ip)), is_in, "{ip}");
        }
        assert!(!networks.contain(Node::Unix));
        assert!(!networks.contain(Node::Unknown));
    }

    #[test]
    fn all_addresses_of_one_family_are_not_those_of_the_other() {
        let v6 = Networks::parse(["::/0"]).unwrap();
        assert!(v6.contain(node("2001:db8::1")) && !v6.contain(node("192.0.2.1")));
        let v4 = Networks::parse(["0.0.0.0/0"]).unwrap();
        assert!(v4.contain(node("192.0.2.1")) && !v4.contain(node("2001:db8::1")));
        let any = Networks::parse(["*"]).unwrap();
        assert!(any.contain(node("192.0.2.1")) && any.contain(Node::Unix));
        assert!(!any.contain(Node::Unknown));
        assert!(Networks::parse(["unix"]).unwrap().contain(Node::Unix));
    }

    #[test]
    fn what_is_no_network_is_refused() {
        for text in [
            "",
            "10",
            "10.0.0.0/33",
            "::/129",
            "10.0.0.0/",
            "10.0.0.0/-1",
            "host",
            "fe80::1%lo",
            "1.2.3.4:80",
        ] {
            assert_eq!(Networks::parse([text]), None, "{text}");
        }
    }
}
