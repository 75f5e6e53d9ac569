//! What the engine tells its owner.

use crate::body::Body;
use crate::exchange::{ConnectionId, ExchangeId};
use crate::peer::Peer;
use crate::request_body::BodyPart;
use prefork_wire::websocket::Message;
use prefork_wire::{Head, RemoteError};
use std::io;

/// A client of a listener, and the name of its connection.
#[derive(Clone, Copy)]
pub struct Client {
    pub exchange: ExchangeId,
    pub listener: u32,
    pub peer: Peer,
    /// The scheme of a URI that leads here.
    pub scheme: &'static str,
}

/// What happened, and to which exchange or connection.
pub enum Event {
    /// A request. With a body, it is still to come: respond without it, or
    /// [`collect`](crate::ExchangeHandle::collect) it and wait for [`Event::Body`], or
    /// take it in parts: [`begin_pulling`](crate::ExchangeHandle::begin_pulling).
    Request {
        client: Client,
        /// The head as it came; the spans of `head` point into it.
        bytes: Vec<u8>,
        head: Head,
    },
    /// The body of a request that was collected, or why it could not be kept
    /// (no room on the disk): the response is owed all the same.
    Body {
        exchange: ExchangeId,
        body: Result<Body, io::Error>,
    },
    /// The part of a body that was asked for by [`pull`](crate::ExchangeHandle::pull).
    BodyPart {
        exchange: ExchangeId,
        part: BodyPart,
    },
    /// No more of the body comes: `reject` says what the client did wrong. It
    /// has got that as a response, or its connection was closed in the middle of one.
    BodyFailed { client: Client, reject: RemoteError },
    /// What came is no request. Respond to it, or let
    /// [`reject`](crate::ExchangeHandle::reject) do so.
    Malformed { client: Client, reject: RemoteError },
    /// The peer of a WebSocket has sent this.
    Message {
        exchange: ExchangeId,
        message: Message,
    },
    /// A WebSocket is over: nothing more comes, and nothing can be sent. The
    /// codes are those of RFC 6455, section 7.4: 1005 if none was sent, 1006 if
    /// the peer vanished. `fault` if it broke the rules.
    Ended {
        client: Client,
        code: u16,
        reason: String,
        fault: Option<&'static str>,
    },
    /// What was written has left the process.
    Drained { exchange: ExchangeId },
    /// The client of an exchange is gone before its response was complete.
    Gone { exchange: ExchangeId },
    /// The connection is closed. `interrupted`: why, if that was too early.
    Closed {
        connection: ConnectionId,
        listener: u32,
        peer: Peer,
        interrupted: Option<&'static str>,
    },
    /// A listener accepts no connections for a moment: the reason.
    Starved { listener: u32, error: io::Error },
    /// It accepts them again.
    Recovered { listener: u32 },
    /// This process has taken as many requests as it should.
    Exhausted,
    /// The application took too long for a request. Its client has got a 504;
    /// the response is no longer owed. `request` is method and target.
    Overdue {
        client: Client,
        request: String,
        after_ms: u64,
    },
    /// The last connection of a listener that drains is gone.
    Empty { listener: u32 },
}
