//! The part of a connection that is the same in every protocol.
//!
//! Owns: the transport, the input and output buffers, and the stage of the
//! connection. Always holds: an idle connection has no buffer. Knows no
//! exchange, no protocol and no other connection.

use crate::buffers::Buffers;
use crate::context::Context;
use crate::event::{Client, scheme};
use crate::exchange::{ConnectionId, ExchangeId, Label};
use crate::output::{Failure, Output, Sent};
use crate::peer::Peer;
use crate::request_body::PART_BYTES;
use crate::request_ids::RequestIds;
use crate::scoreboard::AddressKey;
use crate::settings::ListenerSettings;
use crate::transport::{FileSend, FileSent, Received, Transport};
use prefork_wire::Head;
use prefork_wire::proxy::{Extensions, Introduction, Naming, Origin};
use rustix::io::Errno;
use std::sync::Arc;

const RECEIVE_BYTES: usize = 64 * 1024;

/// The stage of a connection on its way to being closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// The protocol runs.
    Serving,
    /// The peer has sent something, which is read when the application can be
    /// called for it.
    Waiting,
    /// The output is sent, then the connection is closed.
    Finishing,
    /// Our side is closed. Further input is read and dropped, so that a reset
    /// does not destroy the response (RFC 9112, section 9.6).
    Lingering,
}

/// The peer's side of the connection, on which it sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PeerSide {
    Open,
    /// The peer has closed it. Input that was sent before may be unread.
    Closed,
    /// The peer has closed it, and all input was read.
    Ended,
    /// The peer has reset the connection.
    Reset,
}

/// How the peer closed its side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PeerEnd {
    Closed,
    Reset,
    /// It was not read further, for this reason.
    Refused(&'static str),
}

/// The file in the output, if one is next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FileTurn {
    /// Some of it may be sent in this share of the turn.
    Ready,
    /// It is being sent, without the reactor.
    Lent,
    /// Some of it was sent (`progress`), or the socket was full.
    Tried { progress: bool },
}

pub(crate) enum Flushed {
    All,
    /// A file is next, and is to be sent without the reactor.
    File,
    /// `progress`: some of it was sent.
    Blocked {
        progress: bool,
    },
    Failed(&'static str),
}

pub(crate) struct Link {
    pub(crate) transport: Transport,
    pub(crate) peer: Peer,
    /// What the proxy that has introduced the client tells besides.
    pub(crate) extensions: Option<Arc<Extensions>>,
    pub(crate) settings: Arc<ListenerSettings>,
    pub(crate) listener: u32,
    pub(crate) id: ConnectionId,
    pub(crate) stage: Stage,
    /// Received and not parsed yet.
    pub(crate) input: Vec<u8>,
    pub(crate) output: Output,
    pub(crate) file: FileTurn,
    /// The socket has input, or its end, that was not read.
    pub(crate) unread: bool,
    pub(crate) peer_side: PeerSide,
    /// The address that it counts for, if that may have so many connections only.
    pub(crate) counted: Option<AddressKey>,
}

fn reason(failure: Failure) -> &'static str {
    match failure {
        Failure::Peer => "the client closed the connection before its response was sent",
        Failure::File => "a file became shorter while it was sent, or cannot be read",
        Failure::Descriptor => "the program closed its descriptor",
    }
}

impl Link {
    pub(crate) fn new(
        transport: Transport,
        peer: Peer,
        id: ConnectionId,
        listener: u32,
        settings: Arc<ListenerSettings>,
    ) -> Self {
        Link {
            transport,
            peer,
            extensions: None,
            settings,
            listener,
            id,
            stage: Stage::Serving,
            input: Vec::new(),
            output: Output::default(),
            file: FileTurn::Ready,
            unread: false,
            peer_side: PeerSide::Open,
            counted: None,
        }
    }

    /// The client of exchange `stream`.
    pub(crate) fn client(&self, stream: u32) -> Client {
        Client {
            exchange: ExchangeId {
                connection: self.id,
                stream,
            },
            listener: self.listener,
            peer: self.peer,
            scheme: scheme(self.is_encrypted()),
            has_extensions: self.extensions.is_some(),
            tls: self
                .transport
                .session()
                .map(|session| session.version.name()),
            ready_ns: 0,
            given_ns: 0,
        }
    }

    /// Whether the client speaks TLS, with this server or with the proxy that has introduced it.
    #[inline]
    pub(crate) fn is_encrypted(&self) -> bool {
        let extensions = self.extensions.as_ref();
        let is_introduced = extensions.is_some_and(|extensions| extensions.https());
        is_introduced || self.transport.is_encrypted() || self.transport.session().is_some()
    }

