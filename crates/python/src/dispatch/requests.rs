//! Passes requests to the service: whole ones, those whose body follows, and
//! malformed ones.
//!
//! Always holds: if a call of the service fails, a 500 is sent, even if Python
//! still holds the response.

use crate::call_context::CallContext;
use crate::callers;
use crate::core::Core;
use crate::events::request::Request;
use crate::events::response::Response;
use crate::pending::Collecting;
use crate::service::Service;
use crate::text::decode;
use crate::wsgi::start_response::StartResponse;
use prefork_engine::{Body, Client, ExchangeId, RequestId};
use prefork_wire::{Framing, Head, RemoteError, TargetForm, Version};
use pyo3::prelude::*;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;

/// A request head has come. Its body, if it has one, is not read yet.
pub(super) fn request(
    py: Python<'_>,
    service: Option<&Arc<Service>>,
    client: Client,
    bytes: Vec<u8>,
    head: Head,
) -> PyResult<()> {
    let Some(service) = service else {
        return Ok(());
    };
    // Over HTTP/2, a response of 200 would accept the WebSocket.
    let is_lost =
        head.websocket && head.version == Version::Http2 && !service.interface.takes_websockets;
    let is_tunnel = is_lost || head.form == TargetForm::Authority && !service.settings.proxy_mode;
    let has_body = !matches!(head.framing, Framing::None | Framing::Length(0));
    let request = Py::new(py, Request::new(service, client, bytes, head))?;
    let response = Response::new(service, client, Some(request.clone_ref(py)));
    let response = match service.interface.uses_start_response {
        true => StartResponse::around(py, response)?,
        false => Py::new(py, response)?,
    };
    if is_tunnel {
        refuse_tunnel(py, &response)
    } else if !has_body {
        call_service(py, &service.interface.request, &request, &response).map(drop)
    } else if service.interface.pulls_bodies {
        pull(py, service, client.exchange, &request, &response)
    } else {
        collect(py, service, client.exchange, &request, response)
    }
}

/// Refuses CONNECT: no handler can open a tunnel, so no method is allowed for
/// such a target (RFC 9110, section 15.5.6).
fn refuse_tunnel(py: Python<'_>, response: &Py<Response>) -> PyResult<()> {
    let response = response.bind(py);
    response.setattr("code", 405)?;
    response.call_method1("header", ("Allow", ""))?;
    Response::done(response).map(drop)
}

/// Calls the service at once. It reads the body in parts.
fn pull(
    py: Python<'_>,
    service: &Service,
    exchange: ExchangeId,
    request: &Py<Request>,
    response: &Py<Response>,
) -> PyResult<()> {
    let first = service.core.engine().exchange(exchange).begin_pulling();
    let Ok(first) = first else {
        // `malformed` follows.
        response.borrow_mut(py).set_answered();
        response.borrow_mut(py).reported = true;
        return Ok(());
    };
    let first = first.unwrap_or_default();
    response.borrow_mut(py).received = first.data.len() as u64;
    request.borrow_mut(py).first_part = Some(first);
    call_service(py, &service.interface.request, request, response).map(drop)
}

/// Asks the service whether it wants the body. If so, it is called again with
/// the body.
fn collect(
    py: Python<'_>,
    service: &Service,
    exchange: ExchangeId,
    request: &Py<Request>,
    response: Py<Response>,
) -> PyResult<()> {
    let is_wanted = call_service(py, &service.interface.head, request, &response)?;
    if is_wanted && service.core.engine().exchange(exchange).collect().is_ok() {
        // An application of WSGI has a context that begins with its call.
        let context = match callers::is_native(service.interface.request.bind(py)) {
            true => None,
            false => Some(CallContext::copy(py)?.unbind()),
        };
        let mut pending = service.core.pending();
        let response = response.into_any();
        pending.entry(exchange).collecting = Some(Collecting { response, context });
    }
    Ok(())
}

