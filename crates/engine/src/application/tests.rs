use super::*;
use crate::connection::Connection;
use crate::deadlines::Wait;
use crate::link::Link;
use crate::settings::{ListenerSettings, WebSocketSettings};
use crate::transport::Transport;
use prefork_wire::websocket::{CloseCode, Opening};
use std::io::Write;
use std::iter::empty;
use std::os::unix::net::UnixStream;
use std::sync::Arc;

const LONG_MS: u64 = 1_000_000;

/// The time of the last tick was so long ago, or when the machine began if that was later.
fn age(core: &mut Core) {
    let clock = &mut core.cx.clock;
    clock.now_ms = clock.now_ms.saturating_sub(LONG_MS);
}

/// An exchange whose request was read so long ago, and its client.
fn stale(request: &[u8]) -> (Core, ExchangeId, UnixStream) {
    let mut core = Core::new().unwrap();
    let (ours, mut client) = UnixStream::pair().unwrap();
    client.write_all(request).unwrap();
    let connection = core.connections.reserve();
    let settings = Arc::new(ListenerSettings::default());
    let link = Link::new(
        Transport::new(ours.into(), None),
        Peer::Unix,
        connection,
        0,
        settings,
    );
    core.connections.insert(Connection::new(link, 0));
    age(&mut core);
    let Core {
        connections, cx, ..
    } = &mut core;
    let open = connections.find_mut(connection).unwrap();
    open.link.restore_input(cx);
    open.receive(cx);
    open.read(cx);
    (core, ExchangeId::only(connection), client)
}

fn waits_for(core: &Core, id: ExchangeId) -> Wait {
    core.connections.find(id.connection).unwrap().waits_for()
}

#[test]
fn the_pace_of_a_body_is_measured_from_when_it_is_asked_for() {
    let head = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n";
    let begins: [fn(&mut ExchangeHandle<'_>); 2] = [
        |exchange| exchange.collect().unwrap(),
        |exchange| {
            exchange.begin_pulling().unwrap();
            exchange.pull().unwrap();
        },
    ];
    for begin in begins {
        let (mut core, id, _client) = stale(head);
        begin(&mut ExchangeHandle::new(&mut core, id));
        let Wait::Body { due_ms } = waits_for(&core, id) else {
            panic!("no body");
        };
        assert!(due_ms > core.cx.clock.read_ms());
    }
}

#[test]
fn the_times_of_a_websocket_are_those_of_its_calls() {
    let request = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\n\
        Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    let (mut core, id, _client) = stale(request);
    let now_ms = core.cx.clock.read_ms();
    let mut parser = prefork_wire::HeadParser::default();
    let limits = prefork_wire::Limits::default();
    let (head, _) = parser.parse(request, &limits).unwrap().unwrap();
    let opening = Opening::read(&head, request).unwrap();
    let settings = WebSocketSettings::default();
    let mut exchange = ExchangeHandle::new(&mut core, id);
    exchange.upgrade(&opening, None, empty(), settings).unwrap();
    core.flush(id.connection.key);
    let Wait::Frame { due_ms } = waits_for(&core, id) else {
        panic!("no WebSocket");
    };
    assert!(due_ms >= now_ms + settings.ping_interval_ms);
    age(&mut core);
    let mut exchange = ExchangeHandle::new(&mut core, id);
    exchange.close_websocket(CloseCode::GOING_AWAY, "").unwrap();
    core.flush(id.connection.key);
    let Wait::Close { until_ms } = waits_for(&core, id) else {
        panic!("no closing handshake");
    };
    assert!(until_ms > now_ms);
}

#[test]
fn a_response_has_the_date_of_its_head() {
    let (mut core, _, _client) = stale(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let (first, began) = (core.cx.clock.date(), std::time::Instant::now());
    while core.cx.clock.date() == first {
        assert!(
            began.elapsed().as_secs() < 10,
            "no turn was needed for that"
        );
    }
}
