//! The thin face of the engine in Python: `prefork._engine`.
//!
//! Layout: `reactor.rs` is `Engine`, a turn of the loop, and `dispatch.rs`
//! turns the events in it into calls (`caller.rs`) of those that `service.rs`
//! names. They are given `request.rs`, `response.rs` (with `piece.rs` and
//! `file_part.rs`), `connection.rs` and `headers.rs`. For applications these
//! become WSGI's `environ.rs`, `input.rs` and `wsgi.rs` (with `names.rs`), or
//! ASGI's `scope.rs` and `exchange.rs` (with `message.rs`, `promise.rs` and
//! `waiters.rs`), or `websocket.rs`. `sending.rs` is how answers leave,
//! `core.rs` what all of them share. `scoreboard.rs`, `process.rs` and
//! `holes.rs` stand by themselves.
//!
//! Always holds: the engine is never locked while Python runs, so whatever
//! Python does in a call (answer, collect garbage, raise) finds it free.

mod caller;
mod connection;
mod core;
mod dispatch;
mod environ;
mod exchange;
mod file_part;
mod headers;
mod holes;
mod input;
mod message;
mod names;
mod piece;
mod process;
mod promise;
mod reactor;
mod request;
mod response;
mod scope;
mod scoreboard;
mod sending;
mod service;
mod waiters;
mod websocket;
mod wsgi;

/// Errors of `prefork.errors` that are raised from here.
mod errors {
    pyo3::import_exception!(prefork.errors, AlreadyAnswered);
    pyo3::import_exception!(prefork.errors, ConnectionGone);
    pyo3::import_exception!(prefork.errors, InvalidResponse);
}

#[pyo3::pymodule]
mod _engine {
    #[pymodule_export]
    const STUCK: i32 = crate::process::STUCK;
    #[pymodule_export]
    const TRACEBACKS: i32 = crate::process::TRACEBACKS;
    #[pymodule_export]
    use crate::caller::Caller;
    #[pymodule_export]
    use crate::connection::Connection;
    #[pymodule_export]
    use crate::exchange::Exchange;
    #[pymodule_export]
    use crate::file_part::PyFilePart;
    #[pymodule_export]
    use crate::headers::Headers;
    #[pymodule_export]
    use crate::holes::fill_holes;
    #[pymodule_export]
    use crate::input::Input;
    #[pymodule_export]
    use crate::process::die_with_parent;
    #[pymodule_export]
    use crate::reactor::Reactor;
    #[pymodule_export]
    use crate::request::Request;
    #[pymodule_export]
    use crate::response::Response;
    #[pymodule_export]
    use crate::scope::scope;
    #[pymodule_export]
    use crate::scoreboard::PyScoreboard;
    #[pymodule_export]
    use crate::websocket::WebSocket;
    #[pymodule_export]
    use crate::wsgi::StartResponse;
}
