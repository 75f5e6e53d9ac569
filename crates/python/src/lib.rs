//! The native module `prefork._engine`: the engine for Python.
//!
//! Layout, from the top down. Each file uses only those below it:
//!
//! | file | owns |
//! |---|---|
//! | `engine.rs` | `Engine`: a turn of the loop, a process's place in its pool |
//! | `dispatch/` | from an event of the engine to the Python code that handles it
//! |
//! | `callers.rs` | the call of a service; `MountCaller`: directories in front of it |
//! | `event_queue.rs` | `EventQueue`: what is posted to the sessions of a kernel |
//! | `asgi/` | `ASGICaller`, `HTTPExchange`, `WebSocketExchange`: calls of ASGI applications |
//! | `wsgi/` | `WSGICaller`, `StartResponse`, `Input`: calls of WSGI applications |
//! | `events/` | `Request`, `Response` and their parts, for handlers |
//! | `access_log.rs` | `AccessLog`: where its lines go, and their format |
//! | `request_view.rs` | a request head, for environ, scope and `Request` |
//! | `service.rs` | the interface of a service, looked up once |
//! | `build.rs` | how the module was built |
//! | `settings.rs`, `options.rs` | Python's options as settings; the first is generated |
//! | `core.rs`, `pending.rs` | what all objects of one engine share: the engine, and the pending
//! callbacks |
//! | `call_context.rs` | the context variables of one call |
//! | `tls.rs` | `TlsConfig`: the certificates of a listener |
//! | `session.rs` | an encrypted connection, as environ and scope describe it |
//! | `names.rs`, `text.rs`, `request_body.rs`, `descriptor.rs`, `errors.rs` | conversions |
//! | `scoreboard.rs`, `process.rs`, `sandbox.rs`, `heap_fill.rs`, `immortal.rs`, `double_fork.rs`,
//! `vfork.rs` | independent of the rest: the scoreboard, system calls, what a worker gives up, the heap
//! before a fork, the fork of a mold |
//!
//! Always holds: neither the engine nor the pending table is locked while
//! Python runs, so Python code may respond, collect garbage or raise in any
//! call. The public classes are documented in the code, and
//! `python/prefork/_engine.pyi` repeats that for editors; a test compares them.

mod access_log;
mod asgi;
mod build;
mod call_context;
mod callers;
mod core;
mod descriptor;
mod dispatch;
mod double_fork;
mod engine;
mod errors;
mod event_queue;
mod events;
mod heap_fill;
mod immortal;
mod introduction;
mod names;
mod options;
mod pending;
mod process;
mod request_body;
mod request_view;
mod sandbox;
mod scoreboard;
mod service;
mod session;
mod settings;
mod stuck_line;
mod text;
mod tls;
mod vfork;
mod word_hash;
mod wsgi;

#[pyo3::pymodule]
mod _engine {
    use pyo3::prelude::*;

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        crate::process::prepare_ties();
        crate::event_queue::EventQueue::add_methods(module.py())
    }

    #[pymodule_export]
    const STUCK: i32 = crate::process::STUCK;
    #[pymodule_export]
    const INTERRUPT: i32 = crate::process::INTERRUPT;
    #[pymodule_export]
    const TRACEBACKS: i32 = crate::process::TRACEBACKS;
    #[pymodule_export]
    const STACKS: i32 = crate::process::STACKS;
    #[pymodule_export]
    const TASKS: i32 = crate::process::TASKS;
    #[pymodule_export]
    const HAND_OFF_FORMAT: u32 = prefork_engine::HAND_OFF_FORMAT;
    #[pymodule_export]
    const LOG_LEVEL: i32 = crate::process::LOG_LEVEL;
    #[pymodule_export]
    const REOPEN_LOG: i32 = crate::process::REOPEN_LOG;
    #[pymodule_export]
    use crate::access_log::PyAccessLog;
    #[pymodule_export]
    use crate::access_log::access_log_atoms;
    #[pymodule_export]
    use crate::access_log::access_log_fault;
    #[pymodule_export]
    use crate::asgi::call::AsgiCaller;
    #[pymodule_export]
    use crate::asgi::http::HttpExchange;
    #[pymodule_export]
    use crate::asgi::websocket::WebSocketExchange;
    #[pymodule_export]
    use crate::build::build_facts;
    #[pymodule_export]
    use crate::callers::MountCaller;
    #[pymodule_export]
    use crate::double_fork::fork_twice;
    #[pymodule_export]
    use crate::engine::Engine;
    #[pymodule_export]
    use crate::event_queue::EventQueue;
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
    use crate::immortal::immortalise;
    #[pymodule_export]
    use crate::process::BlockedSignals;
    #[pymodule_export]
    use crate::process::adopt_orphans;
    #[pymodule_export]
    use crate::process::adopts_orphans;
    #[pymodule_export]
    use crate::process::die_with_parent;
    #[pymodule_export]
    use crate::process::log_stuck_as_json;
    #[pymodule_export]
    use crate::process::raise_in_call;
    #[pymodule_export]
    use crate::process::take_interrupt;
    #[pymodule_export]
    use crate::process::tie_next_fork;
    #[pymodule_export]
    use crate::sandbox::enter_sandbox;
    #[pymodule_export]
    use crate::sandbox::try_sandbox;
    #[pymodule_export]
    use crate::scoreboard::PyScoreboard;
    #[pymodule_export]
    use crate::scoreboard::accept_queue_length;
    #[pymodule_export]
    use crate::scoreboard::queue_length;
    #[pymodule_export]
    use crate::scoreboard::time_bounds;
    #[pymodule_export]
    use crate::tls::TlsConfig;
    #[pymodule_export]
    use crate::wsgi::call::WsgiCaller;
    #[pymodule_export]
    use crate::wsgi::input::Input;
    #[pymodule_export]
    use crate::wsgi::start_response::StartResponse;
}
