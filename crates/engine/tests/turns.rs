//! What one turn does and what it leaves to the next; who ends a wait.
#![cfg(test)]

use prefork_engine::{Content, Event, ExchangeId, ListenerSettings, Reactor};
use prefork_wire::Length;
use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";

struct Desk {
    engine: Reactor,
    path: std::path::PathBuf,
    _directory: tempfile::TempDir,
}

impl Desk {
    fn new(keep_alive_timeout_ms: u64) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("socket");
        let listener = UnixListener::bind(&path).unwrap();
        listener.set_nonblocking(true).unwrap();
        let mut engine = Reactor::new().unwrap();
        let settings = ListenerSettings {
            keep_alive_timeout_ms,
            body_min_rate: 1_000,
            ..ListenerSettings::default()
        };
        engine.listen(listener.into(), settings).unwrap();
        Desk {
            engine,
            path,
            _directory: directory,
        }
    }

    fn client(&self) -> UnixStream {
        UnixStream::connect(&self.path).unwrap()
    }

    /// One turn: what `react` is given is all that happens in it.
    fn turn(&mut self, mut react: impl FnMut(&mut Reactor, Event)) {
        let wait_ms = self.engine.prepare();
        let waiter = self.engine.waiter();
        let mut reports = Vec::new();
        waiter.wait(wait_ms.map(timespec).as_ref(), &mut reports);
        self.engine.woken(&reports);
        while let Some(event) = self.engine.next_event() {
            react(&mut self.engine, event);
        }
        self.engine.end_turn();
    }

    /// Turns until there is a request, which is left unanswered.
    fn request(&mut self) -> ExchangeId {
        let mut asked = None;
        while asked.is_none() {
            self.turn(|_, event| {
                if let Event::Request { client, .. } = event {
                    let conn = client.exchange;
                    asked = Some(conn);
                }
            });
        }
        asked.unwrap()
    }
}

fn timespec(ms: u64) -> rustix::time::Timespec {
    rustix::time::Timespec {
        tv_sec: (ms / 1000) as i64,
        tv_nsec: (ms % 1000 * 1_000_000) as _,
    }
}

fn answer(engine: &mut Reactor, exchange: ExchangeId) {
    let none = std::iter::empty();
    engine
        .exchange(exchange)
        .respond(200, none, Content::Copied(b"fine"))
        .unwrap();
}

#[test]
fn a_stream_moves_by_one_piece_a_turn_however_fast_it_is() {
    let mut desk = Desk::new(10_000);
    let mut client = desk.client();
    client.write_all(GET).unwrap();
    let conn = desk.request();
    let start = |engine: &mut Reactor| {
        engine
            .exchange(conn)
            .start(200, std::iter::empty(), Length::Unknown)
    };
    start(&mut desk.engine).unwrap();
    assert!(desk.engine.exchange(conn).tell_drained());
    for _ in 0..5 {
        let mut drained = 0;
        desk.turn(|engine, event| {
            assert!(matches!(event, Event::Drained { .. }));
            drained += 1;
            engine
                .exchange(conn)
                .write(Content::Copied(b"piece"))
                .unwrap();
            engine.exchange(conn).tell_drained();
        });
        assert_eq!(drained, 1);
    }
}

#[test]
fn a_client_brings_its_share_of_requests_a_turn_and_the_next_client_is_served_in_it() {
    let mut desk = Desk::new(10_000);
    let (mut greedy, mut modest) = (desk.client(), desk.client());
    greedy.write_all(&GET.repeat(100)).unwrap();
    modest.write_all(GET).unwrap();
    let mut turns = Vec::new();
    while turns.iter().sum::<usize>() < 101 {
        let mut requests = 0;
        desk.turn(|engine, event| {
            if let Event::Request { client, .. } = event {
                let conn = client.exchange;
                requests += 1;
                answer(engine, conn);
            }
        });
        turns.push(requests);
    }
    assert_eq!(turns, [33, 32, 32, 4]);
}

