//! The thin face of the engine in Python: `understudy._engine`.
//!
//! Layout: `reactor.rs` is `Engine`, a turn of the loop, and `dispatch.rs`
//! turns the events in it into calls; `request.rs`, `response.rs` (with
//! `piece.rs`), `connection.rs` and `headers.rs` are what those calls are
//! given; `sending.rs` is how answers leave; `service.rs` is whom they go to; `core.rs` is what all of them share.
//! `scoreboard.rs` stands by itself.
//!
//! Always holds: the engine is never locked while Python runs, so whatever
//! Python does in a call (answer, collect garbage, raise) finds it free.

mod connection;
mod core;
mod dispatch;
mod headers;
mod piece;
mod process;
mod reactor;
mod request;
mod response;
mod scoreboard;
mod sending;
mod service;

/// Errors of `understudy.errors` that are raised from here.
mod errors {
    pyo3::import_exception!(understudy.errors, AlreadyAnswered);
    pyo3::import_exception!(understudy.errors, ConnectionGone);
    pyo3::import_exception!(understudy.errors, InvalidResponse);
}

#[pyo3::pymodule]
mod _engine {
    #[pymodule_export]
    use crate::connection::Connection;
    #[pymodule_export]
    use crate::headers::Headers;
    #[pymodule_export]
    use crate::process::die_with_parent;
    #[pymodule_export]
    use crate::reactor::Reactor;
    #[pymodule_export]
    use crate::request::Request;
    #[pymodule_export]
    use crate::response::Response;
    #[pymodule_export]
    use crate::scoreboard::PyScoreboard;
}
