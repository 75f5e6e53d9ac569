//! Which lists are requests, and what their heads say.

use super::*;
use crate::http2::hpack::{Decoder, ListBounds, write_string};

const BASE: [(&str, &str); 4] = [
    (":method", "GET"),
    (":scheme", "https"),
    (":path", "/a?b=1"),
    (":authority", "example.com"),
];

fn list(fields: &[(&str, &str)]) -> List {
    let mut block = Vec::new();
    for (name, value) in fields {
        // Names as they are: the encoder would make them lower case.
        block.push(0);
        block.push(name.len() as u8);
        block.extend_from_slice(name.as_bytes());
        write_string(&mut block, value.as_bytes());
    }
    let bounds = ListBounds {
        bytes: 65536,
        fields: 105,
    };
    Decoder::new().decode(&block, bounds).unwrap()
}

fn parse(fields: &[(&str, &str)]) -> Result<Request, Refusal> {
    read(list(fields), true, &Limits::default())
}

fn with<'a>(more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    [BASE.as_slice(), more].concat()
}

fn changed<'a>(name: &str, value: Option<&'a str>) -> Vec<(&'a str, &'a str)> {
    let fields = BASE.into_iter();
    fields
        .filter_map(|field| match field.0 == name {
            true => value.map(|value| (field.0, value)),
            false => Some(field),
        })
        .collect()
}

fn fields(request: &Request) -> Vec<(String, String)> {
    let text = |span: Span| String::from_utf8(span.of(&request.bytes).to_vec()).unwrap();
    let fields = request.head.fields.iter();
    fields
        .map(|field| (text(field.name), text(field.value)))
        .collect()
}

#[test]
fn a_head_has_the_form_of_one_of_http1() {
    let request = parse(&with(&[("accept", "*/*"), ("priority", "u=1, i")])).unwrap();
    let (head, bytes) = (&request.head, &request.bytes);
    assert_eq!(head.method.of(bytes), b"GET");
    assert_eq!(head.target.of(bytes), b"/a?b=1");
    assert_eq!(head.path.of(bytes), b"/a");
    assert_eq!(head.query.unwrap().of(bytes), b"b=1");
    assert_eq!(head.host.unwrap().of(bytes), b"example.com");
    assert_eq!(
        (head.version, head.form),
        (Version::Http2, TargetForm::Origin)
    );
    assert_eq!(head.framing, Framing::None);
    assert!(head.keep_alive && !head.websocket);
    assert_eq!(
        (request.priority.urgency, request.priority.incremental),
        (1, true)
    );
    let expected = [
        ("host", "example.com"),
        ("accept", "*/*"),
        ("priority", "u=1, i"),
    ];
    assert_eq!(
        fields(&request),
        expected.map(|(name, value)| (name.to_owned(), value.to_owned()))
    );
}

#[test]
fn a_host_that_is_the_authority_stays_one_field() {
    for host in ["example.com", "EXAMPLE.com", "example.com:443"] {
        let request = parse(&with(&[("host", host)])).unwrap();
        let hosts = fields(&request);
        assert_eq!(hosts, [("host".to_owned(), host.to_owned())]);
        assert_eq!(
            request.head.host.unwrap().of(&request.bytes),
            b"example.com"
        );
    }
    let fields = [&changed(":authority", None)[..], &[("host", "b")]].concat();
    let request = parse(&fields).unwrap();
    assert_eq!(request.head.host.unwrap().of(&request.bytes), b"b");
}

#[test]
fn the_pieces_of_a_cookie_are_one_field() {
    let cookies = [
        ("cookie", "a=1"),
        ("accept", "x"),
        ("cookie", "b=2"),
        ("cookie", "c=3"),
    ];
    let request = parse(&with(&cookies)).unwrap();
    let expected = [
        ("host", "example.com"),
        ("cookie", "a=1; b=2; c=3"),
        ("accept", "x"),
    ];
    assert_eq!(
        fields(&request),
        expected.map(|(name, value)| (name.to_owned(), value.to_owned()))
    );
}

#[test]
fn what_a_proxy_could_read_otherwise_is_malformed() {
    let long = "a".repeat(300);
    let malformed: Vec<Vec<(&str, &str)>> = vec![
        changed(":method", None),
        changed(":method", Some("G T")),
        changed(":method", Some("")),
        changed(":scheme", None),
        changed(":scheme", Some("ftp")),
        changed(":path", None),
        changed(":path", Some("")),
        changed(":path", Some("a")),
        changed(":path", Some("*")),
        changed(":path", Some("/a b")),
        changed(":path", Some("/a#b")),
        changed(":path", Some("/caf\u{e9}")),
        changed(":path", Some("http://example.com/")),
        changed(":authority", None),
        changed(":authority", Some("")),
        changed(":authority", Some("user@example.com")),
        changed(":authority", Some("a/b")),
        with(&[(":method", "GET")]),
        with(&[(":status", "200")]),
        with(&[(":protocol", "websocket")]),
        with(&[("accept", "x"), (":path", "/")]),
        with(&[("cookie", "x"), (":path", "/")]),
        with(&[(":unknown", "x")]),
        with(&[("Accept", "x")]),
        with(&[("", "x")]),
        with(&[("a b", "x")]),
        with(&[("a:", "x")]),
        with(&[("a\r", "x")]),
        with(&[("a", "x\r\nb: c")]),
        with(&[("a", "x\0")]),
        with(&[("a", "x\n")]),
        with(&[("a", " x")]),
        with(&[("a", "x\t")]),
        with(&[("connection", "close")]),
        with(&[("connection", "keep-alive")]),
        with(&[("keep-alive", "1")]),
        with(&[("proxy-connection", "close")]),
        with(&[("transfer-encoding", "chunked")]),
        with(&[("upgrade", "h2c")]),
        with(&[("te", "gzip")]),
        with(&[("te", "trailers, gzip")]),
        with(&[("host", "other.example")]),
        with(&[("host", "example.com"), ("host", "example.com")]),
        with(&[("host", "example.com:80")]),
        with(&[("content-length", "+1")]),
        with(&[("content-length", "1"), ("content-length", "1")]),
        with(&[("content-length", "1, 1")]),
        with(&[("content-type", "a"), ("content-type", "b")]),
        with(&[("authorization", "a"), ("authorization", "b")]),
        vec![
            (":method", "CONNECT"),
            (":authority", "a:1"),
            (":path", "/"),
        ],
        vec![(":method", "CONNECT"), (":authority", "a")],
        vec![(":method", "CONNECT")],
    ];
    for fields in malformed {
        let parsed = parse(&fields);
        assert!(
            matches!(parsed, Err(Refusal::Malformed(_))),
            "{fields:?}: {parsed:?}"
        );
    }
    assert!(parse(&with(&[("x", &long), ("te", "trailers")])).is_ok());
}

