//! What holds for any input: no panic, no dependence on splits, and what is written is read back.

use prefork_wire::{
    BodyDecoder, BodyEncoder, Framing, HeadParser, Length, Limits, RequestContext, RequestKind,
    Underscore, Version, imf_fixdate, write_head,
};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use crate::feed::{body_under, head_under};

/// Limits small enough that generated input meets them.
fn tight() -> impl Strategy<Value = Limits> {
    (
        1..60_usize,
        1..200_usize,
        0..6_usize,
        1..12_usize,
        0..12_usize,
        1..40_usize,
        0..64_u64,
        any::<bool>(),
    )
        .prop_map(
            |(line, head, fields, chunk_line, chunk_extensions, trailers, max_body, drop)| Limits {
                line,
                head,
                fields,
                chunk_line,
                chunk_extensions,
                trailers,
                max_body,
                underscore: if drop {
                    Underscore::Drop
                } else {
                    Underscore::Reject
                },
            },
        )
}

/// Bytes that are nearly a head: pieces of the grammar, some of them wrong.
fn nearly_a_head() -> impl Strategy<Value = Vec<u8>> {
    let pieces: Vec<&[u8]> = vec![
        b"GET",
        b"POST",
        b"OPTIONS",
        b"CONNECT",
        b" ",
        b" ",
        b"/",
        b"/a?b",
        b"*",
        b"http://a/",
        b"a:80",
        b"HTTP/1.1",
        b"HTTP/1.0",
        b"HTTP/2.0",
        b"\r\n",
        b"\r\n",
        b"\r\n",
        b"\r",
        b"\n",
        b"Host: a",
        b"Host",
        b":",
        b"\t",
        b"_",
        b"Content-Length: 5",
        b"Transfer-Encoding: chunked",
        b"Connection: close",
        b"Expect: 100-continue",
        b"Content-Type: a/b",
        b"Authorization: a",
        b"Host: [v1.a:b]",
        b"\0",
        b"\xff",
        b"x",
    ];
    let line = prop_oneof![
        Just(&b"GET / HTTP/1.1\r\nHost: a\r\n"[..]),
        Just(&b"POST /a HTTP/1.0\r\n"[..]),
        Just(&b""[..])
    ];
    (line, vec(select(pieces), 0..24), any::<bool>()).prop_map(|(line, pieces, ended)| {
        let end: &[u8] = if ended { b"\r\n\r\n" } else { b"" };
        [line, &pieces.concat(), end].concat()
    })
}

fn nearly_chunks() -> impl Strategy<Value = Vec<u8>> {
    let pieces: Vec<&[u8]> = vec![
        b"0\r\n\r\n",
        b"5\r\nhello\r\n",
        b"1;a=b\r\nx\r\n",
        b"1;a = \"b\\\"\" ;c\r\nx\r\n",
        b"0\r\n",
        b"\r\n",
        b"\r",
        b"\n",
        b"a",
        b"F",
        b"0",
        b";",
        b"=",
        b"\"",
        b"\\",
        b" ",
        b"Vary: y\r\n",
        b"X: y\r\n",
        b"Host: a\r\n",
        b"X_Y: z\r\n",
        b"ffffffffffffffff",
        b"\0",
    ];
    vec(select(pieces), 0..16).prop_map(|pieces| pieces.concat())
}

/// What may stand between a chunk size and its CRLF, by the grammar of RFC 9112 7.1.1 read from left to
/// right: another way than that of the state machine.
fn fits_the_grammar(mut rest: &[u8]) -> bool {
    fn blanks(text: &[u8]) -> &[u8] {
        let blanks = |byte: &u8| *byte == b' ' || *byte == b'\t';
        &text[text.iter().take_while(|byte| blanks(byte)).count()..]
    }
    fn token(text: &[u8]) -> Option<&[u8]> {
        let tchar = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
        let length = text.iter().take_while(|byte| tchar(byte)).count();
        (length > 0).then(|| &text[length..])
    }
    fn quoted(text: &[u8]) -> Option<&[u8]> {
        let text_byte = |byte: u8| byte == b'\t' || (byte >= 0x20 && byte != 0x7f);
        let mut rest = text;
        loop {
            rest = match rest {
                [b'"', rest @ ..] => return Some(rest),
                [b'\\', byte, rest @ ..] if text_byte(*byte) => rest,
                [b'\\', ..] => return None,
                [byte, rest @ ..] if text_byte(*byte) => rest,
                _ => return None,
            };
        }
    }
    fn one(rest: &[u8]) -> Option<&[u8]> {
        let rest = token(blanks(blanks(rest).strip_prefix(b";")?))?;
        match blanks(rest).strip_prefix(b"=").map(blanks) {
            Some([b'"', value @ ..]) => quoted(value),
            Some(value) => token(value),
            None => Some(rest),
        }
    }
    while !rest.is_empty() {
        match one(rest) {
            Some(after) => rest = after,
            None => return false,
        }
    }
    true
}

