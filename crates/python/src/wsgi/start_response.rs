//! The response of a WSGI call, which is also its `start_response` (PEP 3333).
//!
//! Always holds: what the application passes is checked before any of it is
//! sent, so a mistake gets a 500.

use crate::errors::InvalidResponse;
use crate::events::fields::Fields;
use crate::events::file_part::PyFilePart;
use crate::events::headers::Headers;
use crate::events::response::{Response, State};
use crate::text::latin1;
use prefork_wire::reason_phrase;
use pyo3::exceptions::{PyAssertionError, PyTypeError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList, PyString, PyTuple};
use std::os::fd::{IntoRawFd, RawFd};
use std::sync::Arc;

/// The response of one call of an application, which is also the
/// `start_response` that the application is given. Status and headers are sent
/// with the first bytes of the body.
#[pyclass(module = "prefork._engine", extends = Response)]
pub struct StartResponse {
    called: bool,
    taken_over: bool,
}

#[pymethods]
impl StartResponse {
    /// As `start_response`: takes status and headers, and returns `write`, which
    /// is this object again, called with bytes alone. (A callable of its own
    /// would slow down each call by a hundredth, and few applications use it.)
    ///
    /// Raises AssertionError for a second call without `exc_info`,
    /// InvalidResponse for a status or headers that cannot be sent, the
    /// exception in `exc_info` if the headers are sent already; and as `write`
    /// what `send` raises.
    #[pyo3(signature = (status, response_headers=None, exc_info=None, /))]
    fn __call__<'py>(
        slf: &Bound<'py, Self>,
        status: &Bound<'py, PyAny>,
        response_headers: Option<&Bound<'py, PyAny>>,
        exc_info: Option<&Bound<'py, PyTuple>>,
    ) -> PyResult<Option<Bound<'py, Self>>> {
        let mut call = slf.borrow_mut();
        let Some(response_headers) = response_headers else {
            if !call.called {
                return Err(PyTypeError::new_err(
                    "start_response needs status and headers",
                ));
            }
            drop(call);
            Self::send(slf, status)?;
            return Response::flush(slf.as_super(), true).map(|_| None);
        };
        match exc_info {
            Some(exc_info) if call.as_super().state != State::Waiting => {
                return Err(PyErr::from_value(exc_info.get_item(1)?));
            }
            None if call.called => {
                return Err(PyAssertionError::new_err(
                    "start_response was called twice; the second time it needs exc_info",
                ));
            }
            _ => {}
        }
        let (code, reason) = code_and_reason(status)?;
        let headers = Fields::Native(fields(response_headers)?);
        call.called = true;
        let response = call.as_super();
        (response.code, response.reason, response.headers) = (code, reason, headers);
        Ok(Some(slf.clone()))
    }

    /// Whether the status is known and no body may follow the head: the response to
    /// HEAD, 204, 205 and 304 (RFC 9110, section 15.3.6; RFC 9112, section 6.3).
    #[getter]
    fn ends_with_head(slf: &Bound<'_, Self>) -> bool {
        let response = slf.as_super().borrow();
        slf.borrow().called && (matches!(response.code, 204 | 205 | 304) || response.asks_head())
    }

    /// Whether the application has taken the connection over.
    #[getter]
    fn taken_over(&self) -> bool {
        self.taken_over
    }

    /// Leaves the connection to the application, which owes no response then; it
    /// is in flight until `end_takeover()`. Blocks until earlier responses are sent.
    /// Returns a new descriptor of the socket, and what the client has sent after
    /// its request.
    ///
    /// Raises AlreadyAnswered after the response has begun, and ConnectionGone.
    fn take_over<'py>(slf: &Bound<'py, Self>) -> PyResult<(RawFd, Bound<'py, PyBytes>)> {
        let py = slf.py();
        let response = slf.as_super();
        let (core, exchange) = {
            let response = response.borrow();
            if response.state != State::Waiting {
                return Err(response.already_answered());
            }
            (Arc::clone(response.core()), response.client.exchange)
        };
        Response::flush_to(response, 0)?;
        let taken = core.engine().exchange(exchange).take_over();
        let (socket, input) = taken.map_err(|error| response.borrow_mut().not_sent(error))?;
        slf.borrow_mut().taken_over = true;
        let pending = {
            let mut response = response.borrow_mut();
            (response.code, response.sent) = (101, true);
            (response.sent_bytes, response.reported) = (Some(0), true);
            response.set_answered();
            response.forget()
        };
        drop(pending);
        Response::report_end(response)?;
        Ok((socket.into_raw_fd(), PyBytes::new(py, &input)))
    }

    /// The application has done with the connection: what it has sent arrives,
    /// then the connection is closed.
    fn end_takeover(slf: &Bound<'_, Self>) {
        let response = slf.as_super().borrow();
        let mut engine = response.core().engine();
        engine.exchange(response.client.exchange).end_takeover();
    }

    /// Sends a part of the body.
    ///
    /// Raises ConnectionGone if the client has left, and InvalidResponse for
    /// data that is not bytes or comes before `start_response`.
    fn send(slf: &Bound<'_, Self>, data: &Bound<'_, PyAny>) -> PyResult<()> {
        let part = slf.borrow().checked(data)?;
        Response::write(slf.as_super(), Some(part))
    }

    /// Completes the response: with a whole body, given as its parts or as a part
    /// of a file, or without one after `send`.
    ///
    /// Raises InvalidResponse as `send` does.
    #[pyo3(signature = (body=None, /))]
    pub(crate) fn respond(slf: &Bound<'_, Self>, body: Option<&Bound<'_, PyAny>>) -> PyResult<()> {
        let whole = slf.borrow().whole(slf.py(), body)?;
        let response = slf.as_super();
        if response.borrow().state == State::Streaming {
            if let Some(whole) = whole {
                Response::write(response, Some(whole))?;
            }
        } else {
            response.borrow_mut().content = whole;
        }
        Response::done(response).map(drop)
    }
}