/// A collected body has come, or could not be stored.
pub(super) fn body(
    py: Python<'_>,
    core: &Core,
    exchange: ExchangeId,
    body: std::io::Result<Body>,
) -> PyResult<()> {
    let Some(collected) = take_collecting(py, core, exchange) else {
        return Ok(());
    };
    let (request, response) = (collected.request, collected.response);
    let service = Arc::clone(&response.borrow(py).service);
    match body {
        Ok(body) => {
            request.borrow_mut(py).set_body(body);
            let context = match collected.context {
                Some(context) => Some(CallContext::enter_in(context.into_bound(py))?),
                None => None,
            };
            call_service(py, &service.interface.body, &request, &response)?;
            if let Some(context) = context {
                context.end();
            }
            Ok(())
        }
        Err(error) => {
            let sent = core.engine().exchange(exchange).reject(&NOT_STORED);
            response.borrow_mut(py).set_rejected(&NOT_STORED);
            response.borrow_mut(py).sent = sent;
            let peer = response.borrow(py).client.peer;
            let id = response.borrow(py).id_text(py);
            let text =
                format!("a request body could not be stored: {error}; make room or set spool_dir");
            service.client_error(py, &text, peer, id.as_deref())
        }
    }
}

/// The client sent something that is not a request, or a malformed body. `line`: the
/// request line, if it could be read.
pub(super) fn malformed(
    py: Python<'_>,
    service: Option<&Arc<Service>>,
    client: Client,
    error: &RemoteError,
    line: Option<Box<[u8]>>,
    request_id: RequestId,
) -> PyResult<()> {
    let Some(service) = service else {
        return Ok(());
    };
    // The report of a request whose body is malformed says what it was.
    let collected = take_collecting(py, &service.core, client.exchange);
    let request = collected.map(|collected| {
        let mut response = collected.response.borrow_mut(py);
        response.set_answered();
        response.reported = true;
        collected.request
    });
    let mut response = Response::new(service, client, None);
    response.given_id = request_id;
    response.request_line = line.map(|line| decode(py, &line).unbind());
    let response = Py::new(py, response)?;
    let arguments = (
        response.clone_ref(py),
        error.status,
        error.reason,
        client.peer.to_string(),
    );
    let taken = service.interface.malformed.call1(py, arguments);
    if !matches!(&taken, Ok(taken) if taken.is_truthy(py)?) {
        let mut engine = service.core.engine();
        let sent = engine.exchange(client.exchange).reject(error);
        drop(engine);
        let mut response = response.borrow_mut(py);
        response.set_rejected(error);
        response.sent = sent;
        response.request = request;
    }
    // The drop of the response reports it.
    taken.map(drop)
}

/// Forgets a body that the service waits for: it will not come, and no response
/// is owed.
pub(super) fn forget_body(py: Python<'_>, core: &Core, exchange: ExchangeId) {
    if let Some(collected) = take_collecting(py, core, exchange) {
        collected.response.borrow_mut(py).set_answered();
    }
}

/// A request whose body was collected.
struct Collected {
    request: Py<Request>,
    response: Py<Response>,
    context: Option<Py<PyAny>>,
}

fn take_collecting(py: Python<'_>, core: &Core, exchange: ExchangeId) -> Option<Collected> {
    let Collecting { response, context } = core
        .pending()
        .take(exchange, |pending| pending.collecting.take())?;
    let response = response.bind(py).cast::<Response>().ok()?.clone().unbind();
    let request = response.borrow(py).request_ref(py)?;
    Some(Collected {
        request,
        response,
        context,
    })
}

/// Calls a method of the service with a request. Returns whether it returned
/// true.
fn call_service(
    py: Python<'_>,
    method: &Py<PyAny>,
    request: &Py<Request>,
    response: &Py<Response>,
) -> PyResult<bool> {
    let called = catch_unwind(AssertUnwindSafe(|| {
        callers::call(method.bind(py), request.bind(py), response.bind(py))
    }));
    if !matches!(called, Ok(Ok(_))) {
        response.borrow_mut(py).leave_unanswered();
    }
    called.unwrap_or_else(|panic| resume_unwind(panic))
}

const NOT_STORED: RemoteError = RemoteError {
    status: 507,
    reason: "the request body could not be stored",
};
