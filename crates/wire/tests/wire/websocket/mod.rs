//! WebSocket: frames to messages however they are split, each error with its code, and the Close frame.

use crate::feed::accept;
use prefork_wire::websocket::{
    CloseCode, CloseFrame, DeflateConfig, Deflater, Incoming, Message, MessageDecoder, Opcode,
    Opening, write_close, write_frame_head, write_ping, write_pong, write_switching_protocols,
};
use prefork_wire::{Head, LocalError, RemoteError};
use proptest::collection::vec;
use proptest::prelude::*;

mod deflate;
mod opening;

use deflate::{compressed, deflated};

const LIMIT: u64 = 1 << 20;
const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

// The client's side.

const LAST: u8 = 0x80;
const COMPRESSED: u8 = 0x40;

fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    write_frame_head(&mut frame, Opcode::Continuation, false, payload.len());
    frame[0] = first;
    frame[1] |= 0x80;
    frame.extend_from_slice(&KEY);
    let masked = payload.iter().zip(KEY.iter().cycle());
    frame.extend(masked.map(|(byte, key)| byte ^ key));
    frame
}

fn text(payload: &str) -> Vec<u8> {
    frame(LAST | 1, payload.as_bytes())
}

/// Frames of the server as frames of a client.
fn as_client(sent: &[u8]) -> Vec<u8> {
    let (size, len) = match sent[1] {
        126 => (4, usize::from(u16::from_be_bytes([sent[2], sent[3]]))),
        127 => (
            10,
            u64::from_be_bytes(sent[2..10].try_into().unwrap()) as usize,
        ),
        len => (2, usize::from(len)),
    };
    assert_eq!(sent.len(), size + len);
    frame(sent[0], &sent[size..])
}

/// What the decoder returns for `pieces`, one after the other, and the code of its error.
fn decode(decoder: &mut MessageDecoder, pieces: &[&[u8]]) -> (Vec<Incoming>, Option<u16>) {
    let (mut kept, mut decoded) = (Vec::new(), Vec::new());
    for piece in pieces {
        kept.extend_from_slice(piece);
        loop {
            match decoder.decode(&kept) {
                Ok((taken, incoming)) => {
                    kept.drain(..taken);
                    match incoming {
                        Some(incoming) => decoded.push(incoming),
                        None => break,
                    }
                }
                Err(error) => return (decoded, Some(error.code.get())),
            }
        }
    }
    (decoded, None)
}

/// Decodes whole and byte by byte, which must give the same.
fn decode_both_ways(
    bytes: &[u8],
    deflated: Option<&DeflateConfig>,
) -> (Vec<Incoming>, Option<u16>) {
    let whole = decode(&mut MessageDecoder::new(LIMIT, deflated), &[bytes]);
    let pieces: Vec<&[u8]> = bytes.chunks(1).collect();
    let slow = decode(&mut MessageDecoder::new(LIMIT, deflated), &pieces);
    assert_eq!(whole, slow);
    whole
}

fn text_message(text: &str) -> Incoming {
    Incoming::Message(Message::Text(text.to_owned()))
}

fn assert_refused(bytes: &[u8], code: u16) {
    assert_eq!(
        decode_both_ways(bytes, None),
        (vec![], Some(code)),
        "{bytes:02x?}"
    );
}

// Messages.

#[test]
fn the_examples_of_rfc_6455_5_7() {
    let hello = [
        0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58,
    ];
    assert_eq!(
        decode_both_ways(&hello, None),
        (vec![text_message("Hello")], None)
    );
    let mut ping = Vec::new();
    write_pong(&mut ping, b"Hello");
    assert_eq!(ping, [0x8a, 5, b'H', b'e', b'l', b'l', b'o']);
    for (len, head) in [
        (125, vec![0x82, 125]),
        (126, vec![0x82, 126, 0, 126]),
        (65535, vec![0x82, 126, 0xff, 0xff]),
        (65536, vec![0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0]),
    ] {
        let mut out = Vec::new();
        write_frame_head(&mut out, Opcode::Binary, false, len);
        assert_eq!(out, head);
    }
}

