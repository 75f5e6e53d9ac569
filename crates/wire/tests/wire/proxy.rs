//! Where a request comes from, by the fields of proxies.

use prefork_wire::proxy::{Family, Naming, Networks, Node, Origin, Proxies, Trusted, introduction};
use prefork_wire::{Head, HeadParser, Limits};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

const PROXY: &str = "10.0.0.1";

struct Resolved {
    bytes: Vec<u8>,
    head: Head,
    origin: Origin,
}

impl Resolved {
    fn client(&self) -> String {
        match self.origin.client {
            Node::Inet { ip, port: 0 } => ip.to_string(),
            Node::Inet { ip, port } => format!("{ip} {port}"),
            Node::Unix => "unix".to_owned(),
            Node::Unknown => "unknown".to_owned(),
        }
    }

    fn host(&self) -> &str {
        let host = self.head.host.unwrap().of(&self.bytes);
        std::str::from_utf8(host).unwrap()
    }

    fn prefix(&self) -> Option<&str> {
        let prefix = self.head.prefix?.of(&self.bytes);
        Some(std::str::from_utf8(prefix).unwrap())
    }

    /// The names of its fields, in lower case.
    fn names(&self) -> Vec<String> {
        let names = self
            .head
            .fields
            .iter()
            .map(|field| field.name.of(&self.bytes));
        names
            .map(|name| String::from_utf8_lossy(name).to_lowercase())
            .collect()
    }
}

fn node(address: &str) -> Node {
    match address {
        "unix" => Node::Unix,
        address => Node::Inet {
            ip: address.parse().unwrap(),
            port: 1,
        },
    }
}

fn proxies(family: Family, networks: &[&str], with_all: bool) -> Proxies {
    let networks = Networks::parse(networks.iter().copied()).unwrap();
    let trusted = Trusted { networks, with_all };
    Proxies {
        family,
        trusted,
        naming: Naming::Off,
    }
}

/// 10.0.0.0/8 and Unix sockets are trusted with everything.
fn usual(family: Family) -> Proxies {
    proxies(family, &["10.0.0.0/8", "unix"], true)
}

/// A request with `fields` to `http://inner:8000/` that `peer` sends.
fn resolve(proxies: &Proxies, peer: &str, fields: &str) -> Resolved {
    let mut bytes = format!("GET / HTTP/1.1\r\nHost: inner:8000\r\n{fields}\r\n").into_bytes();
    let parsed = HeadParser::default().parse(&bytes, &Limits::default());
    let (mut head, _) = parsed.unwrap().unwrap();
    let connection = Origin {
        client: node(peer),
        https: false,
    };
    assert!(head.forwarded, "{fields}");
    let origin = proxies.resolve(connection, &mut bytes, &mut head);
    Resolved {
        bytes,
        head,
        origin,
    }
}

fn x_forwarded(fields: &str) -> Resolved {
    resolve(&usual(Family::XForwarded), PROXY, fields)
}

fn forwarded(fields: &str) -> Resolved {
    resolve(&usual(Family::Forwarded), PROXY, fields)
}

