//! The line of a response in the access log.
//!
//! Always holds: no Python runs while the engine is locked, so variables of an environ are read before.

use super::Response;
use crate::events::headers::Headers;
use crate::request_view::RequestView;
use crate::text::latin1;
use prefork_engine::Peer;
use prefork_engine::access_log::{Asked, Entry, Fields, Format};
use prefork_wire::proxy::trace_id;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};
use std::borrow::Cow;

impl Response {
    /// Whether its end is told or logged.
    #[inline]
    pub(crate) fn has_listener(&self) -> bool {
        self.service.interface.request_ended.is_some()
            || self.service.interface.access_log.is_some()
    }

    /// It has ended: logs it, and calls the hook of the service.
    pub(crate) fn report_end(slf: &Bound<'_, Self>) -> PyResult<()> {
        let py = slf.py();
        let hook = {
            let response = slf.borrow();
            response.log(py);
            let hook = response.service.interface.request_ended.as_ref();
            hook.map(|hook| (hook.clone_ref(py), response.request_ref(py)))
        };
        match hook {
            Some((hook, request)) => hook.call1(py, (request, slf)).map(drop),
            None => Ok(()),
        }
    }

    /// Writes its line in the access log, if there is one.
    pub(crate) fn log(&self, py: Python<'_>) {
        let Some(log) = &self.service.interface.access_log else {
            return;
        };
        let request = self.request.as_ref().map(|request| request.borrow(py));
        let view = request.as_ref().map(|request| &request.view);
        if view.is_some_and(|view| log.skips(view.raw_path())) {
            return;
        }
        let variables = self.variables(py, &log.format);
        let line = self.request_line.as_ref();
        let line = line.and_then(|line| line.bind(py).to_str().ok().map(latin1));
        let body = request.as_ref().map_or(0, |request| request.body_len());
        self.headers.read(py, |headers| {
            let mut engine = self.core().engine();
            let entry = Entry {
                client: self.client.peer,
                asked: match view {
                    Some(view) => asked(view),
                    None => Asked::Unread(line.as_deref()),
                },
                scheme: self.client.scheme,
                tls: self.client.tls,
                status: self.code,
                received: body + self.received,
                sent: self.body_bytes(py),
                ready_ns: self.client.ready_ns,
                given_ns: self.client.given_ns,
                ended_ns: self.ended_ns.unwrap_or_else(|| engine.tick()),
                request_id: match &request {
                    Some(request) => request.request_id(),
                    None => self.given_id.as_deref().map(str::as_bytes),
                },
                fields: &Known {
                    view,
                    peer: self.client.peer,
                    headers,
                    variables: &variables,
                },
            };
            engine.log(&entry);
        });
    }

    /// Keeps the environ of its call, if the line shows variables of it.
    pub(crate) fn keep_environ(&mut self, environ: &Bound<'_, PyDict>) {
        let log = self.service.interface.access_log.as_ref();
        if log.is_some_and(|log| !log.format.variables().is_empty()) {
            self.environ = Some(environ.clone().unbind());
        }
    }

    /// The variables of the environ that the format has, and their values there.
    fn variables(&self, py: Python<'_>, format: &Format) -> Vec<(Vec<u8>, Vec<u8>)> {
        let Some(environ) = &self.environ else {
            return Vec::new();
        };
        let mut found = Vec::new();
        for (name, value) in environ.bind(py).iter() {
            let Ok(name) = name.cast::<PyString>().map(|name| name.to_string_lossy()) else {
                continue;
            };
            let name = name.to_ascii_lowercase().into_bytes();
            if format.variables().iter().any(|known| **known == name) {
                // An object may raise when it is shown: it has no value then.
                if let Ok(value) = value.str() {
                    found.push((name, value.to_string_lossy().into_owned().into_bytes()));
                }
            }
        }
        found
    }
}

fn asked(view: &RequestView) -> Asked<'_> {
    Asked::Request {
        method: view.method_bytes(),
        target: view.target(),
        path: view.raw_path(),
        query: view.query(),
        protocol: view.version().name(),
    }
}

/// What a response knows of itself and its request.
struct Known<'a> {
    view: Option<&'a RequestView>,
    peer: Peer,
    headers: &'a Headers,
    variables: &'a [(Vec<u8>, Vec<u8>)],
}

impl Fields for Known<'_> {
    fn of_request(&self, name: &[u8]) -> Option<&[u8]> {
        let mut fields = self.view?.fields();
        let found = fields.find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value)
    }

    fn trace_id(&self) -> Option<&[u8]> {
        trace_id(self.view?.values(b"traceparent"))
    }

    fn of_response(&self, name: &[u8]) -> Option<&[u8]> {
        let mut fields = self.headers.fields();
        let found = fields.find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value)
    }

    /// Of an application without an environ: the variables of CGI (RFC 3875) that follow from the request.
    fn variable(&self, name: &[u8]) -> Option<Cow<'_, [u8]>> {
        if let Some((_, value)) = self.variables.iter().find(|(known, _)| known == name) {
            return Some(Cow::Borrowed(value));
        }
        let view = self.view?;
        match name {
            b"request_method" => Some(view.method_bytes().into()),
            b"raw_uri" => Some(view.target().into()),
            b"path_info" => Some(view.path()),
            b"query_string" => Some(view.query().unwrap_or_default().into()),
            b"server_protocol" => Some(view.version().name().as_bytes().into()),
            b"remote_addr" => Some(self.peer.ip()?.to_string().into_bytes().into()),
            b"remote_port" => Some(self.peer.port().to_string().into_bytes().into()),
            b"wsgi.url_scheme" => Some(view.scheme().as_bytes().into()),
            name => {
                let field = match name.strip_prefix(b"http_") {
                    Some(field) => field,
                    None if matches!(name, b"content_type" | b"content_length") => name,
                    None => return None,
                };
                let is_it = |known: &[u8]| {
                    known.len() == field.len()
                        && known.iter().zip(field).all(|(known, byte)| match known {
                            b'-' => *byte == b'_',
                            known => known.to_ascii_lowercase() == *byte,
                        })
                };
                let (_, value) = view.fields().find(|(known, _)| is_it(known))?;
                Some(value.into())
            }
        }
    }
}
