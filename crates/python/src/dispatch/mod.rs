//! `Engine`'s part from an event to the Python that it concerns.

use crate::asgi::http::Exchange;
use crate::core::Unanswered;
use crate::engine::{Engine, locked};
use crate::events::request::Request;
use crate::events::response::Response;
use crate::service::{Entry, Service};
use crate::wsgi::start_response::StartResponse;
use prefork_engine::{Body, Client, ConnectionId, Event, ExchangeId, Peer};
use prefork_wire::websocket::Message;
use prefork_wire::{Framing, Head, RemoteError, TargetForm};
use pyo3::prelude::*;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;

impl Engine {
    /// Calls whom an event concerns: one of `services`, which are in the order
    /// of their listeners.
    pub(crate) fn handle(
        &self,
        py: Python<'_>,
        services: &[Arc<Service>],
        event: Event,
    ) -> PyResult<()> {
        let service_of = |listener: u32| services.get(listener as usize);
        match event {
            Event::Request {
                client,
                bytes,
                head,
            } => match service_of(client.listener) {
                Some(service) => self.request(py, service, client, bytes, head),
                None => Ok(()),
            },
            Event::Malformed { client, reject } => match service_of(client.listener) {
                Some(service) => self.malformed(py, service, client, reject),
                None => Ok(()),
            },
            Event::Body { exchange, body } => self.body(py, exchange, body),
            Event::BodyPart { exchange, part } => match self.exchange(py, exchange) {
                Some(exchange) => Exchange::arrived(exchange.bind(py), part),
                None => Ok(()),
            },
            Event::BodyFailed { client, reject } => {
                self.broken(py, client.exchange)?;
                let text = reject.to_string();
                client_error(py, service_of(client.listener), &text, client.peer)
            }
            Event::Message { exchange, message } => self.message(py, exchange, message),
            Event::Ended {
                client,
                code,
                reason,
                fault,
            } => {
                self.ended(py, client.exchange, code, reason)?;
                let Some(fault) = fault else {
                    return Ok(());
                };
                let text = format!("WebSocket closed with {code}: {fault}");
                client_error(py, service_of(client.listener), &text, client.peer)
            }
            Event::Drained { exchange } => self.drained(py, exchange),
            Event::Gone { exchange } => self.gone(py, exchange),
            Event::Closed {
                connection,
                listener,
                peer,
                interrupted,
            } => {
                self.closed(py, connection)?;
                let Some(text) = interrupted else {
                    return Ok(());
                };
                client_error(py, service_of(listener), text, peer)
            }
            Event::Overdue {
                client,
                request,
                after_ms,
            } => {
                self.overdue(py, client.exchange)?;
                let arguments = (request, after_ms as f64 / 1000.0, client.peer.to_string());
                match service_of(client.listener) {
                    Some(service) => service.timed_out.call1(py, arguments).map(drop),
                    None => Ok(()),
                }
            }
            Event::Starved { listener, error } => {
                let text = format!("{STARVED}: {error}; {MORE_FILES}");
                server_warning(py, service_of(listener), &text)
            }
            Event::Recovered { listener } => server_warning(py, service_of(listener), RECOVERED),
            Event::Exhausted => {
                let callback = locked(&self.exhausted).take();
                call(py, callback)
            }
            Event::Empty { listener } => {
                let callback = locked(&self.drained).remove(&listener);
                call(py, callback)
            }
        }
    }

    fn exchange(&self, py: Python<'_>, exchange: ExchangeId) -> Option<Py<Exchange>> {
        let waiting = self.core.waiting();
        let exchange = waiting.exchanges.get(&exchange);
        exchange.map(|exchange| exchange.clone_ref(py))
    }

    fn request(
        &self,
        py: Python<'_>,
        service: &Arc<Service>,
        client: Client,
        bytes: Vec<u8>,
        head: Head,
    ) -> PyResult<()> {
        let tunnel = head.form == TargetForm::Authority && !service.settings.proxy_mode;
        let bodied = !matches!(head.framing, Framing::None | Framing::Length(0));
        let who = (client.exchange, client.peer);
        let request = Py::new(py, Request::new(service, who, bytes, head))?;
        let asked = Some(request.clone_ref(py));
        let response = Response::new(service, who, asked);
        let response = match service.uses_start_response {
            true => StartResponse::around(py, response)?,
            false => Py::new(py, response)?,
        };
        if tunnel {
            return self.refuse_tunnel(py, &response);
        }
        if bodied && service.pulls_bodies {
            let begun = self.core.engine().begin_pulling(client.exchange);
            match begun {
                Ok(came) => request.borrow_mut(py).came = Some(came.unwrap_or_default()),
                Err(_) => {
                    response.borrow_mut(py).give_up();
                    return Ok(());
                }
            }
        }
        if !bodied || service.pulls_bodies {
            return entrust(py, &service.request, &request, &response).map(drop);
        }
        let wanted = entrust(py, &service.head, &request, &response)?;
        if wanted && self.core.engine().collect(client.exchange).is_ok() {
            let mut waiting = self.core.waiting();
            waiting.bodies.insert(client.exchange, (request, response));
        }
        Ok(())
    }

