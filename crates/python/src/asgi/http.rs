//! One request and its response as messages of ASGI 3: the `receive` and `send`
//! of an application.
//!
//! Owns: the stage of the response, and the unread part of the request. Always
//! holds: `receive` gives http.disconnect once the client has left, has closed its
//! sending side after its request, the response is complete, or the server drains
//! while a response is streamed; a message that is not expected raises, and
//! changes nothing.

use crate::asgi::awaitable::{Awaitable, Next, Source};
use crate::asgi::messages::{self, Sent};
use crate::asgi::waiting::{self, Side, Wait, Waiting, client_left};
use crate::events::fields::Fields;
use crate::events::file_part::PyFilePart;
use crate::events::headers::Headers;
use crate::events::request::Request;
use crate::events::response::{Response, State};
use crate::pending::{Notice, Observe};
use prefork_engine::BodyPart;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};
use rustix::fs::{Mode, OFlags};
use std::os::fd::AsRawFd;
use std::path::PathBuf;

/// The rest of the request body.
enum Unread {
    Part(BodyPart),
    /// More of it, which must be pulled.
    More,
    Nothing,
}

/// The stage of the response.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Owed,
    /// Its head is known, and is sent with the first part of the body.
    Begun {
        trailers: bool,
    },
    Streaming {
        trailers: bool,
    },
    /// The body is complete, its trailers are not.
    Trailing,
    /// The response is complete with its head, as one to HEAD, and the
    /// application has not ended it.
    Bodiless,
    Complete,
    /// The client has left, or the engine has responded.
    Gone,
}

impl Stage {
    /// The messages that are expected now.
    fn expects(self) -> &'static str {
        match self {
            Stage::Owed => "http.response.start",
            Stage::Begun { .. } | Stage::Streaming { .. } => "http.response.body",
            Stage::Trailing => "http.response.trailers",
            Stage::Bodiless => "http.response.body or http.response.trailers",
            Stage::Complete | Stage::Gone => "nothing more: the response is complete",
        }
    }
}

/// The options that the exchanges of an application need.
#[derive(Clone, Copy)]
pub(crate) struct ExchangeOptions {
    pub(crate) pathsend: bool,
    pub(crate) drain_streams: bool,
}

/// One HTTP request to an ASGI application (ASGI 3, spec 2.5): its `receive`
/// and `send`. `create_future` makes the futures of the loop that the
/// application runs on. With `pathsend` the message http.response.pathsend is
/// accepted; with `drain_streams` a stream is told that the server drains.
#[pyclass(name = "HTTPExchange", module = "prefork._engine")]
pub struct HttpExchange {
    unread: Unread,
    stage: Stage,
    trailers: Headers,
    options: ExchangeOptions,
    /// The application has received http.disconnect before the end of its
    /// response.
    is_told_to_end: bool,
    waiting: Waiting,
}

#[pymethods]
impl HttpExchange {
    #[new]
    #[pyo3(signature = (request, response, create_future, *, pathsend=false, drain_streams=true))]
    fn from_python(
        request: &Bound<'_, Request>,
        response: &Bound<'_, Response>,
        create_future: Py<PyAny>,
        pathsend: bool,
        drain_streams: bool,
    ) -> Self {
        let options = ExchangeOptions {
            pathsend,
            drain_streams,
        };
        HttpExchange::new(request, response, create_future, options)
    }

    /// Whether nothing is owed: the response is complete, or the client gone.
    #[getter]
    pub(crate) fn over(&self) -> bool {
        matches!(self.stage, Stage::Bodiless | Stage::Complete | Stage::Gone)
    }

    /// Whether the client left before its response was complete.
    #[getter]
    fn gone(&self) -> bool {
        self.stage == Stage::Gone || !self.over() && !self.is_owed()
    }

    /// Whether the application may end without completing its response: the
    /// client left or needs no body, or it has received http.disconnect.
    #[getter]
    fn dismissed(&self) -> bool {
        self.is_told_to_end || self.gone()
    }

    /// Which message was not expected, and which one was; None if there was none.
    #[getter]
    fn refused(&self) -> Option<&str> {
        self.waiting.refused()
    }