#[test]
fn an_answer_from_another_thread_ends_the_wait() {
    let mut desk = Desk::new(60_000);
    let mut client = desk.client();
    client.write_all(GET).unwrap();
    let conn = desk.request();
    let waiter = desk.engine.waiter();
    let engine = Arc::new(Mutex::new(desk.engine));
    engine.lock().unwrap().prepare();
    let other = {
        let engine = Arc::clone(&engine);
        std::thread::spawn(move || answer(&mut engine.lock().unwrap(), conn))
    };
    let mut reports = Vec::new();
    let began = Instant::now();
    waiter.wait(Some(&timespec(10_000)), &mut reports);
    assert!(began.elapsed() < Duration::from_secs(5));
    other.join().unwrap();
    let mut engine = engine.lock().unwrap();
    engine.woken(&reports);
    assert!(engine.next_event().is_none());
    let mut received = [0; 15];
    client.read_exact(&mut received).unwrap();
    assert_eq!(&received, b"HTTP/1.1 200 OK");
}

#[test]
fn one_thread_alone_never_wakes_itself() {
    let mut desk = Desk::new(10_000);
    let mut client = desk.client();
    client.write_all(GET).unwrap();
    let conn = desk.request();
    answer(&mut desk.engine, conn);
    assert_eq!(desk.engine.prepare(), Some(0), "there is an answer to send");
    let mut reports = Vec::new();
    desk.engine.waiter().wait(Some(&timespec(0)), &mut reports);
    assert!(reports.is_empty(), "and no system call was made for it");
}

#[test]
fn what_happens_outside_of_a_turn_ends_the_wait() {
    let mut desk = Desk::new(10_000);
    let mut client = desk.client();
    client.write_all(GET).unwrap();
    let conn = desk.request();
    assert!(desk.engine.exchange(conn).tell_gone(true));
    assert!(desk.engine.connection(conn.connection).tell_closed());
    desk.engine.exchange(conn).abort(None);
    assert_eq!(desk.engine.prepare(), Some(0));
    let mut heard = Vec::new();
    desk.turn(|_, event| match event {
        Event::Gone { exchange } => heard.push(exchange),
        Event::Closed { connection, .. } => heard.push(ExchangeId {
            connection,
            stream: 1,
        }),
        _ => {}
    });
    let closed = ExchangeId { stream: 1, ..conn };
    assert_eq!(
        heard,
        [conn, closed],
        "first the exchange, then its connection"
    );
}

#[test]
fn a_complete_response_has_no_client_to_lose() {
    let mut desk = Desk::new(10_000);
    let mut client = desk.client();
    client.write_all(GET).unwrap();
    let conn = desk.request();
    assert!(desk.engine.exchange(conn).tell_gone(true));
    answer(&mut desk.engine, conn);
    assert!(!desk.engine.exchange(conn).tell_gone(true));
    assert!(desk.engine.connection(conn.connection).tell_closed());
    desk.turn(|_, _| {});
    drop(client);
    let mut events = 0;
    desk.turn(|_, event| {
        events += 1;
        assert!(matches!(event, Event::Closed { .. }));
    });
    assert_eq!(events, 1);
}

/// Both are found in one turn: the client asks, and its time is up.
#[test]
fn a_request_that_comes_at_the_last_moment_is_not_judged_by_the_old_deadline() {
    for ask in [
        &b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n"[..],
        b"GET / HTTP/1.1\r\nHo",
        GET,
    ] {
        let mut desk = Desk::new(1);
        let mut client = desk.client();
        client.write_all(GET).unwrap();
        let conn = desk.request();
        answer(&mut desk.engine, conn);
        desk.turn(|_, _| {});
        std::thread::sleep(Duration::from_millis(400));
        client.write_all(ask).unwrap();
        desk.turn(|engine, event| match event {
            Event::Request { client, .. } => drop(engine.exchange(client.exchange).collect()),
            Event::Malformed { .. } => panic!("timed out at once"),
            _ => {}
        });
        assert_eq!(desk.engine.connections(), 1);
    }
}
