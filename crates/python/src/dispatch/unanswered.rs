//! Responses that were dropped: the client of one that is owed gets a 500, or its
//! connection is closed in the middle of a body, and the service is called.

use crate::core::{Core, Unanswered};
use crate::events::request::Request;
use crate::events::response::Response;
use crate::service::Service;
use prefork_wire::RemoteError;
use pyo3::prelude::*;
use std::sync::Arc;

pub(super) fn respond(
    py: Python<'_>,
    core: &Core,
    services: &[Arc<Service>],
    dropped: Unanswered,
) -> PyResult<()> {
    let client = dropped.client;
    let Some(service) = services.get(client.listener as usize) else {
        return Ok(());
    };
    let request = match dropped.request {
        Some(request) => Some(request.into_bound(py).cast_into::<Request>()?.unbind()),
        None => None,
    };
    let mut response = Response::new(service, client, request);
    response.set_answered();
    response.reported = true;
    response.code = dropped.code;
    response.sent_bytes = dropped.sent_bytes;
    response.received = dropped.received;
    response.sent = dropped.sent;
    response.request_line = dropped.request_line;
    response.given_id = dropped.given_id;
    response.handler = dropped.handler;
    response.context = dropped.context;
    if dropped.owed && reject(core, &mut response) {
        drop(core.forget_request(client.exchange));
        let handler = response.handler.as_ref();
        let handler = handler.map(|handler| handler.clone_ref(py));
        let id = response.id_text(py);
        let arguments = (handler, client.peer.to_string(), id);
        service.interface.unanswered.call1(py, arguments)?;
    } else {
        response.settle();
    }
    match dropped.reports {
        true => report(py, response),
        false => Ok(()),
    }
}

/// Logs a response that has ended otherwise than by `done()`, and calls the hook of the service.
fn report(py: Python<'_>, response: Response) -> PyResult<()> {
    response.log(py);
    let service = Arc::clone(&response.service);
    match &service.interface.request_ended {
        Some(request_ended) => {
            let request = response.request_ref(py);
            request_ended.call1(py, (request, response)).map(drop)
        }
        None => Ok(()),
    }
}

/// Sends the 500 or closes the connection. False: no response is owed.
fn reject(core: &Core, response: &mut Response) -> bool {
    let exchange = response.client.exchange;
    let mut engine = core.engine();
    if engine.exchange(exchange).peer().is_none() {
        return false;
    }
    if response.sent_bytes.is_some() {
        let unsent = engine.exchange(exchange).send_now().unwrap_or(0);
        response.take_off(unsent);
        engine.exchange(exchange).abort(None);
        return true;
    }
    let rejected = engine.exchange(exchange).reject(&UNANSWERED);
    if rejected {
        // Now: what follows is a line in the log, whose handler may be slow.
        let _ = engine.exchange(exchange).send_now();
        response.set_rejected(&UNANSWERED);
        response.sent = true;
    }
    rejected
}

const UNANSWERED: RemoteError = RemoteError {
    status: 500,
    reason: "the application did not respond",
};
