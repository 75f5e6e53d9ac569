//! What one turn does, what it leaves to the next one, and what ends a wait.
#![cfg(test)]

use prefork_engine::{Content, Event, ExchangeId, ListenerSettings, Reactor};
use prefork_wire::Length;
use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";

struct Server {
    engine: Reactor,
    path: std::path::PathBuf,
    _directory: tempfile::TempDir,
}

impl Server {
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
        engine.listen(listener.into(), settings, None).unwrap();
        Server {
            engine,
            path,
            _directory: directory,
        }
    }

    fn client(&self) -> UnixStream {
        UnixStream::connect(&self.path).unwrap()
    }

    /// One turn: passes each event to `react`.
    fn turn(&mut self, mut react: impl FnMut(&mut Reactor, Event)) {
        let wait_ms = self.engine.prepare();
        let waiter = self.engine.waiter();
        let mut reports = Vec::new();
        waiter
            .wait(wait_ms.map(timespec).as_ref(), &mut reports)
            .unwrap();
        self.engine.woken(&reports);
        while let Some(event) = self.engine.next_event() {
            react(&mut self.engine, event);
        }
        self.engine.end_turn();
    }

    /// Takes turns until a request comes, and does not respond to it.
    fn request(&mut self) -> ExchangeId {
        let mut asked = None;
        while asked.is_none() {
            self.turn(|_, event| {
                if let Event::Request { client, .. } = event {
                    let exchange = client.exchange;
                    asked = Some(exchange);
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

fn respond(engine: &mut Reactor, exchange: ExchangeId) {
    let none = std::iter::empty();
    engine
        .exchange(exchange)
        .respond(200, none, Content::Copied(b"fine"))
        .unwrap();
}

#[test]
fn a_stream_moves_by_one_part_a_turn_however_fast_it_is() {
    let mut server = Server::new(10_000);
    let mut client = server.client();
    client.write_all(GET).unwrap();
    let exchange = server.request();
    let start = |engine: &mut Reactor| {
        engine
            .exchange(exchange)
            .start(200, std::iter::empty(), Length::Unknown)
    };
    start(&mut server.engine).unwrap();
    assert!(server.engine.exchange(exchange).want_drained());
    for _ in 0..5 {
        let mut drained = 0;
        server.turn(|engine, event| {
            assert!(matches!(event, Event::Drained { .. }));
            drained += 1;
            engine
                .exchange(exchange)
                .write(Content::Copied(b"part"))
                .unwrap();
            engine.exchange(exchange).want_drained();
        });
        assert_eq!(drained, 1);
    }
}

#[test]
fn a_client_brings_its_share_of_requests_a_turn_and_the_next_client_is_served_in_it() {
    let mut server = Server::new(10_000);
    let (mut greedy, mut modest) = (server.client(), server.client());
    greedy.write_all(&GET.repeat(100)).unwrap();
    modest.write_all(GET).unwrap();
    let mut turns = Vec::new();
    while turns.iter().sum::<usize>() < 101 {
        let mut requests = 0;
        server.turn(|engine, event| {
            if let Event::Request { client, .. } = event {
                let exchange = client.exchange;
                requests += 1;
                respond(engine, exchange);
            }
        });
        turns.push(requests);
    }
    assert_eq!(turns, [33, 32, 32, 4]);
}

#[test]
fn a_response_from_another_thread_ends_the_wait() {
    let mut server = Server::new(60_000);
    let mut client = server.client();
    client.write_all(GET).unwrap();
    let exchange = server.request();
    let waiter = server.engine.waiter();
    let engine = Arc::new(Mutex::new(server.engine));
    engine.lock().unwrap().prepare();
    let other = {
        let engine = Arc::clone(&engine);
        std::thread::spawn(move || respond(&mut engine.lock().unwrap(), exchange))
    };
    let mut reports = Vec::new();
    let began = Instant::now();
    waiter.wait(Some(&timespec(10_000)), &mut reports).unwrap();
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
    let mut server = Server::new(10_000);
    let mut client = server.client();
    client.write_all(GET).unwrap();
    let exchange = server.request();
    respond(&mut server.engine, exchange);
    assert_eq!(
        server.engine.prepare(),
        Some(0),
        "there is a response to send"
    );
    let mut reports = Vec::new();
    server
        .engine
        .waiter()
        .wait(Some(&timespec(0)), &mut reports)
        .unwrap();
    assert!(reports.is_empty(), "and no system call was made for it");
}

#[test]
fn what_happens_outside_of_a_turn_ends_the_wait() {
    let mut server = Server::new(10_000);
    let mut client = server.client();
    client.write_all(GET).unwrap();
    let exchange = server.request();
    assert!(server.engine.exchange(exchange).want_gone(true));
    assert!(server.engine.connection(exchange.connection).want_closed());
    server.engine.exchange(exchange).abort(None);
    assert_eq!(server.engine.prepare(), Some(0));
    let mut events = Vec::new();
    server.turn(|_, event| match event {
        Event::Gone { exchange, .. } => events.push(exchange),
        Event::Closed(closed) => events.push(ExchangeId {
            connection: closed.connection,
            stream: 1,
        }),
        _ => {}
    });
    let closed = ExchangeId {
        stream: 1,
        ..exchange
    };
    assert_eq!(
        events,
        [exchange, closed],
        "first the exchange, then its connection"
    );
}

#[test]
fn a_complete_response_has_no_client_to_lose() {
    let mut server = Server::new(10_000);
    let mut client = server.client();
    client.write_all(GET).unwrap();
    let exchange = server.request();
    assert!(server.engine.exchange(exchange).want_gone(true));
    respond(&mut server.engine, exchange);
    assert!(!server.engine.exchange(exchange).want_gone(true));
    assert!(server.engine.connection(exchange.connection).want_closed());
    server.turn(|_, _| {});
    drop(client);
    let mut events = 0;
    server.turn(|_, event| {
        events += 1;
        assert!(matches!(event, Event::Closed(_)));
    });
    assert_eq!(events, 1);
}

/// One turn finds both: a request, and the deadline of its connection.
#[test]
fn a_request_that_comes_at_the_last_moment_is_not_judged_by_the_old_deadline() {
    for ask in [
        &b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n"[..],
        b"GET / HTTP/1.1\r\nHo",
        GET,
    ] {
        let mut server = Server::new(1);
        let mut client = server.client();
        client.write_all(GET).unwrap();
        let exchange = server.request();
        respond(&mut server.engine, exchange);
        server.turn(|_, _| {});
        std::thread::sleep(Duration::from_millis(400));
        client.write_all(ask).unwrap();
        server.turn(|engine, event| match event {
            Event::Request { client, .. } => drop(engine.exchange(client.exchange).collect()),
            Event::Malformed { .. } => panic!("timed out at once"),
            _ => {}
        });
        assert_eq!(server.engine.connections(), 1);
    }
}

// ---- while the application cannot be called ----------------------------------------

/// Takes a turn that does not wait. Returns how many requests came; each gets a
/// response.
fn turn_at_once(server: &mut Server) -> usize {
    server.engine.wake();
    let mut requests = 0;
    let mut reports = Vec::new();
    server.engine.prepare();
    server
        .engine
        .waiter()
        .wait(Some(&timespec(20)), &mut reports)
        .unwrap();
    server.engine.woken(&reports);
    while let Some(event) = server.engine.next_event() {
        match event {
            Event::Request { client, head, .. } => match head.framing {
                prefork_wire::Framing::None => {
                    requests += 1;
                    respond(&mut server.engine, client.exchange);
                }
                _ => server.engine.exchange(client.exchange).collect().unwrap(),
            },
            Event::Body { exchange, body } => {
                requests += 1;
                assert_eq!(body.unwrap().len(), 6);
                respond(&mut server.engine, exchange);
            }
            _ => {}
        }
    }
    server.engine.end_turn();
    requests
}

#[test]
fn while_the_application_is_occupied_no_request_begins_and_none_is_lost() {
    let mut server = Server::new(10_000);
    let (mut kept, mut pipelines, mut upload) = (server.client(), server.client(), server.client());
    kept.write_all(GET).unwrap();
    pipelines.write_all(&GET.repeat(40)).unwrap();
    upload
        .write_all(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\nabc")
        .unwrap();
    // Of the pipelined requests 32 are read in a turn: the others are in user space.
    assert_eq!(turn_at_once(&mut server), 33);
    server.engine.set_occupied(true);
    let mut new = server.client();
    new.write_all(GET).unwrap();
    kept.write_all(GET).unwrap();
    upload.write_all(b"def").unwrap();
    for _ in 0..4 {
        assert_eq!(turn_at_once(&mut server), 0);
    }
    assert!(server.engine.prepare() > Some(0), "it does not spin");
    server.engine.set_occupied(false);
    assert_eq!(server.engine.prepare(), Some(0));
    let mut served = 0;
    while served < 11 {
        served += turn_at_once(&mut server);
    }
    assert_eq!(served, 11);
}

#[test]
fn a_client_that_waits_for_the_application_is_not_closed_as_idle() {
    let mut server = Server::new(300);
    let mut client = server.client();
    client.write_all(GET).unwrap();
    assert_eq!(turn_at_once(&mut server), 1);
    server.engine.set_occupied(true);
    client.write_all(GET).unwrap();
    let began = Instant::now();
    while began.elapsed() < Duration::from_millis(900) {
        assert_eq!(turn_at_once(&mut server), 0);
    }
    assert_eq!(server.engine.connections(), 1);
    server.engine.set_occupied(false);
    assert_eq!(turn_at_once(&mut server), 1);
}

#[test]
fn an_upload_that_waits_for_the_application_is_not_too_slow() {
    let mut server = Server::new(10_000);
    let mut client = server.client();
    client
        .write_all(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\n")
        .unwrap();
    assert_eq!(turn_at_once(&mut server), 0);
    server.engine.set_occupied(true);
    client.write_all(b"abc").unwrap();
    let began = Instant::now();
    while began.elapsed() < Duration::from_millis(5_500) {
        assert_eq!(turn_at_once(&mut server), 0);
    }
    server.engine.set_occupied(false);
    client.write_all(b"def").unwrap();
    assert_eq!(turn_at_once(&mut server), 1);
}

#[test]
fn no_more_requests_begin_than_the_application_can_serve() {
    let mut server = Server::new(10_000);
    server.engine.set_capacity(1);
    let (mut first, mut second) = (server.client(), server.client());
    first.write_all(GET).unwrap();
    let exchange = server.request();
    second.write_all(GET).unwrap();
    assert_eq!(turn_at_once(&mut server), 0);
    respond(&mut server.engine, exchange);
    assert_eq!(turn_at_once(&mut server), 1);
}

#[test]
fn a_client_that_leaves_is_seen_while_the_application_is_occupied() {
    let mut server = Server::new(10_000);
    let (mut idle, mut waits) = (server.client(), server.client());
    for client in [&mut idle, &mut waits] {
        client.write_all(GET).unwrap();
        while turn_at_once(&mut server) == 0 {}
    }
    server.engine.set_occupied(true);
    waits.write_all(GET).unwrap();
    turn_at_once(&mut server);
    drop((idle, waits));
    turn_at_once(&mut server);
    assert_eq!(server.engine.connections(), 0);
}

/// A handler of 1.5 s for the first client, while the connections may idle for 1 s.
#[test]
fn a_connection_idles_from_its_response_on_and_not_from_the_beginning_of_the_turn() {
    let mut server = Server::new(1_000);
    let mut clients = [server.client(), server.client()];
    for client in &mut clients {
        client.write_all(GET).unwrap();
        let exchange = server.request();
        respond(&mut server.engine, exchange);
    }
    server.turn(|_, _| {});
    for client in &mut clients {
        client.write_all(GET).unwrap();
    }
    let mut handled = 0;
    server.turn(|engine, event| {
        if let Event::Request { client, .. } = event {
            handled += 1;
            std::thread::sleep(Duration::from_millis(if handled == 1 { 1_500 } else { 0 }));
            respond(engine, client.exchange);
        }
    });
    assert_eq!(handled, 2);
    server.turn(|_, _| {});
    assert_eq!(server.engine.connections(), 2);
}

/// The first client's handler takes long, and the second one has idled for long enough.
#[test]
fn a_silent_connection_is_closed_before_a_handler_runs_and_not_with_its_next_request_unread() {
    let mut server = Server::new(300);
    let mut idle = server.client();
    idle.write_all(GET).unwrap();
    let exchange = server.request();
    respond(&mut server.engine, exchange);
    server.turn(|_, _| {});
    std::thread::sleep(Duration::from_millis(500));
    let mut busy = server.client();
    busy.write_all(GET).unwrap();
    let mut received = vec![0; 1000];
    assert!(idle.read(&mut received).unwrap() > 0);
    idle.set_nonblocking(true).unwrap();
    let mut ended = None;
    server.turn(|engine, event| {
        if let Event::Request { client, .. } = event {
            ended = Some(idle.read(&mut received).ok());
            respond(engine, client.exchange);
        }
    });
    assert_eq!(ended, Some(Some(0)));
}

// ---- a connection that the application takes over ------------------------------------

#[test]
fn a_connection_that_is_taken_over_is_the_applications_and_in_flight_until_its_end() {
    let mut server = Server::new(300);
    let mut client = server.client();
    client.write_all(&[GET, b"early"].concat()).unwrap();
    let exchange = server.request();
    let (socket, received) = server.engine.exchange(exchange).take_over().unwrap();
    assert_eq!(received, b"early");
    client.write_all(b"late").unwrap();
    let began = Instant::now();
    while began.elapsed() < Duration::from_millis(700) {
        assert_eq!(turn_at_once(&mut server), 0);
    }
    assert_eq!(server.engine.in_flight(), 1);
    assert!(server.engine.exchange(exchange).take_over().is_err());
    let mut socket = UnixStream::from(socket);
    let mut found = [0; 4];
    socket.read_exact(&mut found).unwrap();
    assert_eq!(&found, b"late");
    socket.write_all(b"bye").unwrap();
    server.engine.exchange(exchange).end_takeover();
    assert_eq!(server.engine.in_flight(), 0);
    turn_at_once(&mut server);
    let mut rest = Vec::new();
    client.read_to_end(&mut rest).unwrap();
    assert_eq!(rest, b"bye");
    drop(client);
    while server.engine.connections() > 0 {
        turn_at_once(&mut server);
    }
}

#[test]
fn what_was_received_with_the_request_is_given_whether_the_turn_works_on_it_or_not() {
    let mut server = Server::new(10_000);
    let mut client = server.client();
    client.write_all(&[GET, b"early"].concat()).unwrap();
    let mut taken = None;
    while taken.is_none() {
        server.turn(|engine, event| {
            if let Event::Request { client, .. } = event {
                taken = Some(engine.exchange(client.exchange).take_over().unwrap());
            }
        });
    }
    assert_eq!(taken.unwrap().1, b"early");
}

#[test]
fn a_connection_that_is_cut_ends_for_the_application_too() {
    let mut server = Server::new(10_000);
    let mut client = server.client();
    client.write_all(GET).unwrap();
    let exchange = server.request();
    let (socket, _) = server.engine.exchange(exchange).take_over().unwrap();
    server.engine.listener(0).abort_connections();
    assert_eq!(server.engine.in_flight(), 0);
    server.engine.exchange(exchange).end_takeover();
    assert_eq!(UnixStream::from(socket).read(&mut [0; 1]).unwrap(), 0);
    assert_eq!(client.read(&mut [0; 1]).unwrap(), 0);
}