    /// CONNECT, and no handler that could open a tunnel: the methods that are
    /// allowed on such a target are none (RFC 9110, section 15.5.6).
    fn refuse_tunnel(&self, py: Python<'_>, response: &Py<Response>) -> PyResult<()> {
        let response = response.bind(py);
        response.setattr("code", 405)?;
        response.call_method1("header", ("Allow", ""))?;
        Response::done(response)
    }

    fn body(
        &self,
        py: Python<'_>,
        exchange: ExchangeId,
        body: std::io::Result<Body>,
    ) -> PyResult<()> {
        let Some((request, response)) = self.core.waiting().bodies.remove(&exchange) else {
            return Ok(());
        };
        let (service, peer) = {
            let request = request.borrow(py);
            (Arc::clone(&request.service), request.peer)
        };
        match body {
            Ok(body) => {
                request.borrow_mut(py).set_body(body);
                entrust(py, &service.body, &request, &response).map(drop)
            }
            Err(error) => {
                response.borrow_mut(py).give_up();
                self.core.engine().reject(exchange, &NO_ROOM);
                let text = format!(
                    "a request body could not be kept: {error}; make room or set spool_dir"
                );
                let result = service.client_error.call1(py, (text, peer.to_string()));
                result.map(drop)
            }
        }
    }

    fn malformed(
        &self,
        py: Python<'_>,
        service: &Arc<Service>,
        client: Client,
        reject: RemoteError,
    ) -> PyResult<()> {
        self.forget_body(py, client.exchange);
        let response = Py::new(
            py,
            Response::new(service, (client.exchange, client.peer), None),
        )?;
        let arguments = (
            response.clone_ref(py),
            reject.status,
            reject.reason,
            client.peer.to_string(),
        );
        let taken = service.malformed.call1(py, arguments);
        if !matches!(&taken, Ok(taken) if taken.is_truthy(py)?) {
            response.borrow_mut(py).give_up();
            self.core.engine().reject(client.exchange, &reject);
        }
        taken.map(drop)
    }

    /// The body that somebody waits for is none.
    fn broken(&self, py: Python<'_>, exchange: ExchangeId) -> PyResult<()> {
        if let Some(exchange) = self.exchange(py, exchange) {
            Exchange::lost(exchange.bind(py))?;
        }
        drop(self.core.forget_request(exchange));
        Ok(())
    }

    /// A request has got its 504.
    fn overdue(&self, py: Python<'_>, exchange: ExchangeId) -> PyResult<()> {
        if let Some(exchange) = self.exchange(py, exchange) {
            Exchange::lost(exchange.bind(py))?;
        }
        let callback = self.core.waiting().overdue.remove(&exchange);
        call(py, callback)
    }

    /// The peer of a WebSocket has said something.
    fn message(&self, py: Python<'_>, exchange: ExchangeId, message: Message) -> PyResult<()> {
        let heard = match self.core.waiting().websockets.get(&exchange) {
            Some(websocket) => websocket.borrow_mut(py).put(py, message),
            None => None,
        };
        call(py, heard)
    }

    /// What was written has left: whoever waits for that goes on.
    fn drained(&self, py: Python<'_>, exchange: ExchangeId) -> PyResult<()> {
        if let Some(exchange) = self.exchange(py, exchange) {
            return Exchange::drained(exchange.bind(py));
        }
        let callback = self.core.waiting().drained.remove(&exchange);
        match callback {
            Some(callback) => callback.call1(py, (true,)).map(drop),
            None => Ok(()),
        }
    }

    /// A WebSocket is over: whoever waits for it, or for its peer to read, is
    /// told.
    fn ended(
        &self,
        py: Python<'_>,
        exchange: ExchangeId,
        code: u16,
        reason: String,
    ) -> PyResult<()> {
        let (websocket, drained) = {
            let mut waiting = self.core.waiting();
            (
                waiting.websockets.remove(&exchange),
                waiting.drained.remove(&exchange),
            )
        };
        if let Some(drained) = drained {
            drained.call1(py, (false,))?;
        }
        let Some(websocket) = websocket else {
            return Ok(());
        };
        let heard = websocket.borrow_mut(py).end(code, reason);
        call(py, heard)
    }

