use super::*;
use crate::handoff::queue::Queue;
use crate::handoff::transfer::Transfer;
use crate::poll_set::WAKEUP;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use std::net::TcpListener;

fn listener() -> OwnedFd {
    TcpListener::bind("127.0.0.1:0").unwrap().into()
}

#[test]
fn a_process_without_a_descriptor_accepts_nothing_at_all() {
    let set = PollSet::new(WAKEUP).unwrap();
    let mut acceptor = Acceptor::new();
    let mut transfer = Transfer::default();
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let (sender, receiver) =
        socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None).unwrap();
    transfer.join(Queue::new(sender, receiver));
    let mut accepts = |acceptor: &Acceptor| {
        transfer.register(&set, acceptor.is_accepting()).unwrap();
        (acceptor.is_accepting(), transfer.is_registered())
    };
    for _ in 0..2 {
        acceptor
            .listen(&set, listener(), ListenerSettings::default(), None)
            .unwrap();
    }
    assert_eq!(accepts(&acceptor), (true, true));
    acceptor.set_state(&set, 1, Listening::Paused).unwrap();
    assert!(acceptor.pause_without_descriptor(&set, 0, 1_000));
    assert_eq!(accepts(&acceptor), (false, false));
    assert!(
        !acceptor.pause_without_descriptor(&set, 0, 1_000),
        "it is reported once"
    );
    assert_eq!(acceptor.due_ms(), Some(1_250));
    assert_eq!(
        acceptor.retry_descriptors(&set, 1_249),
        DescriptorNews::None
    );
    assert_eq!(
        acceptor.retry_descriptors(&set, 1_250),
        DescriptorNews::Retried
    );
    assert_eq!(accepts(&acceptor), (true, true));
    // What was closed for another reason stays closed.
    assert_eq!(acceptor.get(1).unwrap().state, Listening::Paused);
    assert_eq!(
        acceptor.retry_descriptors(&set, 1_499),
        DescriptorNews::None
    );
    let resumed = DescriptorNews::Resumed { listener: 0 };
    assert_eq!(acceptor.retry_descriptors(&set, 1_500), resumed);
    assert_eq!(acceptor.due_ms(), None);
}

#[test]
fn what_cannot_be_registered_is_no_listener() {
    let set = PollSet::new(WAKEUP).unwrap();
    let mut acceptor = Acceptor::new();
    let file = std::fs::File::open("/proc/self/exe").unwrap();
    let settings = ListenerSettings::default();
    assert!(acceptor.listen(&set, file.into(), settings, None).is_err());
    let settings = ListenerSettings::default();
    assert_eq!(
        acceptor.listen(&set, listener(), settings, None).unwrap(),
        0
    );
}
