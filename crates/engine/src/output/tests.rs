use super::*;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;

fn pair() -> (Transport, UnixStream) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    ours.set_nonblocking(true).unwrap();
    (Transport::new(ours.into(), None), theirs)
}

fn kept(bytes: Vec<u8>) -> Content<'static> {
    Content::Kept(Box::new(bytes))
}

#[test]
fn everything_leaves_in_order_through_a_narrow_socket() {
    let (mut ours, mut theirs) = pair();
    let mut buffers = Buffers::default();
    let mut output = Output::default();
    let mut expected = Vec::new();
    for round in 0..40u8 {
        let head = vec![round; 100 + usize::from(round)];
        output.append(&mut buffers, |out| out.extend_from_slice(&head));
        expected.extend_from_slice(&head);
        let body = vec![round.wrapping_mul(7); 50_000];
        let len = if round % 3 == 0 { 10 } else { body.len() };
        expected.extend_from_slice(&body[..len]);
        output.push(&mut buffers, kept(body), len);
    }
    assert_eq!(output.pending(), expected.len());
    let mut received = Vec::new();
    loop {
        let sent = output.flush(&mut ours, &mut buffers).unwrap();
        let mut piece = vec![0; 30_000];
        let read = theirs.read(&mut piece).unwrap();
        received.extend_from_slice(&piece[..read]);
        if matches!(sent, Sent::All) {
            break;
        }
    }
    drop(ours);
    theirs.read_to_end(&mut received).unwrap();
    assert!(received == expected);
    assert_eq!(output.pending(), 0);
    assert_eq!(output.first.capacity(), 0, "an empty queue holds no memory");
}

#[test]
fn appending_behind_a_payload_keeps_the_order() {
    let (mut ours, mut theirs) = pair();
    let mut buffers = Buffers::default();
    let mut output = Output::default();
    output.push(&mut buffers, kept(b"one ".to_vec()), 4);
    output.append(&mut buffers, |out| out.extend_from_slice(b"two "));
    output.append(&mut buffers, |out| out.extend_from_slice(b"three "));
    output.push(&mut buffers, Content::Copied(b"four and more"), 4);
    assert!(matches!(
        output.flush(&mut ours, &mut buffers),
        Ok(Sent::All)
    ));
    drop(ours);
    let mut received = String::new();
    theirs.read_to_string(&mut received).unwrap();
    assert_eq!(received, "one two three four");
}

#[test]
fn a_queue_that_is_never_empty_does_not_keep_what_has_left() {
    let (mut ours, mut theirs) = pair();
    let mut buffers = Buffers::default();
    let mut output = Output::default();
    let (mut written, mut read) = (Vec::new(), Vec::new());
    let mut piece = vec![0; 8_000];
    for round in 0..2_000u32 {
        while output.pending() < 400_000 {
            let bytes = [round as u8; 10_000];
            output.push(&mut buffers, Content::Copied(&bytes), bytes.len());
            written.extend_from_slice(&bytes);
        }
        assert!(matches!(
            output.flush(&mut ours, &mut buffers),
            Ok(Sent::Blocked { .. })
        ));
        let len = theirs.read(&mut piece).unwrap();
        read.extend_from_slice(&piece[..len]);
    }
    assert!(written.len() > 10_000_000);
    assert!(
        output.first.capacity() < 2_000_000,
        "{}",
        output.first.capacity()
    );
    assert!(written.starts_with(&read));
}

#[test]
fn a_peer_that_left_is_an_error() {
    let (mut ours, theirs) = pair();
    drop(theirs);
    let mut buffers = Buffers::default();
    let mut output = Output::default();
    output.push(&mut buffers, Content::Copied(b"late"), 4);
    assert!(matches!(
        output.flush(&mut ours, &mut buffers),
        Err(Failure::Peer)
    ));
}

