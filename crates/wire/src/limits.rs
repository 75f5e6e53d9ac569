//! How much a peer may send, and what becomes of field names with an underscore.

/// Bounds on what one request may cost. Sizes are in bytes, without the CRLF of a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Longest line of a head or a trailer section. A longer request line is 414, a longer field line 431.
    pub line: usize,
    /// Longest head, line ends included; a longer one is 431.
    pub head: usize,
    /// Most field lines in a head or a trailer section; one more is 431.
    pub fields: usize,
    /// Longest chunk-size line, extensions included; a longer one is 400.
    pub chunk_line: usize,
    /// Most bytes of chunk extensions in one body; one more is 400.
    pub chunk_extensions: usize,
    /// Longest trailer section, line ends included; a longer one is 431.
    pub trailers: usize,
    /// Largest body; a larger one is 413. With a Content-Length, that is known before the body is read.
    pub max_body: u64,
    /// What becomes of a field with `_` in its name.
    pub underscore: Underscore,
}

/// What becomes of a field with `_` in its name.
///
/// CGI, WSGI and many proxies map `-` and `_` to the same byte. A client's `X_User` could then replace
/// an `X-User` that a trusted proxy has set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Underscore {
    /// The field is dropped and the request is served.
    Drop,
    /// The request is 400.
    Reject,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            line: 16 * 1024,
            head: 64 * 1024,
            fields: 100,
            chunk_line: 4 * 1024,
            chunk_extensions: 16 * 1024,
            trailers: 16 * 1024,
            max_body: 1024 * 1024 * 1024,
            underscore: Underscore::Drop,
        }
    }
}

impl Limits {
    /// The bound on a head. Spans hold 32 bits, so no head may be longer than that.
    pub(crate) fn head_bound(&self) -> usize {
        self.head.min(u32::MAX as usize)
    }
}