#[test]
fn fragments_are_joined_and_control_frames_pass_between_them() {
    let bytes = [
        frame(1, "gr\u{fc}".as_bytes().split_at(3).0),
        frame(LAST | 9, b"there?"),
        frame(0, "gr\u{fc}".as_bytes().split_at(3).1),
        frame(0, b""),
        frame(LAST | 10, b""),
        frame(LAST, b"n"),
        frame(LAST | 2, b""),
    ]
    .concat();
    let expected = vec![
        Incoming::Ping(b"there?".to_vec()),
        Incoming::Pong,
        text_message("gr\u{fc}n"),
        Incoming::Message(Message::Binary(vec![])),
    ];
    assert_eq!(decode_both_ways(&bytes, None), (expected, None));
}

#[test]
fn each_error_has_its_code() {
    for opcode in [3, 4, 5, 6, 7, 11, 12, 13, 14, 15] {
        assert_refused(&frame(LAST | opcode, b""), 1002);
    }
    for bits in [COMPRESSED, 0x20, 0x10, 0x70] {
        assert_refused(&frame(LAST | bits | 1, b"a"), 1002);
        assert_refused(&frame(LAST | bits | 9, b"a"), 1002);
    }
    assert_refused(&[0x81, 1, b'a'], 1002); // no mask
    assert_refused(&frame(9, b""), 1002); // a ping in fragments
    assert_refused(&frame(LAST | 9, &[0; 126]), 1002);
    assert_refused(&frame(LAST | 8, &[0; 126]), 1002);
    assert_refused(&frame(LAST, b"of nothing"), 1002);
    assert_refused(&[frame(1, b"a"), text("b")].concat(), 1002);
    assert_refused(&[0x82, 0x80 | 126, 0, 125, 0, 0, 0, 0], 1002); // not the shortest form
    assert_refused(
        &[0x82, 0xff, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0, 0, 0],
        1002,
    );
    assert_refused(&[0x82, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], 1002);
}

#[test]
fn a_message_over_the_limit_is_refused_before_it_comes() {
    let gigabyte = [0x82, 0xff, 0, 0, 0, 0, 0x40, 0, 0, 0, 1, 2, 3, 4];
    assert_refused(&gigabyte, 1009);
    let mut decoder = MessageDecoder::new(10, None);
    let bytes = [frame(2, &[0; 6]), frame(LAST, &[0; 5])].concat();
    assert_eq!(
        decode(&mut decoder, &[&bytes[..12 + 6]]),
        (vec![], Some(1009))
    );
    let mut decoder = MessageDecoder::new(10, None);
    let bytes = [frame(2, &[0; 6]), frame(LAST, &[0; 4])].concat();
    assert_eq!(decode(&mut decoder, &[&bytes]).0.len(), 1);
}

#[test]
fn text_must_be_utf_8_and_is_refused_as_soon_as_it_is_not() {
    for bad in [
        &b"\xff"[..],
        b"ab\xc3(",
        b"\xed\xa0\x80",
        b"\xf4\x90\x80\x80",
        b"\xc0\xaf",
        b"\xce",
    ] {
        assert_refused(&frame(LAST | 1, bad), 1007);
    }
    assert_refused(&frame(1, b"\xce\xff"), 1007); // more fragments are not waited for
    assert_eq!(decode_both_ways(&frame(1, b"\xce"), None), (vec![], None)); // this may become a character
    assert_refused(&[frame(1, b"\xce"), frame(LAST, b"")].concat(), 1007);
    assert_eq!(
        decode_both_ways(&frame(LAST | 2, b"\xff"), None).0,
        [Incoming::Message(Message::Binary(vec![0xff]))]
    );
}

// Close frames.

#[test]
fn a_close_has_a_code_that_may_be_sent_and_a_reason_in_utf_8() {
    for code in [1000, 1001, 1002, 1003, 1007, 1011, 1012, 1014, 3000, 4999] {
        let mut out = Vec::new();
        write_close(&mut out, CloseCode::new(code), "bye");
        let close = CloseFrame {
            code: CloseCode::new(code),
            reason: "bye".to_owned(),
        };
        assert_eq!(close.reported(), code);
        assert_eq!(
            decode_both_ways(&as_client(&out), None).0,
            [Incoming::Close(close)]
        );
    }
    for code in [0_u16, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65535] {
        assert_eq!(CloseCode::new(code), None);
        assert_refused(&frame(LAST | 8, &code.to_be_bytes()), 1002);
    }
    assert_refused(&frame(LAST | 8, &[3]), 1002);
    assert_refused(&frame(LAST | 8, b"\x03\xe8\xff"), 1007);
    let (incoming, _) = decode_both_ways(&frame(LAST | 8, b""), None);
    assert!(matches!(&incoming[..], [Incoming::Close(close)] if close.reported() == 1005));
}

