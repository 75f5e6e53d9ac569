//! The body of a response is exactly what its head says.

use prefork_wire::{BodyEncoder, LocalError, ShortBody, write_interim};

/// What goes on the wire for `pieces`, and whether they were enough.
fn send(mut encoder: BodyEncoder, pieces: &[&str]) -> (String, Result<(), ShortBody>) {
    let mut wire = Vec::new();
    for piece in pieces {
        let encoded = encoder.encode(piece.len());
        wire.extend_from_slice(encoded.prefix.as_bytes());
        wire.extend_from_slice(&piece.as_bytes()[..encoded.len]);
        wire.extend_from_slice(encoded.suffix);
    }
    let end = encoder.finish(&mut wire);
    assert_eq!(encoder, BodyEncoder::Nothing, "ended");
    (String::from_utf8(wire).unwrap(), end)
}

#[test]
fn a_length_is_sent_and_not_a_byte_more() {
    let length = |left| BodyEncoder::Length { left };
    assert_eq!(
        send(length(5), &["he", "", "llo"]),
        ("hello".into(), Ok(()))
    );
    assert_eq!(
        send(length(5), &["hello, ", "world"]),
        ("hello".into(), Ok(()))
    );
    assert_eq!(send(length(0), &["hello"]), (String::new(), Ok(())));
}

#[test]
fn a_body_shorter_than_its_length_is_an_error() {
    let (wire, end) = send(BodyEncoder::Length { left: 7 }, &["hello"]);
    assert_eq!((&*wire, end), ("hello", Err(ShortBody { missing: 2 })));
}

#[test]
fn chunks_are_framed_and_an_empty_piece_does_not_end_them() {
    let (wire, end) = send(BodyEncoder::Chunked, &["hello", "", "0123456789abcdef!"]);
    assert_eq!(
        (&*wire, end),
        ("5\r\nhello\r\n11\r\n0123456789abcdef!\r\n0\r\n\r\n", Ok(()))
    );
    assert_eq!(send(BodyEncoder::Chunked, &[]).0, "0\r\n\r\n");
}

#[test]
fn a_chunk_line_tells_any_size() {
    for size in [1, 9, 10, 15, 16, 255, 256, 65_536, usize::MAX] {
        let line = BodyEncoder::Chunked.encode(size).prefix;
        assert_eq!(line.as_bytes(), format!("{size:x}\r\n").as_bytes());
    }
}

#[test]
fn a_close_delimited_body_is_sent_as_it_is() {
    assert_eq!(
        send(BodyEncoder::Close, &["a", "", "b"]),
        ("ab".into(), Ok(()))
    );
}

#[test]
fn where_no_body_may_be_none_is_sent() {
    assert_eq!(
        send(BodyEncoder::Nothing, &["a", "b"]),
        (String::new(), Ok(()))
    );
}

fn trailed(mut encoder: BodyEncoder, fields: &[(&str, &str)]) -> Result<String, LocalError> {
    let mut wire = b"before".to_vec();
    let fields = fields
        .iter()
        .map(|(name, value)| (name.as_bytes(), value.as_bytes()));
    let result = encoder.write_trailers(&mut wire, fields);
    if let Err(invalid) = result {
        assert_eq!(wire, b"before", "nothing of it is written");
        return Err(invalid);
    }
    encoder.finish(&mut wire).unwrap();
    Ok(String::from_utf8(wire).unwrap())
}

#[test]
fn trailers_end_a_chunked_body_and_are_dropped_elsewhere() {
    let fields = [("x-sum", "1"), ("x-done", "yes")];
    assert_eq!(
        trailed(BodyEncoder::Chunked, &fields).unwrap(),
        "before0\r\nx-sum: 1\r\nx-done: yes\r\n\r\n"
    );
    assert_eq!(
        trailed(BodyEncoder::Chunked, &[]).unwrap(),
        "before0\r\n\r\n"
    );
    for encoder in [BodyEncoder::Close, BodyEncoder::Nothing] {
        assert_eq!(trailed(encoder, &fields).unwrap(), "before");
    }
}

#[test]
fn what_must_be_known_before_the_body_is_no_trailer() {
    for name in ["Content-Length", "transfer-encoding", "Host", "trailer"] {
        assert_eq!(
            trailed(BodyEncoder::Chunked, &[("a", "b"), (name, "1")]),
            Err(LocalError::Trailer(name.as_bytes().into()))
        );
    }
    let split = trailed(BodyEncoder::Chunked, &[("a", "b\r\nc: d")]);
    assert!(matches!(split, Err(LocalError::Value { .. })));
}

#[test]
fn an_interim_response_is_written_whole_or_not_at_all() {
    let mut wire = b"before".to_vec();
    let link: (&[u8], &[u8]) = (b"link", b"</a>; rel=preload");
    write_interim(&mut wire, 103, [link].into_iter()).unwrap();
    assert_eq!(
        wire,
        b"beforeHTTP/1.1 103 Early Hints\r\nlink: </a>; rel=preload\r\n\r\n"
    );
    let bad: (&[u8], &[u8]) = (b"link", b"a\nb");
    let mut wire = b"before".to_vec();
    assert!(write_interim(&mut wire, 103, [link, bad].into_iter()).is_err());
    assert_eq!(wire, b"before");
}
