//! The socket on which another worker serves a stream: our end of the pair.
//!
//! Owns: the request as far as the socket has not taken it, what has come of the response, and the
//! socket's place in the epoll set. Always holds: the set reports only what is waited for, so a side that
//! does not read costs nothing; after [`Carrier::close`] the set has forgotten it. Knows no frame.

use crate::poll_set::PollSet;
use crate::transport::{Received, Transport};
use prefork_wire::{
    BadResponse, Expected, Framing, Head, RequestKind, ResponsePart, ResponseReader,
};
use rustix::event::epoll::EventFlags;
use rustix::io::Errno;
use std::io::{self, Write};

/// How much of a response is read at once.
const READ_BYTES: usize = 64 * 1024;

/// How the rest of the request is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Upload {
    /// As it is: its length is in the head.
    Length,
    Chunked,
    /// The frames of a WebSocket, whose end is that of the socket.
    Raw,
    /// As `Raw`: the socket is ended when it has taken all.
    RawEnded,
    /// All of it is written.
    Ended,
}

/// What [`Carrier::next`] has found.
pub(super) enum Next {
    /// Its places are in [`Carrier::unread`]. So many bytes end with it.
    Part(ResponsePart, usize),
    /// More has to come.
    Nothing,
    /// The other worker has closed its end, or what it has sent is no response.
    Lost(&'static str),
}

pub(crate) struct Carrier {
    socket: Transport,
    set: PollSet,
    data: u64,
    /// What the set reports. Nothing: it is not in the set.
    interest: EventFlags,
    request: Vec<u8>,
    upload: Upload,
    /// Data that was written to `request`, and is not given back to the window of the stream.
    owed: usize,
    /// Of the response, and read up to `at`.
    input: Vec<u8>,
    at: usize,
    reader: ResponseReader,
    has_ended: bool,
}

const ENDED: &str = "the worker that served it has ended, or has broken it off";

impl Carrier {
    /// For a request with this head. `data` is for its reports.
    ///
    /// # Errors
    /// Those of `epoll_ctl(2)`.
    pub(crate) fn new(
        socket: Transport,
        set: &PollSet,
        data: u64,
        head: &Head,
        bytes: &[u8],
    ) -> io::Result<Self> {
        set.add(socket.fd(), data, EventFlags::IN)?;
        let mut request = Vec::with_capacity(bytes.len() + 256);
        head.write_lent(bytes, &mut request);
        let expected = match RequestKind::of(head.method.of(bytes)) {
            _ if head.websocket => Expected::WebSocket,
            RequestKind::Head => Expected::Nothing,
            RequestKind::Connect | RequestKind::Other => Expected::Content,
        };
        let mut carrier = Carrier {
            socket,
            set: set.clone(),
            data,
            interest: EventFlags::IN,
            request,
            upload: match head.framing {
                _ if head.websocket => Upload::Raw,
                Framing::Chunked => Upload::Chunked,
                Framing::Length(_) => Upload::Length,
                Framing::None => Upload::Ended,
            },
            owed: 0,
            input: Vec::new(),
            at: 0,
            reader: ResponseReader::new(expected),
            has_ended: false,
        };
        carrier.flush();
        Ok(carrier)
    }

    /// Ends it for both workers.
    pub(crate) fn close(mut self) {
        self.watch(EventFlags::empty());
        // The other end may be open in a child of that worker too.
        self.socket.shut_down();
    }

    /// Has the set report these.
    fn watch(&mut self, interest: EventFlags) {
        let before = std::mem::replace(&mut self.interest, interest);
        if before == interest {
            return;
        }
        let (set, fd) = (&self.set, self.socket.fd());
        // It fails only if the program has closed the descriptor. Then the other end reports that.
        let _ = match (before.is_empty(), interest.is_empty()) {
            (true, _) => set.add(fd, self.data, interest),
            (_, true) => set.remove(fd),
            _ => set.modify(fd, self.data, interest),
        };
    }

    /// Waits for the socket to take what is left of the request, and, if `reads`, for the response.
    pub(super) fn wait(&mut self, reads: bool) {
        let mut interest = EventFlags::empty();
        interest.set(EventFlags::IN, reads);
        interest.set(EventFlags::OUT, !self.request.is_empty());
        self.watch(interest);
    }