/// Sends as [`Output::flush`] does, files too.
fn flush(
    output: &mut Output,
    transport: &mut Transport,
    buffers: &mut Buffers,
) -> Result<Sent, Failure> {
    loop {
        let sent = output.flush(transport, buffers)?;
        let Sent::File { progress } = sent else {
            return Ok(sent);
        };
        let call = output.file_send(transport).unwrap();
        if output.file_sent(transport, call.run(), buffers)? == 0 {
            return Ok(Sent::Blocked { progress });
        }
    }
}

fn part(bytes: &[u8], offset: u64, len: usize) -> FilePart {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    let file = Arc::new(OwnedFd::from(file));
    FilePart { file, offset, len }
}

#[test]
fn files_leave_in_order_between_what_is_in_memory() {
    let (mut ours, mut theirs) = pair();
    let mut buffers = Buffers::default();
    let mut output = Output::default();
    let bytes: Vec<u8> = (0..3_000_000u32).map(|at| (at / 7) as u8).collect();
    let file = part(&bytes, 5, bytes.len() - 10);
    let mut expected = Vec::new();
    for round in 0..6usize {
        output.append(&mut buffers, |out| out.extend_from_slice(b"head"));
        expected.extend_from_slice(b"head");
        let len = file.len - round * 1000;
        output.push(&mut buffers, Content::File(file.clone()), len);
        expected.extend_from_slice(&bytes[5..5 + len]);
        if round % 2 == 0 {
            output.push(&mut buffers, kept(vec![b'k'; 20_000]), 20_000);
            expected.extend_from_slice(&[b'k'; 20_000]);
        }
    }
    assert_eq!(output.pending(), expected.len());
    let mut received = Vec::new();
    loop {
        let sent = flush(&mut output, &mut ours, &mut buffers).unwrap();
        let mut piece = vec![0; 300_000];
        let read = theirs.read(&mut piece).unwrap();
        received.extend_from_slice(&piece[..read]);
        if matches!(sent, Sent::All) {
            break;
        }
    }
    drop(ours);
    theirs.read_to_end(&mut received).unwrap();
    assert!(received == expected);
    assert_eq!(output.pending(), 0);
    assert!(output.rest.is_none(), "no descriptor is kept");
    assert_eq!(Arc::strong_count(&file.file), 1);
}

#[test]
fn a_file_that_ends_too_soon_is_an_error() {
    let (mut ours, mut theirs) = pair();
    let mut buffers = Buffers::default();
    let mut output = Output::default();
    output.push(&mut buffers, Content::File(part(b"short", 0, 9)), 9);
    let result = flush(&mut output, &mut ours, &mut buffers);
    assert!(matches!(result, Err(Failure::File)));
    drop(ours);
    let mut received = String::new();
    theirs.read_to_string(&mut received).unwrap();
    assert_eq!(received, "short");
}

#[test]
fn what_cannot_be_read_is_the_fault_of_the_file() {
    let (mut ours, _theirs) = pair();
    let mut buffers = Buffers::default();
    let mut output = Output::default();
    let directory = std::fs::File::open("/").unwrap();
    let file = Arc::new(OwnedFd::from(directory));
    let part = FilePart {
        file,
        offset: 0,
        len: 1,
    };
    output.push(&mut buffers, Content::File(part), 1);
    let result = flush(&mut output, &mut ours, &mut buffers);
    assert!(matches!(result, Err(Failure::File)));
}

#[test]
fn the_head_of_a_file_waits_for_its_beginning() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let ours = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (mut theirs, _) = listener.accept().unwrap();
    ours.set_nodelay(true).unwrap();
    let mut ours = Transport::new(ours.into(), None);
    let mut buffers = Buffers::default();
    let mut output = Output::default();
    output.append(&mut buffers, |out| out.extend_from_slice(b"head "));
    output.push(&mut buffers, Content::File(part(b"body", 0, 4)), 4);
    assert!(matches!(
        flush(&mut output, &mut ours, &mut buffers),
        Ok(Sent::All)
    ));
    let mut received = [0; 100];
    let len = theirs.read(&mut received).unwrap();
    assert_eq!(&received[..len], b"head body", "in one packet");
}