    /// Awaited, it gives http.request with the next part of the body; after the
    /// last one http.disconnect, once the client has left or closed its sending
    /// side, the response is complete, or the server drains while it is streamed.
    fn receive<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, Awaitable>> {
        Awaitable::next_of(slf)
    }

    /// Takes a message of the application. Awaited, it waits while too much of
    /// the response is on its way.
    ///
    /// Raises RuntimeError for a message that is not expected now, TypeError for a
    /// wrong or missing key, InvalidResponse for a header that cannot be sent,
    /// and ConnectionGone, an OSError, if the client has left, or if the
    /// response has no body (HEAD, 204, 304) and the application has not ended
    /// it 50 ms after its head: so a stream ends.
    fn send<'py>(
        slf: &Bound<'py, Self>,
        message: &Bound<'py, PyDict>,
    ) -> PyResult<Bound<'py, Awaitable>> {
        let py = slf.py();
        let message = Sent(message);
        let kind = message.kind()?;
        let kind = kind.to_str()?;
        let stage = slf.borrow().expect_open()?;
        match (kind, stage) {
            ("http.response.start", Stage::Owed) => Self::start(slf, message)?,
            ("http.response.early_hint", Stage::Owed) => slf.borrow().hint(py, message)?,
            ("http.response.body", Stage::Begun { trailers } | Stage::Streaming { trailers }) => {
                let data = message.body()?;
                let more = message.flag(intern!(py, "more_body"))?;
                return Self::body(slf, data, more, trailers);
            }
            ("http.response.pathsend", Stage::Begun { trailers: false })
                if slf.borrow().options.pathsend =>
            {
                Self::path(slf, &message.path()?)?;
            }
            ("http.response.trailers", Stage::Trailing) => Self::trail(slf, message)?,
            ("http.response.body", Stage::Bodiless) => {
                if message.flag(intern!(py, "more_body"))? {
                    slf.borrow_mut().drop_part(py)?;
                }
            }
            ("http.response.trailers", Stage::Bodiless) => {}
            (kind, _) => return Err(slf.borrow_mut().refuse(kind)),
        }
        Awaitable::done(py)
    }

    /// Ends all waiting in `receive` and `send`: the application has failed, and
    /// its request got a response without it.
    fn abort(slf: &Bound<'_, Self>) -> PyResult<()> {
        Self::set_gone(slf)?;
        waiting::release(slf)
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.waiting.traverse(&visit)
    }

    fn __clear__(&mut self) {
        self.waiting.clear();
    }
}

impl HttpExchange {
    pub(crate) fn new(
        request: &Bound<'_, Request>,
        response: &Bound<'_, Response>,
        create_future: Py<PyAny>,
        options: ExchangeOptions,
    ) -> Self {
        let first = request.borrow_mut().first_part.take();
        HttpExchange {
            unread: match first {
                Some(part) if part.data.is_empty() && !part.last => Unread::More,
                Some(part) => Unread::Part(part),
                None => Unread::Part(BodyPart {
                    data: Vec::new(),
                    last: true,
                }),
            },
            stage: Stage::Owed,
            trailers: Headers::default(),
            options,
            is_told_to_end: false,
            waiting: Waiting::new(response, create_future),
        }
    }

    fn refuse(&mut self, kind: &str) -> PyErr {
        let expected = match (self.stage, self.options.pathsend) {
            (Stage::Begun { .. }, true) => "http.response.body or http.response.pathsend",
            (stage, _) => stage.expects(),
        };
        let hint = match kind {
            "http.response.pathsend" if !self.options.pathsend => "; the option pathsend allows it",
            _ => "",
        };
        self.waiting.refuse(kind, expected, hint)
    }
}

// ---- what the application sends ----------------------------------------------

impl HttpExchange {
    fn start(slf: &Bound<'_, Self>, message: Sent<'_, '_>) -> PyResult<()> {
        let py = slf.py();
        let headers = message.headers()?;
        let trailers = message.flag(intern!(py, "trailers"))?;
        let status = message.status()?;
        let is_read = {
            let mut exchange = slf.borrow_mut();
            exchange.stage = Stage::Begun { trailers };
            let mut response = exchange.waiting.response.borrow_mut(py);
            response.code = status;
            response.headers = Fields::Native(headers);
            drop(response);
            exchange.waiting.has_reader()
        };
        if is_read && slf.borrow().is_to_end(py) {
            waiting::wake(slf, Side::Receiving)?;
        }
        Ok(())
    }