    /// Whether the response is waited for.
    pub(super) fn reads(&self) -> bool {
        self.interest.contains(EventFlags::IN)
    }

    // ---- the request -------------------------------------------------------------

    /// Whether more of the request is to come.
    pub(super) fn is_uploading(&self) -> bool {
        !matches!(self.upload, Upload::Ended | Upload::RawEnded)
    }

    pub(super) fn write(&mut self, data: &[u8]) {
        self.owed += data.len();
        if data.is_empty() {
            return; // an empty chunk would end the body
        }
        let request = &mut self.request;
        match self.upload {
            Upload::Length | Upload::Raw => request.extend_from_slice(data),
            Upload::Chunked => {
                let _ = write!(request, "{:x}\r\n", data.len()); // a vector takes all
                request.extend_from_slice(data);
                request.extend_from_slice(b"\r\n");
            }
            Upload::RawEnded | Upload::Ended => {}
        }
    }

    /// The client has ended its side.
    pub(super) fn end_request(&mut self) {
        self.upload = match self.upload {
            Upload::Raw | Upload::RawEnded => Upload::RawEnded,
            Upload::Chunked => {
                self.request.extend_from_slice(b"0\r\n\r\n");
                Upload::Ended
            }
            Upload::Length | Upload::Ended => Upload::Ended,
        };
    }

    /// Sends as much of the request as the socket takes. Returns how much data the client may send instead.
    pub(super) fn flush(&mut self) -> usize {
        let mut sent = 0;
        while let Some(rest) = self.request.get(sent..).filter(|rest| !rest.is_empty()) {
            match self.socket.send(rest) {
                Ok(more) => sent += more,
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => break,
                // It is not wanted. What has come of a response tells the rest.
                Err(_) => sent = self.request.len(),
            }
        }
        match sent == self.request.len() {
            true => self.request = Vec::new(),
            false => drop(self.request.drain(..sent)),
        }
        if self.upload == Upload::RawEnded && self.request.is_empty() {
            self.upload = Upload::Ended;
            let _ = self.socket.end_sending(); // it fails if the other end is closed
        }
        let given = self.owed.saturating_sub(self.request.len());
        self.owed -= given;
        given
    }

    // ---- the response ------------------------------------------------------------

    /// Whether the head of the response was read.
    pub(super) fn has_head(&self) -> bool {
        self.reader.has_head()
    }

    /// Reads from the socket. False: nothing was there.
    pub(super) fn receive(&mut self) -> bool {
        self.input.drain(..self.at);
        self.at = 0;
        self.input.reserve(READ_BYTES);
        match self.socket.receive(&mut self.input) {
            Received::Bytes { .. } => true,
            Received::Nothing => false,
            _ => !std::mem::replace(&mut self.has_ended, true),
        }
    }

    /// What was received and not read.
    pub(super) fn unread(&self) -> &[u8] {
        self.input.get(self.at..).unwrap_or_default()
    }

    pub(super) fn consume(&mut self, len: usize) {
        self.at += len;
        if self.at >= self.input.len() {
            (self.input, self.at) = (Vec::new(), 0);
        }
    }

