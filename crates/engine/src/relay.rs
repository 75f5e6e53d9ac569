//! The TLS of a connection that the application has taken over as a socket.
//!
//! The application gets one end of a pair of sockets, on which the bytes are plain. A
//! thread of the connection's own passes them on: the loop could not while a handler
//! runs. Always holds: what either side sends arrives in order before its end does; the
//! thread keeps at most one read of each side, and ends when both sides have ended or
//! the application's is closed.

use crate::transport::{Received, Transport};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::time::Timespec;
use std::io;

const RECEIVE_BYTES: usize = 64 * 1024;
/// The most that a record holds (RFC 8446, section 5.1).
const RECORD_BYTES: usize = 16 * 1024;
const STACK_BYTES: usize = 128 * 1024;
/// How long a client may take nothing of what is left when the application has closed
/// its socket.
const LAST: Timespec = Timespec {
    tv_sec: 10,
    tv_nsec: 0,
};

/// Makes the transport the application's: plain. Nothing of an encrypted one is left
/// in it; the descriptor is another one then.
///
/// # Errors
/// If there is no descriptor or no thread for it. The transport is of no use then.
pub(crate) fn begin(transport: &mut Transport) -> io::Result<()> {
    let (ours, theirs) = Transport::pair()?;
    let client = std::mem::replace(transport, ours);
    let relay = Relay {
        client: Side::new(client),
        application: Side::new(theirs),
        received: Vec::new(),
    };
    std::thread::Builder::new()
        .name("relay".into())
        .stack_size(STACK_BYTES)
        .spawn(move || relay.run())
        .map(drop)
}

struct Side {
    transport: Transport,
    /// It has sent its end.
    has_ended: bool,
    /// The end of the other side was passed on to it.
    is_told: bool,
}

impl Side {
    fn new(transport: Transport) -> Self {
        Side {
            transport,
            has_ended: false,
            is_told: false,
        }
    }

    fn tell_end(&mut self) {
        self.is_told = true;
        let _ = self.transport.end_sending(); // it may be gone
    }
}

struct Relay {
    client: Side,
    application: Side,
    /// Of the client, and not passed on yet. What goes to the client is sealed at once,
    /// and waits in its transport.
    received: Vec<u8>,
}

/// One side is gone.
struct Gone;

impl Relay {
    fn run(mut self) {
        while let Some((client, application)) = self.wait() {
            if application.contains(PollFlags::HUP) && self.application.has_ended {
                self.application_has_closed();
            }
            let passed = self
                .pass_to_client(application)
                .and_then(|()| self.pass_to_application(client));
            if passed.is_err() {
                return;
            }
        }
    }

    /// What it has sent is passed on, and no more is read of the client.
    fn application_has_closed(&mut self) {
        self.received = Vec::new();
        self.client.has_ended = true;
        self.application.is_told = true;
    }

    /// Waits until something can be done. `None`: all is done.
    fn wait(&self) -> Option<(PollFlags, PollFlags)> {
        let (mut client, mut application) = (PollFlags::empty(), PollFlags::empty());
        match self.received.is_empty() {
            true => client.set(PollFlags::IN, !self.client.has_ended),
            false => application.insert(PollFlags::OUT),
        }
        match self.client.transport.unsent() {
            0 => application.set(PollFlags::IN, !self.application.has_ended),
            _ => client.insert(PollFlags::OUT),
        }
        if (client | application).is_empty() {
            return None;
        }
        let (first, second) = (&self.client.transport, &self.application.transport);
        let mut fds = [
            PollFd::from_borrowed_fd(first.fd(), client),
            PollFd::from_borrowed_fd(second.fd(), application),
        ];
        // The end of a side that is closed would be reported at each call.
        let both = !application.is_empty() || !self.client.has_ended;
        let asked = fds.get_mut(..1 + usize::from(both)).unwrap_or_default();
        let most = self.application.has_ended.then_some(&LAST);
        loop {
            match poll(asked, most) {
                Err(Errno::INTR) => {}
                Ok(ready) if ready > 0 => break,
                Ok(_) | Err(_) => return None,
            }
        }
        let [client, application] = fds.map(|fd| fd.revents());
        Some((client, application))
    }

    fn pass_to_client(&mut self, application: PollFlags) -> Result<(), Gone> {
        let source = &mut self.application;
        let client = &mut self.client.transport;
        match client.flush() {
            Ok(()) | Err(Errno::AGAIN) => {}
            Err(_) => return Err(Gone),
        }
        if reads(application) && client.unsent() == 0 && !source.has_ended {
            let mut bytes = Vec::with_capacity(RECORD_BYTES);
            match source.transport.receive(&mut bytes) {
                // One record, which is sealed whole; what the socket does not take of it waits.
                Received::Bytes { .. } if client.send(&bytes) == Ok(bytes.len()) => {}
                Received::Nothing => {}
                Received::End => source.has_ended = true,
                _ => return Err(Gone),
            }
        }
        if source.has_ended && !self.client.is_told && client.unsent() == 0 {
            self.client.tell_end();
        }
        Ok(())
    }

    fn pass_to_application(&mut self, client: PollFlags) -> Result<(), Gone> {
        let source = &mut self.client;
        if reads(client) && self.received.is_empty() && !source.has_ended {
            self.received.reserve(RECEIVE_BYTES);
            match source.transport.receive(&mut self.received) {
                Received::Bytes { .. } | Received::Nothing => {}
                Received::End => source.has_ended = true,
                _ => return Err(Gone),
            }
        }
        while !self.received.is_empty() {
            match self.application.transport.send(&self.received) {
                Ok(sent) => drop(self.received.drain(..sent)),
                Err(Errno::AGAIN) => return Ok(()),
                Err(Errno::INTR) => {}
                Err(_) => self.application_has_closed(),
            }
        }
        self.received = Vec::new();
        if self.client.has_ended && !self.application.is_told {
            self.application.tell_end();
        }
        Ok(())
    }
}

fn reads(reported: PollFlags) -> bool {
    reported.intersects(PollFlags::IN | PollFlags::HUP | PollFlags::ERR)
}
