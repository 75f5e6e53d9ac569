//! One WebSocket as messages of ASGI 3: the `receive` and `send` of an
//! application.
//!
//! Owns: what the application may do next, and the messages that it has not
//! received. The engine implements the protocol (RFC 6455): it joins frames,
//! responds to Pings and closes on a protocol error. Always holds: once the
//! WebSocket is over, `receive` gives websocket.disconnect, as often as it is
//! called; a message that is not expected raises, and changes nothing.

use crate::asgi::awaitable::{Awaitable, Next, Source};
use crate::asgi::inbox::Inbox;
use crate::asgi::messages::{self, Sent};
use crate::asgi::waiting::{self, Side, Wait, Waiting};
use crate::errors::{ConnectionGone, InvalidResponse};
use crate::events::content::ResponseContent;
use crate::events::fields::Fields;
use crate::events::response::{Response, State};
use crate::events::sending::defaults;
use crate::pending::{Notice, Observe};
use crate::service::Service;
use crate::settings::websocket_settings;
use crate::text::latin1;
use prefork_engine::{HIGH_WATER, LocalError, WebSocketSettings};
use prefork_wire::RemoteError;
use prefork_wire::websocket::{CloseCode, Message, Opening};
use pyo3::exceptions::PyValueError;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyString};
use std::sync::Arc;

/// RFC 6455, section 7.4.1: the connection ended without a close frame.
const ABNORMAL_CLOSURE: u16 = 1006;

/// What the application may do next.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Connecting,
    Open,
    Refusing,
    Refused,
    Closed,
}

impl Stage {
    /// The messages that are expected now.
    fn expects(self) -> &'static str {
        match self {
            Stage::Connecting => {
                "websocket.accept, websocket.close or websocket.http.response.start"
            }
            Stage::Open => "websocket.send or websocket.close",
            Stage::Refusing => "websocket.http.response.body",
            Stage::Refused => "nothing more: the WebSocket is refused",
            Stage::Closed => "nothing more: the WebSocket is closed",
        }
    }
}

/// The state of the client.
enum Peer {
    Connected,
    /// The client left before the WebSocket was accepted.
    Left,
    /// The WebSocket has ended, with this code and reason.
    Ended(u16, String),
}

/// What the application receives next.
enum Received {
    Connect,
    Message(Message),
    Disconnect(u16, String),
    Nothing,
}

/// One WebSocket of an ASGI application (ASGI 3, spec 2.5): its `receive` and
/// `send`.
#[pyclass(name = "WebSocketExchange", module = "prefork._engine")]
pub struct WebSocketExchange {
    opening: Opening,
    settings: WebSocketSettings,
    stage: Stage,
    peer: Peer,
    /// The application has received websocket.connect.
    is_connected: bool,
    inbox: Inbox,
    waiting: Waiting,
}

#[pymethods]
impl WebSocketExchange {
    /// The WebSocket that the request of `response` asks for. Returns None if it
    /// does not ask properly (RFC 6455, section 4.2.1); the client has got a 400
    /// or 426 then. `options` has the `ws_` options; `create_future` makes the
    /// futures of the loop that the application runs on.
    ///
    /// Raises ValueError for a response without a request.
    #[staticmethod]
    fn offered(
        response: &Bound<'_, Response>,
        options: &Bound<'_, PyAny>,
        create_future: Py<PyAny>,
    ) -> PyResult<Option<Py<Self>>> {
        let py = response.py();
        let settings = websocket_settings(options)?;
        let opening = match response.borrow().request_ref(py) {
            Some(request) => request.borrow(py).view.opening(),
            None => return Err(PyValueError::new_err("a malformed request offers nothing")),
        };
        let mut opening = match opening {
            Ok(opening) => opening,
            Err(error) => {
                refuse(response, &error)?;
                return Ok(None);
            }
        };
        if !settings.deflate {
            opening.refuse_deflate();
        }
        let waiting = Waiting::new(response, create_future);
        let exchange = WebSocketExchange {
            opening,
            settings,
            stage: Stage::Connecting,
            peer: Peer::Connected,
            is_connected: false,
            inbox: Inbox::new(&waiting.core, waiting.exchange),
            waiting,
        };
        let exchange = Bound::new(py, exchange)?;
        if !waiting::register(&exchange) {
            exchange.borrow_mut().peer = Peer::Left;
        }
        Ok(Some(exchange.unbind()))
    }

