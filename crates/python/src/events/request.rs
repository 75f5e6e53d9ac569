//! A request, as its handler sees it. What is not looked at is not made.

use crate::events::connection::Connection;
use crate::events::headers::{Headers, decode};
use crate::service::Service;
use crate::wsgi::input::part_of;
use prefork_engine::{Body, BodyPart, ExchangeId, Peer};
use prefork_wire::websocket::Opening;
use prefork_wire::{Head, RemoteError, Span, TargetForm, Version};
use pyo3::exceptions::PyOSError;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBytes, PyDict, PyString};
use std::borrow::Cow;
use std::os::fd::{AsRawFd, IntoRawFd};
use std::sync::Arc;

/// A request (RFC 9112) with its whole body. It outlives its connection.
#[pyclass(module = "prefork._engine")]
pub struct Request {
    pub(crate) service: Arc<Service>,
    pub(crate) exchange: ExchangeId,
    pub(crate) peer: Peer,
    bytes: Vec<u8>,
    head: Head,
    body: Option<Arc<Body>>,
    /// What came of a body that its application pulls, when it was called.
    pub(crate) came: Option<BodyPart>,
    path: PyOnceLock<Py<PyString>>,
    content: PyOnceLock<Py<PyBytes>>,
    connection: PyOnceLock<Py<Connection>>,
    /// The match of the handler's regex in the path.
    #[pyo3(get, set, name = "match")]
    matched: Option<Py<PyAny>>,
}

impl Request {
    pub(crate) fn new(
        service: &Arc<Service>,
        (exchange, peer): (ExchangeId, Peer),
        bytes: Vec<u8>,
        head: Head,
    ) -> Self {
        Request {
            service: Arc::clone(service),
            exchange,
            peer,
            bytes,
            head,
            body: None,
            came: None,
            path: PyOnceLock::new(),
            content: PyOnceLock::new(),
            connection: PyOnceLock::new(),
            matched: None,
        }
    }

    pub(crate) fn set_body(&mut self, body: Body) {
        self.body = Some(Arc::new(body));
    }

    fn text(&self, span: Span) -> Cow<'_, str> {
        String::from_utf8_lossy(span.of(&self.bytes))
    }

    fn field<'a>(&'a self, name: &'a str) -> Option<&'a [u8]> {
        self.values(name.as_bytes()).next()
    }

    /// Who the client believes it talks to: the configured name, what it
    /// wrote, or the address it came to.
    fn authority(&self) -> String {
        let service = &self.service;
        if let Some(hostname) = &service.settings.hostname {
            return match service.settings.port {
                None | Some(80 | 0) => hostname.clone(),
                Some(port) => format!("{hostname}:{port}"),
            };
        }
        if let Some(host) = self.head.host.or(self.head.authority) {
            return self.text(host).into_owned();
        }
        match self
            .service
            .core
            .engine()
            .local_address(self.exchange.connection)
        {
            Some(Peer::Inet(local)) => local.to_string(),
            _ => String::from("localhost"),
        }
    }

    fn connection_of<'py>(&self, py: Python<'py>) -> PyResult<&Bound<'py, Connection>> {
        let made = self.connection.get_or_try_init(py, || {
            Py::new(
                py,
                Connection::new(&self.service.core, self.exchange.connection, self.peer),
            )
        })?;
        Ok(made.bind(py))
    }
}

