//! Rows about line ends, the request line and versions.

use prefork_wire::{HeadParser, Limits, Version};

use crate::feed::{accept, head_under, refuse};

#[test]
fn a_request_line_is_method_target_version() {
    let input = b"GET /a/b?c=d HTTP/1.1\r\nHost: a\r\n\r\n";
    let head = accept(input);
    assert_eq!(head.method.of(input), b"GET");
    assert_eq!(head.target.of(input), b"/a/b?c=d");
    assert_eq!(head.version, Version::Http11);
}

#[test]
fn a_method_is_any_token() {
    for method in ["GET", "get", "M-SEARCH", "PROPFIND", "!#$%&'*+-.^_`|~09aZ"] {
        let input = format!("{method} / HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(
            accept(&input).method.of(input.as_bytes()),
            method.as_bytes()
        );
    }
}

#[test]
fn a_method_that_is_no_token_is_refused_at_its_first_wrong_byte() {
    assert_eq!(refuse(400, b"G\x01T / HTTP/1.1\r\n"), 2);
    assert_eq!(refuse(400, b"GE\"T / HTTP/1.1\r\n"), 3);
    assert_eq!(refuse(400, b"G(T / HTTP/1.1\r\n"), 2);
    assert_eq!(refuse(400, "GÉT / HTTP/1.1\r\n"), 2);
    assert_eq!(refuse(400, b" GET / HTTP/1.1\r\n"), 1);
    assert_eq!(refuse(400, b"\tGET / HTTP/1.1\r\n"), 1);
    // A TLS client on the wrong port.
    assert_eq!(refuse(400, b"\x16\x03\x01\x02\x00\x01\x00"), 1);
}

#[test]
fn words_are_parted_by_one_space_each() {
    for line in [
        "GET  / HTTP/1.1",
        "GET /  HTTP/1.1",
        "GET / HTTP/1.1 ",
        "GET\t/ HTTP/1.1",
        "GET /\tHTTP/1.1",
        "GET / HTTP/1.1\t",
        "GET /a b HTTP/1.1",
        "GET/ HTTP/1.1",
        "GET /HTTP/1.1",
        "GET HTTP/1.1",
        "GET  HTTP/1.1",
        "GET",
        "GET ",
        "GET / ",
        "GET / HTTP/1.1 HTTP/1.1",
        "GET\x0b/ HTTP/1.1",
        "GET /\x0cHTTP/1.1",
    ] {
        refuse(400, format!("{line}\r\nHost: a\r\n\r\n"));
    }
}

#[test]
fn http_0_9_is_refused() {
    refuse(400, b"GET /\r\n");
    refuse(400, b"GET / HTTP/0.9\r\nHost: a\r\n\r\n");
}

#[test]
fn http_1_0_is_served() {
    assert_eq!(accept(b"GET / HTTP/1.0\r\n\r\n").version, Version::Http10);
}

#[test]
fn http_1_2_to_1_9_are_served_as_1_1() {
    for minor in 1..=9 {
        let head = accept(format!("GET / HTTP/1.{minor}\r\nHost: a\r\n\r\n"));
        assert_eq!(head.version, Version::Http11);
        assert!(head.keep_alive);
        refuse(400, format!("GET / HTTP/1.{minor}\r\n\r\n"));
    }
}

#[test]
fn other_versions_are_505() {
    for version in ["2.0", "2.1", "3.0", "9.9", "0.1", "0.8"] {
        refuse(505, format!("GET / HTTP/{version}\r\nHost: a\r\n\r\n"));
    }
    // The preface of HTTP/2 (RFC 9113 3.4): the version is wrong, not the target.
    refuse(505, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
}

#[test]
fn what_is_no_version_is_400() {
    for version in [
        "http/1.1",
        "HTTP/1",
        "HTTP/1.",
        "HTTP/.1",
        "HTTP/1.10",
        "HTTP/11.1",
        "HTTP/1,1",
        "HTTP 1.1",
        "HTTP/a.b",
        "HTTPS/1.1",
        "ICY/1.1",
        "HTTP/1.1x",
        "HTTP/+1.1",
        "HTTP/1.1\0",
        "HTTP/1.\u{661}",
        "",
    ] {
        refuse(400, format!("GET / {version}\r\nHost: a\r\n\r\n"));
    }
    // Without its end: nine bytes are no version already.
    assert!(refuse(400, format!("GET / {}", "H".repeat(100))) <= 17);
}

#[test]
fn a_bare_lf_ends_no_line_and_is_refused_at_once() {
    for head in [
        "\n",
        "GET / HTTP/1.1\n",
        "GET / HTTP/1.1\r\nHost: a\n",
        "GET / HTTP/1.1\r\nHost: a\r\n\n",
        "GET /\n",
    ] {
        assert_eq!(refuse(400, head), head.len(), "{head:?}");
    }
    refuse(
        400,
        b"GET / HTTP/1.1\r\nHost: a\r\nX: y\nContent-Length: 5\r\n\r\n",
    );
    refuse(400, b"GET / HTTP/1.1\r\nHost: a\r\nX\n: y\r\n\r\n");
    refuse(400, b"G\nET / HTTP/1.1\r\n");
}

#[test]
fn a_bare_cr_ends_no_line_and_is_refused_at_once() {
    for head in [
        "\rG",
        "\r\r",
        "GET / HTTP/1.1\rH",
        "GET / HTTP/1.1\r\r",
        "GET / HTTP/1.1\r\nHost: a\rX",
        "GET / HTTP/1.1\r\nHost: a\r\r",
        "GET / HTTP/1.1\r\nHost: a\r\n\rX",
        "GET / HTTP/1.1\r\nHost: a\r\n\r\r",
        "GET /\r",
    ] {
        assert_eq!(refuse(400, head), head.len(), "{head:?}");
    }
}

#[test]
fn at_most_one_empty_line_before_the_request_line_is_ignored() {
    let input = b"\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n";
    let head = accept(input);
    assert_eq!(head.method.of(input), b"GET");
    assert_eq!(head.target.of(input), b"/");
    assert_eq!(refuse(400, b"\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"), 3);
    refuse(400, b"\r\n\nGET / HTTP/1.1\r\n");
}

#[test]
fn less_than_a_head_is_no_error() {
    let input = b"\r\nGET /path HTTP/1.1\r\nHost: a\r\nAccept: */*\r\n\r\n";
    for length in 0..input.len() {
        assert_eq!(head_under(&Limits::default(), &input[..length]).0, Ok(None));
    }
}

#[test]
fn pipelined_heads_are_read_one_after_the_other_by_one_parser() {
    let input = b"GET /1 HTTP/1.1\r\nHost: a\r\n\r\nGET /2 HTTP/1.0\r\n\r\n\r\nPOST /3 HTTP/1.1\r\nHost: b\r\n\r\n";
    let (mut parser, limits) = (HeadParser::default(), Limits::default());
    let mut rest = &input[..];
    let mut targets = Vec::new();
    while let Some((head, consumed)) = parser.parse(rest, &limits).unwrap() {
        targets.push(head.target.of(rest));
        rest = &rest[consumed..];
    }
    assert_eq!(targets, [b"/1", b"/2", b"/3"]);
    assert!(rest.is_empty());
}
