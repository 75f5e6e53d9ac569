pub mod chunked;
pub mod engine;
pub mod head;
pub mod http2;
pub mod proxy;
pub mod records;
pub mod response;
mod streams;
pub mod websocket;
