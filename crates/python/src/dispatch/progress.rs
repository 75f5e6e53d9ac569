//! Events of an exchange after its request was passed to the service: notifies
//! what is pending for it.

use crate::core::{Core, Ending};
use crate::dispatch::requests::forget_body;
use crate::pending::Notice;
use crate::service::Service;
use prefork_engine::{Client, Closed, Ended, ExchangeId, Lost, OVERDUE, Overdue, Peer, RequestId};
use prefork_wire::{RemoteError, error_body};
use pyo3::prelude::*;
use std::sync::Arc;

/// Notifies the observer of an exchange, if it has one.
pub(super) fn notify(
    py: Python<'_>,
    core: &Core,
    exchange: ExchangeId,
    notice: Notice,
) -> PyResult<()> {
    let observer = core.pending().observer(py, exchange);
    match observer {
        Some(observer) => observer.notify(py, notice),
        None => Ok(()),
    }
}

/// All queued output is sent.
pub(super) fn drained(py: Python<'_>, core: &Core, exchange: ExchangeId) -> PyResult<()> {
    notify(py, core, exchange, Notice::Drained)?;
    let callback = core
        .pending()
        .take(exchange, |pending| pending.drained.take());
    match callback {
        Some(callback) => callback.call1(py, (true,)).map(drop),
        None => Ok(()),
    }
}

/// The request body failed while it was pulled: no more comes.
pub(super) fn body_failed(
    py: Python<'_>,
    core: &Core,
    service: Option<&Arc<Service>>,
    client: Client,
    error: &RemoteError,
    request_id: RequestId,
) -> PyResult<()> {
    drop(core.forget_request(client.exchange));
    note_response(core, client.exchange, error);
    last_notice(py, core, client.exchange, Notice::Gone)?;
    report(
        py,
        service,
        client.peer,
        Some(&error.to_string()),
        request_id,
    )
}

/// The client has got a 504: no response is owed.
pub(super) fn overdue(
    py: Python<'_>,
    core: &Core,
    service: Option<&Arc<Service>>,
    overdue: Overdue,
) -> PyResult<()> {
    let Client { exchange, peer, .. } = overdue.client;
    note_response(core, exchange, &OVERDUE);
    let callback = core
        .pending()
        .take(exchange, |pending| pending.overdue.take());
    last_notice(py, core, exchange, Notice::Gone)?;
    call(py, callback)?;
    let Some(service) = service else {
        return Ok(());
    };
    let after_s = overdue.after_ms as f64 / 1000.0;
    let id = overdue.request_id.as_deref();
    let arguments = (overdue.request, after_s, peer.to_string(), id);
    service.interface.timed_out.call1(py, arguments).map(drop)
}

/// The response of another worker to a request has not come, or not to its end.
pub(super) fn lost(py: Python<'_>, service: Option<&Arc<Service>>, lost: &Lost) -> PyResult<()> {
    let text = format!("{}: no whole response: {}", lost.request, lost.reason);
    report(py, service, lost.client.peer, Some(&text), None)
}

/// A WebSocket has ended.
pub(super) fn ended(
    py: Python<'_>,
    core: &Core,
    service: Option<&Arc<Service>>,
    ended: Ended,
) -> PyResult<()> {
    let (exchange, peer, code) = (ended.client.exchange, ended.client.peer, ended.code);
    let reason = ended.reason;
    last_notice(py, core, exchange, Notice::Ended { code, reason })?;
    let text = ended
        .fault
        .map(|fault| format!("WebSocket closed with {code}: {fault}"));
    report(py, service, peer, text.as_deref(), ended.request_id)
}

/// The client left before its response was complete. Nothing is pending
/// afterwards.
pub(super) fn gone(py: Python<'_>, core: &Core, exchange: ExchangeId) -> PyResult<()> {
    forget_body(py, core, exchange);
    let pending = core.pending().remove(exchange).unwrap_or_default();
    if let Some(observer) = pending.observer {
        observer.notify(py, Notice::Gone)?;
    }
    if let Some(callback) = pending.drained {
        callback.call1(py, (false,))?;
    }
    call(py, pending.gone)
}

/// The connection is closed.
pub(super) fn closed(
    py: Python<'_>,
    core: &Core,
    service: Option<&Arc<Service>>,
    closed: Closed,
) -> PyResult<()> {
    let callbacks = core.pending().remove_closed(closed.connection);
    for callback in callbacks {
        call(py, Some(callback))?;
    }
    report(
        py,
        service,
        closed.peer,
        closed.interrupted,
        closed.request_id,
    )
}

/// The engine has responded with an error, if no head was sent before.
fn note_response(core: &Core, exchange: ExchangeId, error: &RemoteError) {
    let ending = Ending::Responded {
        status: error.status,
        bytes: error_body(error).len() as u64,
    };
    core.note_ending(exchange, ending);
}

/// Reports an error of a client, if there is one.
fn report(
    py: Python<'_>,
    service: Option<&Arc<Service>>,
    client: Peer,
    text: Option<&str>,
    request_id: RequestId,
) -> PyResult<()> {
    match (service, text) {
        (Some(service), Some(text)) => {
            service.client_error(py, text, client, request_id.as_deref())
        }
        _ => Ok(()),
    }
}

/// Notifies the observer of an exchange for the last time.
fn last_notice(py: Python<'_>, core: &Core, exchange: ExchangeId, notice: Notice) -> PyResult<()> {
    let observer = core
        .pending()
        .take(exchange, |pending| pending.observer.take());
    match observer {
        Some(observer) => observer.notify(py, notice),
        None => Ok(()),
    }
}

/// Calls a callback, if there is one.
pub(super) fn call(py: Python<'_>, callback: Option<Py<PyAny>>) -> PyResult<()> {
    match callback {
        Some(callback) => callback.call0(py).map(drop),
        None => Ok(()),
    }
}
