//! How a response ends without being sent, and the callbacks that hear of its end.

use super::{Response, State};
use crate::core::{Ending, Unanswered};
use crate::pending::Pending;
use prefork_wire::{RemoteError, error_body};
use pyo3::prelude::*;

impl Response {
    /// Whether it responds to HEAD.
    pub(crate) fn asks_head(&self) -> bool {
        self.core()
            .engine()
            .exchange(self.client.exchange)
            .asks_head()
    }

    /// Registers a callback, unless `may_happen` is false. Returns whether it
    /// did.
    pub(super) fn register(
        slf: &Bound<'_, Self>,
        may_happen: impl FnOnce(&Response) -> bool,
        place: impl FnOnce(&mut Pending) -> &mut Option<Py<PyAny>>,
        callback: Py<PyAny>,
    ) -> bool {
        let former = {
            let mut response = slf.borrow_mut();
            if !may_happen(&response) {
                return false;
            }
            response.has_pending = true;
            let mut pending = response.core().pending();
            place(pending.entry(response.client.exchange)).replace(callback)
        };
        drop(former);
        true
    }

    /// Removes all that is pending. The caller drops it once the response is
    /// not borrowed, because that may run Python.
    pub(crate) fn forget(&mut self) -> Option<Pending> {
        // Called for each response: a flag costs less than a lock.
        if !std::mem::take(&mut self.has_pending) {
            return None;
        }
        self.core().forget(self.client.exchange)
    }

    /// The engine has sent the response, or none is owed.
    pub(crate) fn set_answered(&mut self) {
        self.state = State::Answered;
    }

    /// The engine has responded, and the report says so.
    pub(crate) fn set_rejected(&mut self, error: &RemoteError) {
        self.state = State::Answered;
        self.code = error.status;
        self.sent_bytes = Some(error_body(error).len() as u64);
    }

    /// Takes what is unsent of a response that was broken off from its length.
    /// That may be more by the bytes of its framing.
    pub(crate) fn take_off(&mut self, unsent: usize) {
        self.sent_bytes = self
            .sent_bytes
            .map(|sent| sent.saturating_sub(unsent as u64));
    }

    /// Learns what became of a response that was not sent whole.
    pub(crate) fn settle(&mut self) {
        match self.core().take_ending(self.client.exchange) {
            Some(Ending::Responded { status, bytes }) if self.sent_bytes.is_none() => {
                self.code = status;
                self.sent_bytes = Some(bytes);
                self.sent = true;
            }
            Some(Ending::Left { unsent }) => self.take_off(unsent),
            Some(Ending::Responded { .. }) | None => {}
        }
    }

    /// Passes the response to the engine's turn, unless it was sent and reported.
    pub(crate) fn leave_unanswered(&mut self) {
        let owed = !self.is_over();
        let reports = !self.reported && self.has_listener();
        if !owed && !reports {
            if !self.reported {
                self.core().take_ending(self.client.exchange);
            }
            return;
        }
        let unanswered = Unanswered {
            client: self.client,
            request: self.request.take().map(Py::into_any),
            request_line: self.request_line.take(),
            given_id: self.given_id.take(),
            handler: self.handler.take(),
            context: self.context.take(),
            code: self.code,
            received: self.received,
            sent_bytes: self.sent_bytes,
            sent: self.sent,
            owed,
            reports,
        };
        self.core().add_unanswered(unanswered);
        self.state = State::Answered;
        self.reported = true;
    }
}

impl Drop for Response {
    fn drop(&mut self) {
        self.leave_unanswered();
    }
}