#[test]
fn a_reason_that_is_too_long_is_cut_between_characters() {
    let mut out = Vec::new();
    write_close(&mut out, Some(CloseCode::NORMAL), &"\u{20ac}".repeat(60));
    assert_eq!(out.len(), 2 + 2 + 123);
    let mut out = Vec::new();
    write_close(
        &mut out,
        Some(CloseCode::NORMAL),
        &("a".to_owned() + &"\u{20ac}".repeat(60)),
    );
    assert_eq!(out.len(), 2 + 2 + 121);
    let mut out = Vec::new();
    write_close(&mut out, None, "ignored");
    write_ping(&mut out);
    assert_eq!(out, [0x88, 0, 0x89, 0]);
}

// Any bytes.

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn fragments_and_splits_change_nothing(
        messages in vec((any::<bool>(), ".{0,300}", vec(0..300_usize, 0..4)), 1..6),
        cuts in vec(1..40_usize, 1..20),
    ) {
        let (mut bytes, mut expected) = (Vec::new(), Vec::new());
        for (binary, message, places) in &messages {
            let payload = message.as_bytes();
            let mut places: Vec<usize> = places.iter().map(|at| at % (payload.len() + 1)).collect();
            places.sort_unstable();
            let (mut at, mut opcode) = (0, if *binary { 2 } else { 1 });
            for place in places {
                bytes.extend(frame(opcode, &payload[at..place]));
                (at, opcode) = (place, 0);
            }
            bytes.extend(frame(LAST | opcode, &payload[at..]));
            expected.push(Incoming::Message(if *binary {
                Message::Binary(payload.to_vec())
            } else {
                Message::Text(message.clone())
            }));
        }
        let (mut pieces, mut rest, mut cuts) = (Vec::new(), &bytes[..], cuts.iter().cycle());
        while !rest.is_empty() {
            let (piece, tail) = rest.split_at(rest.len().min(*cuts.next().unwrap()));
            pieces.push(piece);
            rest = tail;
        }
        let whole = decode(&mut MessageDecoder::new(LIMIT, None), &[&bytes]);
        prop_assert_eq!(&whole, &(expected, None));
        prop_assert_eq!(decode(&mut MessageDecoder::new(LIMIT, None), &pieces), whole);
    }

    #[test]
    fn what_is_deflated_inflates_to_the_same(
        messages in vec(prop_oneof![Just(vec![]), vec(any::<u8>().prop_map(|byte| byte % 20), 0..9000)], 1..6),
        parameters in proptest::sample::select(vec![
            "",
            "; server_no_context_takeover; client_no_context_takeover",
            "; server_max_window_bits=9",
            // The deflater is used as the client here: its window must not be larger than in
            // `config`.
            "; client_max_window_bits=12",
        ]),
    ) {
        let config = deflated(parameters);
        let mut deflater = Deflater::new(&config);
        let bytes: Vec<u8> = messages.iter().flat_map(|message| compressed(&mut deflater, message)).collect();
        let expected = messages.into_iter().map(|message| Incoming::Message(Message::Binary(message)));
        let (incoming, code) = decode(&mut MessageDecoder::new(LIMIT, Some(&config)), &[&bytes]);
        prop_assert_eq!(code, None);
        prop_assert_eq!(incoming, expected.collect::<Vec<_>>());
    }

    #[test]
    fn no_bytes_panic_and_splits_change_nothing(
        bytes in vec(any::<u8>(), 0..200),
        opcodes in vec(0..16_u8, 1..4),
    ) {
        let config = deflated("");
        let framed: Vec<u8> = opcodes.iter().flat_map(|opcode| frame(LAST | opcode, &bytes)).collect();
        let flipped = frame(LAST | COMPRESSED | 2, &bytes);
        for bytes in [bytes, framed, flipped] {
            decode_both_ways(&bytes, None);
            decode_both_ways(&bytes, Some(&config));
        }
    }
}
