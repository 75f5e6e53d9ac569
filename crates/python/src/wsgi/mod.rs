//! The binding of WSGI (PEP 3333): `call.rs` calls the application with the objects of `environ.rs`
//! and `input.rs`, and `start_response.rs` is its response.

pub(crate) mod call;
pub(crate) mod environ;
pub(crate) mod input;
pub(crate) mod start_response;
