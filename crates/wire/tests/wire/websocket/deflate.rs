//! permessage-deflate (RFC 7692).

use super::opening::*;
use super::*;

fn config(offer: &str) -> Option<String> {
    let opening = opening(&format!("Sec-WebSocket-Extensions: {offer}\r\n")).unwrap();
    let head = switch(&opening, None);
    let value = head.split("Extensions: ").nth(1)?.split("\r\n").next()?;
    Some(value.to_owned())
}

#[test]
fn the_first_offer_that_can_be_accepted_is() {
    for (offer, accepted) in [
        ("permessage-deflate", "; server_max_window_bits=12"),
        (
            "permessage-deflate; client_max_window_bits",
            "; server_max_window_bits=12; client_max_window_bits=12",
        ),
        (
            "permessage-deflate;client_max_window_bits=\"10\";server_max_window_bits=9",
            "; server_max_window_bits=9; client_max_window_bits=10",
        ),
        (
            "x-other, permessage-deflate; server_no_context_takeover; client_no_context_takeover",
            "; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=12",
        ),
        // zlib cannot write so small a window: the next offer is taken.
        (
            "permessage-deflate; server_max_window_bits=8, permessage-deflate",
            "; server_max_window_bits=12",
        ),
    ] {
        assert_eq!(
            config(offer),
            Some(format!("permessage-deflate{accepted}")),
            "{offer}"
        );
    }
    for wrong in [
        "x-webkit-deflate-frame",
        "permessage-deflate; unknown",
        "permessage-deflate; server_max_window_bits",
        "permessage-deflate; server_max_window_bits=16",
        "permessage-deflate; server_max_window_bits=09",
        "permessage-deflate; client_max_window_bits=7",
        "permessage-deflate; server_no_context_takeover=1",
        "permessage-deflate; server_no_context_takeover; server_no_context_takeover",
    ] {
        assert_eq!(config(wrong), None, "{wrong}");
    }
}

pub(super) fn deflated(parameters: &str) -> DeflateConfig {
    let offer = format!("Sec-WebSocket-Extensions: permessage-deflate{parameters}\r\n");
    *opening(&offer).unwrap().deflate().unwrap()
}

pub(super) fn compressed(deflater: &mut Deflater, message: &[u8]) -> Vec<u8> {
    frame(LAST | COMPRESSED | 2, &deflater.deflate(message).unwrap())
}

#[test]
fn the_examples_of_rfc_7692_7_2_3() {
    let config = deflated("");
    let hello = [0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00];
    let again = [0xf2, 0x00, 0x11, 0x00, 0x00]; // from the window of the first
    let stored = [0, 5, 0, 0xfa, 0xff, b'H', b'e', b'l', b'l', b'o', 0];
    let last_block = [0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00];
    let bytes = [
        frame(COMPRESSED | 1, &hello[..3]),
        frame(LAST, &hello[3..]),
        frame(LAST | COMPRESSED | 1, &again),
        frame(LAST | COMPRESSED | 1, &stored),
        frame(LAST | COMPRESSED | 1, &last_block),
        text("plain"),
    ]
    .concat();
    let mut expected = vec![text_message("Hello"); 4];
    expected.push(text_message("plain"));
    assert_eq!(decode_both_ways(&bytes, Some(&config)), (expected, None));
}

#[test]
fn a_deflater_may_release_its_memory_between_messages() {
    let config = deflated("");
    let (mut deflater, mut decoder) = (
        Deflater::new(&config),
        MessageDecoder::new(LIMIT, Some(&config)),
    );
    let message = b"the same again and again".to_vec();
    let mut sizes = Vec::new();
    for rests in [0, 0, 1, 0, 2, 0] {
        (0..rests).for_each(|_| deflater.release_idle());
        let bytes = compressed(&mut deflater, &message);
        sizes.push(bytes.len());
        let (incoming, _) = decode(&mut decoder, &[&bytes]);
        assert_eq!(
            incoming,
            [Incoming::Message(Message::Binary(message.clone()))]
        );
    }
    // The second call in a row releases the memory, and nothing else is lost.
    assert_eq!(sizes[4], sizes[0]);
    assert!(
        [1, 2, 3, 5].iter().all(|&at| sizes[at] < sizes[0] / 2),
        "{sizes:?}"
    );
}

#[test]
fn a_message_that_inflates_over_the_limit_is_refused_before_it_is_inflated() {
    let config = deflated("");
    let bomb = compressed(&mut Deflater::new(&config), &vec![0; 64 << 20]);
    assert!(bomb.len() < 512 * 1024);
    assert_eq!(decode_both_ways(&bomb, Some(&config)), (vec![], Some(1009)));
    let fits = compressed(&mut Deflater::new(&config), &vec![0; LIMIT as usize]);
    let (incoming, code) = decode(&mut MessageDecoder::new(LIMIT, Some(&config)), &[&fits]);
    assert_eq!((incoming.len(), code), (1, None));
}

#[test]
fn a_small_message_that_was_inflated_holds_little_memory() {
    let config = deflated("");
    let sent = compressed(&mut Deflater::new(&config), b"small");
    let (mut incoming, _) = decode_both_ways(&sent, Some(&config));
    let Some(Incoming::Message(Message::Binary(bytes))) = incoming.pop() else {
        panic!("it was not incoming");
    };
    assert!(bytes.capacity() < 100, "{}", bytes.capacity());
}

#[test]
fn what_cannot_be_inflated_and_text_that_is_not_utf_8_then_are_refused() {
    let config = deflated("");
    for (payload, kind) in [(&b"\xff\xff\xff"[..], 2), (&[0x06], 2), (&[0x7f; 40], 1)] {
        let bytes = frame(LAST | COMPRESSED | kind, payload);
        assert_eq!(
            decode_both_ways(&bytes, Some(&config)),
            (vec![], Some(1007))
        );
    }
    let mut bytes = compressed(&mut Deflater::new(&config), b"\xff\xfe");
    bytes[0] = LAST | COMPRESSED | 1;
    assert_eq!(
        decode_both_ways(&bytes, Some(&config)),
        (vec![], Some(1007))
    );
    let continued = [frame(COMPRESSED | 1, b""), frame(LAST | COMPRESSED, b"")].concat();
    assert_eq!(
        decode_both_ways(&continued, Some(&config)),
        (vec![], Some(1002))
    );
}
