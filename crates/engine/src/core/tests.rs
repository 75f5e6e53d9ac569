//! A connection whose key is nearly worn: 2^23 records are too many for a test to send, so it comes from another
//! worker that has.

use crate::content::Content;
use crate::event::Event;
use crate::handoff::queue::Metadata;
use crate::peer::Peer;
use crate::reactor::Reactor;
use crate::settings::ListenerSettings;
use prefork_tls::{Cipher, Records, Session, Suite, Version};
use rustix::time::Timespec;
use std::io::{IoSlice, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
/// RFC 8446, section 5.5, halved.
const LIMIT: u64 = 1 << 23;
const SUITE: Suite = Suite::Aes128Gcm;
const CLIENT: [u8; 32] = [1; 32];
const SERVER: [u8; 32] = [2; 32];

fn connection() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    client
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    (client, listener.accept().unwrap().0)
}

fn adopted(sent: u64) -> Metadata {
    let cipher = Cipher::of_number(0x1301).unwrap();
    let keys = Records::state_of(SUITE, (&CLIENT, 0), (&SERVER, sent)).unwrap();
    Metadata {
        listener: 0,
        requests: 1,
        due_ms: u64::MAX / 2,
        is_in_head: false,
        peer: Peer::Unknown,
        extensions: None,
        is_new: false,
        lent: None,
        session: Some(Arc::new(Session::new(Version::Tls13, cipher))),
        keys: Some(Box::new(keys)),
        undecoded: Vec::new(),
        input: Vec::new(),
    }
}

/// Responds to one request.
fn serve_one(engine: &mut Reactor) {
    let mut served = false;
    while !served {
        let mut reports = Vec::new();
        let most = Timespec {
            tv_sec: 0,
            tv_nsec: 10_000_000,
        };
        engine.prepare();
        engine.waiter().wait(Some(&most), &mut reports).unwrap();
        engine.woken(&reports);
        while let Some(event) = engine.next_event() {
            if let Event::Request { client, .. } = event {
                let none = std::iter::empty();
                let mut exchange = engine.exchange(client.exchange);
                exchange
                    .respond(200, none, Content::Copied(b"fine"))
                    .unwrap();
                served = true;
            }
        }
        engine.end_turn();
    }
}

#[test]
fn a_key_is_updated_before_its_limit_and_the_client_reads_on() {
    let mut engine = Reactor::new().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let settings = ListenerSettings::default();
    engine.listen(listener.into(), settings, None).unwrap();
    let (mut stream, socket) = connection();
    let adopted = engine.core.adopt(socket.into(), 0, adopted(LIMIT - 2));
    assert!(adopted.is_some());
    // What the server sends is what this side receives.
    let mut client = Records::new(SUITE, (&SERVER, LIMIT - 2), (&CLIENT, 0)).unwrap();
    let mut lengths = Vec::new();
    for _ in 0..4 {
        let mut request = Vec::new();
        client
            .seal(&[IoSlice::new(GET)], usize::MAX, &mut request)
            .unwrap();
        stream.write_all(&request).unwrap();
        serve_one(&mut engine);
        let mut received = vec![0; 4096];
        let length = stream.read(&mut received).unwrap();
        received.truncate(length);
        lengths.push(length);
        let opened = client.open(&mut received, 0, &mut Vec::new()).unwrap();
        assert_eq!(opened.rest, length);
        assert!(received[..opened.plaintext_end].ends_with(b"fine"));
    }
    let update = 5 + 5 + 1 + 16;
    let without = lengths[0];
    assert_eq!(
        lengths,
        [without, without, without + update, without],
        "the third response comes behind a KeyUpdate"
    );
}