    fn hint(&self, py: Python<'_>, message: Sent<'_, '_>) -> PyResult<()> {
        let links = message.links()?;
        let fields = links
            .iter()
            .map(|link| (b"link".as_slice(), link.as_slice()));
        let waiting = &self.waiting;
        let sent = waiting
            .core
            .engine()
            .exchange(waiting.exchange)
            .inform(103, fields);
        sent.map_err(|error| waiting.response.borrow_mut(py).not_sent(error))
    }

    fn body<'py>(
        slf: &Bound<'py, Self>,
        data: Bound<'py, PyBytes>,
        more: bool,
        trailers: bool,
    ) -> PyResult<Bound<'py, Awaitable>> {
        let py = slf.py();
        let response = slf.borrow().waiting.response.bind(py).clone();
        let is_whole = !more && !trailers;
        if is_whole && response.borrow().state == State::Waiting {
            // The body is whole: its length is known.
            response.borrow_mut().content = Some(data.into_any().unbind());
            Self::complete(slf, &response)?;
            return Awaitable::done(py);
        }
        Response::write(&response, Some(data.into_any().unbind()))?;
        if is_whole {
            Self::complete(slf, &response)?;
            return Awaitable::done(py);
        }
        if Response::end_with_head(&response)? {
            slf.borrow_mut().stage = Stage::Bodiless;
            waiting::release(slf)?;
            return Awaitable::done(py);
        }
        slf.borrow_mut().stage = match more {
            true => Stage::Streaming { trailers },
            false => Stage::Trailing,
        };
        if !slf.borrow().waiting.has_much_to_send() {
            return Awaitable::done(py);
        }
        Awaitable::of(&waiting::future(slf, Side::Sending)?)
    }

    fn path(slf: &Bound<'_, Self>, path: &Bound<'_, PyAny>) -> PyResult<()> {
        let py = slf.py();
        let response = slf.borrow().waiting.response.bind(py).clone();
        // NONBLOCK: a pipe is opened without blocking, and then refused, as it
        // is not a regular file.
        let options = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let file = rustix::fs::open(path.extract::<PathBuf>()?, options, Mode::empty())
            .map_err(std::io::Error::from)?;
        let part = py.get_type::<PyFilePart>().call1((file.as_raw_fd(),))?;
        response.borrow_mut().content = Some(part.unbind());
        Self::complete(slf, &response)
    }

    fn trail(slf: &Bound<'_, Self>, message: Sent<'_, '_>) -> PyResult<()> {
        let py = slf.py();
        let headers = message.headers()?;
        slf.borrow_mut().trailers.extend(headers.fields());
        if message.flag(intern!(py, "more_trailers"))? {
            return Ok(());
        }
        let response = slf.borrow().waiting.response.bind(py).clone();
        let sent = {
            let mut exchange = slf.borrow_mut();
            let trailers = std::mem::take(&mut exchange.trailers);
            let Waiting { core, exchange, .. } = &exchange.waiting;
            core.engine().exchange(*exchange).trail(trailers.fields())
        };
        sent.map_err(|error| response.borrow_mut().not_sent(error))?;
        Self::complete(slf, &response)
    }

    fn complete(slf: &Bound<'_, Self>, response: &Bound<'_, Response>) -> PyResult<()> {
        Response::done(response)?;
        slf.borrow_mut().stage = Stage::Complete;
        waiting::release(slf)
    }
}

// ---- what happens to it --------------------------------------------------------

impl HttpExchange {
    /// The client has left, or the engine has responded.
    fn set_gone(slf: &Bound<'_, Self>) -> PyResult<()> {
        slf.borrow_mut().stage = Stage::Gone;
        waiting::fail_sending(slf)?;
        waiting::wake_all(slf)
    }

    fn is_owed(&self) -> bool {
        self.waiting
            .core
            .engine()
            .exchange(self.waiting.exchange)
            .owes()
    }

    /// The stage of the response. Raises ConnectionGone if the client is gone.
    fn expect_open(&self) -> PyResult<Stage> {
        match self.gone() {
            true => Err(client_left()),
            false => Ok(self.stage),
        }
    }