#[pymethods]
impl Request {
    /// The method, in the case it came in.
    #[getter]
    pub(crate) fn method<'py>(&self, py: Python<'py>) -> Bound<'py, PyString> {
        match self.method_bytes() {
            b"GET" => intern!(py, "GET").clone(),
            b"POST" => intern!(py, "POST").clone(),
            b"HEAD" => intern!(py, "HEAD").clone(),
            other => decode(py, other),
        }
    }

    /// The path, percent-decoded; bytes that are not UTF-8 become U+FFFD. In
    /// proxy mode the whole target, as it came.
    #[getter]
    fn path<'py>(&self, py: Python<'py>) -> Bound<'py, PyString> {
        let made = self.path.get_or_init(py, || {
            let path = if self.service.settings.proxy_mode {
                Cow::Borrowed(self.head.target.of(&self.bytes))
            } else {
                percent_decode(self.raw())
            };
            PyString::new(py, &String::from_utf8_lossy(&path)).unbind()
        });
        made.bind(py).clone()
    }

    /// The path as it came.
    #[getter]
    fn raw_path<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, self.raw())
    }

    /// What follows the question mark, as it came; empty without one.
    #[getter]
    fn query(&self) -> String {
        self.head
            .query
            .map_or_else(String::new, |query| self.text(query).into_owned())
    }

    /// The whole URI; in proxy mode the target as it came.
    #[getter]
    fn uri(&self) -> String {
        let target = self.text(self.head.target);
        if self.service.settings.proxy_mode || self.head.form == TargetForm::Authority {
            return target.into_owned();
        }
        let scheme = self.service.scheme;
        let path = String::from_utf8_lossy(self.raw());
        let query = self.head.query.map(|query| self.text(query));
        let mark = if query.is_some() { "?" } else { "" };
        let query = query.unwrap_or_default();
        format!("{scheme}://{}{path}{mark}{query}", self.authority())
    }

    /// The protocol of the request line: `HTTP/1.1` or `HTTP/1.0`.
    #[getter]
    fn protocol(&self) -> &'static str {
        match self.head.version {
            Version::Http10 => "HTTP/1.0",
            Version::Http11 => "HTTP/1.1",
        }
    }

    /// Whether it asks for a WebSocket (RFC 6455, section 4.2.1).
    #[getter]
    fn websocket(&self) -> bool {
        self.head.websocket
    }

    /// A copy of the header fields.
    #[getter]
    fn headers(&self) -> Headers {
        Headers::from_fields(self.fields())
    }

    /// The first header field of that name, or `default`.
    #[pyo3(signature = (name, default=None))]
    fn header<'py>(
        &self,
        py: Python<'py>,
        name: &str,
        default: Option<Bound<'py, PyAny>>,
    ) -> Option<Bound<'py, PyAny>> {
        match self.field(name) {
            Some(value) => Some(decode(py, value).into_any()),
            None => default,
        }
    }

    /// The Content-Type field, or None.
    #[getter]
    fn content_type<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyString>> {
        self.field("content-type").map(|value| decode(py, value))
    }

    /// The body. One that was spooled to a file is read into memory: see `body`.
    ///
    /// Raises OSError if that file cannot be read.
    #[getter]
    fn content<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        let made = self.content.get_or_try_init(py, || -> PyResult<_> {
            let bytes = match self.body.as_deref() {
                Some(body) => part_of(py, body, 0, body.len())?,
                None => PyBytes::new(py, b""),
            };
            Ok(bytes.unbind())
        })?;
        Ok(made.bind(py).clone())
    }

    /// The body as a binary file, whether it is in memory or on disk.
    #[getter]
    pub(crate) fn body<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let Some(Body::File { file, .. }) = self.body.as_deref() else {
            let io = py.import(intern!(py, "io"))?;
            return io.call_method1(intern!(py, "BytesIO"), (self.content(py)?,));
        };
        // Through the link in /proc it gets a position of its own.
        let link = format!("/proc/self/fd/{}", file.as_raw_fd());
        let fd = std::fs::File::open(link).or_else(|_| file.try_clone());
        let fd = fd.map_err(PyOSError::new_err)?.into_raw_fd();
        let options = PyDict::new(py);
        options.set_item("mode", "rb")?;
        let builtins = py.import(intern!(py, "builtins"))?;
        builtins.call_method(intern!(py, "open"), (fd,), Some(&options))
    }

    /// The body's length in bytes.
    #[getter]
    pub(crate) fn content_length(&self) -> u64 {
        self.body.as_ref().map_or(0, |body| body.len())
    }

    /// The body as JSON. Raises ValueError if it is none (RFC 8259).
    fn json<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let json = py.import(intern!(py, "json"))?;
        json.call_method1(intern!(py, "loads"), (self.content(py)?,))
    }

    /// The body as the fields of a form: name -> list of values. Raises
    /// ValueError if it is neither urlencoded nor multipart.
    fn form<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        let py = slf.py();
        let forms = py.import(intern!(py, "prefork.forms"))?;
        let (content_type, content) = {
            let request = slf.borrow();
            (request.content_type(py), request.content(py)?)
        };
        forms.call_method1(intern!(py, "parse"), (content_type, content))
    }

    /// User and password of `Authorization: Basic`, or None (RFC 7617).
    #[getter]
    fn authorization_basic<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        let py = slf.py();
        let forms = py.import(intern!(py, "prefork.forms"))?;
        let value = slf
            .borrow()
            .field("authorization")
            .map(|value| decode(py, value));
        forms.call_method1(intern!(py, "basic_credentials"), (value,))
    }

    /// The client's IP address; `unix` over a Unix socket.
    #[getter]
    pub(crate) fn remote_ip(&self) -> String {
        self.peer.to_string()
    }

    /// The connection it came over.
    #[getter]
    fn connection<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, Connection>> {
        self.connection_of(py).cloned()
    }

    fn __repr__(&self) -> String {
        format!(
            "<Request {} {} from {}>",
            self.text(self.head.method),
            self.text(self.head.target),
            self.peer
        )
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.matched)
    }

    fn __clear__(&mut self) {
        self.matched = None;
    }
}

