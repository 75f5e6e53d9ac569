//! Sends a response: whole, or part by part.

use super::{Response, State, WHOLE_BODY};
use crate::errors::{AlreadyAnswered, ConnectionGone, InvalidResponse};
use crate::events::content::ResponseContent;
use crate::events::sending::ResponseHead;
use prefork_engine::LocalError;
use prefork_wire::Status;
use pyo3::prelude::*;
use std::sync::Arc;
use std::time::Instant;

impl Response {
    /// Sends what was written. Blocks, without the GIL, until no more than `most`
    /// bytes are unsent, and returns how many are.
    pub(crate) fn flush_to(slf: &Bound<'_, Self>, most: usize) -> PyResult<usize> {
        let (core, exchange) = {
            let response = slf.borrow();
            (Arc::clone(response.core()), response.client.exchange)
        };
        let gone = |error| slf.borrow_mut().not_sent(error);
        let mut before = usize::MAX;
        loop {
            let (unsent, file) = {
                let mut engine = core.engine();
                let mut exchange = engine.exchange(exchange);
                let unsent = exchange.send_now().map_err(gone)?;
                // A file whose last part was not sent waits for the client, as the rest does.
                let moves = unsent > 0 && unsent < before;
                (unsent, moves.then(|| exchange.lend_file()).flatten())
            };
            before = unsent;
            if let Some(mut file) = file {
                slf.py().detach(|| file.run());
                core.engine().disk_done(file);
                continue;
            }
            if unsent <= most {
                return Ok(unsent);
            }
            before = usize::MAX;
            let send = core.engine().exchange(exchange).blocking_send();
            let send = send.map_err(gone)?;
            if let Err(why) = slf.py().detach(|| send.wait()) {
                core.engine().exchange(exchange).abort(Some(why));
            }
        }
    }
}

// ---- sending -------------------------------------------------------------------

impl Response {
    /// As `write()`, for a response that is no stream or whose end the caller
    /// knows.
    pub(crate) fn write(slf: &Bound<'_, Self>, data: Option<Py<PyAny>>) -> PyResult<()> {
        let surplus = slf.borrow_mut().write_part(slf.py(), data)?;
        Self::report_length(slf, surplus)
    }

    /// Completes a response that has no body, after its head. Returns whether
    /// it is one.
    pub(crate) fn end_with_head(slf: &Bound<'_, Self>) -> PyResult<bool> {
        let is_bodiless = {
            let response = slf.borrow();
            let mut engine = response.core().engine();
            response.state == State::Streaming
                && engine.exchange(response.client.exchange).is_bodiless()
        };
        if is_bodiless {
            Self::done(slf)?;
            let since = Instant::now();
            slf.borrow_mut().state = State::HeadOnly { since };
        }
        Ok(is_bodiless)
    }

    /// Drops a part of a body that is not sent. Raises ConnectionGone if it
    /// comes too late to be a part of a whole body.
    pub(crate) fn drop_part(&mut self) -> PyResult<()> {
        match self.state {
            State::HeadOnly { since } if since.elapsed() <= WHOLE_BODY => Ok(()),
            _ => {
                self.state = State::Answered;
                let text = "the response has no body: it is complete with its head";
                Err(ConnectionGone::new_err(text))
            }
        }
    }

    /// Whether nothing is owed.
    pub(super) fn is_over(&self) -> bool {
        matches!(self.state, State::HeadOnly { .. } | State::Answered)
    }

    /// Sends head and content. Returns by how much the content differs from its
    /// Content-Length.
    pub(super) fn respond(&mut self, py: Python<'_>) -> PyResult<i64> {
        let content = self.content.as_ref().map(|content| content.clone_ref(py));
        let content = ResponseContent::new(py, content.as_ref())?;
        let result = self.with_head(py, |head| head.respond(&content));
        let difference = result.map_err(|error| self.not_sent(error))?;
        self.state = State::Answered;
        self.sent_bytes = Some(content.len() as u64 - difference.max(0) as u64);
        Ok(difference)
    }

