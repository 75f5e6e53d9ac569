//! Feeds a case every way it could arrive, and checks that no way gives another result.

use prefork_wire::{BodyDecoder, Framing, Head, HeadParser, Limits, RemoteError};

pub type HeadResult = Result<Option<(Head, usize)>, RemoteError>;

/// What may follow a request on the connection without changing it.
const TAILS: [&[u8]; 4] = [
    b"GET / HTTP/1.1\r\nHost: b\r\n\r\n",
    b"\r\n",
    b"\n",
    b"\0\xff",
];

/// Where to split: everywhere, or in long cases at a few hundred places and near both ends.
fn splits(length: usize) -> impl Iterator<Item = usize> {
    let stride = length / 300 + 1;
    (0..length).filter(move |at| at % stride == 0 || *at < 80 || length - at < 80)
}

/// Parses a head, in every way, under `limits`. Also returns how many bytes had come when
/// the result was known.
pub fn head_under(limits: &Limits, input: &[u8]) -> (HeadResult, usize) {
    let parse = |pieces: &[&[u8]]| {
        let mut parser = HeadParser::default();
        pieces
            .iter()
            .map(|seen| parser.parse(seen, limits))
            .find(|result| *result != Ok(None))
            .unwrap_or(Ok(None))
    };
    let whole = parse(&[input]);
    let (bytewise, needed) = head_byte_by_byte(limits, input);
    assert_eq!(bytewise, whole, "byte by byte: {}", input.escape_ascii());
    for at in splits(input.len()) {
        let (before, _) = input.split_at(at);
        assert_eq!(
            parse(&[before, input]),
            whole,
            "split at {at}: {}",
            input.escape_ascii()
        );
    }
    if whole != Ok(None) {
        for tail in TAILS {
            assert_eq!(
                parse(&[&[input, tail].concat()]),
                whole,
                "trailing: {}",
                input.escape_ascii()
            );
        }
    }
    (whole, needed)
}

fn head_byte_by_byte(limits: &Limits, input: &[u8]) -> (HeadResult, usize) {
    let mut parser = HeadParser::default();
    for seen in 0..=input.len() {
        match parser.parse(&input[..seen], limits) {
            Ok(None) => {}
            Ok(Some(head)) => {
                assert_eq!(
                    parser.parse(b"", limits),
                    Ok(None),
                    "ready for the next head"
                );
                return (Ok(Some(head)), seen);
            }
            refused => return (refused, seen),
        }
    }
    (Ok(None), input.len())
}

/// A head that must be accepted, under the default limits, and be taken to its last byte.
pub fn accept(input: impl AsRef<[u8]>) -> Head {
    let input = input.as_ref();
    match head_under(&Limits::default(), input).0 {
        Ok(Some((head, consumed))) => {
            assert_eq!(consumed, input.len(), "{}", input.escape_ascii());
            head
        }
        other => panic!("{}: {other:?}", input.escape_ascii()),
    }
}

/// A head that must be refused with `status`; returns how many bytes were needed to see it.
pub fn refuse(status: u16, input: impl AsRef<[u8]>) -> usize {
    refuse_under(&Limits::default(), status, input)
}

pub fn refuse_under(limits: &Limits, status: u16, input: impl AsRef<[u8]>) -> usize {
    let input = input.as_ref();
    let (result, needed) = head_under(limits, input);
    match result {
        Err(error) => assert_eq!(error.status, status, "{error}: {}", input.escape_ascii()),
        other => panic!("{}: {other:?}", input.escape_ascii()),
    }
    needed
}

/// What a body came to: its data, the bytes of the wire it took, and whether it is whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Body {
    pub data: Vec<u8>,
    pub consumed: usize,
    pub done: bool,
}

/// Decodes a body, in every way, under `limits`.
pub fn body_under(limits: &Limits, framing: Framing, input: &[u8]) -> Result<Body, RemoteError> {
    let whole = decode(limits, framing, [input]);
    let bytewise = decode(limits, framing, input.chunks(1));
    assert_eq!(bytewise, whole, "byte by byte: {}", input.escape_ascii());
    for at in splits(input.len()) {
        let (before, after) = input.split_at(at);
        let split = decode(limits, framing, [before, after]);
        assert_eq!(split, whole, "split at {at}: {}", input.escape_ascii());
    }
    if !matches!(whole, Ok(Body { done: false, .. })) {
        for tail in TAILS {
            let trailing = decode(limits, framing, [&*[input, tail].concat()]);
            assert_eq!(trailing, whole, "trailing: {}", input.escape_ascii());
        }
    }
    whole
}

/// As an engine does it: a buffer that grows by each piece, and loses what was consumed.
fn decode<'a>(
    limits: &Limits,
    framing: Framing,
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> Result<Body, RemoteError> {
    let mut body = Body {
        data: Vec::new(),
        consumed: 0,
        done: false,
    };
    let Some(mut decoder) = BodyDecoder::new(framing) else {
        return Ok(Body { done: true, ..body });
    };
    let mut buffer = Vec::new();
    for piece in pieces {
        buffer.extend_from_slice(piece);
        loop {
            let step = decoder.decode(&buffer, limits)?;
            assert!(
                step.data.end <= step.consumed,
                "data is part of what was consumed"
            );
            body.data.extend_from_slice(&buffer[step.data]);
            body.consumed += step.consumed;
            buffer.drain(..step.consumed);
            if step.done {
                return Ok(Body { done: true, ..body });
            }
            if step.consumed == 0 {
                break;
            }
        }
    }
    Ok(body)
}

/// A chunked body that must be whole at its last byte; returns its data.
pub fn accept_chunks(input: impl AsRef<[u8]>) -> Vec<u8> {
    let input = input.as_ref();
    let body = body_under(&Limits::default(), Framing::Chunked, input).unwrap();
    assert!(body.done, "{}", input.escape_ascii());
    assert_eq!(body.consumed, input.len(), "{}", input.escape_ascii());
    body.data
}

/// A chunked body that must be refused with `status`.
pub fn refuse_chunks(status: u16, input: impl AsRef<[u8]>) {
    refuse_chunks_under(&Limits::default(), status, input);
}

pub fn refuse_chunks_under(limits: &Limits, status: u16, input: impl AsRef<[u8]>) {
    let input = input.as_ref();
    match body_under(limits, Framing::Chunked, input) {
        Err(error) => assert_eq!(error.status, status, "{error}: {}", input.escape_ascii()),
        Ok(body) => panic!("{}: {body:?}", input.escape_ascii()),
    }
}
