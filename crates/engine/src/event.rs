//! The events that the engine returns to its owner.

use crate::access_log::LogNews;
use crate::body::Body;
use crate::disk::DiskTask;
use crate::exchange::{ConnectionId, ExchangeId};
use crate::peer::Peer;
use crate::request_body::BodyPart;
use crate::scoreboard::Limit;
use crate::unread::Held;
use prefork_wire::proxy::Origin;
use prefork_wire::websocket::Message;
use prefork_wire::{Head, RemoteError};
use std::io;

/// A client of a listener, and the name of its connection.
#[derive(Clone, Copy)]
pub struct Client {
    pub exchange: ExchangeId,
    pub listener: u32,
    pub peer: Peer,
    /// The scheme of the URIs that it asks for (RFC 9110, section 4.2).
    pub scheme: &'static str,
    /// The proxy that has introduced the connection tells more:
    /// [`ConnectionHandle::extensions`](crate::ConnectionHandle::extensions).
    pub has_extensions: bool,
    /// The version of TLS, if this server speaks it with the client.
    pub tls: Option<&'static str>,
    /// When the request could be read, and when it was given to the application, on the monotonic
    /// clock; 0 if that is not known.
    pub ready_ns: u64,
    pub given_ns: u64,
}

impl Client {
    /// One that was accepted, and has no connection here.
    pub(crate) fn new(peer: Peer, listener: u32) -> Self {
        Client {
            exchange: ExchangeId::only(ConnectionId::from_u64(0)),
            listener,
            peer,
            scheme: scheme(false),
            has_extensions: false,
            tls: None,
            ready_ns: 0,
            given_ns: 0,
        }
    }

    /// This client, with the times of its request.
    #[inline]
    pub(crate) fn at(self, ready_ns: u64, given_ns: u64) -> Self {
        Client {
            ready_ns,
            given_ns,
            ..self
        }
    }

    /// The client that a proxy speaks for; this one without a proxy.
    #[inline]
    pub(crate) fn behind(self, origin: Option<&Origin>) -> Self {
        match origin {
            None => self,
            Some(origin) => Client {
                peer: origin.client.into(),
                scheme: scheme(origin.https),
                ..self
            },
        }
    }
}

#[inline]
pub(crate) fn scheme(https: bool) -> &'static str {
    match https {
        false => "http",
        true => "https",
    }
}

/// The id of the request, if requests have ids. For a log.
pub type RequestId = Option<Box<str>>;

/// What happened, and to which exchange or connection.
pub enum Event {
    /// A request. Its body, if it has one, is not read yet: respond without it, or
    /// [`collect`](crate::ExchangeHandle::collect) it and wait for [`Event::Body`], or
    /// take it in parts: [`begin_pulling`](crate::ExchangeHandle::begin_pulling).
    Request {
        client: Client,
        /// The received head. The spans of `head` point into it.
        bytes: Vec<u8>,
        head: Head,
    },
    /// The collected body of a request, or the error for which it could not be
    /// stored (the disk is full): a response is owed in both cases.
    Body {
        exchange: ExchangeId,
        body: Result<Body, io::Error>,
    },
    /// The part of a body that was asked for by [`pull`](crate::ExchangeHandle::pull).
    BodyPart {
        exchange: ExchangeId,
        part: BodyPart,
    },
    /// Work that may wait for a disk: [`DiskTask::run`] it, without the reactor, and
    /// give it back by [`disk_done`](crate::Reactor::disk_done).
    Disk(DiskTask),
    /// No more of the body comes, because of an error of the client. The client has
    /// got the error as a response, or its connection was closed in the middle of
    /// one.
    BodyFailed {
        client: Client,
        error: RemoteError,
        request_id: RequestId,
    },
    /// The peer sent something that is not a request. Respond to it, or let
    /// [`reject`](crate::ExchangeHandle::reject) do so.
    Malformed {
        client: Client,
        error: RemoteError,
        /// The request line, if it could be read. For a log.
        line: Option<Box<[u8]>>,
        request_id: RequestId,
    },
    /// A message from the peer of a WebSocket.
    Message {
        exchange: ExchangeId,
        message: Message,
        /// Dropped when the application has taken the message.
        held: Held,
    },
    /// A WebSocket has ended: no message follows, and none can be sent.
    Ended(Ended),
    /// All queued output is sent.
    Drained { exchange: ExchangeId },
    /// The client has closed its sending side after its request. It may still
    /// read the response. Reported if [`Event::Gone`] is wanted.
    HalfClosed { exchange: ExchangeId },
    /// The listener drains while a response is owed, which might not end by itself.
    /// Only for an exchange that wants [`Event::Gone`].
    Draining { exchange: ExchangeId },
    /// The client left before the response was complete.
    /// `unsent`: bytes of the response that were not sent; `None` if none was owed any
    /// more, if the application closed it, and for a WebSocket.
    Gone {
        exchange: ExchangeId,
        unsent: Option<usize>,
    },
    /// The application did not start its response in time. The client has got a
    /// 504, and no response is owed.
    Overdue(Overdue),
    /// Another worker was to serve a request, and its response has not come to an end.
    Lost(Lost),
    /// The connection is closed.
    Closed(Closed),
    /// The state of a listener has changed.
    Listener { listener: u32, news: ListenerNews },
    /// A descriptor of the engine is unusable.
    Broken(Broken),
    /// This process has got its maximum number of requests.
    RequestLimitReached,
}

/// How a WebSocket ended. The codes are those of RFC 6455, section 7.4: 1005 if
/// none was sent, 1006 if the connection was lost.
pub struct Ended {
    pub client: Client,
    pub code: u16,
    pub reason: String,
    /// How the peer broke the protocol.
    pub fault: Option<&'static str>,
    pub request_id: RequestId,
}

/// A response that did not start in time.
pub struct Overdue {
    pub client: Client,
    /// Method and target.
    pub request: String,
    pub after_ms: u64,
    pub request_id: RequestId,
}

/// A request that another worker was to serve.
pub struct Lost {
    pub client: Client,
    /// Method and target.
    pub request: String,
    pub reason: &'static str,
}

/// A connection that is closed.
pub struct Closed {
    pub connection: ConnectionId,
    pub listener: u32,
    pub peer: Peer,
    /// The reason, if it had more to do.
    pub interrupted: Option<&'static str>,
    /// That of its open request, if it has only one.
    pub request_id: RequestId,
}

/// A descriptor of the engine that is unusable: the program has closed it, or a
/// process that shares it has shut it down. The process must end.
pub struct Broken {
    pub what: &'static str,
    pub error: io::Error,
    /// Turns are still possible: requests may finish.
    pub turns: bool,
}

/// What has changed for a listener.
pub enum ListenerNews {
    /// Accepting is paused, because no descriptor is free.
    AcceptPaused(io::Error),
    /// Idle connections are closed for new clients, because no descriptor is free.
    IdleClosed(io::Error),
    /// A limit was applied to a client, as it may be to others until this is reported
    /// again.
    Limited { limit: Limit, peer: Option<Peer> },
    /// Accepting has resumed.
    AcceptResumed,
    /// The access log of the process cannot be written, or can be again.
    AccessLog(LogNews),
    /// It is draining, and its last connection is closed.
    Drained,
}
