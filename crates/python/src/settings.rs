//! Python's options as settings of the engine and of a service.

// Generated from python/prefork/config/options/ by `make generate`. Do not edit.

use crate::options::{header_fields, milliseconds, trusted_proxies, value};
use prefork_engine::{ListenerSettings, Spool, WebSocketSettings};
use prefork_wire::proxy::{Family, Naming, Proxies};
use prefork_wire::{Limits, Underscore};
use pyo3::intern;
use pyo3::prelude::*;

/// What a service makes of requests, and adds to responses.
#[derive(Debug)]
pub(crate) struct ServiceSettings {
    /// TCP port to listen on. 0 picks a free one. Option `port`.
    pub(crate) port: Option<u64>,
    /// Host name in the URIs of requests. Option `hostname`.
    pub(crate) hostname: Option<String>,
    /// Pass whole request URIs to handlers, as a proxy needs them, and accept
    /// CONNECT. Option `proxy_mode`.
    pub(crate) proxy_mode: bool,
    /// Give each request an id: the application, its response and the logs have it.
    /// With `trusted` it is the X-Request-ID of a proxy of --trusted-proxies, which
    /// has to set or remove that field; a request without one gets one. `make`
    /// makes all of them. Option `request_id`.
    pub(crate) naming: Naming,
    /// Header fields of every response that does not set them itself; also of
    /// errors and 101. Option `headers`.
    pub(crate) headers: Vec<(Vec<u8>, Vec<u8>)>,
}

/// Raises AttributeError or TypeError for an option that is not there or not of its type.
pub(crate) fn listener_settings(options: &Bound<'_, PyAny>) -> PyResult<ListenerSettings> {
    let py = options.py();
    Ok(ListenerSettings {
        limits: Limits {
            head: value(options, intern!(py, "max_head"))?,
            line: value(options, intern!(py, "max_line"))?,
            fields: value(options, intern!(py, "max_fields"))?,
            underscore: match value::<String>(options, intern!(py, "underscores"))?.as_str() {
                "reject" => Underscore::Reject,
                _ => Underscore::Drop,
            },
            max_body: value(options, intern!(py, "max_body"))?,
            ..Limits::default()
        },
        body_min_rate: value(options, intern!(py, "body_min_rate"))?,
        max_connections: value(options, intern!(py, "max_connections"))?,
        max_connections_per_address: value(options, intern!(py, "max_connections_per_address"))?,
        max_requests_per_connection: value(options, intern!(py, "max_requests_per_connection"))?,
        max_queue: value(options, intern!(py, "max_queue"))?,
        max_streams: value(options, intern!(py, "max_streams"))?,
        keep_alive: value(options, intern!(py, "keep_alive"))?,
        h2c: value(options, intern!(py, "h2c"))?,
        proxy_protocol: value(options, intern!(py, "proxy_protocol"))?,
        header_timeout_ms: milliseconds(options, intern!(py, "header_timeout"))?,
        keep_alive_timeout_ms: milliseconds(options, intern!(py, "keep_alive_timeout"))?,
        request_timeout_ms: milliseconds(options, intern!(py, "request_timeout"))?,
        send_timeout_ms: milliseconds(options, intern!(py, "send_timeout"))?,
        headers: header_fields(options, intern!(py, "headers"))?,
        spool: Spool {
            above_bytes: value(options, intern!(py, "spool_above"))?,
            directory: value(options, intern!(py, "spool_dir"))?,
        },
        proxies: Proxies {
            trusted: trusted_proxies(options, intern!(py, "trusted_proxies"))?,
            family: match value::<String>(options, intern!(py, "forwarded"))?.as_str() {
                "forwarded" => Family::Forwarded,
                "off" => Family::Off,
                _ => Family::XForwarded,
            },
            naming: match value::<String>(options, intern!(py, "request_id"))?.as_str() {
                "trusted" => Naming::Trusted,
                "make" => Naming::Make,
                _ => Naming::Off,
            },
        },
    })
}

/// Raises AttributeError or TypeError for an option that is not there or not of its type.
pub(crate) fn websocket_settings(options: &Bound<'_, PyAny>) -> PyResult<WebSocketSettings> {
    let py = options.py();
    Ok(WebSocketSettings {
        max_message: value(options, intern!(py, "ws_max_message"))?,
        ping_interval_ms: milliseconds(options, intern!(py, "ws_ping_interval"))?,
        ping_timeout_ms: milliseconds(options, intern!(py, "ws_ping_timeout"))?,
        deflate: value(options, intern!(py, "ws_deflate"))?,
    })
}

/// Raises AttributeError or TypeError for an option that is not there or not of its type.
pub(crate) fn service_settings(options: &Bound<'_, PyAny>) -> PyResult<ServiceSettings> {
    let py = options.py();
    Ok(ServiceSettings {
        port: value(options, intern!(py, "port"))?,
        hostname: value(options, intern!(py, "hostname"))?,
        proxy_mode: value(options, intern!(py, "proxy_mode"))?,
        naming: match value::<String>(options, intern!(py, "request_id"))?.as_str() {
            "trusted" => Naming::Trusted,
            "make" => Naming::Make,
            _ => Naming::Off,
        },
        headers: header_fields(options, intern!(py, "headers"))?,
    })
}
