//! Rows about the target and Host.

use prefork_wire::{Head, TargetForm};

use crate::feed::{accept, refuse};

fn show<'a>(
    head: &Head,
    input: &'a str,
) -> (TargetForm, &'a str, Option<&'a str>, Option<&'a str>) {
    let text = |span: prefork_wire::Span| std::str::from_utf8(span.of(input.as_bytes())).unwrap();
    (
        head.form,
        text(head.path),
        head.query.map(text),
        head.authority.map(text),
    )
}

#[test]
fn an_origin_target_is_path_and_query() {
    for (target, path, query) in [
        ("/", "/", None),
        ("/a/b", "/a/b", None),
        ("/a?", "/a", Some("")),
        ("/a?b?c", "/a", Some("b?c")),
        ("//a", "//a", None),
        ("/%00/../x", "/%00/../x", None),
        ("/a|b\"<>\\^`{}", "/a|b\"<>\\^`{}", None),
        ("/http://b/", "/http://b/", None),
    ] {
        let input = format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(
            show(&accept(&input), &input),
            (TargetForm::Origin, path, query, None)
        );
    }
}

#[test]
fn an_absolute_target_has_an_authority() {
    for (target, path, query) in [
        ("http://Example.com/a?b", "/a", Some("b")),
        ("http://example.com", "", None),
        ("http://example.com?b", "", Some("b")),
        ("HTTP://example.com/", "/", None),
        ("http://example.com/a?b/c:d@e", "/a", Some("b/c:d@e")),
    ] {
        let input = format!("GET {target} HTTP/1.1\r\nHost: example.com\r\n\r\n");
        let (form, got_path, got_query, authority) = show(&accept(&input), &input);
        assert_eq!(
            (form, got_path, got_query),
            (TargetForm::Absolute, path, query),
            "{target}"
        );
        assert!(authority.unwrap().eq_ignore_ascii_case("example.com"));
    }
}

#[test]
fn an_authority_target_is_for_connect_only() {
    let input = "CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\n\r\n";
    assert_eq!(
        show(&accept(input), input),
        (TargetForm::Authority, "", None, Some("example.com:443"))
    );
    accept("CONNECT [::1]:443 HTTP/1.1\r\nHost: [::1]:443\r\n\r\n");
    for target in [
        "example.com",
        "example.com:",
        "/",
        "*",
        "http://example.com/",
        "example.com:443/",
        "a:b",
        ":443",
    ] {
        refuse(
            400,
            format!("CONNECT {target} HTTP/1.1\r\nHost: example.com\r\n\r\n"),
        );
    }
    refuse(
        400,
        "GET example.com:443 HTTP/1.1\r\nHost: example.com:443\r\n\r\n",
    );
}

#[test]
fn an_asterisk_is_for_options_only() {
    let input = "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n";
    assert_eq!(
        show(&accept(input), input),
        (TargetForm::Asterisk, "*", None, None)
    );
    accept("OPTIONS / HTTP/1.1\r\nHost: a\r\n\r\n");
    for line in [
        "GET *",
        "options *",
        "OPTIONS **",
        "OPTIONS *?a",
        "CONNECT *",
    ] {
        refuse(400, format!("{line} HTTP/1.1\r\nHost: a\r\n\r\n"));
    }
}

#[test]
fn a_target_of_no_form_is_refused() {
    for target in [
        "a",
        "a/b",
        "?a",
        "http:",
        "http:/",
        "http://",
        "http:///a",
        "http://?a",
        "http:a",
        "https://",
        "ftp://a/",
        "ws://a/",
        "http//a",
        "http://user@a/",
        "http://user:pass@a/",
        "http://a:b/",
        "http://a:70000/",
        "http://[::1/",
        "http://a,b/",
        "://a/",
        "../a",
        "\\a",
    ] {
        refuse(400, format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n"));
    }
}

#[test]
fn a_target_is_visible_ascii_without_a_fragment() {
    for wrong in [
        "#", "\u{80}", "é", "\0", "\x01", "\x1f", "\x7f", "\t", "\x0b", "\r", "\n",
    ] {
        let head = format!("GET /a{wrong}b HTTP/1.1\r\nHost: a\r\n\r\n");
        assert!(refuse(400, head) <= 8, "{wrong:?} is refused when it comes");
    }
    refuse(400, b"GET /\xff HTTP/1.1\r\nHost: a\r\n\r\n");
    for byte in (0x21..0x7f_u8).filter(|byte| *byte != b'#') {
        accept([b"GET /a", &[byte][..], b" HTTP/1.1\r\nHost: a\r\n\r\n"].concat());
    }
}

#[test]
fn http_1_1_needs_one_host() {
    refuse(400, "GET / HTTP/1.1\r\n\r\n");
    refuse(400, "GET / HTTP/1.1\r\nAccept: */*\r\n\r\n");
    refuse(400, "GET http://a/ HTTP/1.1\r\n\r\n");
    let input = b"GET / HTTP/1.1\r\nhOsT: \t example.com:8080 \t\r\n\r\n";
    assert_eq!(accept(input).host.unwrap().of(input), b"example.com:8080");
    assert_eq!(accept(b"GET / HTTP/1.0\r\n\r\n").host, None);
}

#[test]
fn two_hosts_are_refused_also_when_equal() {
    for version in ["1.0", "1.1"] {
        refuse(
            400,
            format!("GET / HTTP/{version}\r\nHost: a\r\nHost: b\r\n\r\n"),
        );
        refuse(
            400,
            format!("GET / HTTP/{version}\r\nHost: a\r\nX: y\r\nhost: a\r\n\r\n"),
        );
    }
}

#[test]
fn an_invalid_host_is_refused() {
    for host in [
        "", " ", "a b", "a/b", "a@b", "user@a", "a,b", "a, b", "a:b", "a:80:80", "a:99999", ":80",
        "[::1", "::1", "a%zz", "a\\b", "a?b", "a#b", "é", "http://a", "a\"", "<a>",
    ] {
        for version in ["1.0", "1.1"] {
            refuse(400, format!("GET / HTTP/{version}\r\nHost: {host}\r\n\r\n"));
        }
    }
    for host in [
        "a",
        "a.b.",
        "a:1",
        "a:",
        "127.0.0.1:8080",
        "[::1]",
        "[::1]:8080",
        "a_b",
        "xn--caf-dma.example",
        "a%20b",
    ] {
        accept(format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"));
    }
}

#[test]
fn a_host_that_differs_from_an_absolute_target_is_refused() {
    for (target, host) in [
        ("http://a/", "b"),
        ("http://a/", "a:8080"),
        ("http://a:8080/", "a"),
        ("http://a:443/", "a"),
        ("https://a/", "a:80"),
        ("http://a.b/", "a"),
        ("http://[::1]/", "[::2]"),
    ] {
        for version in ["1.0", "1.1"] {
            refuse(
                400,
                format!("GET {target} HTTP/{version}\r\nHost: {host}\r\n\r\n"),
            );
        }
    }
    for (target, host) in [
        ("http://a/", "A"),
        ("http://a:80/", "a"),
        ("http://a/", "a:80"),
        ("http://a:/", "a"),
        ("https://a/", "a:443"),
        ("http://a:8080/", "a:8080"),
        ("http://[::1]:80/", "[::1]"),
    ] {
        accept(format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n"));
    }
}