impl Request {
    /// Name and value of each header field, in order.
    pub(crate) fn fields(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.head.fields.iter().map(|field| {
            let name = field.name.of(&self.bytes);
            (name, field.value.of(&self.bytes))
        })
    }

    /// What it offers to a WebSocket, if it asks for one.
    pub(crate) fn opening(&self) -> Result<Opening, RemoteError> {
        Opening::read(&self.head, &self.bytes)
    }

    /// Method and target, for people.
    pub(crate) fn line(&self) -> String {
        format!(
            "{} {}",
            self.text(self.head.method),
            self.text(self.head.target)
        )
    }

    pub(crate) fn version(&self) -> Version {
        self.head.version
    }

    pub(crate) fn target(&self) -> &[u8] {
        self.head.target.of(&self.bytes)
    }

    /// The value of each field of that name.
    pub(crate) fn values<'a>(&'a self, name: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
        self.fields()
            .filter(move |(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
    }

    pub(crate) fn method_bytes(&self) -> &[u8] {
        self.head.method.of(&self.bytes)
    }

    /// What follows the question mark, as it came.
    pub(crate) fn query_bytes(&self) -> &[u8] {
        self.head.query.map_or(b"", |query| query.of(&self.bytes))
    }

    pub(crate) fn shared_body(&self) -> Option<Arc<Body>> {
        self.body.clone()
    }

    /// The path as it came; `/` where an absolute target has none.
    pub(crate) fn raw(&self) -> &[u8] {
        match self.head.path.of(&self.bytes) {
            b"" => b"/",
            path => path,
        }
    }
}

/// RFC 3986, section 2.1. What is not two hex digits stays as it is.
pub(crate) fn percent_decode(path: &[u8]) -> Cow<'_, [u8]> {
    if !path.contains(&b'%') {
        return Cow::Borrowed(path);
    }
    let hex = |byte: Option<&u8>| byte.and_then(|&byte| (byte as char).to_digit(16));
    let mut decoded = Vec::with_capacity(path.len());
    let mut at = 0;
    while let Some(&byte) = path.get(at) {
        match (byte, hex(path.get(at + 1)), hex(path.get(at + 2))) {
            (b'%', Some(high), Some(low)) => {
                decoded.push((high * 16 + low) as u8);
                at += 3;
            }
            _ => {
                decoded.push(byte);
                at += 1;
            }
        }
    }
    Cow::Owned(decoded)
}
