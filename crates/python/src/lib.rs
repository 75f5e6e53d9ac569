//! The thin face of the engine in Python: `prefork._engine`.
//!
//! Layout: `engine.rs` is `Engine`, a turn of the loop, and `dispatch/` turns
//! the events in it into calls of what `service.rs` names. `events/` is what a
//! handler is given, `wsgi/` and `asgi/` are what applications are given.
//! `core.rs` is what all of them share. `scoreboard.rs`, `process.rs` and
//! `heap_fill.rs` stand by themselves.
//!
//! Always holds: the engine is never locked while Python runs, so whatever
//! Python does in a call (answer, collect garbage, raise) finds it free.

mod asgi;
mod core;
mod descriptor;
mod dispatch;
mod engine;
mod errors;
mod events;
mod heap_fill;
mod names;
mod options;
mod pending;
mod process;
mod request_body;
mod request_view;
mod scoreboard;
mod service;
mod settings;
mod text;
mod wsgi;

#[pyo3::pymodule]
mod _engine {
    #[pymodule_export]
    const STUCK: i32 = crate::process::STUCK;
    #[pymodule_export]
    const TRACEBACKS: i32 = crate::process::TRACEBACKS;
    #[pymodule_export]
    use crate::asgi::http::HttpExchange;
    #[pymodule_export]
    use crate::asgi::scope::scope;
    #[pymodule_export]
    use crate::asgi::websocket::WebSocketExchange;
    #[pymodule_export]
    use crate::engine::Engine;
    #[pymodule_export]
    use crate::events::connection::Connection;
    #[pymodule_export]
    use crate::events::file_part::PyFilePart;
    #[pymodule_export]
    use crate::events::headers::Headers;
    #[pymodule_export]
    use crate::events::request::Request;
    #[pymodule_export]
    use crate::events::response::Response;
    #[pymodule_export]
    use crate::heap_fill::fill_heap;
    #[pymodule_export]
    use crate::process::die_with_parent;
    #[pymodule_export]
    use crate::scoreboard::PyScoreboard;
    #[pymodule_export]
    use crate::wsgi::call::Caller;
    #[pymodule_export]
    use crate::wsgi::input::Input;
    #[pymodule_export]
    use crate::wsgi::start_response::StartResponse;
}