impl StartResponse {
    /// Ends a takeover, if there is one: the call is over.
    pub(crate) fn end_call(slf: &Bound<'_, Self>) {
        if slf.borrow().taken_over {
            Self::end_takeover(slf);
        }
    }

    /// Makes a response the `start_response` of a call.
    pub(crate) fn around(py: Python<'_>, response: Response) -> PyResult<Py<Response>> {
        let call = PyClassInitializer::from(response).add_subclass(StartResponse {
            called: false,
            taken_over: false,
        });
        Ok(Bound::new(py, call)?.into_super().unbind())
    }

    fn expect_called(&self) -> PyResult<()> {
        match self.called {
            true => Ok(()),
            false => Err(InvalidResponse::new_err(
                "it responded without calling start_response",
            )),
        }
    }

    fn checked(&self, part: &Bound<'_, PyAny>) -> PyResult<Py<PyAny>> {
        self.expect_called()?;
        if part.is_instance_of::<PyBytes>() {
            return Ok(part.clone().unbind());
        }
        Err(InvalidResponse::new_err(format!(
            "a part of its body is {}: expected bytes",
            part.get_type().name()?
        )))
    }

    fn whole(
        &self,
        py: Python<'_>,
        body: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Option<Py<PyAny>>> {
        self.expect_called()?;
        let Some(body) = body else {
            return Ok(None);
        };
        if body.is_instance_of::<PyFilePart>() {
            return Ok(Some(body.clone().unbind()));
        }
        if let Ok(parts) = body.cast::<PyList>() {
            if let (1, Ok(part)) = (parts.len(), parts.get_item(0)) {
                return self.checked(&part).map(Some);
            }
        }
        for part in body.try_iter()? {
            self.checked(&part?)?;
        }
        let joined = PyBytes::new(py, b"").call_method1(intern!(py, "join"), (body,))?;
        Ok(Some(joined.unbind()))
    }
}

/// Code and reason phrase of a status such as `200 OK`. Without a phrase, or with the registered
/// one: `None`.
fn code_and_reason(status: &Bound<'_, PyAny>) -> PyResult<(u16, Option<Box<[u8]>>)> {
    let text = status.cast::<PyString>().ok().map(|text| text.to_str());
    let split = match text {
        Some(Ok(text)) => split_status(text),
        _ => None,
    };
    match split {
        Some(split) => Ok(split),
        None => Err(InvalidResponse::new_err(format!(
            "its status is {}: expected a str such as '200 OK'",
            status.repr()?
        ))),
    }
}

fn split_status(text: &str) -> Option<(u16, Option<Box<[u8]>>)> {
    let (digits, rest) = text.split_at_checked(3)?;
    let code = digits
        .parse()
        .ok()
        .filter(|code| matches!(code, 200..=999))?;
    let phrase = match rest {
        "" => "",
        _ => rest.strip_prefix(' ')?,
    };
    if phrase.is_empty() || phrase == reason_phrase(code) {
        return Some((code, None));
    }
    let is_text = !phrase.bytes().any(|byte| byte.is_ascii_control());
    is_text.then(|| (code, Some(latin1(phrase).into())))
}

fn fields(headers: &Bound<'_, PyAny>) -> PyResult<Headers> {
    let shape = |_| {
        let text = format!(
            "its headers are {}: expected a list of (str, str)",
            headers
                .repr()
                .map_or_else(|_| String::new(), |repr| repr.to_string())
        );
        InvalidResponse::new_err(text)
    };
    if !headers.is_instance_of::<PyList>() && !headers.is_instance_of::<PyTuple>() {
        return Err(shape(()));
    }
    let fields = Headers::from_pairs(headers).map_err(|_| shape(()))?;
    if let Some((name, _)) = fields.fields().find(|(name, _)| is_hop_by_hop(name)) {
        return Err(InvalidResponse::new_err(format!(
            "header {}: it is about the connection, which is the server's; leave it out (PEP 3333)",
            String::from_utf8_lossy(name)
        )));
    }
    Ok(fields)
}

/// RFC 2616, section 13.5.1, as PEP 3333 requires.
fn is_hop_by_hop(name: &[u8]) -> bool {
    let known: &[&[u8]] = match name.len() {
        2 => &[b"te"],
        7 => &[b"upgrade"],
        8 => &[b"trailers"],
        10 => &[b"connection", b"keep-alive"],
        17 => &[b"transfer-encoding"],
        18 => &[b"proxy-authenticate"],
        19 => &[b"proxy-authorization"],
        _ => &[],
    };
    known.iter().any(|known| name.eq_ignore_ascii_case(known))
}