    /// Where a request comes from that has the fields of proxies, if they say it. The head gets
    /// what they say, and loses what the peer may not say.
    #[cold]
    pub(crate) fn resolve_origin(
        &self,
        bytes: &mut Vec<u8>,
        head: &mut Head,
    ) -> Option<Box<Origin>> {
        let peer = Origin {
            client: self.peer.into(),
            https: self.is_encrypted(),
        };
        let origin = self.settings.proxies.resolve(peer, bytes, head);
        (origin != peer).then(|| Box::new(origin))
    }

    /// The connection has brought its first request: if it is one of TLS, its handshake is complete.
    pub(crate) fn count_handshake(&self, cx: &Context) {
        if !self.transport.is_encrypted() {
            return;
        }
        let session = self.transport.session();
        if let Some(figures) = cx.load.shown_figures() {
            figures.count_handshake(session.is_some_and(|session| session.resumed));
        }
    }

    /// Whose request it is, if proxies in front have said that.
    #[inline]
    pub(crate) fn client_behind(&self, origin: Option<&Origin>) -> Peer {
        origin.map_or(self.peer, |origin| origin.client.into())
    }

    /// Gives a request its id, if requests have one. The head gets it as a field.
    #[inline]
    pub(crate) fn identify(
        &self,
        ids: &mut RequestIds,
        label: &mut Label,
        bytes: &mut Vec<u8>,
        head: &mut Head,
    ) {
        let proxies = &self.settings.proxies;
        if proxies.naming != Naming::Off {
            let trusted = proxies.naming == Naming::Trusted
                && proxies.trusted.networks.contain(self.peer.into());
            let id = head.identify(bytes, trusted, || ids.make());
            label.set_id(id.of(bytes));
        }
    }

    /// As [`Link::identify`], for what is no request.
    pub(crate) fn identify_malformed(&self, ids: &mut RequestIds, label: &mut Label) {
        if self.settings.proxies.naming != Naming::Off {
            label.set_id(&ids.make());
        }
    }

    /// Stops serving: the output is sent, then the connection is closed.
    pub(crate) fn finish(&mut self) {
        if self.stage == Stage::Serving {
            self.stage = Stage::Finishing;
        }
    }

    /// Ends the connection for the peer, whatever other process has the socket
    /// open.
    pub(crate) fn end_sending(&mut self) {
        if self.stage != Stage::Lingering && self.peer_side != PeerSide::Reset {
            let _ = self.transport.end_sending(); // it fails if the peer has just reset it
        }
    }

    /// Begins the connection's share of the turn with its kept input.
    #[inline]
    pub(crate) fn restore_input(&mut self, cx: &mut Context) {
        cx.work.begin(cx.clock.now_ns);
        self.may_send_file();
        if !self.input.is_empty() {
            // Exchanged and not copied: a client may send a large head byte by
            // byte. `input` is the empty buffer of the turn then.
            std::mem::swap(&mut cx.work.bytes, &mut self.input);
        }
    }

    /// Keeps the unparsed input.
    #[inline]
    pub(crate) fn keep_input(&mut self, cx: &mut Context) {
        let is_exchanged = self.input.capacity() > 0;
        match (cx.work.unparsed(), is_exchanged) {
            ([], false) => {}
            ([], true) => {
                std::mem::swap(&mut cx.work.bytes, &mut self.input);
                self.discard_input(&mut cx.buffers);
            }
            (rest, false) => {
                self.input = cx.buffers.take();
                self.input.extend_from_slice(rest);
            }
            (_, true) => {
                cx.work.drop_parsed();
                std::mem::swap(&mut cx.work.bytes, &mut self.input);
            }
        }
    }

    /// Drops the kept input.
    pub(crate) fn discard_input(&mut self, buffers: &mut Buffers) {
        buffers.give(std::mem::take(&mut self.input));
    }

    /// Reads from the socket and appends it to the current input.
    ///
    /// # Errors
    /// How the peer closed its side.
    #[inline]
    pub(crate) fn receive(&mut self, cx: &mut Context) -> Result<usize, PeerEnd> {
        let bytes = &mut cx.work.bytes;
        let received = if bytes.is_empty() {
            bytes.reserve(RECEIVE_BYTES);
            self.transport.receive(bytes)
        } else {
            // Behind kept input (see `restore_input`) only what is new is copied.
            self.input.reserve(RECEIVE_BYTES);
            let received = self.transport.receive(&mut self.input);
            bytes.append(&mut self.input);
            received
        };
        self.received(cx, received)
    }

