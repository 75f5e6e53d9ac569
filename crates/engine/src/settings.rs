//! What an engine can be told: for each listener, and for each WebSocket.

// Generated from python/prefork/config/options.py by `make generate`. Do not edit.

use crate::body::Spool;
use prefork_wire::{Limits, Underscore};

/// Holds for every connection of one listener.
#[derive(Clone, Debug)]
pub struct ListenerSettings {
    /// Keep connections open between requests. Option `keep_alive`.
    pub keep_alive: bool,
    /// Time for a request's whole head. Option `header_timeout`, in milliseconds.
    pub header_timeout_ms: u64,
    /// Life of an idle connection. Option `keep_alive_timeout`, in milliseconds.
    pub keep_alive_timeout_ms: u64,
    /// Time to begin an answer, after which it is a 504 and a stuck worker is
    /// replaced; 0: any. Option `request_timeout`, in milliseconds.
    pub request_timeout_ms: u64,
    /// Slowest pace at which a body may come; 0: any. Option `body_min_rate`.
    pub body_min_rate: u64,
    /// Patience with a client that takes nothing of its answer. Option
    /// `send_timeout`, in milliseconds.
    pub send_timeout_ms: u64,
    pub limits: Limits,
    pub spool: Spool,
}

impl Default for ListenerSettings {
    /// The defaults of the options.
    fn default() -> Self {
        ListenerSettings {
            keep_alive: true,
            header_timeout_ms: 10_000,
            keep_alive_timeout_ms: 75_000,
            request_timeout_ms: 0,
            body_min_rate: 240,
            send_timeout_ms: 60_000,
            limits: Limits {
                max_body: 1_073_741_824,
                head: 65_536,
                fields: 100,
                underscore: Underscore::Drop,
                ..Limits::default()
            },
            spool: Spool {
                above_bytes: 262_144,
                directory: None,
            },
        }
    }
}

/// Holds for one WebSocket (RFC 6455).
#[derive(Clone, Copy, Debug)]
pub struct WebSocketSettings {
    /// Largest message of a WebSocket client. Option `ws_max_message`.
    pub max_message: u64,
    /// Pause between pings to a WebSocket client; 0: none. Option
    /// `ws_ping_interval`, in milliseconds.
    pub ping_interval_ms: u64,
    /// Patience with a WebSocket client that is silent after a ping. Option
    /// `ws_ping_timeout`, in milliseconds.
    pub ping_timeout_ms: u64,
    /// Compress WebSocket messages if the client can (permessage-deflate). Option
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