#[test]
fn the_client_is_the_last_address_that_no_trusted_proxy_has() {
    for (field, client) in [
        ("192.0.2.1", "192.0.2.1"),
        ("6.6.6.6, 192.0.2.1", "192.0.2.1"),
        ("6.6.6.6, 192.0.2.1, 10.0.0.2", "192.0.2.1"),
        ("6.6.6.6,192.0.2.1,10.0.0.2,10.0.0.3", "192.0.2.1"),
        ("10.0.0.9, 10.0.0.8", "10.0.0.9"),
        ("192.0.2.1:4711", "192.0.2.1 4711"),
        ("[2001:db8::1]:4711", "2001:db8::1 4711"),
        ("2001:db8::1", "2001:db8::1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("192.0.2.1, unix:", "192.0.2.1"),
        (" , 192.0.2.1 , ,\t10.0.0.2,", "192.0.2.1"),
        ("10.0.0.5, unknown", "unknown"),
        ("10.0.0.5, _hidden", "unknown"),
        ("10.0.0.5, localhost", "unknown"),
        ("10.0.0.5, 127.0.0.1 evil", "unknown"),
    ] {
        let resolved = x_forwarded(&format!("X-Forwarded-For: {field}\r\n"));
        assert_eq!(resolved.client(), client, "{field}");
    }
    let lines =
        "X-Forwarded-For: 6.6.6.6\r\nx-forwarded-for: 192.0.2.1\r\nX-FORWARDED-FOR: 10.0.0.2\r\n";
    assert_eq!(x_forwarded(lines).client(), "192.0.2.1");
}

#[test]
fn a_hundred_hops_are_followed() {
    let hops = ", 10.0.0.2".repeat(100);
    let resolved = x_forwarded(&format!("X-Forwarded-For: 6.6.6.6, 192.0.2.1{hops}\r\n"));
    assert_eq!(resolved.client(), "192.0.2.1");
    let hops = ", for=10.0.0.2".repeat(100);
    let resolved = forwarded(&format!("Forwarded: for=6.6.6.6, for=192.0.2.1{hops}\r\n"));
    assert_eq!(resolved.client(), "192.0.2.1");
}

#[test]
fn what_a_stranger_sends_is_removed() {
    let fields = "X-Forwarded-For: 10.0.0.2\r\nx-forwarded-proto: https\r\nX-Forwarded-Host: evil\r\n\
        X-Forwarded-Port: 1\r\nX-Forwarded-Prefix: /evil\r\nX-Forwarded-Ssl: on\r\nForwarded: for=10.0.0.2\r\n\
        FORWARDED: proto=https\r\nX-Forward: kept\r\nForwarded-For: kept\r\n";
    for family in [Family::XForwarded, Family::Forwarded] {
        let resolved = resolve(&usual(family), "192.0.2.1", fields);
        assert_eq!(resolved.client(), "192.0.2.1 1");
        assert!(!resolved.origin.https);
        assert_eq!(resolved.host(), "inner:8000");
        assert_eq!(resolved.prefix(), None);
        assert_eq!(resolved.head.port, None);
        assert_eq!(resolved.names(), ["host", "x-forward", "forwarded-for"]);
    }
}

#[test]
fn of_two_families_one_is_heeded_and_the_other_removed() {
    let fields = "X-Forwarded-For: 192.0.2.1\r\nForwarded: for=192.0.2.2;proto=https\r\n";
    let resolved = x_forwarded(fields);
    assert_eq!(resolved.client(), "192.0.2.1");
    assert!(!resolved.origin.https);
    assert_eq!(resolved.names(), ["host", "x-forwarded-for"]);
    let resolved = forwarded(fields);
    assert_eq!(resolved.client(), "192.0.2.2");
    assert!(resolved.origin.https);
    assert_eq!(resolved.names(), ["host", "forwarded"]);
    for peer in [PROXY, "192.0.2.9"] {
        let resolved = resolve(&usual(Family::Off), peer, fields);
        assert_eq!(resolved.client(), format!("{peer} 1"));
        assert_eq!(resolved.names(), ["host", "x-forwarded-for", "forwarded"]);
    }
}

#[test]
fn the_scheme_is_what_the_outermost_trusted_proxy_says() {
    for (fields, https) in [
        ("X-Forwarded-Proto: https\r\n", true),
        ("X-Forwarded-Proto: HTTPS\r\n", true),
        ("X-Forwarded-Proto: wss\r\n", true),
        ("X-Forwarded-Proto: http\r\n", false),
        ("X-Forwarded-Proto: ftp\r\n", false),
        ("X-Forwarded-Proto: https evil\r\n", false),
        // One proxy has added its word to that of a client.
        ("X-Forwarded-Proto: https, http\r\n", false),
        (
            "X-Forwarded-Proto: https\r\nX-Forwarded-Proto: http\r\n",
            false,
        ),
        // Two proxies: what the outer one said.
        (
            "X-Forwarded-For: 192.0.2.1, 10.0.0.2\r\nX-Forwarded-Proto: http, https, http\r\n",
            true,
        ),
        // Two proxies, of which only one says anything.
        (
            "X-Forwarded-For: 192.0.2.1, 10.0.0.2\r\nX-Forwarded-Proto: https\r\n",
            true,
        ),
        // What a client has put before the address that the proxy saw counts no hop.
        (
            "X-Forwarded-For: 10.0.0.9, 192.0.2.1\r\nX-Forwarded-Proto: https, http\r\n",
            false,
        ),
    ] {
        assert_eq!(x_forwarded(fields).origin.https, https, "{fields}");
    }
}

#[test]
fn the_host_is_that_of_the_client() {
    for (fields, host, port) in [
        ("X-Forwarded-Host: example.com\r\n", "example.com", Some(80)),
        (
            "X-Forwarded-Host: example.com:8080\r\n",
            "example.com:8080",
            Some(8080),
        ),
        (
            "X-Forwarded-Host: [2001:db8::1]:8080\r\n",
            "[2001:db8::1]:8080",
            Some(8080),
        ),
        (
            "X-Forwarded-Host: evil, example.com\r\n",
            "example.com",
            Some(80),
        ),
        (
            "X-Forwarded-Host: example.com\r\nX-Forwarded-Port: 8443\r\n",
            "example.com:8443",
            Some(8443),
        ),
        (
            "X-Forwarded-Host: example.com\r\nX-Forwarded-Port: 443\r\nX-Forwarded-Proto: https\r\n",
            "example.com",
            Some(443),
        ),
        // A port that is mapped in front of the proxy: the client's own word is better.
        (
            "X-Forwarded-Host: example.com:8443\r\nX-Forwarded-Port: 9000\r\n",
            "example.com:8443",
            Some(9000),
        ),
        ("X-Forwarded-Proto: https\r\n", "inner:8000", Some(8000)),
        ("X-Forwarded-For: 192.0.2.1\r\n", "inner:8000", None),
        ("X-Forwarded-Host: not a host\r\n", "inner:8000", None),
        ("X-Forwarded-Host: user@example.com\r\n", "inner:8000", None),
        ("X-Forwarded-Host: example.com/path\r\n", "inner:8000", None),
        ("X-Forwarded-Host: \r\n", "inner:8000", None),
        ("X-Forwarded-Port: 0\r\n", "inner:8000", None),
        ("X-Forwarded-Port: 65536\r\n", "inner:8000", None),
        ("X-Forwarded-Port: 80a\r\n", "inner:8000", None),
    ] {
        let resolved = x_forwarded(fields);
        assert_eq!(resolved.host(), host, "{fields}");
        assert_eq!(resolved.head.port, port, "{fields}");
        let names = resolved.names();
        let hosts = names.iter().filter(|name| *name == "host");
        assert_eq!(hosts.count(), 1, "{fields}");
    }
}

#[test]
fn a_request_without_host_gets_the_one_that_the_proxy_says() {
    let mut bytes = b"GET / HTTP/1.0\r\nX-Forwarded-Host: example.com\r\n\r\n".to_vec();
    let parsed = HeadParser::default().parse(&bytes, &Limits::default());
    let (mut head, _) = parsed.unwrap().unwrap();
    let connection = Origin {
        client: node(PROXY),
        https: false,
    };
    let origin = usual(Family::XForwarded).resolve(connection, &mut bytes, &mut head);
    assert_eq!(origin, connection);
    let resolved = Resolved {
        bytes,
        head,
        origin,
    };
    assert_eq!(resolved.host(), "example.com");
    assert_eq!(resolved.names(), ["x-forwarded-host", "host"]);
}

#[test]
fn a_prefix_is_a_path_and_nothing_else() {
    for (field, prefix) in [
        ("/shop", Some("/shop")),
        ("/shop/", Some("/shop")),
        ("/a/b~c:d@e", Some("/a/b~c:d@e")),
        ("/caf%C3%A9", Some("/caf%C3%A9")),
        ("/", Some("")),
        ("/evil, /shop", Some("/shop")),
        ("", None),
        ("shop", None),
        ("//evil.com", None),
        ("/%2Fevil.com", None),
        ("/%2e%2e", None),
        ("/a\\b", None),
        ("/a?b", None),
        ("/a#b", None),
        ("/a b", None),
        ("/a\"b", None),
        ("/%", None),
        ("/%C", None),
        ("http://evil.com/", None),
    ] {
        let resolved = x_forwarded(&format!("X-Forwarded-Prefix: {field}\r\n"));
        assert_eq!(resolved.prefix(), prefix, "{field}");
    }
}

#[test]
fn a_proxy_that_no_option_names_speaks_for_address_and_scheme_only() {
    let fields = "X-Forwarded-For: 192.0.2.1\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: evil\r\n\
        X-Forwarded-Port: 1\r\nX-Forwarded-Prefix: /evil\r\n";
    for peer in ["127.0.0.1", "127.8.8.8", "::1", "unix"] {
        let resolved = resolve(&Proxies::default(), peer, fields);
        assert_eq!(resolved.client(), "192.0.2.1");
        assert!(resolved.origin.https);
        assert_eq!(resolved.host(), "inner:8000");
        assert_eq!(resolved.prefix(), None);
        assert_eq!(resolved.head.port, Some(8000));
    }
    for stranger in ["10.0.0.1", "192.0.2.1", "2001:db8::1", "::2"] {
        let resolved = resolve(&Proxies::default(), stranger, fields);
        assert_eq!(resolved.names(), ["host"]);
    }
}

#[test]
fn with_all_peers_trusted_the_first_address_is_the_client() {
    let any = proxies(Family::XForwarded, &["*"], true);
    let resolved = resolve(&any, "192.0.2.9", "X-Forwarded-For: 6.6.6.6, 192.0.2.1\r\n");
    assert_eq!(resolved.client(), "6.6.6.6");
}

#[test]
fn forwarded_is_read_from_the_right_too() {
    for (field, client, host, https) in [
        ("for=192.0.2.1", "192.0.2.1", "inner:8000", false),
        (
            r#"for="192.0.2.1:4711";proto=https;host=example.com"#,
            "192.0.2.1 4711",
            "example.com",
            true,
        ),
        (
            r#"For="[2001:db8:cafe::17]:4711""#,
            "2001:db8:cafe::17 4711",
            "inner:8000",
            false,
        ),
        (
            "for=6.6.6.6;host=evil;proto=https, for=192.0.2.1",
            "192.0.2.1",
            "inner:8000",
            false,
        ),
        (
            "for=6.6.6.6;host=evil, for=192.0.2.1;host=example.com;proto=https, for=10.0.0.2;proto=http",
            "192.0.2.1",
            "example.com",
            true,
        ),
        (
            "for=192.0.2.1, for=10.0.0.2;proto=https;host=example.com",
            "192.0.2.1",
            "example.com",
            true,
        ),
        // The proxy says nothing of the client.
        ("for=6.6.6.6, proto=https", "10.0.0.1 1", "inner:8000", true),
        (
            "for=10.0.0.5, for=unknown;proto=https",
            "unknown",
            "inner:8000",
            true,
        ),
        ("for=10.0.0.5, for=_hidden", "unknown", "inner:8000", false),
        // A client has left a quoted string open.
        (
            r#"for=6.6.6.6;secret="x, for=192.0.2.1"#,
            "192.0.2.1",
            "inner:8000",
            false,
        ),
        (
            r#"for="6.6.6.6\", for="192.0.2.1""#,
            "192.0.2.1",
            "inner:8000",
            false,
        ),
        (
            r#"for=10.0.0.9;x="a, for=10.0.0.2;host="example.com""#,
            "unknown",
            "example.com",
            false,
        ),
        // The trusted proxy itself is malformed.
        (
            "for=10.0.0.9, for=10.0.0.2;for=10.0.0.3",
            "unknown",
            "inner:8000",
            false,
        ),
        ("for=10.0.0.9, 192.0.2.1", "unknown", "inner:8000", false),
    ] {
        let resolved = forwarded(&format!("Forwarded: {field}\r\n"));
        assert_eq!(resolved.client(), client, "{field}");
        assert_eq!(resolved.host(), host, "{field}");
        assert_eq!(resolved.origin.https, https, "{field}");
    }
    let lines = "Forwarded: for=\"6.6.6.6\r\nForwarded: for=192.0.2.1\r\n";
    assert_eq!(forwarded(lines).client(), "192.0.2.1");
}

#[test]
fn an_underscore_does_not_make_a_second_name() {
    let mut bytes = b"GET / HTTP/1.1\r\nHost: a\r\nX_Forwarded_For: 6.6.6.6\r\nX-Forwarded_For: 6.6.6.6\r\n\r\n".to_vec();
    let parsed = HeadParser::default().parse(&bytes, &Limits::default());
    let (mut head, _) = parsed.unwrap().unwrap();
    assert!(!head.forwarded);
    assert_eq!(head.fields.len(), 1);
    let connection = Origin {
        client: node(PROXY),
        https: true,
    };
    let origin = usual(Family::XForwarded).resolve(connection, &mut bytes, &mut head);
    assert_eq!(origin, connection);
}

/// What a client may write into a field: any text, often pieces of the grammar.
fn forgery() -> impl Strategy<Value = String> {
    let pieces = select(vec![
        ",",
        ", ",
        ";",
        "\"",
        "\\",
        "=",
        "for=",
        "host=",
        "proto=https",
        "10.0.0.9",
        "unix:",
        "unknown",
        "[::1]",
        ":80",
        "_x",
        " ",
        "\t",
        "/a",
        "//",
        "%",
        "https",
        "evil.com",
    ]);
    prop_oneof![
        vec(pieces, 0..20).prop_map(|pieces| pieces.concat()),
        "[ -~]{0,40}",
    ]
}

proptest! {
    /// A client is connected to a proxy at 10.0.0.2, and that to one at `PROXY`.
    #[test]
    fn nothing_that_a_client_sends_changes_what_the_proxies_say(
        forged in forgery(),
        separate in any::<bool>(),
    ) {
        let glue = |name: &str| if separate { format!("\r\n{name}: ") } else { ", ".to_owned() };
        let list = |name: &str, ours: &str| format!("{name}: {forged}{}{ours}\r\n", glue(name));
        let fields = [
            list("X-Forwarded-For", "192.0.2.1, 10.0.0.2"),
            list("X-Forwarded-Proto", "https, http"),
            list("X-Forwarded-Host", "example.com, inner"),
            list("X-Forwarded-Port", "8443, 80"),
            list("X-Forwarded-Prefix", "/shop, /"),
        ];
        let resolved = x_forwarded(&fields.concat());
        prop_assert_eq!(resolved.client(), "192.0.2.1");
        prop_assert!(resolved.origin.https);
        prop_assert_eq!(resolved.host(), "example.com:8443");
        prop_assert_eq!(resolved.prefix(), Some("/shop"));
        prop_assert_eq!(resolved.head.port, Some(8443));
        let ours = "for=192.0.2.1;proto=https;host=\"example.com\", for=\"10.0.0.2\";proto=http;host=inner";
        let resolved = forwarded(&list("Forwarded", ours));
        prop_assert_eq!(resolved.client(), "192.0.2.1");
        prop_assert!(resolved.origin.https);
        prop_assert_eq!(resolved.host(), "example.com");
    }

    #[test]
    fn what_comes_out_is_a_valid_head(value in forgery(), name in 0..6_usize) {
        let names = ["-For", "-Proto", "-Host", "-Port", "-Prefix"];
        let field = match names.get(name) {
            Some(name) => format!("X-Forwarded{name}: {value}\r\n"),
            None => format!("Forwarded: {value}\r\n"),
        };
        for family in [Family::XForwarded, Family::Forwarded, Family::Off] {
            let resolved = resolve(&usual(family), PROXY, &field);
            let again = format!("GET / HTTP/1.1\r\nHost: {}\r\n\r\n", resolved.host());
            let parsed = HeadParser::default().parse(again.as_bytes(), &Limits::default());
            prop_assert!(parsed.is_ok());
            let prefix = resolved.prefix().unwrap_or_default();
            prop_assert!(prefix.is_empty() || prefix.starts_with('/') && !prefix.starts_with("//"));
        }
    }

    #[test]
    fn a_header_of_the_proxy_protocol_is_the_same_however_it_is_split(
        start in select(vec![&b"PROXY "[..], b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n", b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x10", b""]),
        rest in vec(any::<u8>(), 0..60),
    ) {
        let input = [start, &rest].concat();
        let whole = introduction(&input);
        for end in 0..input.len() {
            match introduction(&input[..end]) {
                Ok(None) => {}
                early => {
                    prop_assert_eq!(&early, &whole);
                    if let Ok(Some(header)) = early {
                        prop_assert!(header.len <= end);
                    }
                }
            }
        }
    }
}