    #[inline]
    fn received(&mut self, cx: &mut Context, received: Received) -> Result<usize, PeerEnd> {
        match received {
            Received::Bytes { len, all_room } => {
                self.unread = all_room;
                cx.load.counters.bytes_in += len as u64;
                Ok(len)
            }
            Received::Nothing => Ok(0),
            Received::End => Err(PeerEnd::Closed),
            Received::Reset => {
                self.peer_side = PeerSide::Reset;
                Err(PeerEnd::Reset)
            }
            Received::Failed => Err(PeerEnd::Reset),
            Received::Introduced(introduction) => self.introduced(cx, introduction),
            Received::Refused(reason) => Err(PeerEnd::Refused(reason)),
        }
    }

    /// A proxy has introduced the client. What came after that is in the current input.
    #[cold]
    fn introduced(
        &mut self,
        cx: &mut Context,
        introduction: Introduction,
    ) -> Result<usize, PeerEnd> {
        if let Some(origin) = introduction.origin {
            self.peer = origin.client.into();
        }
        let extensions = introduction.extensions;
        self.extensions = (!extensions.is_empty()).then(|| Arc::new(extensions));
        let received = self.transport.receive_rest(&mut cx.work.bytes);
        self.received(cx, received)
    }

    /// Lets some of a file be sent again.
    #[inline]
    pub(crate) fn may_send_file(&mut self) {
        if self.file != FileTurn::Lent {
            self.file = FileTurn::Ready;
        }
    }

    /// The call that sends some of the file that is next, if that may be made. Its
    /// result is given to [`Link::file_sent`].
    pub(crate) fn lend_file(&mut self) -> Option<FileSend> {
        if self.file != FileTurn::Ready {
            return None;
        }
        let send = self.output.file_send(&self.transport)?;
        self.file = FileTurn::Lent;
        Some(send)
    }

    /// # Errors
    /// Why the connection must be closed.
    pub(crate) fn file_sent(
        &mut self,
        cx: &mut Context,
        sent: Result<FileSent, Errno>,
    ) -> Result<(), &'static str> {
        let sent = self
            .output
            .file_sent(&mut self.transport, sent, &mut cx.buffers)
            .map_err(reason)?;
        cx.load.counters.bytes_out += sent as u64;
        self.file = FileTurn::Tried { progress: sent > 0 };
        Ok(())
    }

    /// Has the system take a large part of a body while the application is busy with the one before, and report
    /// no part with fewer bytes than `least`.
    pub(crate) fn take_ahead(&self, least: usize) {
        self.transport.report_from(PART_BYTES);
        self.transport.report_from(least);
    }

    /// Has the system report whatever comes, as it does at first.
    pub(crate) fn await_anything(&self) {
        self.transport.report_from(1);
    }

    /// Reads on after [`Link::receive`], until the socket is empty or there is a large
    /// part of a body. An end of the peer is found again later, after what it sent.
    ///
    /// # Errors
    /// The peer reset the connection.
    pub(crate) fn receive_more(&mut self, cx: &mut Context) -> Result<(), PeerEnd> {
        while self.unread && cx.work.bytes.len() < PART_BYTES {
            let bytes = &mut cx.work.bytes;
            bytes.reserve(PART_BYTES - bytes.len());
            let received = self.transport.receive(bytes);
            match self.received(cx, received) {
                Ok(0) => self.unread = false,
                Ok(_) => {}
                Err(PeerEnd::Closed) => break,
                Err(how) => return Err(how),
            }
        }
        Ok(())
    }

    /// Bytes of the output that the socket has not taken.
    #[inline]
    pub(crate) fn pending(&self) -> usize {
        self.output.pending() + self.transport.unsent()
    }

    /// Sends queued output.
    #[inline]
    pub(crate) fn flush(&mut self, cx: &mut Context) -> Flushed {
        let before = self.output.pending();
        let unsent = self.transport.unsent();
        let result = self.output.flush(&mut self.transport, &mut cx.buffers);
        cx.load.counters.bytes_out += (before - self.output.pending()) as u64;
        // What is before a file goes out before the file.
        if matches!(result, Ok(Sent::All | Sent::File { .. })) {
            match self.transport.flush() {
                Ok(()) => {}
                Err(Errno::AGAIN) => {
                    let progress =
                        self.output.pending() < before || self.transport.unsent() < unsent;
                    return Flushed::Blocked { progress };
                }
                Err(_) => return Flushed::Failed(reason(Failure::Peer)),
            }
        }
        match result {
            Ok(Sent::All) => Flushed::All,
            Ok(Sent::Blocked { progress }) => Flushed::Blocked { progress },
            Ok(Sent::File { progress }) => match self.file {
                FileTurn::Ready | FileTurn::Lent => Flushed::File,
                FileTurn::Tried { progress: before } => Flushed::Blocked {
                    progress: progress || before,
                },
            },
            Err(failure) => Flushed::Failed(reason(failure)),
        }
    }
}
