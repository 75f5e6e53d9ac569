//! The objects of the native event API: `request.rs`, `response.rs` and their parts.

pub(crate) mod connection;
pub(crate) mod content;
pub(crate) mod fields;
pub(crate) mod file_part;
pub(crate) mod headers;
pub(crate) mod request;
pub(crate) mod response;
pub(crate) mod sending;