    /// The next part of what was received.
    pub(super) fn next(&mut self) -> Next {
        loop {
            let unread = self.input.get(self.at..).unwrap_or_default();
            match self.reader.read(unread) {
                Ok((consumed, Some(part))) => return Next::Part(part, consumed),
                Ok((0, None)) => break,
                Ok((consumed, None)) => self.consume(consumed),
                Err(BadResponse(reason)) => return Next::Lost(reason),
            }
        }
        match self.has_ended {
            true if self.reader.may_end() => {
                let trailers = Vec::new();
                Next::Part(ResponsePart::End { trailers }, 0)
            }
            true => Next::Lost(ENDED),
            false => Next::Nothing,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::poll_set::{WAKEUP, carrier_data};
    use prefork_wire::Span;
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;

    /// A carrier for a request of this kind, the set that it is in, and the other worker's end.
    fn lent(method: &str, framing: Framing, websocket: bool) -> (Carrier, PollSet, UnixStream) {
        let bytes = format!("{method} /");
        let at = bytes.len() - 1;
        let head = Head {
            method: Span {
                start: 0,
                end: at as u32 - 1,
            },
            target: Span {
                start: at as u32,
                end: at as u32 + 1,
            },
            framing,
            websocket,
            ..Head::default()
        };
        let set = PollSet::new(WAKEUP).unwrap();
        let (ours, theirs) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        let ours = Transport::new(ours.into(), None);
        let carrier =
            Carrier::new(ours, &set, carrier_data(0, 1), &head, bytes.as_bytes()).unwrap();
        (carrier, set, theirs)
    }

    fn reports(set: &PollSet) -> Vec<EventFlags> {
        let mut reports = Vec::new();
        let none = rustix::time::Timespec::default();
        set.waiter().wait(Some(&none), &mut reports).unwrap();
        reports.into_iter().map(|(_, flags)| flags).collect()
    }

    fn read(theirs: &mut UnixStream, len: usize) -> String {
        let mut bytes = vec![0; len];
        theirs.read_exact(&mut bytes).unwrap();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn a_body_is_written_as_the_head_says() {
        let head = "POST / HTTP/1.1\r\n\r\n";
        let (mut carrier, _set, mut theirs) = lent("POST", Framing::Length(5), false);
        carrier.write(b"hello");
        carrier.end_request();
        assert_eq!(carrier.flush(), 5);
        assert_eq!(read(&mut theirs, head.len() + 5), format!("{head}hello"));
        let head = "POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n";
        let (mut carrier, _set, mut theirs) = lent("POST", Framing::Chunked, false);
        carrier.write(b"hello");
        carrier.write(b"");
        assert!(carrier.is_uploading());
        carrier.end_request();
        assert!(!carrier.is_uploading());
        carrier.flush();
        let body = "5\r\nhello\r\n0\r\n\r\n";
        assert_eq!(
            read(&mut theirs, head.len() + body.len()),
            format!("{head}{body}")
        );
        let (mut carrier, _set, mut theirs) = lent("CONNECT", Framing::None, true);
        carrier.write(b"\x81\x00");
        carrier.end_request();
        carrier.flush();
        let mut all = Vec::new();
        theirs.read_to_end(&mut all).unwrap();
        assert!(all.ends_with(b"upgrade: websocket\r\n\r\n\x81\x00"));
    }

    #[test]
    fn a_worker_that_does_not_read_holds_the_client_back() {
        let (mut carrier, set, mut theirs) = lent("POST", Framing::Length(1 << 20), false);
        let mut given = 0;
        for _ in 0..16 {
            carrier.write(&[b'a'; 1 << 16]);
            given += carrier.flush();
        }
        assert!(given < 1 << 20);
        carrier.wait(false);
        assert_eq!(reports(&set), []);
        let mut taken = vec![0; 1 << 18];
        while given < 1 << 20 {
            assert!(theirs.read(&mut taken).unwrap() > 0);
            given += carrier.flush();
        }
        assert_eq!(given, 1 << 20, "all is given back, once");
        carrier.wait(false);
        drop(theirs);
        assert_eq!(reports(&set), [], "nothing is waited for");
        carrier.wait(true);
        assert!(
            reports(&set)
                .iter()
                .any(|flags| flags.contains(EventFlags::HUP))
        );
    }

    #[test]
    fn what_is_no_whole_response_is_lost() {
        for (sent, lost) in [
            (&b""[..], "ended"),
            (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n", "ended"),
            (b"hello", "status line"),
        ] {
            let (mut carrier, _set, mut theirs) = lent("GET", Framing::None, false);
            theirs.write_all(sent).unwrap();
            drop(theirs);
            while carrier.receive() {}
            let lost = loop {
                match carrier.next() {
                    Next::Part(_, len) => carrier.consume(len),
                    Next::Nothing => break false,
                    Next::Lost(reason) => break reason.contains(lost),
                }
            };
            assert!(lost, "{}", sent.escape_ascii());
        }
    }

    #[test]
    fn closing_ends_it_for_the_other_worker_and_the_set() {
        let (carrier, set, mut theirs) = lent("GET", Framing::None, false);
        let copy = carrier.socket.duplicate().unwrap();
        read(&mut theirs, 18);
        carrier.close();
        assert_eq!(theirs.read(&mut [0; 1]).unwrap(), 0);
        drop(theirs);
        assert_eq!(reports(&set), [], "although a copy is open");
        drop(copy);
    }
}