#[test]
fn what_is_too_large_or_unknown_gets_a_response() {
    let long = "/".repeat(100);
    let limits = Limits {
        line: 90,
        max_body: 9,
        ..Limits::default()
    };
    for (fields, status) in [
        (changed(":path", Some(&long)), 414),
        (with(&[("x", &long)]), 431),
        (with(&[("content-length", "10")]), 413),
        (with(&[("expect", "other")]), 417),
    ] {
        let refused = read(list(&fields), false, &limits).unwrap_err();
        let Refusal::Respond(error) = refused else {
            panic!("{fields:?}");
        };
        assert_eq!(error.status, status);
    }
}

#[test]
fn an_extended_connect_asks_for_a_websocket() {
    let connect = |protocol| {
        [
            (":method", "CONNECT"),
            (":scheme", "https"),
            (":path", "/chat"),
            (":authority", "example.com"),
            (":protocol", protocol),
        ]
    };
    let refused = parse(&connect("other")).unwrap_err();
    assert!(matches!(refused, Refusal::Respond(error) if error.status == 501));
    let request = read(list(&connect("websocket")), false, &Limits::default()).unwrap();
    assert!(request.head.websocket);
    assert_eq!(request.head.framing, Framing::None);
    assert_eq!(request.head.path.of(&request.bytes), b"/chat");
    let ended = read(list(&connect("websocket")), true, &Limits::default());
    assert!(matches!(ended, Err(Refusal::Malformed(_))));
}

#[test]
fn an_empty_piece_of_a_cookie_leaves_no_white_space() {
    for (pieces, joined) in [(["a=1", ""], "a=1"), (["", "b=2"], "b=2"), (["", ""], "")] {
        let request = parse(&with(&pieces.map(|piece| ("cookie", piece)))).unwrap();
        let mut fields = request.head.fields.iter();
        let cookie = fields.find(|field| field.name.of(&request.bytes) == b"cookie");
        assert_eq!(cookie.unwrap().value.of(&request.bytes), joined.as_bytes());
    }
}

#[test]
fn the_pieces_of_a_cookie_are_one_line() {
    let limits = Limits::default();
    let half = "c".repeat(limits.line / 2);
    let cookies = |count: usize| {
        let fields = vec![("cookie", half.as_str()); count];
        read(list(&with(&fields)), true, &limits)
    };
    assert!(cookies(1).is_ok());
    assert!(matches!(cookies(2), Err(Refusal::Respond(error)) if error.status == 431));
}

#[test]
fn names_with_an_underscore_are_dropped_or_refused() {
    let fields = with(&[("x_user", "a"), ("x-user", "b")]);
    let request = parse(&fields).unwrap();
    assert_eq!(request.head.fields.len(), 2);
    let strict = Limits {
        underscore: Underscore::Reject,
        ..Limits::default()
    };
    let refused = read(list(&fields), true, &strict).unwrap_err();
    assert!(matches!(refused, Refusal::Respond(error) if error.status == 400));
}

#[test]
fn the_special_forms_of_a_target() {
    let options = [
        (":method", "OPTIONS"),
        (":scheme", "https"),
        (":path", "*"),
        (":authority", "a"),
    ];
    assert_eq!(parse(&options).unwrap().head.form, TargetForm::Asterisk);
    let connect = [(":method", "CONNECT"), (":authority", "a:443")];
    let request = parse(&connect).unwrap();
    assert_eq!(request.head.form, TargetForm::Authority);
    assert_eq!(request.head.target.of(&request.bytes), b"a:443");
}

#[test]
fn a_body_of_unknown_length_is_framed_by_the_stream() {
    let limits = Limits::default();
    let request = read(list(&BASE), false, &limits).unwrap();
    assert_eq!(request.head.framing, Framing::Chunked);
    let fields = with(&[("content-length", "7"), ("expect", "100-continue")]);
    let request = read(list(&fields), false, &limits).unwrap();
    assert_eq!(request.head.framing, Framing::Length(7));
    assert!(request.head.expect_continue);
}

#[test]
fn trailers_must_not_frame_the_message() {
    let limits = Limits::default();
    assert_eq!(check_trailers(&list(&[("x-sum", "1")]), &limits), Ok(()));
    for wrong in [
        ":path",
        "content-length",
        "host",
        "Upper",
        "te",
        "transfer-encoding",
    ] {
        assert!(
            check_trailers(&list(&[(wrong, "1")]), &limits).is_err(),
            "{wrong}"
        );
    }
}
