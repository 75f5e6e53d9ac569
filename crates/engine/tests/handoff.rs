//! Connections that are handed off from one reactor to another.
#![cfg(test)]

use prefork_engine::scoreboard::{Board, Header, State};
use prefork_engine::{Content, Event, ExchangeId, ListenerNews, ListenerSettings, Queue, Reactor};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";

struct Pair(OwnedFd, OwnedFd);

impl Pair {
    fn new() -> Self {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let pair = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None).unwrap();
        Pair(pair.0, pair.1)
    }

    fn queue(&self) -> Queue {
        Queue::new(self.0.try_clone().unwrap(), self.1.try_clone().unwrap())
    }

    /// Sends until the queue is full.
    fn fill(&self) {
        while rustix::io::write(&self.0, &[0xff; 16]).is_ok() {}
    }

    fn empty(&self) {
        while rustix::io::read(&self.1, &mut [0; 16]).is_ok() {}
    }
}

/// A worker of a pool that replaces its workers (`kept`), or shuts down.
struct Worker {
    engine: Reactor,
    address: std::net::SocketAddr,
    drained: u32,
}

impl Worker {
    fn new(pair: &Pair, kept: bool) -> Self {
        let board = Board::create(1).unwrap();
        board.claim(0, 1, 0);
        board.publish(&Header {
            kept,
            ..Header::default()
        });
        let slot = board.enter(0, 1).unwrap();
        slot.set_state(State::Spare);
        let overcommit = rustix::event::eventfd(0, rustix::event::EventfdFlags::CLOEXEC).unwrap();
        let mut engine = Reactor::new().unwrap();
        engine.join_pool(slot, 1, 1, overcommit);
        engine.join_queue(pair.queue());
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let settings = ListenerSettings {
            keep_alive_timeout_ms: 1_000,
            max_queue: 0, // it would be looked at while the worker is full
            ..ListenerSettings::default()
        };
        engine.listen(listener.into(), settings, None).unwrap();
        Worker {
            engine,
            address,
            drained: 0,
        }
    }

    fn client(&self) -> TcpStream {
        let client = TcpStream::connect(self.address).unwrap();
        let timeout = Some(Duration::from_secs(5));
        client.set_read_timeout(timeout).unwrap();
        client
    }

    /// Takes a short turn, and responds to each request. Returns how many there
    /// were.
    fn turn(&mut self) -> u32 {
        self.turn_in_which(|engine, exchange| {
            let none = std::iter::empty();
            let content = Content::Copied(b"fine");
            engine
                .exchange(exchange)
                .respond(200, none, content)
                .unwrap();
        })
    }

    fn turn_in_which(&mut self, mut react: impl FnMut(&mut Reactor, ExchangeId)) -> u32 {
        let wait_ms = self.engine.prepare().unwrap_or(10).min(10);
        let timeout = rustix::time::Timespec {
            tv_sec: 0,
            tv_nsec: (wait_ms * 1_000_000) as _,
        };
        let mut reports = Vec::new();
        self.engine
            .waiter()
            .wait(Some(&timeout), &mut reports)
            .unwrap();
        self.engine.woken(&reports);
        let mut responded = 0;
        while let Some(event) = self.engine.next_event() {
            match event {
                Event::Request { client, .. } => {
                    let exchange = client.exchange;
                    react(&mut self.engine, exchange);
                    responded += 1;
                }
                Event::Listener {
                    news: ListenerNews::Drained,
                    ..
                } => self.drained += 1,
                Event::Closed(_) => panic!("no callback was registered for the end"),
                _ => {}
            }
        }
        self.engine.end_turn();
        responded
    }

    fn respond(&mut self, client: &mut TcpStream) -> String {
        client.write_all(GET).unwrap();
        while self.turn() == 0 {}
        self.turn();
        received(client)
    }
}

fn received(client: &mut TcpStream) -> String {
    let mut response = Vec::new();
    let mut buffer = [0; 1000];
    while !response.ends_with(b"fine") {
        let len = client.read(&mut buffer).unwrap();
        assert!(len > 0, "closed");
        response.extend_from_slice(&buffer[..len]);
    }
    String::from_utf8(response).unwrap()
}

#[test]
fn a_worker_that_drains_hands_its_idle_connections_on() {
    let pair = Pair::new();
    let (mut old, mut new) = (Worker::new(&pair, true), Worker::new(&pair, true));
    let mut client = old.client();
    assert!(!old.respond(&mut client).contains("Connection"));
    old.engine.listener(0).drain(1_000);
    old.turn();
    assert_eq!((old.engine.connections(), old.drained), (0, 1));
    let response = new.respond(&mut client);
    assert!(!response.contains("Connection"));
    assert_eq!(new.engine.connections(), 1);
}

#[test]
fn a_queue_that_is_full_leaves_a_connection_where_it_is() {
    let pair = Pair::new();
    let mut old = Worker::new(&pair, true);
    let mut client = old.client();
    old.respond(&mut client);
    pair.fill();
    old.engine.listener(0).set_accepting(false).unwrap();
    old.engine.listener(0).drain(1_000);
    old.turn();
    assert_eq!((old.engine.connections(), old.drained), (1, 0));
    let response = old.respond(&mut client);
    assert!(response.contains("Connection: close"), "{response}");
    assert_eq!(client.read(&mut [0; 1]).unwrap(), 0);
}

