//! Work for a disk is an event: the reactor can be used while the owner does it.
#![cfg(test)]

use prefork_engine::{
    Body, Content, DiskTask, Event, ExchangeId, FilePart, ListenerSettings, Reactor, Spool,
};
use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::Arc;

const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";

struct Server {
    engine: Reactor,
    path: std::path::PathBuf,
    directory: tempfile::TempDir,
}

impl Server {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("socket");
        let listener = UnixListener::bind(&path).unwrap();
        listener.set_nonblocking(true).unwrap();
        let mut engine = Reactor::new().unwrap();
        let settings = ListenerSettings {
            spool: Spool {
                above_bytes: 1000,
                directory: Some(directory.path().to_owned()),
            },
            ..ListenerSettings::default()
        };
        engine.listen(listener.into(), settings, None).unwrap();
        Server {
            engine,
            path,
            directory,
        }
    }

    fn client(&self, request: &[u8]) -> UnixStream {
        let mut client = UnixStream::connect(&self.path).unwrap();
        client.write_all(request).unwrap();
        client
    }

    fn file(&self, bytes: &[u8]) -> FilePart {
        let path = self.directory.path().join("file");
        std::fs::write(&path, bytes).unwrap();
        let file = std::fs::File::open(&path).unwrap();
        FilePart {
            file: Arc::new(file.into()),
            offset: 0,
            len: bytes.len(),
        }
    }

    /// One turn: passes each event to `react`.
    fn turn(&mut self, mut react: impl FnMut(&mut Reactor, Event)) {
        let wait_ms = self.engine.prepare().unwrap_or(20).min(20);
        let timeout = rustix::time::Timespec {
            tv_sec: 0,
            tv_nsec: (wait_ms * 1_000_000) as _,
        };
        let mut reports = Vec::new();
        let waiter = self.engine.waiter();
        waiter.wait(Some(&timeout), &mut reports).unwrap();
        self.engine.woken(&reports);
        while let Some(event) = self.engine.next_event() {
            react(&mut self.engine, event);
        }
        self.engine.end_turn();
    }

    /// Takes turns until work for a disk comes. `respond` responds to each request.
    fn task(&mut self, mut respond: impl FnMut(&mut Reactor, ExchangeId)) -> DiskTask {
        let mut found = None;
        while found.is_none() {
            self.turn(|engine, event| match event {
                Event::Request { client, .. } => respond(engine, client.exchange),
                Event::Disk(task) => found = Some(task),
                _ => {}
            });
        }
        found.unwrap()
    }

    fn finish(&mut self, mut task: DiskTask) {
        task.run();
        self.engine.disk_done(task);
    }
}

fn send(engine: &mut Reactor, exchange: ExchangeId, file: &FilePart) {
    let content = Content::File(file.clone());
    let mut exchange = engine.exchange(exchange);
    exchange.respond(200, std::iter::empty(), content).unwrap();
}

fn body_of(client: &mut UnixStream, len: usize) -> Vec<u8> {
    let mut received = Vec::new();
    let mut room = vec![0; 100_000];
    while !received.windows(4).any(|end| end == b"\r\n\r\n") {
        let some = client.read(&mut room).unwrap();
        received.extend_from_slice(&room[..some]);
    }
    let head = received.windows(4).position(|end| end == b"\r\n\r\n");
    let mut body = received.split_off(head.unwrap() + 4);
    while body.len() < len {
        let some = client.read(&mut room).unwrap();
        assert!(some > 0, "{} of {len} bytes", body.len());
        body.extend_from_slice(&room[..some]);
    }
    body
}

#[test]
fn files_are_sent_by_the_owner_in_order() {
    let mut server = Server::new();
    let bytes: Vec<u8> = (0..3_000_000u32).map(|at| (at / 5) as u8).collect();
    let file = server.file(&bytes);
    let client = server.client(&[GET, GET].concat());
    let reader = std::thread::spawn(move || {
        let mut client = client;
        let first = body_of(&mut client, 3_000_000);
        let (first, rest) = first.split_at(3_000_000);
        assert!(rest.is_empty() || rest.starts_with(b"HTTP"));
        first.to_vec()
    });
    let mut served = 0;
    while !reader.is_finished() {
        let mut tasks = Vec::new();
        server.turn(|engine, event| match event {
            Event::Request { client, .. } => {
                served += 1;
                send(engine, client.exchange, &file);
            }
            Event::Disk(mut task) => {
                tasks.push(());
                task.run();
                engine.disk_done(task);
            }
            _ => {}
        });
        assert!(tasks.len() <= 1, "a connection has one share of a turn");
    }
    assert!(reader.join().unwrap() == bytes);
    assert_eq!(served, 2);
}

