//! Rows about bodies: chunk lines, chunk data, trailers, and what comes after.

use prefork_wire::{BodyDecoder, Framing, Limits, Underscore};

use crate::feed::{accept_chunks, body_under, refuse_chunks, refuse_chunks_under};

#[test]
fn a_body_without_bytes_needs_no_decoder() {
    assert!(BodyDecoder::new(Framing::None).is_none());
    assert!(BodyDecoder::new(Framing::Length(0)).is_none());
}

#[test]
fn a_length_is_read_to_its_last_byte_and_no_further() {
    let body = body_under(&Limits::default(), Framing::Length(5), b"hello").unwrap();
    assert_eq!(
        (&*body.data, body.consumed, body.done),
        (&b"hello"[..], 5, true)
    );
    let short = body_under(&Limits::default(), Framing::Length(6), b"hello").unwrap();
    assert_eq!((&*short.data, short.done), (&b"hello"[..], false));
}

#[test]
fn chunks_are_read_to_the_end_of_their_trailers() {
    assert_eq!(accept_chunks("0\r\n\r\n"), b"");
    assert_eq!(accept_chunks("5\r\nhello\r\n0\r\n\r\n"), b"hello");
    assert_eq!(accept_chunks("1\r\na\r\n2\r\nbc\r\n00\r\n\r\n"), b"abc");
    assert_eq!(
        accept_chunks("00a\r\n0123456789\r\n000000000000000A\r\n\r\n0\r\n\r\n1\r\n\r\n0\r\n\r\n"),
        b"0123456789\r\n0\r\n\r\n1\r\n"
    );
}

#[test]
fn less_than_a_chunked_body_is_no_error() {
    let input = b"5;a=b\r\nhello\r\n0;c\r\nX: y\r\n\r\n";
    for length in 0..input.len() {
        let body = body_under(&Limits::default(), Framing::Chunked, &input[..length]).unwrap();
        assert!(!body.done);
    }
}

#[test]
fn a_chunk_size_is_1_to_16_hexadecimal_digits() {
    for size in [
        "",
        ";",
        ";a=b",
        "g",
        "-1",
        "+1",
        "0x1",
        "1_0",
        "1.",
        "１",
        "00000000000000001",
        "fffffffffffffffff",
        "1g",
        "\0",
        "\"1\"",
        "1,1",
    ] {
        refuse_chunks(400, format!("{size}\r\na\r\n0\r\n\r\n"));
    }
}

#[test]
fn an_empty_chunk_size_is_not_the_last_chunk() {
    refuse_chunks(400, "\r\n\r\n");
    refuse_chunks(400, "1\r\na\r\n\r\n\r\n");
    refuse_chunks(400, ";\r\n\r\n");
}

#[test]
fn a_chunk_size_that_overflows_is_refused() {
    let unlimited = Limits {
        max_body: u64::MAX,
        ..Limits::default()
    };
    refuse_chunks_under(&unlimited, 400, "10000000000000000\r\n");
    // One byte, then as many as would bring the sum back to zero.
    refuse_chunks_under(&unlimited, 413, "1\r\na\r\nffffffffffffffff\r\n");
}

#[test]
fn white_space_round_a_chunk_size_is_refused() {
    for line in [" 1", "\t1", "1 ", "1\t", "1 ;a", "\r\n1", "1\x0b", "1\x0c"] {
        refuse_chunks(400, format!("{line}\r\na\r\n0\r\n\r\n"));
    }
}

#[test]
fn a_bare_line_end_in_a_chunk_line_is_refused() {
    for input in [
        "1\na\r\n0\r\n\r\n",
        "1\ra\r\n0\r\n\r\n",
        "1\r\r\na\r\n",
        "1;a\na\r\n0\r\n\r\n",
        "1;a\rb\r\na\r\n",
        "1;a\r\r\na\r\n",
        "0\n\n",
        "0\r\n\n",
        "0\r\n\rX",
        "0\r\r\n\r\n",
        "0;a\n\r\n",
        "0\r\nX: y\n\r\n",
        "0\r\nX: y\rz\r\n\r\n",
    ] {
        refuse_chunks(400, input);
    }
}

#[test]
fn chunk_data_is_followed_by_crlf() {
    for input in [
        "1\r\nab\r\n",
        "1\r\nab\n0\r\n\r\n",
        "1\r\na\n0\r\n\r\n",
        "1\r\na\rb",
        "1\r\na0\r\n\r\n",
        "1\r\na\r\r\n",
        "1\r\na \r\n",
        "1\r\na;\r\n",
    ] {
        refuse_chunks(400, input);
    }
}

#[test]
fn a_chunk_extension_is_skipped() {
    assert_eq!(
        accept_chunks("1;a\r\nx\r\n0;b=c;d=\"e;\\\"f\"\r\n\r\n"),
        b"x"
    );
    for extension in [
        ";a;b",
        "; a = b",
        ";\ta\t;\tb",
        ";a=\"\"",
        ";a=\"b\" ;c",
        ";a=\"\\\\;\\\"\"",
        ";a=\"caf\u{e9}\t\"",
    ] {
        let input = format!("1{extension}\r\nx\r\n0{extension}\r\n\r\n");
        assert_eq!(accept_chunks(input), b"x");
    }
}

