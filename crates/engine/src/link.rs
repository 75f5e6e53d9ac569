//! The part of a connection that is the same in every protocol.
//!
//! Owns: the transport, the bytes that wait in either direction, and how the
//! connection ends. Always holds: an idle one has no buffer. Knows no
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

/// How far a connection is from its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// The protocol is at work.
    Serving,
    /// What waits is sent, then the connection is closed.
    Finishing,
    /// Our side is closed. What still comes is read and dropped, so that the
    /// response is not lost to a reset (RFC 9112, section 9.6).
    Lingering,
}

/// How a peer ends its side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PeerEnd {
    Closed,
    Reset,
}

pub(crate) enum Flushed {
    All,
    /// `progress`: the peer has taken something.
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
    /// Received, not yet understood.
    pub(crate) input: Vec<u8>,
    pub(crate) output: Output,
    /// How much of it the system still had for the peer when we last looked.
    queued: c_int,
    /// The socket has bytes, or the end of them, that were not read.
    pub(crate) unread: bool,
    /// The peer has closed its side.
    pub(crate) eof: bool,
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
            eof: false,
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

    /// From here on what waits is sent, and nothing more is served.
    pub(crate) fn finish(&mut self) {
        if self.stage == Stage::Serving {
            self.stage = Stage::Finishing;
        }
    }

    /// Makes what was kept the work at hand.
    #[inline]
    pub(crate) fn load(&mut self, cx: &mut Context) {
        cx.work.begin();
        if !self.input.is_empty() {
            cx.work.bytes.append(&mut self.input);
            cx.buffers.give(std::mem::take(&mut self.input));
        }
    }

    /// Keeps what was not understood.
    #[inline]
    pub(crate) fn keep(&mut self, cx: &mut Context) {
        let rest = cx.work.rest();
        if !rest.is_empty() {
            self.input = cx.buffers.take();
            self.input.extend_from_slice(rest);
        }
    }

    /// Drops what was kept.
    pub(crate) fn discard_input(&mut self, buffers: &mut Buffers) {
        buffers.give(std::mem::take(&mut self.input));
    }

    /// Adds to the work at hand what the peer has sent.
    ///
    /// # Errors
    /// How it has ended its side.
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

    /// Sends what waits.
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

    /// Notes how much the peer has to read, to see later whether it does.
    pub(crate) fn note_queued(&mut self) {
        self.queued = self.transport.queued();
    }

    /// Whether the peer has read anything since. The socket asks for more only
    /// when a good part of its queue has left: until then a slow reader shows
    /// only in the length of the queue.
    pub(crate) fn peer_reads(&mut self) -> bool {
        let before = self.queued;
        self.note_queued();
        self.queued < before
    }
}
