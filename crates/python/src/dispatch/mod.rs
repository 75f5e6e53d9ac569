//! From the engine's events to the Python code that handles them.
//!
//! Owns: the services of an engine and the callbacks about its listeners.
//! `requests.rs` passes requests to a service, `progress.rs` notifies what is
//! pending for an exchange, `unanswered.rs` completes responses that were
//! dropped. Always holds: nothing is locked while Python runs.

mod progress;
mod requests;
mod unanswered;

use crate::callers;
use crate::core::{Core, Ending, locked};
use crate::pending::Notice;
use crate::service::Service;
use prefork_engine::access_log::LogNews;
use prefork_engine::scoreboard::Limit;
use prefork_engine::{Broken, Event, ListenerNews, Peer};
use pyo3::prelude::*;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

pub(crate) struct Dispatcher {
    core: Arc<Core>,
    /// In the order of their listeners.
    services: Mutex<Arc<Vec<Arc<Service>>>>,
    /// One of them is called with each request itself. WSGI and ASGI applications
    /// are called in contexts of their own.
    calls_handlers: AtomicBool,
    /// Called once, when this process has got its maximum number of requests.
    request_limit_reached: Mutex<Option<Py<PyAny>>>,
    /// Called when a descriptor of the engine is unusable.
    broken: Mutex<Option<Py<PyAny>>>,
    /// Called when the last connection of a draining listener is closed.
    drained: Mutex<HashMap<u32, Py<PyAny>>>,
}

impl Dispatcher {
    pub(crate) fn new(core: &Arc<Core>) -> Self {
        Dispatcher {
            core: Arc::clone(core),
            services: Mutex::default(),
            calls_handlers: AtomicBool::new(false),
            request_limit_reached: Mutex::default(),
            broken: Mutex::default(),
            drained: Mutex::default(),
        }
    }

    /// The service of the next listener.
    pub(crate) fn add_service(&self, py: Python<'_>, service: Arc<Service>) {
        if !callers::is_native(service.interface.request.bind(py)) {
            self.calls_handlers.store(true, Ordering::Relaxed);
        }
        Arc::make_mut(&mut locked(&self.services)).push(service);
    }

    /// Whether an event may call a handler directly: each call has a context then.
    #[inline]
    pub(crate) fn calls_handlers(&self) -> bool {
        self.calls_handlers.load(Ordering::Relaxed)
    }

    /// The services at this moment: a turn uses those that it began with.
    pub(crate) fn services(&self) -> Arc<Vec<Arc<Service>>> {
        Arc::clone(&locked(&self.services))
    }

    pub(crate) fn when_request_limit_reached(&self, callback: Py<PyAny>) {
        let former = locked(&self.request_limit_reached).replace(callback);
        drop(former); // after the lock is released: freeing it may run Python
    }

    pub(crate) fn when_broken(&self, callback: Py<PyAny>) {
        let former = locked(&self.broken).replace(callback);
        drop(former);
    }

    fn report_broken(&self, py: Python<'_>, broken: &Broken) -> PyResult<()> {
        let callback = locked(&self.broken)
            .as_ref()
            .map(|callback| callback.clone_ref(py));
        let text = format!("{}: {}", broken.what, broken.error);
        match callback {
            Some(callback) => callback.call1(py, (text, broken.turns)).map(drop),
            None => Ok(()),
        }
    }

    pub(crate) fn when_drained(&self, listener: u32, callback: Py<PyAny>) {
        let former = locked(&self.drained).insert(listener, callback);
        drop(former);
    }

    /// Drops the services and all callbacks.
    pub(crate) fn clear(&self) {
        // Freeing these may run Python, so no lock may be held.
        let pending = std::mem::take(&mut *self.core.pending());
        drop(pending);
        let services = std::mem::take(&mut *locked(&self.services));
        drop(services);
        let drained = std::mem::take(&mut *locked(&self.drained));
        drop(drained);
        let broken = locked(&self.broken).take();
        drop(broken);
    }

    /// In a forked child: as `clear`, but frees nothing. What is pending belongs to the parent; freeing
    /// a coroutine would run its `finally` blocks once more.
    pub(crate) fn discard(&self) {
        std::mem::forget(std::mem::take(&mut *self.core.pending()));
        std::mem::forget(std::mem::take(&mut *locked(&self.services)));
        std::mem::forget(std::mem::take(&mut *locked(&self.drained)));
    }

