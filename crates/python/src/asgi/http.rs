//! One request and its answer as messages of ASGI 3: the `receive` and `send`
//! that an application is called with.
//!
//! Owns: where the two stand, and the futures of those who wait. Always holds:
//! who waits in `receive` hears of the client's end, and of the answer's; a
//! message that has no place now raises, and changes nothing. It is known to
//! the engine's events (`Waiting::exchanges`) only while somebody waits.

use crate::asgi::awaitable::Awaitable;
use crate::asgi::futures::{Futures, settle};
use crate::asgi::messages::{body_message, data, disconnect, flag, required, wrong};
use crate::core::Core;
use crate::errors::ConnectionGone;
use crate::events::file_part::PyFilePart;
use crate::events::headers::Headers;
use crate::events::request::Request;
use crate::events::response::{Fields, Response, State};
use prefork_engine::{BodyPart, ExchangeId, HIGH_WATER};
use pyo3::exceptions::PyRuntimeError;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyInt, PyString};
use rustix::fs::{Mode, OFlags};
use std::os::fd::AsRawFd;
use std::path::PathBuf;
use std::sync::Arc;

/// What of the body the application has not been given.
enum Inbound {
    Ready(BodyPart),
    /// More of it is to be asked for.
    Coming,
    Over,
}

/// How far the answer is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Owed,
    /// Its head is known, and kept back until the first piece of the body.
    Begun {
        trailers: bool,
    },
    Streaming {
        trailers: bool,
    },
    /// The body is complete, its trailers are not.
    Trailing,
    Complete,
    /// The client has left, or was sent away.
    Gone,
}

impl Stage {
    /// What it expects to be sent, for an error's text.
    fn expects(self) -> &'static str {
        match self {
            Stage::Owed => "http.response.start",
            Stage::Begun { .. } => "http.response.body or http.response.pathsend",
            Stage::Streaming { .. } => "http.response.body",
            Stage::Trailing => "http.response.trailers",
            Stage::Complete | Stage::Gone => "nothing more: the response is complete",
        }
    }
}

/// The `receive` and `send` of one HTTP request (ASGI 3, spec 2.5).
#[pyclass(module = "prefork._engine")]
pub struct Exchange {
    core: Arc<Core>,
    exchange: ExchangeId,
    response: Py<Response>,
    create_future: Py<PyAny>,
    inbound: Inbound,
    stage: Stage,
    trailers: Headers,
    /// The engine's events know of it.
    known: bool,
    /// Those who wait in `receive`.
    receiving: Futures,
    /// Those who wait in `send` for the client to read.
    sending: Futures,
}

#[pymethods]
impl Exchange {
    /// `create_future` makes the futures of the loop that it is used on.
    #[new]
    fn new(
        request: &Bound<'_, Request>,
        response: &Bound<'_, Response>,
        create_future: Py<PyAny>,
    ) -> Self {
        let came = request.borrow_mut().came.take();
        Exchange {
            core: Arc::clone(response.borrow().core()),
            exchange: response.borrow().exchange,
            response: response.clone().unbind(),
            create_future,
            inbound: match came {
                Some(piece) if piece.data.is_empty() && !piece.last => Inbound::Coming,
                Some(piece) => Inbound::Ready(piece),
                None => Inbound::Ready(BodyPart {
                    data: Vec::new(),
                    last: true,
                }),
            },
            stage: Stage::Owed,
            trailers: Headers::default(),
            known: false,
            receiving: Futures::default(),
            sending: Futures::default(),
        }
    }

    /// Whether the answer is complete, or the client gone: nothing is owed.
    #[getter]
    fn over(&self) -> bool {
        matches!(self.stage, Stage::Complete | Stage::Gone)
    }

    /// Whether the client has left before its answer was complete.
    #[getter]
    fn gone(&self) -> bool {
        self.stage == Stage::Gone || self.stage != Stage::Complete && !self.is_owed()
    }

    /// Awaited, it gives the next piece of the body, and after the last one
    /// http.disconnect, when the client has left or the answer is complete.
    fn receive<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, Awaitable>> {
        let py = slf.py();
        if let Some(piece) = slf.borrow_mut().take_ready() {
            return Awaitable::kept(body_message(py, &piece)?.into_any());
        }
        if slf.borrow().over() || !slf.borrow().ask() {
            return Awaitable::kept(disconnect(py)?.into_any());
        }
        let future = Self::future(slf)?;
        let receiving = std::mem::take(&mut slf.borrow_mut().receiving);
        slf.borrow_mut().receiving = receiving.and(&future);
        Awaitable::of(&future)
    }

