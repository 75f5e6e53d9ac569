//! Passes a response's head to the engine: its own header fields, and the
//! server's defaults for those that it does not set.

use crate::events::content::ResponseContent;
use crate::events::headers::Headers;
use crate::service::Service;
use prefork_engine::{ExchangeId, LocalError};
use prefork_wire::{Length, Status};

pub(crate) struct ResponseHead<'a> {
    pub(crate) service: &'a Service,
    pub(crate) exchange: ExchangeId,
    pub(crate) status: Status<'a>,
    pub(crate) fields: &'a Headers,
}

impl<'a> ResponseHead<'a> {
    /// Sends the head and the whole content. Returns by how much the content
    /// differs from its Content-Length.
    pub(crate) fn respond(self, content: &ResponseContent<'_, '_>) -> Result<i64, LocalError> {
        let fields = self.all_fields(content);
        let mut engine = self.service.core.engine();
        engine
            .exchange(self.exchange)
            .respond(self.status, fields, content.content())
    }

    /// Sends the head of a response whose body comes in parts, of which `first`
    /// is the first.
    pub(crate) fn start(self, first: &ResponseContent<'_, '_>) -> Result<(), LocalError> {
        let fields = self.all_fields(first);
        let mut engine = self.service.core.engine();
        engine
            .exchange(self.exchange)
            .start(self.status, fields, Length::Unknown)
    }

    /// All header fields: a Content-Type if it needs one, its own, and the
    /// server's defaults.
    fn all_fields<'f>(
        &'f self,
        content: &ResponseContent<'_, '_>,
    ) -> impl Iterator<Item = (&'f [u8], &'f [u8])> {
        let defaults = defaults(self.service, self.fields);
        let typed = !self.service.interface.adds_content_type
            || matches!(self.status.code, 204 | 205 | 304)
            || self.fields.has(b"content-type")
            || defaults
                .clone()
                .any(|(name, _)| name.eq_ignore_ascii_case(b"content-type"));
        let kind = (!typed).then(|| (b"Content-Type".as_slice(), content.content_type()));
        kind.into_iter().chain(self.fields.fields()).chain(defaults)
    }
}

/// The server's header fields that a response does not set itself.
pub(crate) fn defaults<'a>(
    service: &'a Service,
    own: &'a Headers,
) -> impl Iterator<Item = (&'a [u8], &'a [u8])> + Clone {
    let headers = service.settings.headers.iter();
    headers
        .filter(|(name, _)| !own.has(name))
        .map(|(name, value)| (name.as_slice(), value.as_slice()))
}
