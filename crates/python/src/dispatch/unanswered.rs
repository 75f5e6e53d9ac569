//! Responses that were dropped unanswered: the client gets a 500, or its
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
    if !reject(core, &dropped) {
        return Ok(());
    }
    drop(core.forget_request(client.exchange));
    let Some(service) = services.get(client.listener as usize) else {
        return Ok(());
    };
    let interface = &service.interface;
    let handler = dropped
        .handler
        .as_ref()
        .map(|handler| handler.clone_ref(py));
    let arguments = (handler, client.peer.to_string());
    interface.unanswered.call1(py, arguments)?;
    if let (Some(request_ended), false) = (&interface.request_ended, dropped.streaming) {
        let request = match dropped.request {
            Some(request) => Some(request.into_bound(py).cast_into::<Request>()?.unbind()),
            None => None,
        };
        let mut response = Response::new(service, client, request);
        response.set_answered();
        response.sent = true;
        response.code = UNANSWERED.status;
        response.handler = dropped.handler;
        let request = response.request_ref(py);
        request_ended.call1(py, (request, response))?;
    }
    Ok(())
}

/// Sends the 500 or closes the connection. False: no response is owed.
fn reject(core: &Core, dropped: &Unanswered) -> bool {
    let exchange = dropped.client.exchange;
    let mut engine = core.engine();
    if engine.exchange(exchange).peer().is_none() {
        return false;
    }
    if dropped.streaming {
        engine.exchange(exchange).abort(None);
        return true;
    }
    engine.exchange(exchange).reject(&UNANSWERED)
}

const UNANSWERED: RemoteError = RemoteError {
    status: 500,
    reason: "the application did not respond",
};