    /// Takes a message. Awaited, it waits while too much of the answer is on
    /// its way.
    ///
    /// Raises RuntimeError for a message that has no place now, TypeError for
    /// a wrong type in it, InvalidResponse for a header that cannot be sent,
    /// and ConnectionGone, an OSError, when the client has left.
    fn send<'py>(
        slf: &Bound<'py, Self>,
        message: &Bound<'py, PyDict>,
    ) -> PyResult<Bound<'py, Awaitable>> {
        let py = slf.py();
        let kind = required(message, "type")?;
        let kind = kind.cast::<PyString>()?.to_str()?;
        let stage = slf.borrow().expect_open()?;
        match (kind, stage) {
            ("http.response.start", Stage::Owed) => Self::start(slf, message)?,
            ("http.response.early_hint", Stage::Owed) => slf.borrow().hint(message)?,
            ("http.response.body", Stage::Begun { trailers } | Stage::Streaming { trailers }) => {
                let data = data(message)?;
                let more = flag(message, intern!(py, "more_body"))?;
                return Self::body(slf, data, more, trailers);
            }
            ("http.response.pathsend", Stage::Begun { trailers: false }) => {
                Self::path(slf, &required(message, "path")?)?;
            }
            ("http.response.trailers", Stage::Trailing) => Self::trail(slf, message)?,
            (kind, stage) => {
                return Err(PyRuntimeError::new_err(format!(
                    "the application sent {kind}, the server expects {}",
                    stage.expects()
                )));
            }
        }
        Awaitable::done(py)
    }

    /// The application has failed, and its request was answered without it:
    /// whoever still waits for the client need not.
    fn give_up(slf: &Bound<'_, Self>) -> PyResult<()> {
        Self::lost(slf)
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.response)?;
        for future in self.receiving.iter().chain(self.sending.iter()) {
            visit.call(future)?;
        }
        Ok(())
    }

    fn __clear__(&mut self) {
        self.receiving = Futures::default();
        self.sending = Futures::default();
    }
}

// ---- what the application sends ----------------------------------------------

impl Exchange {
    fn start(slf: &Bound<'_, Self>, message: &Bound<'_, PyDict>) -> PyResult<()> {
        let py = message.py();
        let status = required(message, "status")?;
        let headers = match message.get_item(intern!(py, "headers"))? {
            Some(headers) => Headers::from_bytes(&headers)?,
            None => Headers::default(),
        };
        let trailers = flag(message, intern!(py, "trailers"))?;
        let Ok(status) = status
            .cast::<PyInt>()
            .map_err(PyErr::from)
            .and_then(|s| s.extract())
        else {
            return Err(wrong("status", "an int, as 200", &status));
        };
        let mut exchange = slf.borrow_mut();
        exchange.stage = Stage::Begun { trailers };
        let mut response = exchange.response.borrow_mut(py);
        response.code = status;
        response.headers = Fields::Ours(headers);
        Ok(())
    }

    fn hint(&self, message: &Bound<'_, PyDict>) -> PyResult<()> {
        let py = message.py();
        let mut links = Vec::new();
        for link in required(message, "links")?.try_iter()? {
            let link = link?;
            match link.cast::<PyBytes>() {
                Ok(bytes) => links.push(bytes.as_bytes().to_vec()),
                Err(_) => return Err(wrong("links", "byte strings", &link)),
            }
        }
        let fields = links
            .iter()
            .map(|link| (b"link".as_slice(), link.as_slice()));
        let told = self.core.engine().inform(self.exchange, 103, fields);
        told.map_err(|refusal| self.response.borrow_mut(py).refused(refusal))
    }

    fn body<'py>(
        slf: &Bound<'py, Self>,
        data: Bound<'py, PyBytes>,
        more: bool,
        trailers: bool,
    ) -> PyResult<Bound<'py, Awaitable>> {
        let py = slf.py();
        let response = slf.borrow().response.bind(py).clone();
        let whole = !more && !trailers;
        if whole && response.borrow().state == State::Waiting {
            // All of it at once: its length is known.
            response.borrow_mut().content = Some(data.into_any().unbind());
            Self::complete(slf, &response)?;
            return Awaitable::done(py);
        }
        Response::write(&response, Some(data.into_any().unbind()))?;
        if whole {
            Self::complete(slf, &response)?;
            return Awaitable::done(py);
        }
        slf.borrow_mut().stage = match more {
            true => Stage::Streaming { trailers },
            false => Stage::Trailing,
        };
        if !slf.borrow().has_much_to_send() {
            return Awaitable::done(py);
        }
        let future = Self::future(slf)?;
        let sending = std::mem::take(&mut slf.borrow_mut().sending);
        slf.borrow_mut().sending = sending.and(&future);
        Awaitable::of(&future)
    }

    fn path(slf: &Bound<'_, Self>, path: &Bound<'_, PyAny>) -> PyResult<()> {
        let py = slf.py();
        let response = slf.borrow().response.bind(py).clone();
        // A pipe is not waited for: it is no regular file, and refused as such.
        let options = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let file = rustix::fs::open(path.extract::<PathBuf>()?, options, Mode::empty())
            .map_err(std::io::Error::from)?;
        let part = py.get_type::<PyFilePart>().call1((file.as_raw_fd(),))?;
        response.borrow_mut().content = Some(part.unbind());
        Self::complete(slf, &response)
    }

    fn trail(slf: &Bound<'_, Self>, message: &Bound<'_, PyDict>) -> PyResult<()> {
        let py = slf.py();
        let response = slf.borrow().response.bind(py).clone();
        if let Some(headers) = message.get_item(intern!(py, "headers"))? {
            let headers = Headers::from_bytes(&headers)?;
            slf.borrow_mut().trailers.extend(headers.fields());
        }
        if flag(message, intern!(py, "more_trailers"))? {
            return Ok(());
        }
        let trailers = std::mem::take(&mut slf.borrow_mut().trailers);
        let (core, exchange) = (Arc::clone(&slf.borrow().core), slf.borrow().exchange);
        let told = core.engine().trail(exchange, trailers.fields());
        told.map_err(|refusal| response.borrow_mut().refused(refusal))?;
        Self::complete(slf, &response)
    }

    /// The answer is complete: who still waits for the client need not.
    fn complete(slf: &Bound<'_, Self>, response: &Bound<'_, Response>) -> PyResult<()> {
        Response::done(response)?;
        slf.borrow_mut().stage = Stage::Complete;
        Self::release(slf)
    }
}

