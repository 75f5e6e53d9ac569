//! What a handler of the native event API is given: `request.rs`, `response.rs` and what
//! they are made of.

pub(crate) mod connection;
pub(crate) mod content;
pub(crate) mod fields;
pub(crate) mod file_part;
pub(crate) mod headers;
pub(crate) mod request;
pub(crate) mod response;
pub(crate) mod sending;
