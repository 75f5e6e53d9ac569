//! A reactor between any clients and any application: requests in pieces, clients that
//! leave, reset or do not read, streams of HTTP/2, and every call of the application at
//! every moment.
//!
//! Each client checks what it gets: whole responses, no more than it sent requests, and no
//! byte of one for another client.

use super::streams;
use crate::input::Input;
use prefork_engine::{
    ConnectionId, Content, Event, ExchangeId, ListenerSettings, Payload, Reactor, Spool,
    WebSocketSettings,
};
use prefork_wire::websocket::{CloseCode, Opening};
use prefork_wire::{Length, Limits, RemoteError};
use std::cell::RefCell;
use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::{Duration, Instant};

/// What clients send. A client may also send any bytes.
const PARTS: [&[u8]; 14] = [
    b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET / HTTP/1.0\r\n\r\n",
    b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n",
    b"hello",
    b"5\r\nhello\r\n",
    b"0\r\n\r\n",
    b"\x81\x85\0\0\0\0hello",
    b"\x89\x80\0\0\0\0",
    b"\x88\x82\0\0\0\0\x03\xe8",
];
const MOST_CLIENTS: usize = 6;
const REFUSED: RemoteError = RemoteError {
    status: 503,
    reason: "refused",
};

thread_local! {
    /// A directory with the listening socket's name, for all runs of a thread.
    static PLACE: RefCell<tempfile::TempDir> = RefCell::new(tempfile::tempdir().expect("a directory"));
}

pub fn run(data: &[u8]) {
    let mut world = World::new();
    let mut input = Input::new(data);
    let mut steps = 0;
    while !input.is_empty() && steps < 300 {
        world.step(&mut input);
        steps += 1;
    }
    world.end();
}

struct Client {
    socket: Option<UnixStream>,
    received: Vec<u8>,
    has_sent: bool,
    /// The number of its next stream; 0 for a client of HTTP/1.
    next_stream: u32,
}

struct World {
    reactor: Reactor,
    clients: Vec<Client>,
    /// Exchanges that the application has not forgotten.
    exchanges: Vec<(ExchangeId, Option<Opening>)>,
    closed: Vec<ConnectionId>,
    path: std::path::PathBuf,
}

impl World {
    fn new() -> Self {
        let path = PLACE.with_borrow(|place| place.path().join("socket"));
        let _ = std::fs::remove_file(&path);
        let listener = UnixListener::bind(&path).expect("a listening socket");
        listener.set_nonblocking(true).expect("a socket");
        let mut reactor = Reactor::new().expect("a reactor");
        let settings = ListenerSettings {
            limits: Limits {
                max_body: 64,
                ..Limits::default()
            },
            spool: Spool {
                above_bytes: 4,
                directory: None,
            },
            max_requests_per_connection: 20,
            max_connections: 5,
            h2c: true,
            ..ListenerSettings::default()
        };
        let number = reactor.listen(listener.into(), settings, None);
        assert_eq!(number.expect("a listener"), 0);
        World {
            reactor,
            clients: Vec::new(),
            exchanges: Vec::new(),
            closed: Vec::new(),
            path,
        }
    }

    fn step(&mut self, input: &mut Input<'_>) {
        match input.byte() % 20 {
            0 if self.clients.len() < MOST_CLIENTS => self.connect(),
            0..=4 => self.send(input),
            5 => self.leave(input),
            6 => self.read(),
            7..=10 => self.turn(),
            11 => {
                self.reactor.listener(0).drain(0);
            }
            12 => {
                let _ = self.reactor.listener(0).set_accepting(input.flag());
                self.reactor.set_occupied(input.flag());
            }
            16..=19 => self.send_frame(input),
            _ => self.call(input),
        }
    }

    // ---- the clients -----------------------------------------------------------------

    fn connect(&mut self) {
        // The listener may be closed.
        if let Ok(socket) = UnixStream::connect(&self.path) {
            socket.set_nonblocking(true).expect("a socket");
            self.clients.push(Client {
                socket: Some(socket),
                received: Vec::new(),
                has_sent: false,
                next_stream: 0,
            });
        }
    }

    fn send(&mut self, input: &mut Input<'_>) {
        if self.clients.is_empty() {
            self.connect();
        }
        let count = self.clients.len();
        let part = match input.byte() {
            255 => input.bytes(),
            choice => PARTS[usize::from(choice) % PARTS.len()],
        };
        let end = match input.flag() {
            true => part.len(),
            false => input.below(part.len() + 1),
        };
        let which = input.below(count);
        if let Some(client) = self.clients.get_mut(which) {
            client.has_sent = true;
            if let Some(socket) = &mut client.socket {
                let _ = socket.write(&part[..end]); // it may be reset, or full
            }
        }
    }

    /// A client that has sent nothing becomes one of HTTP/2.
    fn send_frame(&mut self, input: &mut Input<'_>) {
        if self.clients.is_empty() {
            self.connect();
        }
        let which = input.below(self.clients.len());
        let Some(client) = self.clients.get_mut(which) else {
            return;
        };
        let mut sent = Vec::new();
        if !client.has_sent {
            sent.extend_from_slice(streams::START);
            client.next_stream = 1;
            client.has_sent = true;
        }
        if client.next_stream > 0 {
            sent.extend(streams::frame(input, &mut client.next_stream));
            if let Some(socket) = &mut client.socket {
                let _ = socket.write(&sent);
            }
        }
    }

    fn leave(&mut self, input: &mut Input<'_>) {
        let which = input.below(self.clients.len());
        let Some(client) = self.clients.get_mut(which) else {
            return;
        };
        if input.flag() {
            client.socket = None; // what it has not read resets the connection
        } else if let Some(socket) = &client.socket {
            let _ = socket.shutdown(std::net::Shutdown::Write);
        }
    }