    /// The subprotocols that the client offers, its favourite first.
    #[getter]
    fn subprotocols(&self) -> Vec<String> {
        let offered = self.opening.subprotocols();
        offered
            .map(|name| String::from_utf8_lossy(name).into_owned())
            .collect()
    }

    /// Whether the application has accepted the WebSocket and not closed it.
    #[getter]
    fn open(&self) -> bool {
        self.stage == Stage::Open
    }

    /// Whether the client has left or the WebSocket has ended: what is sent does
    /// not arrive.
    #[getter]
    fn gone(&self) -> bool {
        matches!(self.peer, Peer::Left | Peer::Ended(..))
    }

    /// Which message was not expected, and which one was; None if there was none.
    #[getter]
    fn refused(&self) -> Option<&str> {
        self.waiting.refused()
    }

    /// Awaited, it gives websocket.connect, then websocket.receive for each
    /// message, and at last, as often as it is called, websocket.disconnect.
    fn receive<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, Awaitable>> {
        Awaitable::next_of(slf)
    }

    /// Takes a message of the application. Awaited, it waits while too much is
    /// on its way to the client.
    ///
    /// Raises RuntimeError for a message that is not expected now, TypeError for a
    /// wrong or missing key, ValueError for a close code that may not be sent
    /// (RFC 6455, section 7.4), InvalidResponse for a header that cannot be sent
    /// or a subprotocol that was not offered, and ConnectionGone, an OSError, if
    /// the client has left.
    fn send<'py>(
        slf: &Bound<'py, Self>,
        message: &Bound<'py, PyDict>,
    ) -> PyResult<Bound<'py, Awaitable>> {
        let py = slf.py();
        let message = Sent(message);
        let kind = message.kind()?;
        let kind = kind.to_str()?;
        let stage = slf.borrow().stage;
        match (kind, stage) {
            ("websocket.send", Stage::Open) => return Self::message(slf, message),
            ("websocket.accept", Stage::Connecting) => Self::accept(slf, message)?,
            ("websocket.close", Stage::Open) => {
                let reason = message.text(intern!(py, "reason"))?;
                let reason = reason.as_ref().map_or(Ok(""), |reason| reason.to_str())?;
                slf.borrow_mut().close(message.close_code()?, reason)?;
            }
            ("websocket.close", Stage::Connecting) => Self::refuse(slf)?,
            ("websocket.http.response.start", Stage::Connecting) => {
                slf.borrow_mut().start(py, message)?
            }
            ("websocket.http.response.body", Stage::Refusing) => Self::body(slf, message)?,
            (kind, stage) => {
                let waiting = &mut slf.borrow_mut().waiting;
                return Err(waiting.refuse(kind, stage.expects(), ""));
            }
        }
        Awaitable::done(py)
    }

    /// Closes an open WebSocket with a code of RFC 6455, section 7.4. Nothing
    /// happens if it has ended.
    ///
    /// Raises ValueError for a code that may not be sent, and InvalidResponse for
    /// a reason that is too long.
    #[pyo3(signature = (code=1000, reason=""))]
    fn close(&mut self, code: i64, reason: &str) -> PyResult<()> {
        let Some(code) = u16::try_from(code).ok().and_then(CloseCode::new) else {
            return Err(PyValueError::new_err(format!(
                "close code {code}: expected 1000 to 1003, 1007 to 1014 or 3000 to 4999"
            )));
        };
        let Waiting { core, exchange, .. } = &self.waiting;
        let closed = core
            .engine()
            .exchange(*exchange)
            .close_websocket(code, reason);
        if let Err(LocalError::Invalid(invalid)) = closed {
            return Err(InvalidResponse::new_err(invalid.to_string()));
        }
        self.stage = Stage::Closed;
        Ok(())
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.waiting.traverse(&visit)
    }

    fn __clear__(&mut self) {
        self.waiting.clear();
    }
}

