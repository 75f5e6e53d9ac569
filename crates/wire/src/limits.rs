//! How much a peer may send before it is refused, and the one choice the wire policy leaves open.

/// Bounds on what one request may cost. Sizes are in bytes and do not count the CRLF that ends a
/// line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Longest request line; a longer one is 414.
    pub request_line: usize,
    /// Longest head, its line ends counted; a longer one is 431.
    pub head: usize,
    /// Most field lines in a head or a trailer section; one more is 431.
    pub fields: usize,
    /// Longest field line; a longer one is 431.
    pub field_line: usize,
    /// Longest chunk-size line, its extensions counted; a longer one is 400.
    pub chunk_line: usize,
    /// Longest trailer section, its line ends counted; a longer one is 431.
    pub trailers: usize,
    /// Largest body; a larger one is 413, before any of it is read where Content-Length tells.
    pub max_body: u64,
    /// What becomes of a field with `_` in its name.
    pub underscore: Underscore,
}

/// What becomes of a field with `_` in its name.
///
/// CGI, WSGI and many proxies fold `-` and `_` together: `X_User` could overwrite an `X-User` a
/// proxy vouches for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Underscore {
    /// The request goes on without the field.
    Drop,
    /// The request is 400.
    Reject,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            request_line: 8 * 1024,
            head: 64 * 1024,
            fields: 100,
            field_line: 8 * 1024,
            chunk_line: 4 * 1024,
            trailers: 16 * 1024,
            max_body: 1024 * 1024 * 1024,
            underscore: Underscore::Drop,
        }
    }
}

impl Limits {
    /// The bound on a head that its spans, of 32 bits, can tell.
    pub(crate) fn head_bound(&self) -> usize {
        self.head.min(u32::MAX as usize)
    }
}
