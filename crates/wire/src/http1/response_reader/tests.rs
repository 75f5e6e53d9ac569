use super::*;
use crate::http1::{RequestContext, write_error, write_head, write_interim};
use crate::{Length, RemoteError};

const DATE: &[u8; 29] = b"Sun, 06 Nov 1994 08:49:37 GMT";

/// What a response says, in one text.
fn read(input: &[u8], expected: Expected, piece: usize) -> Result<String, BadResponse> {
    let mut reader = ResponseReader::new(expected);
    let (mut kept, mut text) = (Vec::new(), String::new());
    for bytes in input.chunks(piece).chain([&b""[..]]) {
        kept.extend_from_slice(bytes);
        loop {
            let (consumed, part) = reader.read(&kept)?;
            let of = |fields: &[Field]| {
                let field = |field: &Field| {
                    let (name, value) = (field.name.of(&kept), field.value.of(&kept));
                    format!(" {}={}", name.escape_ascii(), value.escape_ascii())
                };
                fields.iter().map(field).collect::<String>()
            };
            let is_over = consumed == 0 && part.is_none();
            match part {
                Some(ResponsePart::Interim { status, fields }) => {
                    text += &format!("<{status}{}>", of(&fields));
                }
                Some(ResponsePart::Head { status, fields }) => {
                    text += &format!("[{status}{}]", of(&fields));
                }
                Some(ResponsePart::Switched { fields }) => {
                    text += &format!("switched{};", of(&fields))
                }
                Some(ResponsePart::Data(range)) => {
                    text += &kept[range].escape_ascii().to_string();
                }
                Some(ResponsePart::End { trailers }) => text += &format!("end{}", of(&trailers)),
                None => {}
            }
            kept.drain(..consumed);
            if is_over {
                break;
            }
        }
    }
    Ok(text)
}

/// The same however it is split.
fn read_all(input: &[u8], expected: Expected) -> Result<String, BadResponse> {
    let whole = read(input, expected, input.len().max(1));
    for piece in 1..input.len().min(40) {
        assert_eq!(read(input, expected, piece), whole, "in pieces of {piece}");
    }
    whole
}

#[test]
fn each_kind_of_response_has_its_end() {
    let table = [
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabcmore",
            "[200 Content-Length=3]abcend",
        ),
        (
            "HTTP/1.1 200 \r\ncontent-length: 0\r\n\r\n",
            "[200 content-length=0]end",
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n1\r\nd\r\n0\r\n\r\nx",
            "[200 Transfer-Encoding=chunked]abcdend",
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nX-Sum: 1\r\nb_c: 2\r\n\r\n",
            "[200 Transfer-Encoding=chunked]aend X-Sum=1 b_c=2",
        ),
        ("HTTP/1.1 204 No Content\r\nX: y\r\n\r\n", "[204 X=y]end"),
        (
            "HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\n\r\n",
            "[304 Content-Length=7]end",
        ),
        (
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\n\
             HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nz",
            "<100><103 Link=a>[200 Content-Length=1]zend",
        ),
    ];
    for (input, expected) in table {
        let found = read_all(input.as_bytes(), Expected::Content);
        assert_eq!(found.as_deref(), Ok(expected), "{input:?}");
    }
}

#[test]
fn the_response_to_a_head_has_no_content() {
    for length in [
        "Content-Length: 5\r\n",
        "Transfer-Encoding: chunked\r\n",
        "",
    ] {
        let input = format!("HTTP/1.1 200 OK\r\n{length}\r\n");
        let found = read_all(input.as_bytes(), Expected::Nothing).unwrap();
        assert!(found.ends_with("]end"), "{found}");
    }
}

#[test]
fn a_websocket_is_accepted_or_refused() {
    let accepted = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n\x81\x01a";
    let found = read(accepted, Expected::WebSocket, accepted.len());
    assert_eq!(
        found.as_deref(),
        Ok("switched Upgrade=websocket;\\x81\\x01a")
    );
    let refused = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n";
    let found = read_all(refused, Expected::WebSocket);
    assert_eq!(found.as_deref(), Ok("[403 Content-Length=0]end"));
    let neither = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
    assert_eq!(read_all(neither, Expected::WebSocket), Err(BAD_SWITCH));
    assert_eq!(read_all(accepted, Expected::Content), Err(BAD_SWITCH));
}

#[test]
fn what_has_no_one_meaning_is_refused() {
    let table = [
        ("HTTP/1.0 200 OK\r\n\r\n", BAD_LINE),
        ("HTTP/2 200\r\n\r\n", BAD_LINE),
        ("hello", BAD_LINE),
        ("HTTP/1.1 20 OK\r\n\r\n", BAD_LINE),
        ("HTTP/1.1 099 OK\r\n\r\n", BAD_LINE),
        ("HTTP/1.1 +20 OK\r\n\r\n", BAD_LINE),
        ("HTTP/1.1 200\r\n\r\n", BAD_LINE),
        ("HTTP/1.1 200 OK\n\r\n", BAD_LINE),
        ("HTTP/1.1 200 O\0K\r\n\r\n", BAD_LINE),
        ("HTTP/1.1 200 OK\r\n folded\r\n\r\n", BAD_FIELDS),
        ("HTTP/1.1 200 OK\r\na : b\r\n\r\n", BAD_FIELDS),
        ("HTTP/1.1 200 OK\r\na: b\nc: d\r\n\r\n", BAD_FIELDS),
        ("HTTP/1.1 200 OK\r\n\r\n", BAD_FRAMING),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: +1\r\n\r\na",
            BAD_FRAMING,
        ),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\na",
            BAD_FRAMING,
        ),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
            BAD_FRAMING,
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
            BAD_FRAMING,
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\nabc",
            BAD_BODY,
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;a=b\r\nabc",
            BAD_BODY,
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nabc",
            BAD_BODY,
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nHost: a\r\n\r\n",
            BAD_BODY,
        ),
    ];
    for (input, error) in table {
        assert_eq!(
            read_all(input.as_bytes(), Expected::Content),
            Err(error),
            "{input:?}"
        );
    }
    let endless = [&b"HTTP/1.1 200 "[..], &[b'a'; MOST_LINE]].concat();
    assert_eq!(
        read(&endless, Expected::Content, endless.len()),
        Err(BAD_LINE)
    );
}

#[test]
fn it_reads_what_the_server_writes() {
    let request = RequestContext::default();
    let fields = [(&b"X-One"[..], &b"1"[..])];
    for (status, length) in [
        (200, Length::Known(0)),
        (204, Length::Unknown),
        (404, Length::Unknown),
    ] {
        let mut out = Vec::new();
        write_interim(&mut out, 103, fields.into_iter()).unwrap();
        write_head(&mut out, &request, status, fields.into_iter(), length, DATE).unwrap();
        let found = read_all(&out, Expected::Content).unwrap();
        assert!(found.starts_with("<103 X-One=1>["), "{found}");
    }
    let error = RemoteError {
        status: 504,
        reason: "late",
    };
    for head_only in [false, true] {
        let mut out = Vec::new();
        write_error(&mut out, &error, std::iter::empty(), DATE, head_only);
        let expected = match head_only {
            true => Expected::Nothing,
            false => Expected::Content,
        };
        assert!(read_all(&out, expected).unwrap().ends_with("end"));
    }
}
