use super::*;
use crate::Queue;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use std::net::TcpListener;

#[test]
fn who_has_no_descriptor_watches_no_door_at_all() {
    let mut engine = Reactor::new().unwrap();
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let (entrance, exit) =
        socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None).unwrap();
    engine.join_queue(Queue::new(entrance, exit));
    for _ in 0..2 {
        let door = TcpListener::bind("127.0.0.1:0").unwrap();
        engine
            .listen(door.into(), ListenerSettings::default())
            .unwrap();
    }
    let watched = |engine: &Reactor| engine.queue.as_ref().unwrap().watched;
    assert!(watched(&engine));
    engine.accepting(1, false).unwrap();
    engine.starve(0, Errno::MFILE);
    assert!(!watched(&engine));
    engine.open_the_door(Listening::Starved);
    assert!(watched(&engine));
    // What somebody closed for another reason stays closed.
    assert!(engine.listeners[1].state == Listening::Paused);
    engine.accepting(1, true).unwrap();
    engine.starve(0, Errno::MFILE);
    assert!(!watched(&engine));
}

#[test]
fn what_cannot_be_watched_is_no_listener() {
    let mut engine = Reactor::new().unwrap();
    let file = std::fs::File::open("/proc/self/exe").unwrap();
    assert!(
        engine
            .listen(file.into(), ListenerSettings::default())
            .is_err()
    );
    let door = TcpListener::bind("127.0.0.1:0").unwrap();
    assert_eq!(
        engine
            .listen(door.into(), ListenerSettings::default())
            .unwrap(),
        0
    );
}