    fn take_part(&mut self) -> Option<BodyPart> {
        let Unread::Part(part) = &mut self.unread else {
            return None;
        };
        let part = std::mem::take(part);
        self.unread = match part.last {
            true => Unread::Nothing,
            false => Unread::More,
        };
        Some(part)
    }

    /// Drops a part of a body that is not sent. Raises ConnectionGone if it is
    /// one of a stream.
    fn drop_part(&mut self, py: Python<'_>) -> PyResult<()> {
        let dropped = self.waiting.response.borrow_mut(py).drop_part();
        if dropped.is_err() {
            self.stage = Stage::Gone;
        }
        dropped
    }

    /// Whether the server drains and the application streams, with nothing left
    /// to read: it is told once it asks. A response with a length is no such
    /// stream: it has an end.
    fn is_to_end(&self, py: Python<'_>) -> bool {
        let Waiting {
            core,
            exchange,
            response,
            ..
        } = &self.waiting;
        self.options.drain_streams
            && matches!(self.unread, Unread::Nothing)
            && matches!(
                self.stage,
                Stage::Begun { .. } | Stage::Streaming { .. } | Stage::Trailing
            )
            && core.engine().exchange(*exchange).is_draining()
            && !response
                .borrow(py)
                .headers
                .read(py, |headers| headers.has(b"content-length"))
    }

    /// Sends a head that waits for the first part of the body: there may be none.
    fn send_head(slf: &Bound<'_, Self>) -> PyResult<()> {
        let Stage::Begun { trailers } = slf.borrow().stage else {
            return Ok(());
        };
        let nothing = PyBytes::new(slf.py(), b"");
        Self::body(slf, nothing, true, trailers).map(drop)
    }

    /// Pulls the next part of the body, if there is more. False: nothing more
    /// comes from the client.
    fn ask(&self) -> bool {
        let mut engine = self.waiting.core.engine();
        let mut exchange = engine.exchange(self.waiting.exchange);
        match self.unread {
            Unread::More => exchange.pull().is_ok(),
            // A client that only closed its side may still read: `send` goes on.
            Unread::Part(_) | Unread::Nothing => exchange.owes() && !exchange.is_half_closed(),
        }
    }
}

impl Source for HttpExchange {
    fn next<'py>(this: &Bound<'py, Self>) -> PyResult<Next<'py>> {
        if let Some(part) = this.borrow_mut().take_part() {
            return Ok(Next::Value(messages::request(this.py(), &part)?));
        }
        let is_over = this.borrow().over() || !this.borrow().ask();
        if !is_over && this.borrow().is_to_end(this.py()) {
            Self::send_head(this)?;
        } else if !is_over {
            return waiting::future(this, Side::Receiving).map(Next::Future);
        }
        let mut exchange = this.borrow_mut();
        exchange.is_told_to_end |= !exchange.over();
        Ok(Next::Value(messages::disconnect(this.py())?))
    }

    fn forget_reader(this: &Bound<'_, Self>) {
        if waiting::forget_readers(this) {
            let exchange = this.borrow();
            let Waiting { core, exchange, .. } = &exchange.waiting;
            core.engine().exchange(*exchange).hold_body();
        }
    }
}

impl Wait for HttpExchange {
    fn waiting(&mut self) -> &mut Waiting {
        &mut self.waiting
    }
}

impl Observe for HttpExchange {
    fn notice(this: &Bound<'_, Self>, notice: Notice) -> PyResult<()> {
        match notice {
            Notice::BodyPart(part) => {
                let mut exchange = this.borrow_mut();
                let response = exchange.waiting.response.bind(this.py());
                response.borrow_mut().received += part.data.len() as u64;
                exchange.unread = Unread::Part(part);
                drop(exchange);
                waiting::wake(this, Side::Receiving)
            }
            Notice::Drained => waiting::wake(this, Side::Sending),
            Notice::HalfClosed | Notice::Draining => waiting::wake(this, Side::Receiving),
            Notice::Gone => Self::set_gone(this),
            // Only for a WebSocket.
            Notice::Message(..) | Notice::Ended { .. } => Ok(()),
        }
    }
}
