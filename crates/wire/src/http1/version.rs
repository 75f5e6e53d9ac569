//! The version of a request (RFC 9110 2.5).

/// The version that a request is served as.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Version {
    Http10,
    /// HTTP/1.1, and 1.2 to 1.9, which are served as 1.1.
    #[default]
    Http11,
    Http2,
}

impl Version {
    /// As an HTTP/1 request line and CGI (RFC 3875, section 4.1.16) have it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Version::Http10 => "HTTP/1.0",
            Version::Http11 => "HTTP/1.1",
            Version::Http2 => "HTTP/2",
        }
    }
}
