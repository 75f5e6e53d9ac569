//! The clients of HTTP/2 of the target `engine`: frames of any kind for any of their streams, and what they
//! check of those that they get.

use crate::input::Input;
use std::collections::HashSet;

/// How a connection begins: with SETTINGS that change nothing.
pub const START: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RESET: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW: u8 = 8;
const CONTINUATION: u8 = 9;
const PRIORITY_UPDATE: u8 = 16;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const HEAD_BYTES: usize = 9;

// Header blocks that change no table: :method, :scheme http, :path /, :authority a.
const GET: &[u8] = b"\x82\x86\x84\x01\x01a";
const HEAD: &[u8] = b"\x02\x04HEAD\x86\x84\x01\x01a";
const POST: &[u8] = b"\x83\x86\x84\x01\x01a";
const POST_FIVE: &[u8] = b"\x83\x86\x84\x01\x01a\x0f\x0d\x015";
const POST_EXPECTS: &[u8] = b"\x83\x86\x84\x01\x01a\x0f\x14\x0c100-continue";
const CONNECT: &[u8] = b"\x02\x07CONNECT\x86\x84\x01\x01a\0\x09:protocol\x09websocket\
    \0\x15sec-websocket-version\x0213";
const MALFORMED: &[u8] = b"\x82\x86\x84\x01\x01a\0\x01A\x01b";
const TRAILERS: &[u8] = b"\0\x01x\x01y";
const BODIES: [&[u8]; 5] = [
    b"",
    b"hello",
    &[b'x'; 100], // more than max_body
    b"\x81\x85\0\0\0\0hello",
    b"\x88\x82\0\0\0\0\x03\xe8",
];

/// The next frame of a client. Its streams so far are below `next`.
pub fn frame(input: &mut Input<'_>, next: &mut u32) -> Vec<u8> {
    let old = 1 + 2 * input.below((*next / 2) as usize) as u32;
    let choice = input.byte() % 24;
    let ends = if input.flag() { END_STREAM } else { 0 };
    let block = match choice {
        0 | 1 => GET,
        2 => HEAD,
        3 | 4 => POST,
        5 => POST_FIVE,
        6 => POST_EXPECTS,
        7 => CONNECT,
        8 => MALFORMED,
        _ => b"",
    };
    if !block.is_empty() {
        let stream = *next;
        *next += 2;
        let ends = match block {
            GET | HEAD => END_STREAM,
            _ => ends,
        };
        return build(HEADERS, END_HEADERS | ends, stream, block);
    }
    let number = |value: u32| value.to_be_bytes().to_vec();
    match choice {
        9 => build(HEADERS, END_HEADERS | ends, old, TRAILERS),
        10..=13 => build(DATA, ends, old, input.one_of(&BODIES)),
        14 => build(RESET, 0, old, &number(8)),
        15 => build(
            WINDOW,
            0,
            old,
            &number(input.one_of(&[0, 1, 100, 1 << 20, 1 << 30])),
        ),
        16 => build(WINDOW, 0, 0, &number(input.one_of(&[1, 100, 1 << 20]))),
        17 | 18 => {
            let window = input.one_of(&[0, 1, 100, 65_535, 1 << 24]);
            build(
                SETTINGS,
                0,
                0,
                &[b"\0\x04".to_vec(), number(window)].concat(),
            )
        }
        19 => build(PING, 0, 0, &[0; 8]),
        20 => build(
            PRIORITY_UPDATE,
            0,
            0,
            &[number(old), b"u=1, i".to_vec()].concat(),
        ),
        21 => build(GOAWAY, 0, 0, &[0; 8]),
        22 => [
            build(HEADERS, ends, *next, &GET[..2]),
            build(
                CONTINUATION,
                END_HEADERS,
                std::mem::replace(next, *next + 2),
                &GET[2..],
            ),
        ]
        .concat(),
        _ => input.bytes().to_vec(),
    }
}

fn build(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let [_, a, b, c] = (payload.len() as u32).to_be_bytes();
    let [d, e, f, g] = stream.to_be_bytes();
    [&[a, b, c, kind, flags, d, e, f, g], payload].concat()
}

/// Whether it is what a client of HTTP/2 gets.
pub fn is_http2(received: &[u8]) -> bool {
    received.get(3) == Some(&SETTINGS)
}

/// A stream that has ended, or was reset, has no further frame, and none has one that the client has not
/// opened.
pub fn check(received: &[u8], next: u32) {
    let mut rest = received;
    let mut ended = HashSet::new();
    while rest.len() >= HEAD_BYTES {
        let len = u32::from_be_bytes([0, rest[0], rest[1], rest[2]]) as usize;
        assert!(len <= 16_384, "a frame of {len} bytes");
        let (kind, flags) = (rest[3], rest[4]);
        let stream = u32::from_be_bytes([rest[5], rest[6], rest[7], rest[8]]);
        match kind {
            DATA | HEADERS => {
                assert!(
                    stream % 2 == 1 && stream < next,
                    "stream {stream} of {next}"
                );
                assert!(!ended.contains(&stream), "a frame after the end");
                if flags & END_STREAM != 0 {
                    ended.insert(stream);
                }
            }
            RESET => drop(ended.insert(stream)),
            SETTINGS | PING | GOAWAY => assert_eq!(stream, 0),
            WINDOW | CONTINUATION => {}
            _ => panic!("a frame of type {kind}"),
        }
        rest = rest.get(HEAD_BYTES + len..).unwrap_or_default();
    }
}