#[test]
fn a_chunk_extension_that_does_not_fit_the_grammar_is_refused() {
    for extension in [
        ";",
        ";;",
        "; ",
        ";=",
        ";=b",
        ";=[",
        ";a=",
        ";a;",
        ";a ",
        ";a=b ",
        ";a=\"b\" ",
        ";a b",
        ";a=b c",
        ";a==b",
        ";a=\"b",
        ";a=\"b\"c",
        ";a=\"b\\\"",
        ";bad[=x",
        ";a=b,c",
        ";caf\u{e9}",
        ";a\0",
        ";a=\"\0\"",
        ";a=\"\x7f\"",
        ";a=\"\\\x01\"",
        ";a\x1f",
    ] {
        refuse_chunks(400, format!("1{extension}\r\nx\r\n0\r\n\r\n"));
        refuse_chunks(400, format!("1\r\nx\r\n0{extension}\r\n\r\n"));
    }
}

#[test]
fn the_chunk_extensions_of_a_body_are_bounded_together() {
    let chunks = |count: usize, extension: &str| {
        format!("1;{extension}\r\nx\r\n").repeat(count) + "0\r\n\r\n"
    };
    let kilobyte = "a".repeat(1023);
    assert_eq!(accept_chunks(chunks(16, &kilobyte)).len(), 16);
    refuse_chunks(400, chunks(17, &kilobyte));
    refuse_chunks(
        400,
        chunks(16, &kilobyte).replace("\r\n0\r\n", "\r\n0;a\r\n"),
    );
    // The bound is met before the line of too much ends.
    refuse_chunks(
        400,
        chunks(16, &kilobyte).replace("\r\n0\r\n\r\n", "\r\n0;"),
    );
    assert_eq!(accept_chunks(chunks(8192, "a")).len(), 8192);
    refuse_chunks(400, chunks(8193, "a"));
}

#[test]
fn a_chunk_line_over_4_kib_is_refused_before_its_end() {
    let line = |length: usize| format!("1;{}", "a".repeat(length - 2));
    assert_eq!(
        accept_chunks(format!("{}\r\nx\r\n0\r\n\r\n", line(4096))),
        b"x"
    );
    refuse_chunks(400, format!("{}\r\nx\r\n0\r\n\r\n", line(4097)));
    refuse_chunks(400, line(4097));
    refuse_chunks_under(
        &Limits {
            chunk_line: 1,
            ..Limits::default()
        },
        400,
        "1;a\r\nx\r\n",
    );
}

#[test]
fn trailers_are_read_and_dropped() {
    assert_eq!(
        accept_chunks("1\r\na\r\n0\r\nX: y\r\nDigest: \t z \r\nX_Y: 1\r\nEmpty:\r\n\r\n"),
        b"a"
    );
}

#[test]
fn trailers_are_as_strict_as_a_head() {
    for trailer in [
        "X : y",
        " X: y",
        "X: y\r\n z",
        ": y",
        "X",
        "X: \0",
        "X: \x7f",
        "X\t: y",
        "é: y",
    ] {
        refuse_chunks(400, format!("0\r\n{trailer}\r\n\r\n"));
    }
    let limits = Limits {
        underscore: Underscore::Reject,
        ..Limits::default()
    };
    refuse_chunks_under(&limits, 400, "0\r\nX_Y: z\r\n\r\n");
}

#[test]
fn a_trailer_that_frames_or_routes_is_refused() {
    for name in [
        "Content-Length",
        "Transfer-Encoding",
        "HOST",
        "connection",
        "Trailer",
        "TE",
        "Upgrade",
        "Expect",
        "Max-Forwards",
        "Forwarded",
        "Keep-Alive",
        "Proxy-Connection",
    ] {
        refuse_chunks(400, format!("0\r\nX: y\r\n{name}: 1\r\n\r\n"));
    }
}

#[test]
fn any_other_trailer_is_dropped() {
    for name in [
        "Content-Type",
        "Vary",
        "Authorization",
        "Cookie",
        "Content-Encoding",
        "Content-Range",
        "Cache-Control",
        "Range",
        "Proxy-Authorization",
        "ETag",
    ] {
        let input = format!("1\r\na\r\n0\r\nX: y\r\n{name}: 1\r\n{name}: 2\r\n\r\n");
        assert_eq!(accept_chunks(input), b"a");
    }
}

#[test]
fn trailers_are_bounded() {
    let fields = |count: usize| format!("0\r\n{}\r\n", "X: y\r\n".repeat(count));
    accept_chunks(fields(100));
    refuse_chunks(431, fields(101));
    refuse_chunks(431, format!("0\r\nX: {}", "y".repeat(16384)));
    let line = format!("X: {}\r\n", "y".repeat(8000));
    refuse_chunks(431, format!("0\r\n{}\r\n", line.repeat(3)));
    let limits = Limits {
        trailers: 8,
        ..Limits::default()
    };
    assert!(
        body_under(&limits, Framing::Chunked, b"0\r\nX: y\r\n\r\n")
            .unwrap()
            .done
    );
    refuse_chunks_under(&limits, 431, "0\r\nX: yy\r\n\r\n");
}

#[test]
fn a_chunked_body_larger_than_max_body_is_413_before_the_data_that_is_too_much() {
    let limits = Limits {
        max_body: 5,
        ..Limits::default()
    };
    assert!(
        body_under(&limits, Framing::Chunked, b"5\r\nhello\r\n0\r\n\r\n")
            .unwrap()
            .done
    );
    refuse_chunks_under(&limits, 413, "6\r\n");
    refuse_chunks_under(&limits, 413, "6;");
    refuse_chunks_under(&limits, 413, "3\r\nabc\r\n3\r\n");
}