    /// Sends a part of the body, and the head before the first one. Returns how
    /// many bytes exceed the Content-Length.
    pub(super) fn write_part(&mut self, py: Python<'_>, data: Option<Py<PyAny>>) -> PyResult<i64> {
        let data = data.or_else(|| Some(self.content.as_ref()?.clone_ref(py)));
        let part = ResponseContent::new(py, data.as_ref())?;
        if self.state == State::Waiting {
            let result = self.with_head(py, |head| head.start(&part));
            result.map_err(|error| self.not_sent(error))?;
            self.state = State::Streaming;
            self.sent_bytes = Some(0);
        }
        if self.is_over() {
            return Err(match self.has_client() {
                true => self.already_answered(),
                false => self.not_sent(LocalError::Closed),
            });
        }
        let result = self
            .core()
            .engine()
            .exchange(self.client.exchange)
            .write(part.content());
        let surplus = result.map_err(|error| self.not_sent(error))?;
        *self.sent_bytes.get_or_insert(0) += (part.len() - surplus) as u64;
        Ok(surplus as i64)
    }

    /// Ends a stream. Returns the number of missing bytes of its
    /// Content-Length, as a negative number.
    pub(super) fn finish(&mut self) -> PyResult<i64> {
        self.state = State::Answered;
        let result = self.core().engine().exchange(self.client.exchange).finish();
        let missing = result.map_err(|error| self.not_sent(error))?;
        Ok(-(missing as i64))
    }

    /// Sends what is queued. False: that fails, so the client is not there any
    /// more. `began`: its head was written before.
    pub(super) fn leaves(&mut self, began: bool) -> bool {
        let (queued, sent, ended_ns) = {
            let mut engine = self.core().engine();
            let mut exchange = engine.exchange(self.client.exchange);
            let (queued, sent) = (exchange.unsent(), exchange.send_now());
            (queued, sent, engine.now_ns())
        };
        self.ended_ns = Some(ended_ns);
        if sent.is_err() {
            match self.sent_bytes {
                // Its head is queued too.
                Some(bytes) if !began && queued as u64 > bytes => self.sent_bytes = None,
                _ => self.take_off(queued),
            }
        }
        sent.is_ok()
    }

    pub(super) fn with_head<R>(
        &self,
        py: Python<'_>,
        send: impl FnOnce(ResponseHead<'_>) -> R,
    ) -> R {
        self.headers.read(py, |fields| {
            send(ResponseHead {
                service: &self.service,
                exchange: self.client.exchange,
                status: Status {
                    code: self.code,
                    reason: self.reason.as_deref(),
                },
                fields,
            })
        })
    }

    /// The exception for an error of the engine.
    pub(crate) fn not_sent(&mut self, error: LocalError) -> PyErr {
        match error {
            // Nothing was sent: a response is still owed.
            LocalError::Invalid(invalid) => InvalidResponse::new_err(invalid.to_string()),
            LocalError::Closed | LocalError::OutOfTurn => {
                self.state = State::Answered;
                ConnectionGone::new_err("the client left before its response was sent")
            }
        }
    }

    /// Whether its connection is still open.
    pub(super) fn has_client(&self) -> bool {
        let id = self.client.exchange.connection;
        self.core().engine().connection(id).is_open()
    }

    pub(crate) fn already_answered(&self) -> PyErr {
        let handler = match &self.handler {
            Some(handler) => format!(" (handler {handler})"),
            None => String::new(),
        };
        AlreadyAnswered::new_err(format!(
            "the response was already sent{handler}; a request has one response"
        ))
    }

    /// Reports a body that does not match its Content-Length to the error
    /// handler: it is an error of the application.
    pub(super) fn report_length(slf: &Bound<'_, Self>, difference: i64) -> PyResult<()> {
        let text = match difference {
            0 => return Ok(()),
            1.. => format!("the body is {difference} bytes longer than its Content-Length: cut"),
            _ => format!(
                "the body is {} bytes shorter than its Content-Length: the connection is closed",
                -difference
            ),
        };
        let (service, peer, handler, request, id) = {
            let response = slf.borrow();
            let handler = response.handler.as_ref();
            (
                Arc::clone(&response.service),
                response.client.peer,
                handler.map(|handler| handler.clone_ref(slf.py())),
                response.request_ref(slf.py()),
                response.id_text(slf.py()),
            )
        };
        let source = match (handler, request) {
            (Some(handler), _) => format!("{handler}: "),
            (None, Some(request)) => format!("{}: ", request.borrow(slf.py()).view.line()),
            (None, None) => String::new(),
        };
        service.client_error(slf.py(), &(source + &text), peer, id.as_deref())
    }
}
