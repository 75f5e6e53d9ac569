//! A request head, as the handler's `Request`, WSGI's environ and ASGI's scope
//! read it.
//!
//! Owns: the bytes of the head, the parsed head, and the client's address and scheme.
//! Always holds: nothing is decoded before it is read. Knows none of its
//! readers.

use crate::names::Names;
use crate::text::{decode, percent_decode};
use prefork_engine::{Client, Peer};
use prefork_wire::websocket::Opening;
use prefork_wire::{Head, RemoteError, Span, TargetForm, Version};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyString;
use std::borrow::Cow;
use std::net::IpAddr;

pub(crate) struct RequestView {
    bytes: Vec<u8>,
    head: Head,
    peer: Peer,
    scheme: &'static str,
    has_extensions: bool,
}

impl RequestView {
    pub(crate) fn new(bytes: Vec<u8>, head: Head, client: Client) -> Self {
        RequestView {
            bytes,
            head,
            peer: client.peer,
            scheme: client.scheme,
            has_extensions: client.has_extensions,
        }
    }

    fn of(&self, span: Span) -> &[u8] {
        span.of(&self.bytes)
    }

    pub(crate) fn method_bytes(&self) -> &[u8] {
        self.of(self.head.method)
    }

    /// The method, in the received case.
    pub(crate) fn method<'py>(&self, py: Python<'py>) -> Bound<'py, PyString> {
        match self.method_bytes() {
            b"GET" => intern!(py, "GET").clone(),
            b"POST" => intern!(py, "POST").clone(),
            b"HEAD" => intern!(py, "HEAD").clone(),
            other => decode(py, other),
        }
    }

    pub(crate) fn target(&self) -> &[u8] {
        self.of(self.head.target)
    }

    pub(crate) fn target_form(&self) -> TargetForm {
        self.head.form
    }

    /// Method and target, for a log.
    pub(crate) fn line(&self) -> String {
        let method = String::from_utf8_lossy(self.method_bytes());
        format!("{method} {}", String::from_utf8_lossy(self.target()))
    }

    /// The path, not decoded; `/` if an absolute target has none.
    pub(crate) fn raw_path(&self) -> &[u8] {
        match self.of(self.head.path) {
            b"" => b"/",
            path => path,
        }
    }

    /// The path, percent-decoded.
    pub(crate) fn path(&self) -> Cow<'_, [u8]> {
        percent_decode(self.raw_path())
    }

    /// The query, not decoded; `None` without a question mark.
    pub(crate) fn query(&self) -> Option<&[u8]> {
        self.head.query.map(|query| self.of(query))
    }

    pub(crate) fn version(&self) -> Version {
        self.head.version
    }

    /// The scheme of the URI that the client asks for.
    pub(crate) fn scheme(&self) -> &'static str {
        self.scheme
    }

    /// Whether a proxy tells more of the connection than its client.
    #[inline]
    pub(crate) fn has_extensions(&self) -> bool {
        self.has_extensions
    }

    /// The part of the client's path that a proxy has removed, not decoded; `None` if none says so.
    pub(crate) fn raw_prefix(&self) -> Option<&[u8]> {
        self.head.prefix.map(|prefix| self.of(prefix))
    }

    /// As [`RequestView::raw_prefix`], percent-decoded.
    pub(crate) fn prefix(&self) -> Option<Cow<'_, [u8]>> {
        self.raw_prefix().map(percent_decode)
    }

    /// The port that the client has connected to, if a proxy says so.
    pub(crate) fn forwarded_port(&self) -> Option<u16> {
        self.head.port
    }

    /// The authority that the client sent: in Host or in the target.
    pub(crate) fn host(&self) -> Option<&[u8]> {
        let host = self.head.host.or(self.head.authority);
        host.map(|host| self.of(host))
    }

    pub(crate) fn asks_websocket(&self) -> bool {
        self.head.websocket
    }

    /// The opening handshake of a WebSocket.
    pub(crate) fn opening(&self) -> Result<Opening, RemoteError> {
        Opening::read(&self.head, &self.bytes)
    }

    /// Name and value of each header field, in order.
    pub(crate) fn fields(&self) -> impl ExactSizeIterator<Item = (&[u8], &[u8])> {
        let fields = self.head.fields.iter();
        fields.map(|field| (self.of(field.name), self.of(field.value)))
    }

    /// The value of each field of that name.
    pub(crate) fn values<'a>(&'a self, name: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
        self.fields()
            .filter(move |(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
    }

    pub(crate) fn peer(&self) -> Peer {
        self.peer
    }

    /// The client's IP address and port; `None` over a Unix socket.
    pub(crate) fn client(&self, py: Python<'_>) -> Option<(Py<PyString>, u16)> {
        let ip = self.peer.ip()?;
        Some((address(py, ip), self.peer.port()))
    }
}

thread_local! {
    static ADDRESSES: Names<PyString> = const { Names::new() };
}

/// The str is cached: behind a proxy all clients have one of a few addresses.
fn address(py: Python<'_>, ip: IpAddr) -> Py<PyString> {
    let text = |_: &[u8]| PyString::new(py, &ip.to_canonical().to_string()).unbind();
    match ip {
        IpAddr::V4(ip) => ADDRESSES.with(|known| known.get(py, &ip.octets(), text)),
        IpAddr::V6(ip) => ADDRESSES.with(|known| known.get(py, &ip.octets(), text)),
    }
}

/// The part of `path` after `root`; `None` if it is not at or below `root`.
pub(crate) fn below<'a>(path: &'a [u8], root: &str) -> Option<&'a [u8]> {
    if root.is_empty() {
        return Some(path);
    }
    let rest = path.strip_prefix(root.as_bytes())?;
    (rest.is_empty() || rest.starts_with(b"/")).then_some(rest)
}