#[test]
fn other_connections_are_served_while_a_file_is_sent() {
    let mut server = Server::new();
    let file = server.file(b"slow");
    let mut slow = server.client(GET);
    let task = server.task(|engine, exchange| send(engine, exchange, &file));
    let mut quick = server.client(GET);
    let mut responded = 0;
    while responded == 0 {
        server.turn(|engine, event| {
            if let Event::Request { client, .. } = event {
                let content = Content::Copied(b"quick");
                let mut exchange = engine.exchange(client.exchange);
                exchange.respond(200, std::iter::empty(), content).unwrap();
                responded += 1;
            }
        });
    }
    assert_eq!(body_of(&mut quick, 5), b"quick");
    server.finish(task);
    server.turn(|_, _| {});
    assert_eq!(body_of(&mut slow, 4), b"slow");
}

#[test]
fn a_connection_that_is_closed_while_its_file_is_sent_stays_open_until_then() {
    let mut server = Server::new();
    let file = server.file(&[7; 1000]);
    let mut client = server.client(GET);
    let mut aborted = None;
    let task = server.task(|engine, exchange| {
        send(engine, exchange, &file);
        aborted = Some(exchange);
    });
    server.engine.exchange(aborted.unwrap()).abort(None);
    assert_eq!(server.engine.connections(), 1, "its descriptor is in use");
    server.finish(task);
    assert_eq!(server.engine.connections(), 0);
    assert_eq!(body_of(&mut client, 1000), [7; 1000]);
    assert_eq!(client.read(&mut [0; 1]).unwrap(), 0);
}

fn upload(len: usize) -> Vec<u8> {
    let head = format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {len}\r\n\r\n");
    [head.into_bytes(), vec![b'x'; len]].concat()
}

#[test]
fn a_large_body_is_stored_by_the_owner() {
    let mut server = Server::new();
    let client = server.client(&upload(100_000));
    let (mut tasks, mut body) = (0, None);
    while body.is_none() {
        server.turn(|engine, event| match event {
            Event::Request { client, .. } => engine.exchange(client.exchange).collect().unwrap(),
            Event::Disk(mut task) => {
                tasks += 1;
                task.run();
                engine.disk_done(task);
            }
            Event::Body { body: all, .. } => body = Some(all.unwrap()),
            _ => {}
        });
    }
    let Some(Body::File { mut file, len }) = body else {
        panic!("in memory");
    };
    assert!(tasks > 1 && len == 100_000, "{tasks} tasks, {len} bytes");
    let mut text = Vec::new();
    file.read_to_end(&mut text).unwrap();
    assert!(text == vec![b'x'; 100_000]);
    drop(client);
}

#[test]
fn the_file_of_a_body_that_breaks_off_is_closed_by_the_owner() {
    let mut server = Server::new();
    let (whole, half) = (upload(2_000_000), 1_000_000);
    let mut client = UnixStream::connect(&server.path).unwrap();
    client.set_nonblocking(true).unwrap();
    let mut at = client.write(&whole[..half]).unwrap();
    let task = server.task(|engine, exchange| engine.exchange(exchange).collect().unwrap());
    server.finish(task);
    at += client.write(&whole[at..half]).unwrap_or(0);
    assert!(at < half * 2);
    drop(client);
    let mut tasks = 0;
    while server.engine.connections() > 0 {
        server.turn(|engine, event| {
            if let Event::Disk(mut task) = event {
                tasks += 1;
                task.run();
                engine.disk_done(task);
            }
        });
    }
    server.turn(|_, event| assert!(!matches!(event, Event::Body { .. })));
    assert!(tasks > 0);
}