// ---- what the application sends ----------------------------------------------

impl WebSocketExchange {
    /// Sends 101, and calls `request_ended` as for any response.
    fn accept(slf: &Bound<'_, Self>, message: Sent<'_, '_>) -> PyResult<()> {
        let py = slf.py();
        let headers = message.headers()?;
        let subprotocol = message.text(intern!(py, "subprotocol"))?;
        let subprotocol = subprotocol.as_ref().map(|name| name.to_str()).transpose()?;
        let response = slf.borrow().waiting.response.bind(py).clone();
        let service = Arc::clone(&response.borrow().service);
        {
            let mut websocket = slf.borrow_mut();
            let mut response = response.borrow_mut();
            if response.state != State::Waiting {
                return Err(response.already_answered());
            }
            let sent = service
                .core
                .engine()
                .exchange(websocket.waiting.exchange)
                .upgrade(
                    &websocket.opening,
                    subprotocol.map(latin1).as_deref(),
                    headers.fields().chain(defaults(&service, &headers)),
                    websocket.settings,
                );
            let unread = sent.map_err(|error| response.not_sent(error))?;
            websocket.inbox.open(unread);
            response.set_answered();
            response.code = 101;
            response.sent_bytes = Some(0);
            response.reported = true;
            websocket.stage = Stage::Open;
        }
        report_accepted(&service, response)
    }

    fn message<'py>(
        slf: &Bound<'py, Self>,
        message: Sent<'_, 'py>,
    ) -> PyResult<Bound<'py, Awaitable>> {
        let py = slf.py();
        let data = message.text_or_bytes()?;
        let is_text = data.is_instance_of::<PyString>();
        let data = data.unbind();
        let content = ResponseContent::new(py, Some(&data))?;
        let unsent = {
            let Waiting { core, exchange, .. } = &slf.borrow().waiting;
            let sent = core
                .engine()
                .exchange(*exchange)
                .send(is_text, content.content());
            sent.map_err(|_| ConnectionGone::new_err("the WebSocket is closed"))?
        };
        if unsent <= HIGH_WATER || !slf.borrow().waiting.has_much_to_send() {
            return Awaitable::done(py);
        }
        Awaitable::of(&waiting::future(slf, Side::Sending)?)
    }

    /// Refuses the WebSocket with 403.
    fn refuse(slf: &Bound<'_, Self>) -> PyResult<()> {
        let py = slf.py();
        let response = slf.borrow().waiting.response.bind(py).clone();
        let empty = PyBytes::new(py, b"").into_any().unbind();
        {
            let mut response = response.borrow_mut();
            response.code = 403;
            response.content = Some(empty);
        }
        Self::complete(slf, &response)
    }

    /// Refuses the WebSocket with a response of the application, whose body
    /// follows.
    fn start(&mut self, py: Python<'_>, message: Sent<'_, '_>) -> PyResult<()> {
        let headers = message.headers()?;
        let status = message.status()?;
        let mut response = self.waiting.response.borrow_mut(py);
        response.code = status;
        response.headers = Fields::Native(headers);
        self.stage = Stage::Refusing;
        Ok(())
    }

    fn body(slf: &Bound<'_, Self>, message: Sent<'_, '_>) -> PyResult<()> {
        let py = slf.py();
        let data = Some(message.body()?.into_any().unbind());
        let response = slf.borrow().waiting.response.bind(py).clone();
        if message.flag(intern!(py, "more_body"))? {
            return Response::write(&response, data);
        }
        if response.borrow().state == State::Streaming {
            Response::write(&response, data)?;
        } else {
            response.borrow_mut().content = data;
        }
        Self::complete(slf, &response)
    }

    fn complete(slf: &Bound<'_, Self>, response: &Bound<'_, Response>) -> PyResult<()> {
        slf.borrow_mut().stage = Stage::Refused;
        Response::done(response)?;
        waiting::release(slf)
    }
}

