use super::*;
use crate::content::Content;
use crate::deadlines::Wait;
use crate::errors::LocalError;
use crate::event::{Ended, Event};
use crate::exchange::ConnectionId;
use crate::peer::Peer;
use crate::progress::Progress;
use crate::settings::{ListenerSettings, WebSocketSettings};
use crate::transport::Transport;
use prefork_wire::Length;
use prefork_wire::websocket::{CloseCode, Opening};
use std::io::{Read, Write};
use std::iter::empty;
use std::os::unix::net::UnixStream;
use std::sync::Arc;

const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const POST: &[u8] = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n";
const UPGRADE: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\n\
    Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
/// A Close with code 1000, masked by zeros.
const CLOSE: &[u8] = &[0x88, 0x82, 0, 0, 0, 0, 0x03, 0xe8];

/// A connection without a reactor, and its client.
struct Bench {
    connection: Box<Connection>,
    cx: Context,
    client: UnixStream,
}

impl Bench {
    fn new() -> Self {
        let (ours, client) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        let cx = Context::new();
        let link = Link::new(
            Transport::new(ours.into(), None),
            Peer::Unix,
            ConnectionId { key: 0, serial: 1 },
            0,
            Arc::new(ListenerSettings::default()),
        );
        Bench {
            connection: Box::new(Connection::new(link, cx.clock.now_ms)),
            cx,
            client,
        }
    }

    /// Sends `bytes` as the client, and receives them.
    fn send(&mut self, bytes: &[u8]) {
        self.client.write_all(bytes).unwrap();
        self.connection.link.keep_input(&mut self.cx);
        self.connection.link.restore_input(&mut self.cx);
        assert!(matches!(
            self.connection.receive(&mut self.cx),
            Progress::Wait
        ));
    }

    fn read(&mut self) -> Progress {
        self.connection.read(&mut self.cx)
    }

    fn read_request(&mut self) -> (prefork_wire::Head, Vec<u8>) {
        match self.read() {
            Progress::Event(Event::Request { head, bytes, .. }) => (head, bytes),
            _ => panic!("no request"),
        }
    }

    fn start(&mut self, last: bool) -> Result<(), LocalError> {
        let length = Length::Known(0);
        self.connection
            .start(&mut self.cx, 0, last, 200.into(), empty(), length)
    }

    fn finish(&mut self) -> Result<u64, LocalError> {
        self.connection.finish(&mut self.cx, 0)
    }

    /// Returns what the client receives.
    fn sent(&mut self) -> String {
        self.connection.link.flush(&mut self.cx);
        let mut bytes = vec![0; 10_000];
        let len = self.client.read(&mut bytes).unwrap();
        String::from_utf8_lossy(&bytes[..len]).into_owned()
    }

    fn in_flight(&self) -> u32 {
        self.cx.load.in_flight()
    }

    fn upgraded() -> Self {
        let mut bench = Bench::new();
        bench.send(UPGRADE);
        let (head, bytes) = bench.read_request();
        let opening = Opening::read(&head, &bytes).unwrap();
        let settings = WebSocketSettings::default();
        let Bench { connection, cx, .. } = &mut bench;
        connection
            .upgrade(cx, 0, &opening, None, empty(), settings)
            .unwrap();
        bench
    }
}

#[test]
fn a_pipelined_request_waits_for_the_response_before_it() {
    let mut bench = Bench::new();
    bench.send(&GET.repeat(2));
    bench.read_request();
    assert!(matches!(bench.read(), Progress::Wait));
    assert_eq!(bench.in_flight(), 1);
    bench.start(false).unwrap();
    assert!(matches!(bench.read(), Progress::Wait));
    bench.finish().unwrap();
    assert_eq!(bench.in_flight(), 0);
    bench.read_request();
    assert_eq!((bench.in_flight(), bench.cx.load.counters.requests), (1, 2));
}

#[test]
fn whether_a_response_is_the_last_is_decided_with_its_head() {
    let mut bench = Bench::new();
    bench.send(GET);
    bench.read_request();
    bench.start(true).unwrap();
    assert_eq!(bench.connection.link.stage, Stage::Serving);
    bench.finish().unwrap();
    assert_eq!(bench.connection.link.stage, Stage::Finishing);
    assert!(bench.sent().contains("Connection: close"));
    // Input after the last exchange is dropped, and noted.
    bench.send(GET);
    bench.connection.link.unread = false;
    assert!(matches!(bench.read(), Progress::Wait));
    assert!(bench.connection.link.unread);
}