fn nearly_an_extension() -> impl Strategy<Value = Vec<u8>> {
    let bytes = select(b";; \ta1-=\"\\[,\x00\x7f\xe9".to_vec());
    (any::<bool>(), vec(bytes, 0..10)).prop_map(|(named, rest)| {
        let start: &[u8] = if named { b";a" } else { b";" };
        [start, &rest].concat()
    })
}

fn token() -> impl Strategy<Value = String> {
    "[A-Za-z0-9!#$%&'*+.^`|~-]{1,12}".prop_filter("has a meaning", |name| {
        ![
            "host",
            "expect",
            "connection",
            "content-length",
            "transfer-encoding",
            "date",
            "keep-alive",
            "content-type",
            "content-encoding",
            "authorization",
        ]
        .contains(&&*name.to_ascii_lowercase())
    })
}

/// A field value without white space at its ends, which no parser would give back.
fn value() -> impl Strategy<Value = Vec<u8>> {
    vec(
        prop_oneof![0x20..=0x7e_u8, 0x80..=0xff_u8, Just(b'\t')],
        0..24,
    )
    .prop_map(|bytes| bytes.trim_ascii().to_vec())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2000) })]

    #[test]
    fn no_bytes_panic_and_no_split_matters_to_a_head(input in vec(any::<u8>(), 0..200), limits in tight()) {
        let _ = head_under(&Limits::default(), &input);
        let _ = head_under(&limits, &input);
    }

    #[test]
    fn no_split_matters_to_what_is_nearly_a_head(input in nearly_a_head(), limits in tight()) {
        let _ = head_under(&Limits::default(), &input);
        let _ = head_under(&limits, &input);
    }

    #[test]
    fn no_bytes_panic_and_no_split_matters_to_a_body(input in vec(any::<u8>(), 0..200), limits in tight(), length in any::<u64>()) {
        for framing in [Framing::Chunked, Framing::Length(length), Framing::Length(length % 256)] {
            let _ = body_under(&Limits::default(), framing, &input);
            let _ = body_under(&limits, framing, &input);
        }
    }

    #[test]
    fn no_split_matters_to_what_is_nearly_chunks(input in nearly_chunks(), limits in tight()) {
        let _ = body_under(&Limits::default(), Framing::Chunked, &input);
        let _ = body_under(&limits, Framing::Chunked, &input);
    }

    #[test]
    fn an_extension_is_skipped_if_it_fits_the_grammar_and_refused_otherwise(extension in nearly_an_extension()) {
        let input = [b"1", &extension[..], b"\r\nx\r\n0\r\n\r\n"].concat();
        let body = body_under(&Limits::default(), Framing::Chunked, &input);
        prop_assert_eq!(body.is_ok(), fits_the_grammar(&extension));
    }

    #[test]
    fn a_decoder_never_gives_more_than_max_body(input in nearly_chunks(), limits in tight()) {
        let mut decoder = BodyDecoder::new(Framing::Chunked).unwrap();
        let (mut rest, mut total) = (&input[..], 0);
        while let Ok(step) = decoder.decode(rest, &limits) {
            total += step.data.len() as u64;
            rest = &rest[step.consumed..];
            if step.done || step.consumed == 0 {
                break;
            }
        }
        prop_assert!(total <= limits.max_body);
    }

    #[test]
    fn a_field_that_may_stand_once_is_accepted_with_one_value_only(
        lines in vec((select(vec!["Content-Type", "content-type", "Authorization", "Content-Encoding", "X"]), select(vec!["a", "b", ""])), 0..5),
    ) {
        let mut input = String::from("GET / HTTP/1.1\r\nHost: a\r\n");
        for (name, value) in &lines {
            input += &format!("{name}: {value}\r\n");
        }
        let is_single = |name: &str| name != "X";
        let differs = lines.iter().any(|(name, value)| {
            let same_name = |(other, _): &&(&str, &str)| other.eq_ignore_ascii_case(name);
            is_single(name) && lines.iter().filter(same_name).any(|(_, other)| other != value)
        });
        let (result, _) = head_under(&Limits::default(), (input + "\r\n").as_bytes());
        prop_assert_eq!(result.is_err(), differs);
    }

    #[test]
    fn a_request_that_is_written_is_read_back(
        method in token(),
        path in "/[!-\"$->@-~]{0,30}",
        query in proptest::option::of("[!-\"$-~]{0,20}"),
        fields in vec((token(), value()), 0..20),
        blanks in "[ \t]{0,3}",
    ) {
        prop_assume!(method != "CONNECT");
        let target = query.as_ref().map_or(path.clone(), |query| format!("{path}?{query}"));
        let mut input = format!("{method} {target} HTTP/1.1\r\nHost: a\r\n").into_bytes();
        for (name, value) in &fields {
            input.extend_from_slice(&[name.as_bytes(), b":", blanks.as_bytes(), value, blanks.as_bytes(), b"\r\n"].concat());
        }
        input.extend_from_slice(b"\r\n");
        let (head, consumed) = head_under(&Limits::default(), &input).0.unwrap().unwrap();
        prop_assert_eq!(consumed, input.len());
        prop_assert_eq!(head.method.of(&input), method.as_bytes());
        prop_assert_eq!(head.target.of(&input), target.as_bytes());
        prop_assert_eq!(head.path.of(&input), path.as_bytes());
        prop_assert_eq!(head.query.map(|span| span.of(&input)), query.as_ref().map(String::as_bytes));
        let read: Vec<_> = head.fields[1..].iter().map(|field| (field.name.of(&input), field.value.of(&input))).collect();
        let written: Vec<_> = fields.iter().map(|(name, value)| (name.as_bytes(), &**value)).collect();
        prop_assert_eq!(read, written);
    }

    /// The parser refuses everything ambiguous, so it checks the fields of a response.
    #[test]
    fn a_response_that_is_written_is_read_back(
        fields in vec((token(), value()), 0..20),
        declared in proptest::option::of(0..1_000_000_u64),
        known in proptest::option::of(0..1_000_000_u64),
    ) {
        let digits = declared.map(|length| length.to_string());
        let framing = digits.iter().map(|digits| (&b"Content-Length"[..], digits.as_bytes()));
        let headers = fields.iter().map(|(name, value)| (name.as_bytes(), &**value)).chain(framing);
        let request = RequestContext { version: Version::Http11, kind: RequestKind::Other, keep_alive: true };
        let mut out = Vec::new();
        let length = known.map_or(Length::Unknown, Length::Known);
        let response = write_head(&mut out, &request, 200, headers, length, &imf_fixdate(0)).unwrap();
        let lines = out.strip_prefix(b"HTTP/1.1 200 OK\r\n").unwrap();
        let input = [b"POST / HTTP/1.1\r\nHost: a\r\n", lines].concat();
        let (head, consumed) = HeadParser::default().parse(&input, &Limits::default()).unwrap().unwrap();
        prop_assert_eq!(consumed, input.len());
        prop_assert_eq!(head.fields.len(), 1 + fields.len() + 2);
        let expected = match response.body {
            BodyEncoder::Length { left } => Framing::Length(left),
            BodyEncoder::Chunked => Framing::Chunked,
            other => panic!("{other:?}"),
        };
        prop_assert_eq!(head.framing, expected);
    }

    #[test]
    fn a_body_that_is_encoded_is_decoded_back(pieces in vec(vec(any::<u8>(), 0..40), 0..12)) {
        let mut encoder = BodyEncoder::Chunked;
        let mut wire = Vec::new();
        for piece in &pieces {
            let encoded = encoder.encode(piece.len());
            prop_assert_eq!(encoded.len, piece.len());
            wire.extend_from_slice(&[encoded.prefix.as_bytes(), piece, encoded.suffix].concat());
        }
        encoder.finish(&mut wire).unwrap();
        let body = body_under(&Limits::default(), Framing::Chunked, &wire).unwrap();
        prop_assert!(body.done);
        prop_assert_eq!(body.consumed, wire.len());
        prop_assert_eq!(body.data, pieces.concat());
    }
}
