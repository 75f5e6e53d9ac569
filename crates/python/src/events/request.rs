//! A request, for its handler. Each Python object is made when it is read
//! first.

use crate::events::connection::Connection;
use crate::events::headers::Headers;
use crate::request_body::read_part;
use crate::request_view::RequestView;
use crate::service::Service;
use crate::text::{decode, decode_utf8};
use prefork_engine::{Body, BodyPart, Client, ExchangeId, Peer};
use prefork_tls::Session;
use prefork_wire::proxy::{Extensions, Naming, REQUEST_ID, trace_id};
use prefork_wire::{Head, TargetForm};
use pyo3::exceptions::PyOSError;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBytes, PyDict, PyString};
use std::borrow::Cow;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, IntoRawFd};
use std::sync::{Arc, OnceLock};

/// A request (RFC 9112). A handler is given it with its whole body; it may be
/// kept after its connection has closed.
#[pyclass(module = "prefork._engine")]
pub struct Request {
    pub(crate) service: Arc<Service>,
    exchange: ExchangeId,
    pub(crate) view: RequestView,
    body: Option<Arc<Body>>,
    /// The part of a pulled body that came before the application was called.
    pub(crate) first_part: Option<BodyPart>,
    path: OnceLock<Py<PyString>>,
    content: PyOnceLock<Py<PyBytes>>,
    connection: PyOnceLock<Py<Connection>>,
    /// The match of the handler's regex in the path; None if the handler has
    /// no regex.
    #[pyo3(get, set, name = "match")]
    matched: Option<Py<PyAny>>,
}

impl Request {
    pub(crate) fn new(service: &Arc<Service>, client: Client, bytes: Vec<u8>, head: Head) -> Self {
        Request {
            service: Arc::clone(service),
            exchange: client.exchange,
            view: RequestView::new(bytes, head, client),
            body: None,
            first_part: None,
            path: OnceLock::new(),
            content: PyOnceLock::new(),
            connection: PyOnceLock::new(),
            matched: None,
        }
    }

    pub(crate) fn set_body(&mut self, body: Body) {
        self.body = Some(Arc::new(body));
    }

    pub(crate) fn shared_body(&self) -> Option<Arc<Body>> {
        self.body.clone()
    }

    /// What the handshake has settled, of an encrypted connection that is open.
    #[inline]
    pub(crate) fn session(&self) -> Option<Arc<Session>> {
        if self.view.scheme() != "https" {
            return None;
        }
        let connection = self.exchange.connection;
        self.service.core.engine().connection(connection).session()
    }

    /// What a proxy tells of a connection that it has introduced and that is open.
    #[inline]
    pub(crate) fn extensions(&self) -> Option<Arc<Extensions>> {
        if !self.view.has_extensions() {
            return None;
        }
        let mut engine = self.service.core.engine();
        engine.connection(self.exchange.connection).extensions()
    }

    /// The id of the request, if requests have ids.
    #[inline]
    pub(crate) fn request_id(&self) -> Option<&[u8]> {
        match self.service.settings.naming {
            Naming::Off => None,
            Naming::Trusted | Naming::Make => self.view.values(REQUEST_ID).next(),
        }
    }

    /// As [`Request::request_id`]: it is ASCII.
    pub(crate) fn id_text(&self) -> Option<String> {
        let id = self.request_id()?;
        Some(String::from_utf8_lossy(id).into_owned())
    }

    /// Bytes of a body that was collected.
    #[inline]
    pub(crate) fn body_len(&self) -> u64 {
        self.body.as_ref().map_or(0, |body| body.len())
    }

    fn field<'a>(&'a self, name: &'a str) -> Option<&'a [u8]> {
        self.view.values(name.as_bytes()).next()
    }

    /// The request target as it came.
    fn target(&self) -> String {
        String::from_utf8_lossy(self.view.target()).into_owned()
    }

    /// The authority of the server: the configured name, what the client sent,
    /// or the address that it connected to.
    fn authority(&self) -> String {
        let settings = &self.service.settings;
        if let Some(hostname) = &settings.hostname {
            let default = if self.view.scheme() == "https" {
                443
            } else {
                80
            };
            return match settings.port {
                None | Some(0) => hostname.clone(),
                Some(port) if port == default => hostname.clone(),
                Some(port) => format!("{hostname}:{port}"),
            };
        }
        if let Some(host) = self.view.host() {
            return String::from_utf8_lossy(host).into_owned();
        }
        let connection = self.exchange.connection;
        match self
            .service
            .core
            .engine()
            .connection(connection)
            .local_address()
        {
            Some(Peer::Inet { ip, port }) => SocketAddr::new(ip, port).to_string(),
            _ => String::from("localhost"),
        }
    }
}