    fn read(&mut self) {
        for client in &mut self.clients {
            if let Some(socket) = &mut client.socket {
                let mut buffer = [0; 4096];
                while let Ok(len @ 1..) = socket.read(&mut buffer) {
                    client.received.extend_from_slice(&buffer[..len]);
                }
            }
            match streams::is_http2(&client.received) {
                true => streams::check(&client.received, client.next_stream),
                false => check(&client.received),
            }
        }
    }

    // ---- the application ---------------------------------------------------------------

    fn turn(&mut self) {
        self.reactor.prepare();
        let mut reports = Vec::new();
        let now = rustix::time::Timespec::default();
        let waited = self.reactor.waiter().wait(Some(&now), &mut reports);
        waited.expect("a wait");
        self.reactor.woken(&reports);
        while let Some(event) = self.reactor.next_event() {
            self.react(event);
        }
        self.reactor.end_turn();
    }

    fn react(&mut self, event: Event) {
        match event {
            Event::Request {
                client,
                bytes,
                head,
            } => {
                let opening = head.websocket.then(|| Opening::read(&head, &bytes).ok());
                self.reactor
                    .connection(client.exchange.connection)
                    .want_closed();
                self.exchanges.push((client.exchange, opening.flatten()));
            }
            Event::Malformed { client, error, .. } => {
                let exchange = client.exchange;
                assert!(self.reactor.exchange(exchange).reject(&error));
            }
            Event::Disk(mut task) => {
                task.run();
                self.reactor.disk_done(task);
            }
            Event::Closed(closed) => {
                assert!(!self.closed.contains(&closed.connection), "closed twice");
                assert!(!self.reactor.connection(closed.connection).is_open());
                self.closed.push(closed.connection);
            }
            Event::Broken(broken) => panic!("{} is broken: {}", broken.what, broken.error),
            _ => {}
        }
    }

    /// Any call for any exchange, in turn or not.
    fn call(&mut self, input: &mut Input<'_>) {
        let which = input.below(self.exchanges.len());
        let choice = input.byte();
        let Some((id, opening)) = self.exchanges.get(which) else {
            return;
        };
        let (id, none) = (*id, std::iter::empty());
        let mut exchange = self.reactor.exchange(id);
        match choice % 16 {
            0..=2 => drop(exchange.respond(200, none, Content::Copied(b"fine"))),
            3 => drop(exchange.start(200, none, Length::Unknown)),
            4 => drop(exchange.start(200, none, Length::Known(8))),
            5 => drop(exchange.write(Content::Copied(b"part"))),
            6 => {
                let large: Payload = Box::new(vec![b'x'; 300_000]);
                drop(exchange.write(Content::Kept(large)));
            }
            7 => drop(exchange.finish()),
            8 => drop(exchange.collect()),
            9 => drop(exchange.begin_pulling()),
            10 => drop(exchange.pull()),
            11 => exchange.hold_body(),
            12 => drop(exchange.inform(103, none)),
            13 => drop(exchange.reject(&REFUSED)),
            14 => exchange.abort(None),
            _ => match opening {
                Some(opening) if input.flag() => {
                    let settings = WebSocketSettings::default();
                    drop(exchange.upgrade(opening, None, none, settings));
                }
                Some(_) if input.flag() => drop(exchange.send(true, Content::Copied(b"text"))),
                Some(_) => drop(exchange.close_websocket(CloseCode::GOING_AWAY, "")),
                None => drop(exchange.want_drained()),
            },
        }
    }

    /// Every client leaves: then nothing is left.
    fn end(mut self) {
        self.read();
        self.clients
            .iter_mut()
            .for_each(|client| client.socket = None);
        self.reactor.set_occupied(false);
        self.reactor.listener(0).close();
        let deadline = Instant::now() + Duration::from_secs(10);
        while self.reactor.connections() > 0 && Instant::now() < deadline {
            self.turn();
            // A client that has left is not missed while its response may still be read.
            for (id, _) in std::mem::take(&mut self.exchanges) {
                self.reactor.exchange(id).abort(None);
            }
        }
        assert_eq!(self.reactor.connections(), 0, "connections that nobody has");
        self.turn();
        assert_eq!(self.reactor.in_flight(), 0);
        self.reactor.close();
    }
}

/// What a client has got begins with whole responses: a status line stands where a response
/// or the end of the input is due, or its connection has become a WebSocket.
fn check(received: &[u8]) {
    let mut rest = received;
    while !rest.is_empty() {
        let start = b"HTTP/1.1 ";
        let len = rest.len().min(start.len());
        assert_eq!(rest[..len], start[..len], "a response begins");
        let Some(end) = rest.windows(4).position(|four| four == b"\r\n\r\n") else {
            return;
        };
        let (head, body) = rest.split_at(end + 4);
        let head = String::from_utf8_lossy(head).to_ascii_lowercase();
        let is_interim = head.starts_with("http/1.1 1") && !head.starts_with("http/1.1 101");
        let length = head.split("content-length: ").nth(1);
        let length = length.and_then(|text| text.split("\r\n").next()?.parse::<usize>().ok());
        rest = match length {
            _ if is_interim => body,
            // Of a response to HEAD the length is not that of what follows, and a chunked one
            // is read by the target `response`.
            Some(length) if !body.starts_with(b"HTTP/1.1 ") && body.len() >= length => {
                &body[length..]
            }
            Some(_) if body.starts_with(b"HTTP/1.1 ") => body,
            _ => return,
        };
    }
}
