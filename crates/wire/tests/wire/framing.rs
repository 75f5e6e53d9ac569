//! Rows about where a body ends, which request smuggling exploits.

use prefork_wire::{Framing, Limits};

use crate::feed::{accept, head_under, refuse, refuse_under};

fn post(lines: &str) -> String {
    format!("POST / HTTP/1.1\r\nHost: a\r\n{lines}\r\n\r\n")
}

#[test]
fn without_a_framing_field_there_is_no_body() {
    assert_eq!(accept(post("X: y")).framing, Framing::None);
}

#[test]
fn content_length_is_one_decimal_number() {
    for (text, length) in [("0", 0), ("5", 5), ("00005", 5), ("1073741824", 1 << 30)] {
        assert_eq!(
            accept(post(&format!("Content-Length: {text}"))).framing,
            Framing::Length(length)
        );
    }
    assert_eq!(
        accept(post("cOnTeNt-LeNgTh:  7\t")).framing,
        Framing::Length(7)
    );
}

#[test]
fn content_length_that_is_anything_else_is_refused() {
    for value in [
        "", "+5", "-5", "5 5", "0x5", "5.0", "5e1", "5;", "5,", ",5", "5, 5", "5,5", "5,6",
        "\"5\"", "five", "٥", "1_000", "5\x0b",
    ] {
        refuse(400, post(&format!("Content-Length: {value}")));
    }
}

#[test]
fn content_length_that_overflows_is_refused() {
    let unlimited = Limits {
        max_body: u64::MAX,
        ..Limits::default()
    };
    let most = post("Content-Length: 18446744073709551615");
    assert!(
        matches!(head_under(&unlimited, most.as_bytes()).0, Ok(Some((head, _))) if head.framing == Framing::Length(u64::MAX))
    );
    for value in [
        "18446744073709551616",
        "99999999999999999999",
        "184467440737095516150",
    ] {
        refuse_under(&unlimited, 400, post(&format!("Content-Length: {value}")));
        refuse(400, post(&format!("Content-Length: {value}")));
    }
}

#[test]
fn content_length_that_is_repeated_is_refused_also_when_equal() {
    refuse(400, post("Content-Length: 5\r\nContent-Length: 5"));
    refuse(400, post("Content-Length: 5\r\nX: y\r\ncontent-length: 6"));
}

#[test]
fn transfer_encoding_is_chunked_in_any_case() {
    for value in ["chunked", "Chunked", "CHUNKED", " chunked\t"] {
        assert_eq!(
            accept(post(&format!("Transfer-Encoding: {value}"))).framing,
            Framing::Chunked
        );
    }
    assert_eq!(
        accept(post("tRANSFER-eNCODING:chunked")).framing,
        Framing::Chunked
    );
}

#[test]
fn transfer_encoding_with_content_length_is_refused() {
    refuse(400, post("Content-Length: 5\r\nTransfer-Encoding: chunked"));
    refuse(400, post("Transfer-Encoding: chunked\r\nContent-Length: 5"));
    refuse(
        400,
        post("Transfer-Encoding: chunked\r\nX: y\r\nContent-Length: 0"),
    );
}

#[test]
fn transfer_encoding_in_http_1_0_is_refused() {
    for value in ["chunked", "gzip", "identity"] {
        refuse(
            400,
            format!("POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: {value}\r\n\r\n"),
        );
    }
}

#[test]
fn transfer_encoding_of_a_known_shape_is_501() {
    for value in [
        "gzip",
        "gzip, chunked",
        "gzip,deflate , chunked",
        "identity",
        "xchunked",
        "chunkedx",
        "chunke",
        "gzip, deflate",
    ] {
        refuse(501, post(&format!("Transfer-Encoding: {value}")));
    }
}

#[test]
fn transfer_encoding_of_no_shape_is_refused() {
    for value in [
        "",
        ",",
        "chunked,",
        ",chunked",
        "chunked, chunked",
        "chunked, gzip",
        "chunked;a=b",
        "\"chunked\"",
        "chunked chunked",
        "gzip;q=1",
        "gzip chunked",
        "'chun ked'",
        "chunked, identity",
        "gzip,,chunked",
        "chunked;",
        "[chunked]",
    ] {
        refuse(400, post(&format!("Transfer-Encoding: {value}")));
    }
    for value in [
        &b"\x0bchunked"[..],
        b"chunked\x0c",
        b"chunked\0",
        b"\xa0chunked",
        b"chunked\x1f",
    ] {
        refuse(
            400,
            [
                b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: ",
                value,
                b"\r\n\r\n",
            ]
            .concat(),
        );
    }
}

#[test]
fn transfer_encoding_that_is_repeated_is_refused() {
    refuse(
        400,
        post("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked"),
    );
    refuse(
        400,
        post("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity"),
    );
    refuse(
        400,
        post("Transfer-Encoding: chunked\r\nTransfer-Encoding:"),
    );
}

#[test]
fn a_disguised_transfer_encoding_is_no_transfer_encoding() {
    for line in [
        "Transfer-Encoding : chunked",
        " Transfer-Encoding: chunked",
        "X: y\r\n Transfer-Encoding: chunked",
        "Transfer-Encoding\r\n: chunked",
        "X: y\rTransfer-Encoding: chunked",
        "X: y\nTransfer-Encoding: chunked",
        "Transfer\0-Encoding: chunked",
    ] {
        refuse(400, post(line));
    }
    assert_eq!(
        accept(post("Transfer-Encoding1: chunked")).framing,
        Framing::None
    );
}

#[test]
fn a_body_larger_than_max_body_is_413_by_its_length_alone() {
    let limits = Limits {
        max_body: 10,
        ..Limits::default()
    };
    refuse_under(&limits, 413, post("Content-Length: 11"));
    refuse_under(
        &limits,
        413,
        post("Expect: 100-continue\r\nContent-Length: 18446744073709551615"),
    );
    assert!(matches!(
        head_under(&limits, post("Content-Length: 10").as_bytes()).0,
        Ok(Some(_))
    ));
}
