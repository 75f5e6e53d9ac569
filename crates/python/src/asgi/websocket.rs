//! A WebSocket, as its application sees it.

use crate::core::Core;
use crate::errors::{ConnectionGone, InvalidResponse};
use crate::events::content::ResponseContent;
use crate::events::headers::{Headers, latin1};
use crate::events::response::{Response, State};
use crate::service::Service;
use crate::settings::websocket_settings;
use prefork_engine::{ExchangeId, LocalError, WebSocketSettings};
use prefork_wire::websocket::{CloseCode, Message, Opening};
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyString};
use std::collections::VecDeque;
use std::sync::Arc;

/// With more than this unread the peer is left to wait, until it is half.
const INBOX_BYTES: usize = 64 * 1024;
/// What a message costs besides its bytes: many empty ones are a lot too.
const MESSAGE_BYTES: usize = 64;

/// A WebSocket (RFC 6455): offered by a request, accepted or not, and then a
/// way for whole messages in both directions.
#[pyclass(module = "prefork._engine")]
pub struct WebSocket {
    core: Arc<Core>,
    service: Arc<Service>,
    exchange: ExchangeId,
    response: Py<Response>,
    opening: Opening,
    settings: WebSocketSettings,
    inbox: VecDeque<Message>,
    inbox_bytes: usize,
    paused: bool,
    /// `heard()` is to be called with the next thing that comes.
    awaited: bool,
    heard: Option<Py<PyAny>>,
    /// Code and reason, when it is over.
    #[pyo3(get)]
    closed: Option<(u16, String)>,
}

impl WebSocket {
    /// The peer has said something. What is returned is to be called.
    pub(crate) fn put(&mut self, py: Python<'_>, message: Message) -> Option<Py<PyAny>> {
        self.inbox_bytes += message.len() + MESSAGE_BYTES;
        self.inbox.push_back(message);
        if self.inbox_bytes > INBOX_BYTES && !self.paused {
            self.pause(true);
        }
        let awaited = std::mem::take(&mut self.awaited);
        let heard = self.heard.as_ref().filter(|_| awaited);
        heard.map(|heard| heard.clone_ref(py))
    }

    /// It is over. What is returned is to be called.
    pub(crate) fn end(&mut self, code: u16, reason: String) -> Option<Py<PyAny>> {
        self.closed = Some((code, reason));
        // Whom it belongs to has us as well: neither would be freed before the next collection.
        self.heard.take()
    }

    fn pause(&mut self, yes: bool) {
        self.paused = yes;
        self.core.engine().pause(self.exchange, yes);
    }
}

#[pymethods]
impl WebSocket {
    /// What the request of `response` offers. None: it does not ask for a
    /// WebSocket properly, and has been answered so.
    #[staticmethod]
    fn offered(
        response: &Bound<'_, Response>,
        options: &Bound<'_, PyAny>,
    ) -> PyResult<Option<Self>> {
        let settings = websocket_settings(options)?;
        let py = response.py();
        let (core, service, exchange, opening) = {
            let response = response.borrow();
            let Some(request) = &response.request else {
                return Err(PyValueError::new_err("a malformed request offers nothing"));
            };
            (
                Arc::clone(response.core()),
                Arc::clone(&response.service),
                response.exchange,
                request.borrow(py).opening(),
            )
        };
        let mut opening = match opening {
            Ok(opening) => opening,
            Err(reject) => {
                response.setattr("code", reject.status)?;
                response.setattr("content", reject.reason)?;
                response.call_method1("header", ("Sec-WebSocket-Version", "13"))?;
                Response::done(response)?;
                let peer = response.borrow().peer.to_string();
                service.client_error.call1(py, (reject.to_string(), peer))?;
                return Ok(None);
            }
        };
        if !settings.deflate {
            opening.refuse_deflate();
        }
        Ok(Some(WebSocket {
            core,
            service,
            exchange,
            response: response.clone().unbind(),
            opening,
            settings,
            inbox: VecDeque::new(),
            inbox_bytes: 0,
            paused: false,
            awaited: false,
            heard: None,
            closed: None,
        }))
    }

    /// The subprotocols that the client offers, the dearest first.
    #[getter]
    fn subprotocols(&self) -> Vec<String> {
        let offered = self.opening.subprotocols();
        offered
            .map(|name| String::from_utf8_lossy(name).into_owned())
            .collect()
    }

