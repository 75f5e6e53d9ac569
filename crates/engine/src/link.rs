//! The part of a connection that is the same in every protocol.
//!
//! Owns: the transport, the input and output buffers, and the stage of the
//! connection. Always holds: an idle connection has no buffer. Knows no
//! exchange, no protocol and no other connection.

use crate::buffers::Buffers;
use crate::context::Context;
use crate::event::Client;
use crate::exchange::{ConnectionId, ExchangeId};
use crate::output::{Failure, Output, Sent};
use crate::peer::Peer;
use crate::settings::ListenerSettings;
use crate::transport::{Received, Transport};
use std::ffi::c_int;
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
}

/// How the peer closed its side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PeerEnd {
    Closed,
    Reset,
}

pub(crate) enum Flushed {
    All,
    /// `progress`: some of it was sent.
    Blocked {
        progress: bool,
    },
    Failed(&'static str),
}

pub(crate) struct Link {
    pub(crate) transport: Transport,
    pub(crate) peer: Peer,
    pub(crate) settings: Arc<ListenerSettings>,
    pub(crate) listener: u32,
    pub(crate) id: ConnectionId,
    pub(crate) stage: Stage,
    /// Received and not parsed yet.
    pub(crate) input: Vec<u8>,
    pub(crate) output: Output,
    /// The length of the socket's send queue at the last `note_queued`.
    queued: c_int,
    /// The socket has input, or its end, that was not read.
    pub(crate) unread: bool,
    pub(crate) peer_side: PeerSide,
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
            settings,
            listener,
            id,
            stage: Stage::Serving,
            input: Vec::new(),
            output: Output::default(),
            queued: 0,
            unread: false,
            peer_side: PeerSide::Open,
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
            scheme: self.transport.scheme(),
        }
    }

    /// Stops serving: the output is sent, then the connection is closed.
    pub(crate) fn finish(&mut self) {
        if self.stage == Stage::Serving {
            self.stage = Stage::Finishing;
        }
    }

    /// Begins the connection's share of the turn with its kept input.
    #[inline]
    pub(crate) fn restore_input(&mut self, cx: &mut Context) {
        cx.work.begin();
        if !self.input.is_empty() {
            cx.work.bytes.append(&mut self.input);
            cx.buffers.give(std::mem::take(&mut self.input));
        }
    }

    /// Keeps the unparsed input.
    #[inline]
    pub(crate) fn keep_input(&mut self, cx: &mut Context) {
        let rest = cx.work.unparsed();
        if !rest.is_empty() {
            self.input = cx.buffers.take();
            self.input.extend_from_slice(rest);
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
        cx.work.bytes.reserve(RECEIVE_BYTES);
        match self.transport.receive(&mut cx.work.bytes) {
            Received::Bytes { len, all_room } => {
                self.unread = all_room;
                cx.load.counters.bytes_in += len as u64;
                Ok(len)
            }
            Received::Nothing => Ok(0),
            Received::End => Err(PeerEnd::Closed),
            Received::Reset => Err(PeerEnd::Reset),
        }
    }

    /// Sends queued output.
    #[inline]
    pub(crate) fn flush(&mut self, cx: &mut Context) -> Flushed {
        let before = self.output.pending();
        let result = self.output.flush(&self.transport, &mut cx.buffers);
        cx.load.counters.bytes_out += (before - self.output.pending()) as u64;
        match result {
            Ok(Sent::All) => Flushed::All,
            Ok(Sent::Blocked { progress }) => Flushed::Blocked { progress },
            Err(Failure::Peer) => {
                Flushed::Failed("the client closed the connection before its response was sent")
            }
            Err(Failure::File) => {
                Flushed::Failed("a file became shorter while it was sent, or cannot be read")
            }
        }
    }

    /// Notes the length of the socket's send queue, for `peer_reads`.
    pub(crate) fn note_queued(&mut self) {
        self.queued = self.transport.queued();
    }

    /// Whether the peer has read anything since `note_queued`. A socket becomes
    /// writable only when a good part of its queue is sent: until then a slow
    /// reader shows only in the length of the queue.
    pub(crate) fn peer_reads(&mut self) -> bool {
        let before = self.queued;
        self.note_queued();
        self.queued < before
    }
}