    /// The client left before its response was complete.
    fn gone(&self, py: Python<'_>, exchange: ExchangeId) -> PyResult<()> {
        self.forget_body(py, exchange);
        if let Some(exchange) = self.exchange(py, exchange) {
            Exchange::lost(exchange.bind(py))?;
        }
        let (drained, gone, overdue) = {
            let mut waiting = self.core.waiting();
            (
                waiting.drained.remove(&exchange),
                waiting.gone.remove(&exchange),
                waiting.overdue.remove(&exchange),
            )
        };
        drop(overdue); // not under the lock: freeing it may run Python
        if let Some(callback) = drained {
            callback.call1(py, (false,))?;
        }
        call(py, gone)
    }

    /// The connection is closed.
    fn closed(&self, py: Python<'_>, connection: ConnectionId) -> PyResult<()> {
        let callbacks = self.core.waiting().closed.remove(&connection);
        for callback in callbacks.into_iter().flatten() {
            call(py, Some(callback))?;
        }
        Ok(())
    }

    /// The body that a handler waited for will not come.
    fn forget_body(&self, py: Python<'_>, exchange: ExchangeId) {
        let forgotten = self.core.waiting().bodies.remove(&exchange);
        if let Some((_, response)) = forgotten {
            response.borrow_mut(py).give_up();
        }
    }

    /// Answers for the responses that were dropped without an answer. True if
    /// there was any.
    pub(crate) fn answer_unanswered(&self, py: Python<'_>) -> bool {
        let mut any = false;
        for dropped in self.core.unanswered() {
            if let Err(error) = self.adopt(py, dropped) {
                error.write_unraisable(py, None);
            }
            any = true;
        }
        any
    }

    fn adopt(&self, py: Python<'_>, dropped: Unanswered) -> PyResult<()> {
        {
            let mut engine = self.core.engine();
            if engine.peer(dropped.id).is_none() {
                return Ok(());
            }
            if dropped.streaming {
                engine.abort(dropped.id, None);
            } else if !engine.reject(dropped.id, &UNANSWERED) {
                return Ok(()); // its time was over before
            }
        }
        drop(self.core.forget_request(dropped.id));
        let service = Arc::clone(&dropped.service);
        let handler = dropped
            .handler
            .as_ref()
            .map(|handler| handler.clone_ref(py));
        service
            .unanswered
            .call1(py, (handler, dropped.peer.to_string()))?;
        if let (Some(request_ended), false) = (&service.request_ended, dropped.streaming) {
            let request = dropped
                .request
                .as_ref()
                .map(|request| request.clone_ref(py));
            let response = Response::answered_for(dropped, UNANSWERED.status);
            request_ended.call1(py, (request, response))?;
        }
        Ok(())
    }
}

/// Hands a request to the service; returns whether that says yes. If it fails,
/// nobody will answer, whoever may still hold the response.
fn entrust(
    py: Python<'_>,
    entry: &Entry,
    request: &Py<Request>,
    response: &Py<Response>,
) -> PyResult<bool> {
    let result = catch_unwind(AssertUnwindSafe(|| entry.hand(py, request, response)));
    if !matches!(result, Ok(Ok(_))) {
        response.borrow_mut(py).discard();
    }
    result.unwrap_or_else(|panic| resume_unwind(panic))
}

/// Something went wrong for one client.
fn client_error(
    py: Python<'_>,
    service: Option<&Arc<Service>>,
    text: &str,
    peer: Peer,
) -> PyResult<()> {
    match service {
        Some(service) => {
            let arguments = (text, peer.to_string());
            service.client_error.call1(py, arguments).map(drop)
        }
        None => Ok(()),
    }
}

/// Something went wrong, or is right again, for the whole listener.
fn server_warning(py: Python<'_>, service: Option<&Arc<Service>>, text: &str) -> PyResult<()> {
    match service {
        Some(service) => service.server_warning.call1(py, (text,)).map(drop),
        None => Ok(()),
    }
}

fn call(py: Python<'_>, callback: Option<Py<PyAny>>) -> PyResult<()> {
    match callback {
        Some(callback) => callback.call0(py).map(drop),
        None => Ok(()),
    }
}

const UNANSWERED: RemoteError = RemoteError {
    status: 500,
    reason: "the application did not answer",
};
const NO_ROOM: RemoteError = RemoteError {
    status: 507,
    reason: "the request body could not be kept",
};
const STARVED: &str = "no clients are accepted for now";
const MORE_FILES: &str =
    "raise the limit of open files (ulimit -n) or lower the number of connections";
const RECOVERED: &str = "clients are accepted again";
