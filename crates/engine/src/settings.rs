//! The settings of an engine: of each listener, and of each WebSocket.

// Generated from python/prefork/config/options/ by `make generate`. Do not edit.

use crate::body::Spool;
use prefork_wire::proxy::{Family, Naming, Proxies, Trusted};
use prefork_wire::{Limits, Underscore};

/// Holds for every connection of one listener.
#[derive(Clone, Debug)]
pub struct ListenerSettings {
    pub limits: Limits,
    /// Respond with 408 if a request body arrives at fewer bytes per second than
    /// this. 0 disables. Option `body_min_rate`.
    pub body_min_rate: u64,
    /// Maximum number of open connections of a worker. For a new client, the
    /// connection that has idled for longest is closed; if none idles, the worker
    /// accepts no client. 0: as many as it may open files. Option
    /// `max_connections`.
    pub max_connections: u64,
    /// Maximum number of open connections of a client address, in all workers
    /// together. Of IPv6 addresses the first 64 bits count. Respond to more with
    /// 503. 0 disables. Of --trusted-proxies, and at a Unix socket, there is no
    /// limit. Option `max_connections_per_address`.
    pub max_connections_per_address: u64,
    /// Close a connection after this many requests. 0 disables. Option
    /// `max_requests_per_connection`.
    pub max_requests_per_connection: u64,
    /// Maximum number of requests that wait while every worker is busy, those of
    /// new clients included. Respond to more with 503. 0 disables. Of a Unix
    /// socket, new clients are limited by --backlog only. Option `max_queue`.
    pub max_queue: u64,
    /// Maximum number of requests that a client of HTTP/2 may have open on one
    /// connection, WebSockets included (SETTINGS_MAX_CONCURRENT_STREAMS). One more
    /// is refused, and may be tried again. Option `max_streams`.
    pub max_streams: Option<u64>,
    /// Keep connections open between requests. Option `keep_alive`.
    pub keep_alive: bool,
    /// Serve HTTP/2 without TLS to clients that begin with it (prior knowledge).
    /// Option `h2c`.
    pub h2c: bool,
    /// Each connection begins with a header of the PROXY protocol, version 1 or 2.
    /// Other connections are refused, and those that do not come from --trusted-
    /// proxies. Option `proxy_protocol`.
    pub proxy_protocol: bool,
    /// Respond with 408 if the head of a request is not complete after this long.
    /// Option `header_timeout`, in milliseconds.
    pub header_timeout_ms: u64,
    /// Close a connection that has been idle for this long. Option
    /// `keep_alive_timeout`, in milliseconds.
    pub keep_alive_timeout_ms: u64,
    /// Respond with 504 if the application has not started its response after this
    /// long, and replace the worker if it is stuck. 0 disables. Option
    /// `request_timeout`, in milliseconds.
    pub request_timeout_ms: u64,
    /// Close the connection if the client reads nothing for this long. Option
    /// `send_timeout`, in milliseconds.
    pub send_timeout_ms: u64,
    /// Header fields of every response that does not set them itself; also of
    /// errors and 101. Option `headers`.
    pub headers: Vec<(Vec<u8>, Vec<u8>)>,
    pub spool: Spool,
    pub proxies: Proxies,
}

impl Default for ListenerSettings {
    /// The defaults of the options.
    fn default() -> Self {
        ListenerSettings {
            limits: Limits {
                head: 65_536,
                line: 16_384,
                fields: 100,
                underscore: Underscore::Drop,
                max_body: 1_073_741_824,
                ..Limits::default()
            },
            body_min_rate: 240,
            max_connections: 0,
            max_connections_per_address: 4_096,
            max_requests_per_connection: 0,
            max_queue: 2_000,
            max_streams: None,
            keep_alive: true,
            h2c: false,
            proxy_protocol: false,
            header_timeout_ms: 10_000,
            keep_alive_timeout_ms: 75_000,
            request_timeout_ms: 0,
            send_timeout_ms: 60_000,
            headers: Vec::new(),
            spool: Spool {
                above_bytes: 262_144,
                directory: None,
            },
            proxies: Proxies {
                trusted: Trusted::default(),
                family: Family::XForwarded,
                naming: Naming::Off,
            },
        }
    }
}

/// Holds for one WebSocket (RFC 6455).
#[derive(Clone, Copy, Debug)]
pub struct WebSocketSettings {
    /// Maximum size of a message from the client. Option `ws_max_message`.
    pub max_message: u64,
    /// Interval of pings to the client. 0 disables. Option `ws_ping_interval`, in
    /// milliseconds.
    pub ping_interval_ms: u64,
    /// Close the connection if the client sends nothing for this long after a ping.
    /// Option `ws_ping_timeout`, in milliseconds.
    pub ping_timeout_ms: u64,
    /// Compress messages if the client supports it (permessage-deflate). Option
    /// `ws_deflate`.
    pub deflate: bool,
}

impl Default for WebSocketSettings {
    /// The defaults of the options.
    fn default() -> Self {
        WebSocketSettings {
            max_message: 16_777_216,
            ping_interval_ms: 20_000,
            ping_timeout_ms: 20_000,
            deflate: true,
        }
    }
}
