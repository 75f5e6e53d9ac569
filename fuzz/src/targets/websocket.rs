//! The frames of a WebSocket's client, with and without compression.

use crate::input::{Input, splits};
use prefork_wire::websocket::{DeflateConfig, Incoming, MessageDecoder, Opening, RemoteError};
use prefork_wire::{HeadParser, Limits};

pub fn run(data: &[u8]) {
    let mut input = Input::new(data);
    let deflated = input.flag().then(deflate);
    let max_message = [16, 1 << 20][usize::from(input.flag())];
    let choices = [(); 4].map(|()| input.byte());
    let bytes = input.rest();
    let decoder = || MessageDecoder::new(max_message, deflated.as_ref());
    let whole = decode(decoder(), bytes, &[bytes.len()], max_message);
    let parts = decode(decoder(), bytes, &splits(bytes, choices), max_message);
    assert_eq!(whole, parts, "the same bytes in parts");
}

type Decoded = (Vec<Incoming>, Option<RemoteError>);

fn decode(mut decoder: MessageDecoder, bytes: &[u8], ends: &[usize], most: u64) -> Decoded {
    let (mut found, mut at) = (Vec::new(), 0);
    for &end in ends {
        loop {
            let input = &bytes[at..end];
            let (taken, incoming) = match decoder.decode(input) {
                Ok(decoded) => decoded,
                Err(error) => return (found, Some(error)),
            };
            assert!(taken <= input.len());
            at += taken;
            let Some(incoming) = incoming else {
                break;
            };
            match &incoming {
                Incoming::Message(message) => assert!(message.len() as u64 <= most),
                Incoming::Ping(payload) => assert!(payload.len() <= 125),
                Incoming::Pong => {}
                Incoming::Close(_) => {
                    found.push(incoming);
                    return (found, None);
                }
            }
            found.push(incoming);
        }
        assert!(decoder.buffered() as u64 <= 2 * most + 65_536);
    }
    (found, None)
}

/// Compression as a client of today offers it.
fn deflate() -> DeflateConfig {
    let request = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\
        Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n\r\n";
    let parsed = HeadParser::default().parse(request, &Limits::default());
    let (head, _) = parsed.expect("a valid head").expect("a whole head");
    let opening = Opening::read(&head, request).expect("an opening");
    *opening.deflate().expect("it is offered")
}