    /// Takes an event and passes it to Python. `services` are those of this turn.
    pub(crate) fn dispatch(
        &self,
        py: Python<'_>,
        services: &[Arc<Service>],
        event: &mut Option<Event>,
    ) -> PyResult<()> {
        let core = &self.core;
        let service = |listener: u32| services.get(listener as usize);
        let Some(event) = event.take() else {
            return Ok(());
        };
        match event {
            Event::Request {
                client,
                bytes,
                head,
            } => requests::request(py, service(client.listener), client, bytes, head),
            Event::Malformed {
                client,
                error,
                line,
                request_id,
            } => {
                let service = service(client.listener);
                requests::malformed(py, service, client, &error, line, request_id)
            }
            Event::Disk(mut task) => {
                py.detach(|| task.run());
                core.engine().disk_done(task);
                Ok(())
            }
            Event::Body { exchange, body } => requests::body(py, core, exchange, body),
            Event::BodyPart { exchange, part } => {
                progress::notify(py, core, exchange, Notice::BodyPart(part))
            }
            Event::Message {
                exchange,
                message,
                held,
            } => progress::notify(py, core, exchange, Notice::Message(message, held)),
            Event::Drained { exchange } => progress::drained(py, core, exchange),
            Event::BodyFailed {
                client,
                error,
                request_id,
            } => {
                let service = service(client.listener);
                progress::body_failed(py, core, service, client, &error, request_id)
            }
            Event::Overdue(overdue) => {
                progress::overdue(py, core, service(overdue.client.listener), overdue)
            }
            Event::Lost(lost) => progress::lost(py, service(lost.client.listener), &lost),
            Event::Ended(ended) => progress::ended(py, core, service(ended.client.listener), ended),
            Event::HalfClosed { exchange } => {
                progress::notify(py, core, exchange, Notice::HalfClosed)
            }
            Event::Draining { exchange } => progress::notify(py, core, exchange, Notice::Draining),
            Event::Gone { exchange, unsent } => {
                if let Some(unsent) = unsent {
                    core.note_ending(exchange, Ending::Left { unsent });
                }
                progress::gone(py, core, exchange)
            }
            Event::Closed(closed) => progress::closed(py, core, service(closed.listener), closed),
            Event::Listener { listener, news } => {
                self.listener_changed(py, service(listener), listener, news)
            }
            Event::Broken(broken) => self.report_broken(py, &broken),
            Event::RequestLimitReached => {
                let callback = locked(&self.request_limit_reached).take();
                progress::call(py, callback)
            }
        }
    }

    fn listener_changed(
        &self,
        py: Python<'_>,
        service: Option<&Arc<Service>>,
        listener: u32,
        news: ListenerNews,
    ) -> PyResult<()> {
        let warning = match news {
            ListenerNews::AcceptPaused(error) => format!("{ACCEPT_PAUSED}: {error}; {MORE_FILES}"),
            ListenerNews::IdleClosed(error) => format!("{IDLE_CLOSED}: {error}; {MORE_FILES}"),
            ListenerNews::Limited { limit, peer } => limited(limit, peer),
            ListenerNews::AcceptResumed => ACCEPT_RESUMED.to_owned(),
            ListenerNews::AccessLog(news) => log_news(news),
            ListenerNews::Drained => {
                let callback = locked(&self.drained).remove(&listener);
                return progress::call(py, callback);
            }
        };
        match service {
            Some(service) => service.server_warning(py, &warning),
            None => Ok(()),
        }
    }

    /// Sends a 500 for each response that was dropped unanswered. Returns
    /// whether there was any.
    pub(crate) fn respond_to_unanswered(&self, py: Python<'_>) -> bool {
        let dropped = self.core.take_unanswered();
        if dropped.is_empty() {
            return false;
        }
        let services = self.services();
        for dropped in dropped {
            if let Err(error) = unanswered::respond(py, &self.core, &services, dropped) {
                error.write_unraisable(py, None);
            }
        }
        true
    }
}

/// The line about the access log.
fn log_news(news: LogNews) -> String {
    match news {
        LogNews::Fails { error, goes_on } => {
            let error = std::io::Error::from(error);
            let meanwhile = match goes_on {
                true => "its lines go to the former file until it can",
                false => "its lines are lost until it can",
            };
            format!("the access log cannot be written: {error}; {meanwhile}")
        }
        LogNews::Works { lost: 0 } => "the access log is written again".to_owned(),
        LogNews::Works { lost } => {
            format!("the access log is written again; {lost} of its lines were lost")
        }
    }
}

/// The line about a limit that was applied. It comes once a minute at most.
fn limited(limit: Limit, peer: Option<Peer>) -> String {
    let peer = peer.map_or_else(|| "a client".to_owned(), |peer| peer.to_string());
    match limit {
        Limit::Address => format!(
            "{peer} was refused with 503: it has --max-connections-per-address connections open; raise \
             that if it is a proxy or has many users behind it"
        ),
        Limit::Queue => format!(
            "{peer} was refused with 503: --max-queue requests wait and every worker is busy; the \
             application is too slow for this load, or the pool too small (--max-clients)"
        ),
        _ => "a worker has --max-connections connections open: idle ones are closed for new clients, and \
              if none idles it accepts no client"
            .to_owned(),
    }
}

const ACCEPT_PAUSED: &str = "no clients are accepted for now";
const IDLE_CLOSED: &str = "idle connections are closed to accept new clients";
const MORE_FILES: &str =
    "raise the limit of open files (ulimit -n) or lower the number of connections";
const ACCEPT_RESUMED: &str = "clients are accepted again";
