//! Rows about responses: the application's fields are copied, those that frame the response are the
//! server's.

use prefork_wire::{
    BodyEncoder, Length, LocalError, RemoteError, RequestContext, RequestKind, ResponseFraming,
    Version, imf_fixdate, reason_phrase, write_error, write_head,
};

const GET: RequestContext = RequestContext {
    version: Version::Http11,
    kind: RequestKind::Other,
    keep_alive: true,
};
const HEAD: RequestContext = RequestContext {
    kind: RequestKind::Head,
    ..GET
};
const CONNECT: RequestContext = RequestContext {
    kind: RequestKind::Connect,
    ..GET
};
const OLD: RequestContext = RequestContext {
    version: Version::Http10,
    keep_alive: false,
    ..GET
};
const OLD_KEPT: RequestContext = RequestContext {
    version: Version::Http10,
    ..GET
};
const DATE: &str = "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n";

fn date() -> [u8; 29] {
    imf_fixdate(784_111_777)
}

fn try_write(
    request: RequestContext,
    status: u16,
    headers: &[(&str, &str)],
    length: Length,
) -> (Result<ResponseFraming, LocalError>, String) {
    let headers = headers
        .iter()
        .map(|(name, value)| (name.as_bytes(), value.as_bytes()));
    let mut out = b"before".to_vec();
    let framing = write_head(&mut out, &request, status, headers, length, &date());
    let written = String::from_utf8(out).unwrap();
    (framing, written.strip_prefix("before").unwrap().to_owned())
}

/// The head's lines without the Date, and how the response ends.
fn write(
    request: RequestContext,
    status: u16,
    headers: &[(&str, &str)],
    length: Length,
) -> (ResponseFraming, String) {
    let (framing, written) = try_write(request, status, headers, length);
    assert_eq!(written.matches(DATE).count(), 1);
    (framing.unwrap(), written.replace(DATE, ""))
}

#[test]
fn a_known_length_is_written() {
    let (framing, head) = write(
        GET,
        200,
        &[("Content-Type", "text/plain"), ("X", "1"), ("x", "2")],
        Length::Known(5),
    );
    assert_eq!(
        head,
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nX: 1\r\nx: 2\r\nContent-Length: 5\r\n\r\n"
    );
    assert_eq!(
        framing,
        ResponseFraming {
            body: BodyEncoder::Length { left: 5 },
            keep_alive: true
        }
    );
}

