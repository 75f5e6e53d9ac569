//! A TLS 1.3 connection after its handshake, on a network that changes what is sent.

use crate::input::Input;
use prefork_tls::{Records, Suite};
use std::io::IoSlice;

const HEADER_BYTES: usize = 5;

pub fn run(data: &[u8]) {
    let mut input = Input::new(data);
    let suite = input.one_of(&[Suite::Aes128Gcm, Suite::Aes256Gcm, Suite::Chacha20Poly1305]);
    if input.flag() {
        // What no peer has sealed: with this key none does, so that a fuzzer that looks into
        // the memory finds nothing that could be opened.
        let mut bytes = input.rest().to_vec();
        let opened = records(suite, 1, 2).open(&mut bytes, 0, &mut Vec::new());
        assert!(opened.is_err() || opened.is_ok_and(|opened| opened.plaintext_end == 0));
        return;
    }
    let (mut client, server) = (records(suite, 9, 7), records(suite, 7, 9));
    let (mut sent, mut stream) = (Vec::new(), Vec::new());
    for _ in 0..=input.below(5) {
        let content = input.bytes().repeat([1, 1, 200][input.below(3)]);
        let sealed = client.seal(&[IoSlice::new(&content)], usize::MAX, &mut stream);
        assert_eq!(sealed, Ok(content.len()));
        sent.extend_from_slice(&content);
    }
    if input.flag() {
        client.close(&mut stream).expect("a client that may close");
    }
    let is_changed = change(&mut stream, &mut input);
    let mut moves = || input.flag();
    let received = receive(server, &stream, &mut moves);
    assert!(sent.starts_with(&received.data), "data that was not sent");
    if !is_changed {
        assert!(received.is_sound && received.data == sent);
    }
    // What the server says in return can be read.
    let mut replies = received.replies;
    let opened = client.open(&mut replies, 0, &mut Vec::new());
    assert!(opened.is_ok_and(|opened| opened.plaintext_end == 0));
}

fn records(suite: Suite, receives: u8, sends: u8) -> Records {
    let len = [32, 48][usize::from(suite == Suite::Aes256Gcm)];
    let secrets = (vec![receives; len], vec![sends; len]);
    Records::new(suite, (&secrets.0, 0), (&secrets.1, 0)).expect("secrets of that length")
}

/// Changes what is on its way. False: nothing was.
fn change(stream: &mut Vec<u8>, input: &mut Input<'_>) -> bool {
    let before = stream.clone();
    let at = input.below(stream.len() + 1);
    match input.byte() % 8 {
        0 if at < stream.len() => stream[at] ^= input.byte(),
        1 => stream.truncate(at),
        2 => {
            stream.splice(at..at, input.bytes().iter().copied());
        }
        3 if at < stream.len() => {
            stream.remove(at);
        }
        4 => {
            // The first record comes twice.
            let first = *stream.first_chunk::<HEADER_BYTES>().unwrap_or(&[0; 5]);
            let len = HEADER_BYTES + usize::from(u16::from_be_bytes([first[3], first[4]]));
            if len <= stream.len() {
                let record = stream[..len].to_vec();
                stream.splice(0..0, record);
            }
        }
        _ => {}
    }
    *stream != before
}

struct Outcome {
    data: Vec<u8>,
    replies: Vec<u8>,
    /// No alert ended it, and nothing of a record is left.
    is_sound: bool,
}

/// Feeds the stream in parts. Between two of them `moves` says whether the connection goes
/// to another process.
fn receive(mut server: Records, stream: &[u8], moves: &mut impl FnMut() -> bool) -> Outcome {
    let (mut data, mut replies, mut kept) = (Vec::new(), Vec::new(), Vec::new());
    for part in stream.chunks(stream.len() / 7 + 1) {
        kept.extend_from_slice(part);
        let Ok(opened) = server.open(&mut kept, 0, &mut replies) else {
            let is_sound = false;
            return Outcome {
                data,
                replies,
                is_sound,
            };
        };
        assert!(opened.plaintext_end <= opened.rest && opened.rest <= kept.len());
        data.extend_from_slice(&kept[..opened.plaintext_end]);
        kept.drain(..opened.rest);
        if opened.end.is_some() {
            let is_sound = true;
            return Outcome {
                data,
                replies,
                is_sound,
            };
        }
        if moves() {
            let state = server.export().expect("it is not over");
            server = Records::import(&state).expect("a state");
        }
    }
    let is_sound = kept.is_empty();
    Outcome {
        data,
        replies,
        is_sound,
    }
}
