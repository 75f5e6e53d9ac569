//! The binding of ASGI 3 (spec 2.5): scopes, and the `receive` and `send` of each call.
//!
//! `call.rs` calls an application, and `tasks.rs` makes the task of that call.
//! `http.rs` and `websocket.rs` are the two protocols, `scope.rs` makes the scope,
//! `messages.rs` reads and makes messages; with `waiting.rs`, `awaitable.rs`,
//! `futures.rs` and `inbox.rs` an application waits.

pub(crate) mod awaitable;
pub(crate) mod call;
pub(crate) mod futures;
pub(crate) mod http;
mod inbox;
pub(crate) mod messages;
pub(crate) mod scope;
pub(crate) mod tasks;
pub(crate) mod waiting;
pub(crate) mod websocket;
