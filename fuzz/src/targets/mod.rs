pub mod chunked;
pub mod engine;
pub mod head;
pub mod records;
pub mod response;
pub mod websocket;