// ---- who waits ----------------------------------------------------------------

impl Exchange {
    fn is_owed(&self) -> bool {
        self.core.engine().owes(self.exchange)
    }

    /// How far the answer is. Raises ConnectionGone if nobody is there for it.
    fn expect_open(&self) -> PyResult<Stage> {
        if self.gone() {
            return Err(left());
        }
        Ok(self.stage)
    }

    /// Has the engine tell of the body, or (after that) of the client's end.
    /// False: the client is gone.
    fn ask(&self) -> bool {
        let mut engine = self.core.engine();
        match self.inbound {
            Inbound::Coming => engine.pull(self.exchange).is_ok(),
            _ => engine.owes(self.exchange),
        }
    }

    fn take_ready(&mut self) -> Option<BodyPart> {
        let Inbound::Ready(piece) = &mut self.inbound else {
            return None;
        };
        let piece = std::mem::take(piece);
        self.inbound = after(piece.last);
        Some(piece)
    }

    /// Too much of the answer waits for the client: the engine tells when it
    /// has left.
    fn has_much_to_send(&self) -> bool {
        let mut engine = self.core.engine();
        engine.unsent(self.exchange) > HIGH_WATER && engine.tell_drained(self.exchange)
    }

    /// A future, and from now on the engine's events come here.
    fn future<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        let py = slf.py();
        let create_future = slf.borrow().create_future.bind(py).clone();
        let mut exchange = slf.borrow_mut();
        if !std::mem::replace(&mut exchange.known, true) {
            let (core, id) = (Arc::clone(&exchange.core), exchange.exchange);
            drop(exchange);
            core.engine().tell_gone(id, true);
            let former = core.waiting().exchanges.insert(id, slf.clone().unbind());
            drop(former); // not under the lock: freeing it may run Python
        } else {
            drop(exchange);
        }
        create_future.call0()
    }

    /// A piece that was asked for.
    pub(crate) fn arrived(slf: &Bound<'_, Self>, piece: BodyPart) -> PyResult<()> {
        let py = slf.py();
        let message = || Ok(body_message(py, &piece)?.into_any());
        loop {
            let next = slf.borrow_mut().receiving.next();
            let Some(future) = next else {
                // Whoever asked for it was cancelled: the next one gets it.
                slf.borrow_mut().inbound = Inbound::Ready(piece);
                return Ok(());
            };
            if settle(future.bind(py), message)? {
                break;
            }
        }
        let mut exchange = slf.borrow_mut();
        exchange.inbound = after(piece.last);
        // Others wait too: for the next one.
        if !piece.last && !exchange.receiving.is_empty() {
            exchange.ask();
        }
        Ok(())
    }

    /// The client has read all that was sent.
    pub(crate) fn drained(slf: &Bound<'_, Self>) -> PyResult<()> {
        let py = slf.py();
        let sending = std::mem::take(&mut slf.borrow_mut().sending);
        sending.settle(py, || Ok(py.None().into_bound(py)))
    }

    /// The client has left, or was sent away.
    pub(crate) fn lost(slf: &Bound<'_, Self>) -> PyResult<()> {
        slf.borrow_mut().stage = Stage::Gone;
        let sending = std::mem::take(&mut slf.borrow_mut().sending);
        sending.fail(slf.py(), left)?;
        Self::release(slf)
    }

    /// Nothing more comes, and nothing more is waited for.
    fn release(slf: &Bound<'_, Self>) -> PyResult<()> {
        let py = slf.py();
        if slf.borrow().known {
            slf.borrow().core.forget_exchange(slf.borrow().exchange);
        }
        Self::drained(slf)?;
        let receiving = std::mem::take(&mut slf.borrow_mut().receiving);
        receiving.settle(py, || Ok(disconnect(py)?.into_any()))
    }
}

fn after(last: bool) -> Inbound {
    if last { Inbound::Over } else { Inbound::Coming }
}

fn left() -> PyErr {
    ConnectionGone::new_err("the client left before its answer was complete")
}