// ---- what happens to it --------------------------------------------------------

impl WebSocketExchange {
    /// The next of connect, messages and disconnect.
    fn receive_next(&mut self) -> Received {
        if !std::mem::replace(&mut self.is_connected, true) {
            return Received::Connect;
        }
        if let Some(message) = self.inbox.pop() {
            return Received::Message(message);
        }
        match &self.peer {
            Peer::Ended(code, reason) => Received::Disconnect(*code, reason.clone()),
            Peer::Connected if self.stage != Stage::Refused && !self.is_half_closed() => {
                Received::Nothing
            }
            Peer::Connected | Peer::Left => Received::Disconnect(ABNORMAL_CLOSURE, String::new()),
        }
    }

    /// Whether the client closed its sending side before the WebSocket was open:
    /// it can send no frame.
    fn is_half_closed(&self) -> bool {
        let Waiting { core, exchange, .. } = &self.waiting;
        self.stage == Stage::Connecting && core.engine().exchange(*exchange).is_half_closed()
    }
}

impl Source for WebSocketExchange {
    fn next<'py>(this: &Bound<'py, Self>) -> PyResult<Next<'py>> {
        let py = this.py();
        let received = this.borrow_mut().receive_next();
        let message = match received {
            Received::Connect => messages::connect(py),
            Received::Message(message) => messages::receive(py, &message),
            Received::Disconnect(code, reason) => messages::websocket_disconnect(py, code, &reason),
            Received::Nothing => {
                this.borrow().inbox.want(true);
                return waiting::future(this, Side::Receiving).map(Next::Future);
            }
        };
        message.map(Next::Value)
    }

    fn forget_reader(this: &Bound<'_, Self>) {
        if waiting::forget_readers(this) {
            this.borrow().inbox.want(false);
        }
    }
}

/// Responds to a request that does not ask properly.
fn refuse(response: &Bound<'_, Response>, error: &RemoteError) -> PyResult<()> {
    response.setattr("code", error.status)?;
    response.setattr("content", error.reason)?;
    response.call_method1("header", ("Sec-WebSocket-Version", "13"))?;
    Response::done(response)?;
    let service = Arc::clone(&response.borrow().service);
    let peer = response.borrow().client.peer;
    let id = response.borrow().id_text(response.py());
    service.client_error(response.py(), &error.to_string(), peer, id.as_deref())
}

/// The 101 is sent: it came in time, and the service gets it as any response.
fn report_accepted(service: &Service, response: Bound<'_, Response>) -> PyResult<()> {
    let exchange = response.borrow().client.exchange;
    let overdue = service
        .core
        .pending()
        .take(exchange, |pending| pending.overdue.take());
    drop(overdue);
    Response::report_end(&response)
}

impl Wait for WebSocketExchange {
    fn waiting(&mut self) -> &mut Waiting {
        &mut self.waiting
    }
}

impl Observe for WebSocketExchange {
    fn notice(this: &Bound<'_, Self>, notice: Notice) -> PyResult<()> {
        match notice {
            Notice::Message(message, held) => {
                this.borrow_mut().inbox.push(message, held);
                waiting::wake(this, Side::Receiving)
            }
            Notice::Drained => waiting::wake(this, Side::Sending),
            Notice::Ended { code, reason } => {
                this.borrow_mut().peer = Peer::Ended(code, reason);
                waiting::wake_all(this)
            }
            Notice::HalfClosed | Notice::Draining => waiting::wake(this, Side::Receiving),
            Notice::Gone => {
                this.borrow_mut().peer = Peer::Left;
                waiting::wake_all(this)
            }
            // Only for an HTTP exchange.
            Notice::BodyPart(_) => Ok(()),
        }
    }
}
