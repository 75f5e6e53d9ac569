//! `Response`'s part that sends: from what a handler filled in to the engine.

use crate::core::Unanswered;
use crate::errors::{AlreadyAnswered, ConnectionGone, InvalidResponse};
use crate::events::content::ResponseContent;
use crate::events::headers::Headers;
use crate::events::response::{Response, State};
use prefork_engine::{Content, LocalError};
use prefork_wire::Length;
use pyo3::prelude::*;
use std::sync::Arc;

impl Response {
    pub(crate) fn refused(&mut self, refusal: LocalError) -> PyErr {
        match refusal {
            // Nothing was sent: it still waits for an answer that can be.
            LocalError::Invalid(invalid) => InvalidResponse::new_err(invalid.to_string()),
            LocalError::Closed | LocalError::OutOfTurn => {
                self.state = State::Answered;
                ConnectionGone::new_err("the client left before its answer was sent")
            }
        }
    }

    pub(crate) fn already(&self) -> PyErr {
        let handler = match &self.handler {
            Some(handler) => format!(" (handler {handler})"),
            None => String::new(),
        };
        AlreadyAnswered::new_err(format!(
            "this response was answered before{handler}; a request has one answer"
        ))
    }

    /// Sends the head, and with it `content` whole if there is one.
    fn send(
        &self,
        py: Python<'_>,
        content: Option<Content<'_>>,
        kind: &[u8],
    ) -> Result<i64, LocalError> {
        self.headers
            .read(py, |own| self.send_with(own, content, kind))
    }

    fn send_with(
        &self,
        own: &Headers,
        content: Option<Content<'_>>,
        kind: &[u8],
    ) -> Result<i64, LocalError> {
        let has = |name: &[u8]| {
            own.fields()
                .any(|(known, _)| known.eq_ignore_ascii_case(name))
        };
        let defaults = self.service.settings.headers.iter();
        let defaults = defaults
            .filter(|(name, _)| !has(name))
            .map(|(name, value)| (name.as_slice(), value.as_slice()));
        let typed = !self.service.adds_content_type
            || matches!(self.code, 204 | 205 | 304)
            || has(b"content-type")
            || defaults
                .clone()
                .any(|(name, _)| name.eq_ignore_ascii_case(b"content-type"));
        let kind = (!typed).then_some((b"Content-Type".as_slice(), kind));
        let fields = kind.into_iter().chain(own.fields()).chain(defaults);
        let mut engine = self.core().engine();
        match content {
            Some(content) => engine.respond(self.exchange, self.code, fields, content),
            None => engine
                .start(self.exchange, self.code, fields, Length::Unknown)
                .map(|()| 0),
        }
    }

    /// A body that does not match its Content-Length is the application's
    /// fault, and the log's business: the client sees a truncated one.
    pub(crate) fn report_length(slf: &Bound<'_, Self>, difference: i64) -> PyResult<()> {
        let text = match difference {
            0 => return Ok(()),
            1.. => format!("the body is {difference} bytes longer than its Content-Length: cut"),
            _ => format!(
                "the body is {} bytes shorter than its Content-Length: the connection is closed",
                -difference
            ),
        };
        let (service, peer, handler, request) = {
            let response = slf.borrow();
            let handler = response.handler.as_ref();
            (
                Arc::clone(&response.service),
                response.peer.to_string(),
                handler.map(|handler| handler.clone_ref(slf.py())),
                response.request_ref(slf.py()),
            )
        };
        // The response is not borrowed: whoever is told may look at it.
        let whose = match (handler, request) {
            (Some(handler), _) => format!("{handler}: "),
            (None, Some(request)) => format!("{}: ", request.borrow(slf.py()).line()),
            (None, None) => String::new(),
        };
        let text = whose + &text;
        service.client_error.call1(slf.py(), (text, peer)).map(drop)
    }

    /// Sends head and content; returns by how much the content differs from
    /// its Content-Length.
    pub(crate) fn answer(&mut self, py: Python<'_>) -> PyResult<i64> {
        let content = self.content.as_ref().map(|content| content.clone_ref(py));
        let body = ResponseContent::new(py, content.as_ref())?;
        let result = self.send(py, Some(body.content()), body.content_type());
        let difference = result.map_err(|refusal| self.refused(refusal))?;
        self.state = State::Answered;
        Ok(difference)
    }

    /// Ends a stream; returns what it lacks of its Content-Length, negative.
    pub(crate) fn finish(&mut self) -> PyResult<i64> {
        self.state = State::Answered;
        let result = self.core().engine().finish(self.exchange);
        let missing = result.map_err(|refusal| self.refused(refusal))?;
        Ok(-(missing as i64))
    }

    /// Sends a piece, and the head before the first one; returns how many of
    /// its bytes its Content-Length has no room for.
    pub(crate) fn send_piece(&mut self, py: Python<'_>, data: Option<Py<PyAny>>) -> PyResult<i64> {
        let data = match data {
            Some(data) => Some(data),
            None => self.content.as_ref().map(|content| content.clone_ref(py)),
        };
        let piece = ResponseContent::new(py, data.as_ref())?;
        if self.state == State::Waiting {
            let result = self.send(py, None, piece.content_type());
            result.map_err(|refusal| self.refused(refusal))?;
            self.state = State::Streaming;
        }
        if self.state == State::Answered {
            return Err(self.already());
        }
        let result = self.core().engine().write(self.exchange, piece.content());
        let surplus = result.map_err(|refusal| self.refused(refusal))?;
        Ok(surplus as i64)
    }

    /// Nobody answers for it any more: the engine's turn will.
    pub(crate) fn discard(&mut self) {
        if self.state == State::Answered {
            return;
        }
        let dropped = Unanswered {
            id: self.exchange,
            peer: self.peer,
            service: Arc::clone(&self.service),
            request: self.request.take(),
            handler: self.handler.take(),
            streaming: self.state == State::Streaming,
        };
        self.core().discard(dropped);
        self.state = State::Answered;
    }
}
