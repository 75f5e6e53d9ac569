//! The binding of WSGI (PEP 3333): `call.rs` calls the application with what `environ.rs`
//! and `input.rs` make, and `start_response.rs` takes its response.

pub(crate) mod call;
pub(crate) mod environ;
pub(crate) mod input;
pub(crate) mod start_response;
