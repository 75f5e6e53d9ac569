//! A panic during the share of one connection closes only that connection.
#![cfg(test)]

use prefork_engine::{COPY_LIMIT, Closed, Content, Event, ListenerSettings, Reactor};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// A body that panics when it is read, once it is armed.
struct PanickingBody(Vec<u8>, Arc<AtomicBool>);

impl AsRef<[u8]> for PanickingBody {
    fn as_ref(&self) -> &[u8] {
        assert!(!self.1.load(Ordering::Relaxed), "boom");
        &self.0
    }
}

/// Takes turns until a request comes, and responds with `content`.
fn respond_one(engine: &mut Reactor, content: Content<'_>) {
    loop {
        engine.prepare();
        let mut reports = Vec::new();
        engine.waiter().wait(None, &mut reports).unwrap();
        engine.woken(&reports);
        while let Some(event) = engine.next_event() {
            if let Event::Request { client, .. } = event {
                let exchange = client.exchange;
                engine
                    .exchange(exchange)
                    .respond(200, std::iter::empty(), content)
                    .unwrap();
                return;
            }
        }
    }
}

fn ask(client: &mut TcpStream) {
    client
        .write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        .unwrap();
}

#[test]
fn the_connection_that_panicked_is_closed_and_the_others_are_served() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    let mut engine = Reactor::new().unwrap();
    engine
        .listen(listener.into(), ListenerSettings::default(), None)
        .unwrap();

    let mut client = TcpStream::connect(address).unwrap();
    ask(&mut client);
    let armed = Arc::new(AtomicBool::new(false));
    let body = PanickingBody(vec![0; COPY_LIMIT + 1], Arc::clone(&armed));
    respond_one(&mut engine, Content::Kept(Box::new(body)));
    armed.store(true, Ordering::Relaxed);
    assert!(catch_unwind(AssertUnwindSafe(|| engine.next_event())).is_err());
    engine.abort_current();
    assert!(matches!(
        engine.next_event(),
        Some(Event::Closed(Closed {
            interrupted: Some("an error of the server"),
            ..
        }))
    ));
    assert!(engine.next_event().is_none());
    assert_eq!((engine.connections(), engine.in_flight()), (0, 0));
    assert_eq!(client.read(&mut [0; 10]).unwrap(), 0);

    let mut other = TcpStream::connect(address).unwrap();
    ask(&mut other);
    respond_one(&mut engine, Content::Copied(b"fine"));
    assert!(engine.next_event().is_none());
    let mut response = String::new();
    other.read_to_string(&mut response).unwrap();
    assert!(response.ends_with("\r\n\r\nfine"), "{response}");
}