#[pymethods]
impl Request {
    /// The method, in the received case.
    #[getter]
    fn method<'py>(&self, py: Python<'py>) -> Bound<'py, PyString> {
        self.view.method(py)
    }

    /// The path, percent-decoded as UTF-8; other bytes become U+FFFD. With
    /// `proxy_mode` it is the whole request target, not decoded.
    #[getter]
    fn path<'py>(&self, py: Python<'py>) -> Bound<'py, PyString> {
        if let Some(made) = self.path.get() {
            return made.bind(py).clone();
        }
        let path = if self.service.settings.proxy_mode {
            Cow::Borrowed(self.view.target())
        } else {
            self.view.path()
        };
        let made = decode_utf8(py, &path);
        // Nothing runs meanwhile that could wait for this thread. `PyOnceLock` would release the
        // GIL, which costs more than all else here.
        self.path.get_or_init(|| made.clone().unbind());
        made
    }

    /// The path as it came, not decoded.
    #[getter]
    fn raw_path<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, self.view.raw_path())
    }

    /// Its id, which the response, the logs and the application have too; None
    /// without the option request_id.
    #[getter]
    fn id<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyString>> {
        self.request_id().map(|id| decode(py, id))
    }

    /// The id of the trace that it belongs to, 32 hex digits: that of the field
    /// traceparent (W3C Trace Context); None without a valid one.
    #[getter]
    fn trace_id<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyString>> {
        let trace = trace_id(self.view.values(b"traceparent"))?;
        Some(decode(py, trace))
    }

    /// What follows the question mark, not decoded; empty without one.
    #[getter]
    fn query(&self) -> String {
        String::from_utf8_lossy(self.view.query().unwrap_or_default()).into_owned()
    }

    /// The whole URI (RFC 9112, section 3.3): scheme, authority, path and query.
    /// That of `OPTIONS *` has neither path nor query. A target that is a whole
    /// URI is left as it came, unless `hostname` is set; with `proxy_mode` every
    /// target is.
    #[getter]
    fn uri(&self) -> String {
        let settings = &self.service.settings;
        let scheme = self.view.scheme();
        match self.view.target_form() {
            TargetForm::Asterisk if !settings.proxy_mode => {
                return format!("{scheme}://{}", self.authority());
            }
            TargetForm::Absolute if settings.hostname.is_none() => return self.target(),
            TargetForm::Authority => return self.target(),
            _ if settings.proxy_mode => return self.target(),
            _ => {}
        }
        let prefix = String::from_utf8_lossy(self.view.raw_prefix().unwrap_or_default());
        let path = String::from_utf8_lossy(self.view.raw_path());
        let query = self.view.query().map(String::from_utf8_lossy);
        let mark = if query.is_some() { "?" } else { "" };
        let query = query.unwrap_or_default();
        format!("{scheme}://{}{prefix}{path}{mark}{query}", self.authority())
    }

    /// The protocol of the request: `HTTP/1.1`, `HTTP/1.0` or `HTTP/2`.
    #[getter]
    fn protocol(&self) -> &'static str {
        self.view.version().name()
    }

    /// Whether the client asks for a WebSocket (RFC 6455, section 4.2.1).
    #[getter]
    fn websocket(&self) -> bool {
        self.view.asks_websocket()
    }

    /// A copy of the header fields: changing it does not change the request.
    #[getter]
    fn headers(&self) -> Headers {
        Headers::from_fields(self.view.fields())
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

    /// The body, empty without one. A body that was spooled to a file is read
    /// into memory; `body` reads it in parts.
    ///
    /// Raises OSError if that file cannot be read.
    #[getter]
    fn content<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        let made = self.content.get_or_try_init(py, || -> PyResult<_> {
            let bytes = match self.body.as_deref() {
                Some(body) => read_part(py, body, 0, body.len())?,
                None => PyBytes::new(py, b""),
            };
            Ok(bytes.unbind())
        })?;
        Ok(made.bind(py).clone())
    }

    /// The body as a binary file of its own position, whether it is in memory or
    /// on disk. The caller closes it.
    ///
    /// Raises OSError if the spooled file cannot be opened.
    #[getter]
    fn body<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let Some(Body::File { file, .. }) = self.body.as_deref() else {
            let io = py.import(intern!(py, "io"))?;
            return io.call_method1(intern!(py, "BytesIO"), (self.content(py)?,));
        };
        // Opened through /proc, the file has a position of its own.
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
    fn content_length(&self) -> u64 {
        self.body.as_ref().map_or(0, |body| body.len())
    }

    /// The body as JSON (RFC 8259).
    ///
    /// Raises ValueError if it is not JSON.
    fn json<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let json = py.import(intern!(py, "json"))?;
        json.call_method1(intern!(py, "loads"), (self.content(py)?,))
    }

    /// The body as the fields of a form, each name with its values in order: str,
    /// or Upload for a file. Urlencoded (WHATWG URL, section 5) and multipart
    /// (RFC 7578) forms are read.
    ///
    /// Raises ValueError for any other Content-Type or a malformed body.
    fn form<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        let py = slf.py();
        let forms = py.import(intern!(py, "prefork.forms"))?;
        let (content_type, content) = {
            let request = slf.borrow();
            (request.content_type(py), request.content(py)?)
        };
        forms.call_method1(intern!(py, "parse"), (content_type, content))
    }

    /// User and password of `Authorization: Basic` (RFC 7617); None without valid
    /// ones.
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

    /// The client's IP address, as trusted proxies name it; `unix` over a Unix
    /// socket, `unknown` if a proxy does not tell it.
    #[getter]
    fn remote_ip(&self) -> String {
        self.view.peer().to_string()
    }

    /// The connection it came over.
    #[getter]
    pub(crate) fn connection<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, Connection>> {
        let made = self.connection.get_or_try_init(py, || {
            let (core, id) = (&self.service.core, self.exchange.connection);
            Py::new(py, Connection::new(core, id, self.view.peer()))
        })?;
        Ok(made.bind(py).clone())
    }

    fn __repr__(&self) -> String {
        format!("<Request {} from {}>", self.view.line(), self.view.peer())
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.matched)
    }

    fn __clear__(&mut self) {
        self.matched = None;
    }
}