#[test]
fn an_invalid_message_in_the_queue_does_no_harm() {
    let pair = Pair::new();
    let mut worker = Worker::new(&pair, true);
    let mut client = worker.client();
    pair.fill();
    assert!(worker.respond(&mut client).ends_with("fine"));
    while rustix::io::ioctl_fionread(&pair.1).unwrap() > 0 {
        worker.turn();
    }
    assert!(worker.respond(&mut client).ends_with("fine"));
    assert_eq!(worker.engine.connections(), 1);
}

#[test]
fn the_last_worker_serves_what_is_in_the_queue_before_it_goes() {
    let pair = Pair::new();
    let mut old = Worker::new(&pair, true);
    let mut clients = [old.client(), old.client()];
    for client in &mut clients {
        old.respond(client);
    }
    old.engine.listener(0).drain(1_000);
    assert_eq!(old.engine.connections(), 0);
    let [asking, idle] = &mut clients;
    asking.write_all(GET).unwrap();
    let mut last = Worker::new(&pair, false);
    last.engine.listener(0).drain(0);
    while last.drained == 0 {
        last.turn();
    }
    assert!(received(asking).contains("Connection: close"));
    assert_eq!(asking.read(&mut [0; 1]).unwrap(), 0);
    assert_eq!(idle.read(&mut [0; 1]).unwrap(), 0);
    assert_eq!(last.drained, 1);
}

#[test]
fn an_idle_connection_does_not_grow_younger_on_its_way() {
    let pair = Pair::new();
    let mut old = Worker::new(&pair, true);
    let mut client = old.client();
    old.respond(&mut client);
    std::thread::sleep(Duration::from_millis(600));
    let began = Instant::now();
    old.engine.listener(0).drain(1_000);
    let mut new = Worker::new(&pair, true);
    while new.engine.connections() == 0 {
        new.turn();
    }
    while new.engine.connections() == 1 {
        new.turn();
        assert!(began.elapsed() < Duration::from_secs(20));
    }
    let idled = began.elapsed();
    println!("closed {idled:?} after it was handed on");
    assert!(idled < Duration::from_millis(900));
}

#[test]
fn what_comes_late_from_a_client_is_not_taken_for_another_clients() {
    let pair = Pair::new();
    let (mut old, mut last) = (Worker::new(&pair, true), Worker::new(&pair, false));
    let mut idle = old.client();
    old.respond(&mut idle);
    let mut asking = last.client();
    asking.write_all(&[GET, GET].concat()).unwrap();
    let mut requests = 0;
    while requests == 0 || last.drained == 0 {
        requests += last.turn_in_which(|engine, exchange| {
            old.engine.listener(0).drain(1_000);
            engine.listener(0).drain(0);
            // Its key is free, and the connection in the queue is adopted.
            engine.exchange(exchange).abort(None);
        });
    }
    assert_eq!(requests, 1);
    assert_eq!(idle.read(&mut [0; 1]).unwrap(), 0);
}

#[test]
fn what_comes_to_an_occupied_worker_goes_into_the_queue_whether_there_is_a_spare_or_not() {
    let pair = Pair::new();
    let (mut old, mut new) = (Worker::new(&pair, true), Worker::new(&pair, true));
    let mut kept = old.client();
    old.respond(&mut kept);
    old.engine.set_occupied(true);
    let mut fresh = old.client();
    for client in [&mut kept, &mut fresh] {
        client.write_all(GET).unwrap();
    }
    // The worker has stopped to accept: `fresh` stays where any worker may accept it.
    assert_eq!((old.turn(), old.turn()), (0, 0));
    assert_eq!(old.engine.connections(), 0);
    while new.turn() == 0 {}
    new.turn();
    assert!(received(&mut kept).ends_with("fine"));
    old.engine.set_occupied(false);
    while old.turn() == 0 {}
    old.turn();
    assert!(received(&mut fresh).ends_with("fine"));
}

#[test]
fn a_connection_that_the_queue_refuses_waits_for_the_application() {
    let pair = Pair::new();
    let mut worker = Worker::new(&pair, true);
    let mut client = worker.client();
    worker.respond(&mut client);
    worker.engine.set_occupied(true);
    pair.fill();
    client.write_all(GET).unwrap();
    assert_eq!((worker.turn(), worker.turn()), (0, 0));
    assert_eq!(worker.engine.connections(), 1);
    worker.engine.set_occupied(false);
    while worker.turn() == 0 {}
    worker.turn();
    assert!(received(&mut client).ends_with("fine"));
}

#[test]
fn a_connection_that_the_queue_refused_is_handed_off_when_there_is_room() {
    let pair = Pair::new();
    let (mut old, mut new) = (Worker::new(&pair, true), Worker::new(&pair, true));
    let (mut kept, mut gone) = (old.client(), old.client());
    for client in [&mut kept, &mut gone] {
        old.respond(client);
    }
    old.engine.set_occupied(true);
    pair.fill();
    for client in [&mut kept, &mut gone] {
        client.write_all(GET).unwrap();
    }
    assert_eq!((old.turn(), old.turn()), (0, 0));
    assert_eq!(old.engine.connections(), 2);
    assert!(old.engine.prepare() > Some(0), "it does not spin");
    drop(gone);
    pair.empty();
    let began = Instant::now();
    while old.engine.connections() > 0 {
        assert_eq!(old.turn(), 0);
        assert!(began.elapsed() < Duration::from_secs(5));
    }
    while new.turn() == 0 {}
    new.turn();
    assert!(received(&mut kept).ends_with("fine"));
    assert_eq!(old.engine.prepare(), None, "nothing is due");
}