#[test]
fn an_unknown_length_is_chunked_on_1_1_and_ends_with_the_connection_on_1_0() {
    let (framing, head) = write(GET, 200, &[], Length::Unknown);
    assert_eq!(
        head,
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    );
    assert_eq!(
        framing,
        ResponseFraming {
            body: BodyEncoder::Chunked,
            keep_alive: true
        }
    );
    let (framing, head) = write(OLD_KEPT, 200, &[], Length::Unknown);
    assert_eq!(head, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n");
    assert_eq!(
        framing,
        ResponseFraming {
            body: BodyEncoder::Close,
            keep_alive: false
        }
    );
}

#[test]
fn a_declared_length_counts() {
    for length in [Length::Unknown, Length::Known(3), Length::Known(9)] {
        for twice in [
            &[("content-length", "7")][..],
            &[("Content-Length", "7"), ("content-length", "007")],
        ] {
            let (framing, head) = write(GET, 200, twice, length);
            assert_eq!(head, "HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n");
            assert_eq!(framing.body, BodyEncoder::Length { left: 7 });
        }
    }
}

#[test]
fn a_declared_length_must_be_one_number() {
    for wrong in [
        &[("Content-Length", "5"), ("Content-Length", "6")][..],
        &[("Content-Length", "5,5")],
        &[("Content-Length", "")],
        &[("Content-Length", "-1")],
        &[("Content-Length", "18446744073709551616")],
    ] {
        let (framing, written) = try_write(GET, 200, wrong, Length::Known(5));
        assert!(
            matches!(framing, Err(LocalError::ContentLength(_))),
            "{wrong:?}"
        );
        assert_eq!(written, "");
    }
}

#[test]
fn some_statuses_have_no_body() {
    for request in [GET, HEAD, OLD_KEPT] {
        for length in [Length::Known(5), Length::Unknown] {
            let declared: &[(&str, &str)] = &[("Content-Length", "9")];
            let kept = if request == OLD_KEPT {
                "Connection: keep-alive\r\n"
            } else {
                ""
            };
            let (framing, head) = write(request, 204, declared, length);
            assert_eq!(head, format!("HTTP/1.1 204 No Content\r\n{kept}\r\n"));
            assert_eq!(
                framing,
                ResponseFraming {
                    body: BodyEncoder::Nothing,
                    keep_alive: true
                }
            );
            let (framing, head) = write(request, 205, declared, length);
            assert_eq!(
                head,
                format!("HTTP/1.1 205 Reset Content\r\nContent-Length: 0\r\n{kept}\r\n")
            );
            assert_eq!(framing.body, BodyEncoder::Nothing);
            let (framing, head) = write(request, 304, declared, length);
            assert_eq!(
                head,
                format!("HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n{kept}\r\n")
            );
            assert_eq!(framing.body, BodyEncoder::Nothing);
            let (_, head) = write(request, 304, &[], length);
            assert_eq!(head, format!("HTTP/1.1 304 Not Modified\r\n{kept}\r\n"));
        }
    }
}

#[test]
fn head_gets_the_length_that_a_get_would_have() {
    let length_line = |headers: &[(&str, &str)], length| {
        let (framing, head) = write(HEAD, 200, headers, length);
        assert_eq!(
            framing,
            ResponseFraming {
                body: BodyEncoder::Nothing,
                keep_alive: true
            }
        );
        assert!(!head.contains("Transfer-Encoding"));
        head.lines()
            .find(|line| line.starts_with("Content-Length"))
            .map(str::to_owned)
    };
    assert_eq!(
        length_line(&[], Length::Known(5)).as_deref(),
        Some("Content-Length: 5")
    );
    assert_eq!(
        length_line(&[("Content-Length", "9")], Length::Known(0)).as_deref(),
        Some("Content-Length: 9")
    );
    assert_eq!(
        length_line(&[("Content-Length", "0")], Length::Known(0)).as_deref(),
        Some("Content-Length: 0")
    );
    // An application that makes no body for HEAD does not tell the length for GET.
    assert_eq!(length_line(&[], Length::Known(0)), None);
    assert_eq!(length_line(&[], Length::Unknown), None);
}

#[test]
fn a_2xx_to_connect_has_no_framing_and_is_the_last_response() {
    let tunnel = ResponseFraming {
        body: BodyEncoder::Close,
        keep_alive: false,
    };
    for status in [200, 204, 205, 299] {
        for length in [Length::Known(0), Length::Known(5), Length::Unknown] {
            for headers in [&[][..], &[("Content-Length", "5")]] {
                let (framing, head) = write(CONNECT, status, headers, length);
                assert!(head.ends_with("\r\nConnection: close\r\n\r\n"), "{head}");
                assert!(!head.contains("Content-Length"), "{head}");
                assert!(!head.contains("Transfer-Encoding"), "{head}");
                assert_eq!(framing, tunnel);
            }
        }
    }
    // Any other response has content; bytes for the tunnel may already be on their way.
    let (framing, head) = write(CONNECT, 405, &[], Length::Known(5));
    assert!(head.ends_with("Content-Length: 5\r\nConnection: close\r\n\r\n"));
    assert_eq!(framing.body, BodyEncoder::Length { left: 5 });
    assert!(!framing.keep_alive);
    assert_eq!(RequestKind::of(b"CONNECT"), RequestKind::Connect);
    assert_eq!(RequestKind::of(b"HEAD"), RequestKind::Head);
    assert_eq!(RequestKind::of(b"connect"), RequestKind::Other);
}

#[test]
fn the_connection_line_tells_what_becomes_of_the_connection() {
    let connection = |request, headers: &[(&str, &str)]| {
        let (framing, head) = write(request, 200, headers, Length::Known(0));
        let lines: Vec<_> = head
            .lines()
            .filter(|line| line.starts_with("Connection"))
            .map(str::to_owned)
            .collect();
        assert!(lines.len() <= 1);
        (framing.keep_alive, lines.concat())
    };
    let closing = || (false, "Connection: close".to_owned());
    assert_eq!(connection(GET, &[]), (true, String::new()));
    assert_eq!(
        connection(
            RequestContext {
                keep_alive: false,
                ..GET
            },
            &[]
        ),
        closing()
    );
    assert_eq!(
        connection(OLD_KEPT, &[]),
        (true, "Connection: keep-alive".to_owned())
    );
    assert_eq!(connection(OLD, &[]), closing());
    assert_eq!(connection(OLD, &[("Connection", "keep-alive")]), closing());
    assert_eq!(
        connection(GET, &[("connection", "keep-alive")]),
        (true, String::new())
    );
    assert_eq!(connection(GET, &[("Connection", "x, Close")]), closing());
    assert_eq!(
        connection(
            OLD_KEPT,
            &[("Connection", "close"), ("Connection", "keep-alive")]
        ),
        closing()
    );
}

#[test]
fn an_error_does_not_by_itself_close() {
    for status in [404, 500, 503] {
        assert!(write(GET, status, &[], Length::Known(0)).0.keep_alive);
    }
}

#[test]
fn framing_and_hop_by_hop_fields_of_the_application_are_left_out() {
    let theirs = [
        ("Transfer-Encoding", "gzip"),
        ("KEEP-ALIVE", "timeout=5"),
        ("Connection", "upgrade"),
    ];
    let (framing, head) = write(GET, 200, &theirs, Length::Known(5));
    assert_eq!(head, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n");
    assert_eq!(framing.body, BodyEncoder::Length { left: 5 });
}

#[test]
fn a_date_of_the_application_is_kept() {
    let (_, head) = try_write(GET, 200, &[("date", "yesterday")], Length::Known(0));
    assert_eq!(
        head,
        "HTTP/1.1 200 OK\r\ndate: yesterday\r\nContent-Length: 0\r\n\r\n"
    );
}

#[test]
fn a_field_that_would_split_the_response_is_refused_and_nothing_written() {
    for value in [
        "a\r\nX: y",
        "a\rb",
        "a\nb",
        "\0",
        "a\x7f",
        "\x1b",
        "\r\n\r\n<html>",
    ] {
        let (framing, written) = try_write(GET, 200, &[("A", "b"), ("X", value)], Length::Known(0));
        assert_eq!(
            framing,
            Err(LocalError::Value {
                name: b"X"[..].into(),
                value: value.as_bytes().into()
            })
        );
        assert_eq!(written, "");
    }
    for name in ["", "a b", "a:", "a\r\n", "é", "a\0", "(a)", " a"] {
        let (framing, written) = try_write(GET, 200, &[("A", "b"), (name, "x")], Length::Known(0));
        assert_eq!(framing, Err(LocalError::Name(name.as_bytes().into())));
        assert_eq!(written, "");
    }
    // Also in those that are not copied.
    for name in [
        "Connection",
        "Transfer-Encoding",
        "Keep-Alive",
        "Date",
        "Content-Length",
    ] {
        assert!(
            try_write(GET, 200, &[(name, "close\r\nX: y")], Length::Known(0))
                .0
                .is_err()
        );
    }
    let (framing, _) = try_write(
        GET,
        200,
        &[("X", "tab\tand é"), ("Empty", ""), ("a_b", "c")],
        Length::Known(0),
    );
    assert!(framing.is_ok());
}

#[test]
fn a_local_error_shows_what_the_application_gave() {
    let shown = |headers: &[(&str, &str)]| {
        try_write(GET, 200, headers, Length::Known(0))
            .0
            .unwrap_err()
            .to_string()
    };
    assert_eq!(
        shown(&[("X", "a\r\nb")]),
        "header X: value 'a\\r\\nb' holds a control byte; remove CR, LF and NUL"
    );
    assert_eq!(
        shown(&[("a b", "")]),
        "header name 'a b': expected a token (letters, digits, -)"
    );
    assert_eq!(
        shown(&[("Content-Length", "x")]),
        "Content-Length 'x': expected one decimal number"
    );
}

#[test]
fn a_status_is_final_and_of_three_digits() {
    for status in [0, 99, 100, 101, 199, 1000, u16::MAX] {
        let (framing, written) = try_write(GET, status, &[], Length::Known(0));
        assert_eq!(framing, Err(LocalError::Status(status)));
        assert_eq!(written, "");
    }
    let (_, head) = write(GET, 299, &[], Length::Known(0));
    assert!(
        head.starts_with("HTTP/1.1 299 \r\n"),
        "an unknown status keeps the space before its empty phrase"
    );
    assert!(
        write(GET, 999, &[], Length::Known(0))
            .1
            .starts_with("HTTP/1.1 999 \r\n")
    );
    assert_eq!(
        (reason_phrase(404), reason_phrase(418), reason_phrase(999)),
        ("Not Found", "I'm a teapot", "")
    );
}

#[test]
fn an_error_response_is_complete_and_closes() {
    let error = RemoteError {
        status: 414,
        reason: "request line too long",
    };
    let head = format!(
        "HTTP/1.1 414 URI Too Long\r\n{DATE}Content-Type: text/plain\r\nContent-Length: 40\r\nConnection: close\r\n\r\n"
    );
    let mut out = Vec::new();
    write_error(&mut out, &error, std::iter::empty(), &date(), false);
    assert_eq!(
        String::from_utf8(out).unwrap(),
        head.clone() + "414 URI Too Long: request line too long\n"
    );
    let mut out = Vec::new();
    write_error(&mut out, &error, std::iter::empty(), &date(), true);
    assert_eq!(String::from_utf8(out).unwrap(), head);
}

#[test]
fn an_error_response_has_the_headers_of_every_response_but_those_that_describe_its_body() {
    let error = RemoteError {
        status: 400,
        reason: "why",
    };
    let fields: [(&[u8], &[u8]); 6] = [
        (b"Server", b"s"),
        (b"content-type", b"text/html"),
        (b"Content-Length", b"0"),
        (b"Connection", b"keep-alive"),
        (b"Transfer-Encoding", b"chunked"),
        (b"Date", b"now"),
    ];
    let mut out = Vec::new();
    write_error(&mut out, &error, fields.into_iter(), &date(), false);
    assert_eq!(
        String::from_utf8(out).unwrap(),
        "HTTP/1.1 400 Bad Request\r\nServer: s\r\nDate: now\r\nContent-Type: text/plain\r\n\
         Content-Length: 21\r\nConnection: close\r\n\r\n400 Bad Request: why\n"
    );
    let mut out = Vec::new();
    let unfit: [(&[u8], &[u8]); 2] = [(b"Server", b"s"), (b"X", b"a\nb")];
    write_error(&mut out, &error, unfit.into_iter(), &date(), true);
    let head = format!("HTTP/1.1 400 Bad Request\r\n{DATE}Content-Type");
    assert!(String::from_utf8(out).unwrap().starts_with(&head));
}