#[test]
fn what_is_called_out_of_turn_changes_nothing() {
    let mut bench = Bench::new();
    assert!(matches!(bench.start(false), Err(LocalError::OutOfTurn)));
    bench.send(GET);
    bench.read_request();
    assert!(matches!(bench.finish(), Err(LocalError::OutOfTurn)));
    let Bench { connection, cx, .. } = &mut bench;
    assert!(connection.collect(cx, 0).is_err() && connection.pull(cx, 0).is_err());
    assert!(
        connection
            .start(cx, 1, false, 200.into(), empty(), Length::Unknown)
            .is_err()
    );
    bench.start(false).unwrap();
    assert!(matches!(bench.start(false), Err(LocalError::OutOfTurn)));
    bench.finish().unwrap();
    assert!(matches!(bench.finish(), Err(LocalError::OutOfTurn)));
    assert_eq!(bench.in_flight(), 0);
    assert_eq!(bench.sent().matches("HTTP/1.1 200").count(), 1);
}

#[test]
fn a_body_that_was_not_read_makes_a_response_the_last() {
    let mut bench = Bench::new();
    bench.send(POST);
    bench.read_request();
    assert_eq!(bench.in_flight(), 0, "the application has not begun");
    bench.start(false).unwrap();
    bench.finish().unwrap();
    assert_eq!(bench.connection.link.stage, Stage::Finishing);
    assert!(bench.connection.link.unread);
    assert!(bench.sent().contains("Connection: close"));
}

#[test]
fn a_body_that_is_not_waited_for_any_more_may_take_its_time() {
    let mut bench = Bench::new();
    bench.send(POST);
    bench.read_request();
    let Bench { connection, cx, .. } = &mut bench;
    connection.begin_pulling(cx, 0, false).unwrap();
    connection.pull(cx, 0).unwrap();
    assert!(connection.reads());
    assert!(matches!(connection.waits_for(), Wait::Body { .. }));
    connection.hold_body(cx, 0);
    assert!(!connection.reads());
    assert!(matches!(connection.waits_for(), Wait::Application { .. }));
}

#[test]
fn a_body_is_collected_over_several_reads() {
    let mut bench = Bench::new();
    bench.send(POST);
    bench.read_request();
    bench.connection.collect(&mut bench.cx, 0).unwrap();
    bench.send(b"123");
    assert!(matches!(bench.read(), Progress::Wait));
    bench.send(b"45");
    let Progress::Event(Event::Body { body: Ok(body), .. }) = bench.read() else {
        panic!("no body");
    };
    assert_eq!((body.len(), bench.in_flight()), (5, 1));
    bench.start(false).unwrap();
    bench.finish().unwrap();
    assert_eq!(bench.connection.link.stage, Stage::Serving);
}

#[test]
fn what_breaks_the_rules_is_in_flight_until_it_is_rejected() {
    let mut bench = Bench::new();
    bench.send(b"nonsense\r\n\r\n");
    let Progress::Event(Event::Malformed {
        error, line: None, ..
    }) = bench.read()
    else {
        panic!("no error");
    };
    assert_eq!((bench.in_flight(), bench.cx.load.counters.requests), (1, 0));
    assert!(bench.connection.reject(&mut bench.cx, 0, &error));
    assert!(!bench.connection.reject(&mut bench.cx, 0, &error));
    assert_eq!(bench.in_flight(), 0);
    assert!(bench.sent().starts_with("HTTP/1.1 400"));
}

#[test]
fn the_exchange_is_told_before_the_connection_and_only_if_it_waits() {
    for (waits, expected) in [(true, "gone closed"), (false, "closed")] {
        let mut bench = Bench::new();
        bench.send(GET);
        bench.read_request();
        bench.connection.wants_closed = true;
        assert!(bench.connection.want_gone(0, waits));
        let Bench {
            connection, mut cx, ..
        } = bench;
        connection.close(&mut cx, None);
        assert_eq!(cx.load.in_flight(), 0);
        let reported: Vec<&str> = cx
            .events
            .iter()
            .map(|event| match event {
                Event::Gone { .. } => "gone",
                Event::Closed(_) => "closed",
                _ => "another",
            })
            .collect();
        assert_eq!(reported.join(" "), expected);
    }
}