    /// Answers with 101. From then on `heard()` is called once after each
    /// `receive` that returned None: there is a message. It is called for the
    /// last time, and dropped, when it is over.
    ///
    /// Raises AlreadyAnswered; ConnectionGone; InvalidResponse for a header
    /// that cannot be sent and a subprotocol that was not offered, after which
    /// the request still waits for its answer.
    #[pyo3(signature = (heard, subprotocol=None, headers=None))]
    fn accept(
        slf: &Bound<'_, Self>,
        heard: Py<PyAny>,
        subprotocol: Option<&str>,
        headers: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        let py = slf.py();
        let headers = match headers {
            Some(headers) => Headers::from_bytes(headers)?,
            None => Headers::default(),
        };
        let former;
        let (service, response) = {
            let mut websocket = slf.borrow_mut();
            let mut response = websocket.response.borrow_mut(py);
            if response.state != State::Waiting {
                return Err(response.already());
            }
            let defaults = websocket
                .service
                .settings
                .headers
                .iter()
                .filter(|(name, _)| {
                    !headers
                        .fields()
                        .any(|(known, _)| known.eq_ignore_ascii_case(name))
                });
            let defaults = defaults.map(|(name, value)| (name.as_slice(), value.as_slice()));
            let fields = headers.fields().chain(defaults);
            let subprotocol = subprotocol.map(latin1);
            let result = websocket.core.engine().upgrade(
                websocket.exchange,
                &websocket.opening,
                subprotocol.as_deref(),
                fields,
                websocket.settings,
            );
            result.map_err(|refusal| response.refused(refusal))?;
            response.state = State::Answered;
            response.code = 101;
            drop(response);
            websocket.heard = Some(heard);
            let mut waiting = websocket.core.waiting();
            former = (
                waiting.gone.remove(&websocket.exchange),
                waiting.overdue.remove(&websocket.exchange),
            );
            let this = slf.clone().unbind();
            waiting.websockets.insert(websocket.exchange, this);
            (
                Arc::clone(&websocket.service),
                websocket.response.clone_ref(py),
            )
        };
        drop(former); // not under the lock: freeing it may run Python
        if let Some(request_ended) = &service.request_ended {
            let request = response.borrow(py).request_ref(py);
            request_ended.call1(py, (request, response))?;
        }
        Ok(())
    }

    /// The next message, str or bytes; None if there is none now.
    fn receive<'py>(&mut self, py: Python<'py>) -> Option<Bound<'py, PyAny>> {
        let Some(message) = self.inbox.pop_front() else {
            self.awaited = self.closed.is_none();
            return None;
        };
        self.inbox_bytes -= message.len() + MESSAGE_BYTES;
        if self.paused && self.inbox_bytes <= INBOX_BYTES / 2 {
            self.pause(false);
        }
        Some(match message {
            Message::Text(text) => PyString::new(py, &text).into_any(),
            Message::Binary(bytes) => PyBytes::new(py, &bytes).into_any(),
        })
    }

    /// Sends a message: str as text, bytes as binary. Returns how many bytes
    /// have not left the process yet.
    ///
    /// Raises ConnectionGone when it is over, TypeError for anything else.
    fn send(&self, py: Python<'_>, data: Py<PyAny>) -> PyResult<usize> {
        let piece = ResponseContent::new(py, Some(&data))?;
        let text = match &piece {
            ResponseContent::Text(..) => true,
            ResponseContent::Bytes(_) => false,
            ResponseContent::Nothing | ResponseContent::File(_) => {
                return Err(PyTypeError::new_err("a message is str or bytes"));
            }
        };
        let content = piece.content();
        let sent = self.core.engine().send(self.exchange, text, content);
        sent.map_err(|_| gone())
    }

    /// Says goodbye; `closed` is set then. Nothing happens if it is over.
    ///
    /// Raises ValueError for a code that may not be sent (RFC 6455, section 7.4).
    #[pyo3(signature = (code=1000, reason=""))]
    fn close(&self, code: u16, reason: &str) -> PyResult<()> {
        let Some(code) = CloseCode::new(code) else {
            return Err(PyValueError::new_err(format!(
                "close code {code}: expected 1000 to 1003, 1007 to 1014 or 3000 to 4999"
            )));
        };
        match self
            .core
            .engine()
            .close_websocket(self.exchange, code, reason)
        {
            Ok(()) | Err(LocalError::Closed | LocalError::OutOfTurn) => Ok(()),
            Err(LocalError::Invalid(invalid)) => Err(InvalidResponse::new_err(invalid.to_string())),
        }
    }

    /// Calls `callback(True)` once when all that was sent has left the
    /// process, `callback(False)` if it ends before. False: it is over.
    fn when_drained(&self, callback: Py<PyAny>) -> bool {
        if self.closed.is_some() || !self.core.engine().tell_drained(self.exchange) {
            return false;
        }
        let core = &self.core;
        let former = core.watch(|waiting| &mut waiting.drained, self.exchange, callback);
        drop(former); // not under the lock: freeing it may run Python
        true
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.response)?;
        visit.call(&self.heard)
    }

    fn __clear__(&mut self) {
        self.heard = None;
    }
}

fn gone() -> PyErr {
    ConnectionGone::new_err("the WebSocket is closed")
}