#[test]
fn a_websocket_ends_once_for_its_application() {
    let mut bench = Bench::upgraded();
    assert_eq!(bench.in_flight(), 1);
    let Bench { connection, cx, .. } = &mut bench;
    let code = CloseCode::GOING_AWAY;
    connection.close_websocket(cx, 0, code, "").unwrap();
    assert!(connection.close_websocket(cx, 0, code, "").is_err());
    assert!(
        connection
            .send(cx, 0, true, Content::Copied(b"late"))
            .is_err()
    );
    assert!(matches!(connection.waits_for(), Wait::Reader));
    bench.sent();
    assert!(matches!(bench.connection.waits_for(), Wait::Close { .. }));
    bench.send(CLOSE);
    assert!(matches!(bench.read(), Progress::Wait));
    assert_eq!(bench.connection.link.stage, Stage::Finishing);
    let Bench {
        connection, mut cx, ..
    } = bench;
    connection.close(&mut cx, Some("what is not missed any more"));
    assert_eq!(cx.load.in_flight(), 0);
    assert!(matches!(
        cx.events.make_contiguous(),
        [Event::Ended(Ended { code: 1001, .. })]
    ));
}

#[test]
fn a_websocket_that_is_lost_has_ended_abnormally() {
    let Bench {
        connection, mut cx, ..
    } = Bench::upgraded();
    connection.close(&mut cx, Some("lost"));
    assert!(matches!(
        cx.events.make_contiguous(),
        [
            Event::Ended(Ended { code: 1006, .. }),
            Event::Gone { .. },
            Event::Closed(_)
        ]
    ));
}

#[test]
fn a_large_head_that_comes_byte_by_byte_is_not_copied() {
    let mut bench = Bench::new();
    let field = format!("X: {}\r\n", "v".repeat(1_000));
    let head = format!("GET / HTTP/1.1\r\nHost: a\r\n{}X: ", field.repeat(50));
    bench.send(head.as_bytes());
    assert!(matches!(bench.read(), Progress::Wait));
    let mut kept = Vec::new();
    for _ in 0..100 {
        bench.send(b"v"); // it keeps the input of the last share, and restores it
        assert!(matches!(bench.read(), Progress::Wait));
        kept.push(bench.cx.work.bytes.as_ptr());
    }
    kept.dedup();
    assert!(kept.len() < 4, "copied {} times", kept.len());
    bench.send(b"\r\n\r\n");
    let (_, bytes) = bench.read_request();
    assert_eq!(
        bytes,
        format!("{head}{}\r\n\r\n", "v".repeat(100)).into_bytes()
    );
    bench.connection.link.keep_input(&mut bench.cx);
    assert_eq!(bench.connection.link.input.capacity(), 0);
}

#[test]
fn what_is_left_of_the_input_is_kept() {
    let mut bench = Bench::new();
    bench.send(&GET[..10]);
    assert!(matches!(bench.read(), Progress::Wait));
    bench.send(&[&GET[10..], &GET.repeat(2)].concat());
    for _ in 0..3 {
        bench.read_request();
        bench.start(false).unwrap();
        bench.finish().unwrap();
        bench.connection.link.keep_input(&mut bench.cx);
        bench.connection.link.restore_input(&mut bench.cx);
    }
    assert!(matches!(bench.read(), Progress::Wait));
    assert!(bench.connection.link.input.is_empty());
}

// ---- another worker ------------------------------------------------------------------

#[test]
fn another_worker_reads_a_head_from_its_beginning_and_gives_it_no_more_time() {
    let mut bench = Bench::new();
    bench.send(b"GET / HT");
    assert!(matches!(bench.read(), Progress::Wait));
    bench.connection.link.keep_input(&mut bench.cx);
    let connection = &bench.connection;
    assert!(connection.may_move() && connection.is_in_head());
    let timeout_ms = connection.link.settings.header_timeout_ms;
    let input = connection.link.input.clone();
    let mut other = Bench::new();
    other
        .connection
        .resume(connection.requests(), timeout_ms + 7, true, input);
    let since_ms = 7;
    assert_eq!(other.connection.waits_for(), Wait::Head { since_ms });
    assert!(!other.connection.has_backlog());
    other.connection.link.restore_input(&mut other.cx);
    other.send(b"TP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(other.read_request().1, GET);
}

#[test]
fn requests_that_were_read_are_a_backlog_in_another_worker() {
    let mut bench = Bench::new();
    bench.connection.link.input = [GET, GET].concat();
    assert!(bench.connection.has_backlog() && bench.connection.may_move());
    bench
        .connection
        .link
        .output
        .append(&mut bench.cx.buffers, |out| out.push(b'x'));
    assert!(
        !bench.connection.may_move(),
        "the socket has not taken its output"
    );
}
