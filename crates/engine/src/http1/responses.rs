//! Writes HTTP/1 responses: those of the application, and the engine's own.
//!
//! Always holds: a call that fails has written nothing.

use super::Http1;
use crate::content::Content;
use crate::context::Context;
use crate::errors::LocalError;
use crate::link::Link;
use crate::phase::Step;
use crate::request_ids::Named;
use prefork_wire::{
    BodyEncoder, Length, RemoteError, RequestKind, Status, Version, write_error, write_head,
    write_interim,
};

/// How soon a client may try again that was refused because there are too many.
const RETRY_AFTER: (&[u8], &[u8]) = (b"Retry-After", b"1");

/// The field for the engine's own 503 (RFC 9110, section 10.2.3).
pub(crate) fn retry_after(error: &RemoteError) -> Option<(&'static [u8], &'static [u8])> {
    (error.status == 503).then_some(RETRY_AFTER)
}

impl Http1 {
    pub(crate) fn inform<'a>(
        &mut self,
        link: &mut Link,
        cx: &mut Context,
        status: u16,
        headers: impl Iterator<Item = (&'a [u8], &'a [u8])>,
    ) -> Result<(), LocalError> {
        if !self.exchange.phase().owes_head() {
            return Err(LocalError::OutOfTurn);
        }
        if self.exchange.context.version == Version::Http11 {
            link.output
                .append(&mut cx.buffers, |out| write_interim(out, status, headers))
                .map_err(LocalError::Invalid)?;
        }
        Ok(())
    }

    /// Writes the head. Only here it is decided whether this is the last
    /// response. `last`: the server wants that.
    #[inline]
    pub(crate) fn start<'a>(
        &mut self,
        link: &mut Link,
        cx: &mut Context,
        last: bool,
        status: Status<'a>,
        headers: impl Iterator<Item = (&'a [u8], &'a [u8])>,
        length: Length,
    ) -> Result<(), LocalError> {
        let date = cx.clock.date();
        let exchange = &mut self.exchange;
        exchange.expects(Step::Start)?;
        // An unread body would be taken for the next request.
        exchange.context.keep_alive &= !last && exchange.body.is_complete();
        let context = exchange.context;
        let id = exchange.label.id();
        let framing = link
            .output
            .append(&mut cx.buffers, |out| match id {
                [] => write_head(out, &context, status, headers, length, &date),
                _ => write_head(
                    out,
                    &context,
                    status,
                    Named::with(id, headers),
                    length,
                    &date,
                ),
            })
            .map_err(LocalError::Invalid)?;
        exchange.encoder = framing.body;
        exchange.context.keep_alive = framing.keep_alive;
        cx.start_response(exchange, status.code)
    }

    #[inline]
    pub(crate) fn write(
        &mut self,
        link: &mut Link,
        cx: &mut Context,
        content: Content<'_>,
    ) -> Result<usize, LocalError> {
        let exchange = &mut self.exchange;
        exchange.expects_content()?;
        // The response to a HEAD request has no body, and the application may write one all
        // the same.
        if exchange.encoder == BodyEncoder::Nothing {
            return Ok(0);
        }
        let (output, buffers) = (&mut link.output, &mut cx.buffers);
        let offered = content.len();
        let encoded = exchange.encoder.encode(offered);
        if encoded.len > 0 {
            let prefix = encoded.prefix.as_bytes();
            if !prefix.is_empty() {
                output.append(buffers, |out| out.extend_from_slice(prefix));
            }
            output.push(buffers, content, encoded.len);
            if !encoded.suffix.is_empty() {
                output.append(buffers, |out| out.extend_from_slice(encoded.suffix));
            }
        }
        Ok(offered - encoded.len)
    }

    pub(crate) fn trail<'a>(
        &mut self,
        link: &mut Link,
        cx: &mut Context,
        fields: impl Iterator<Item = (&'a [u8], &'a [u8])> + Clone,
    ) -> Result<(), LocalError> {
        let exchange = &mut self.exchange;
        exchange.expects_content()?;
        link.output
            .append(&mut cx.buffers, |out| {
                exchange.encoder.write_trailers(out, fields)
            })
            .map_err(LocalError::Invalid)
    }

    #[inline]
    pub(crate) fn finish(&mut self, link: &mut Link, cx: &mut Context) -> Result<u64, LocalError> {
        let exchange = &mut self.exchange;
        exchange.expects_content()?;
        let missing = match exchange.encoder {
            BodyEncoder::Chunked => link
                .output
                .append(&mut cx.buffers, |out| exchange.encoder.finish(out))
                .err(),
            _ => exchange.encoder.finish(&mut Vec::new()).err(),
        }
        .map_or(0, |short| short.missing);
        exchange.body.drop_rest();
        exchange.wants_drained = false;
        exchange.wants_gone = false;
        let step = match exchange.context.keep_alive && missing == 0 {
            true => Step::Finish,
            false => Step::FinishLast,
        };
        cx.finish_response(exchange, step)?;
        self.ended = self.ended.saturating_add(1);
        self.finish_link(link);
        Ok(missing)
    }

    /// Makes the open response the last one; if none is open, the connection is
    /// finished, and a request that is not read whole is not read.
    pub(crate) fn close_after_response(&mut self, link: &mut Link, cx: &mut Context) {
        if !self.is_idle() {
            self.exchange.context.keep_alive = false;
            return;
        }
        // It decides how the connection is closed.
        link.unread |= self.parser.take().is_some() || !link.input.is_empty();
        link.discard_input(&mut cx.buffers);
        link.finish();
    }

    /// Writes the engine's own response. False: no head is owed.
    pub(crate) fn reject(
        &mut self,
        link: &mut Link,
        cx: &mut Context,
        error: &RemoteError,
    ) -> bool {
        if cx.reject(&mut self.exchange, error.status).is_err() {
            return false;
        }
        self.exchange.body.drop_rest();
        self.write_error(link, cx, error);
        self.ended = self.ended.saturating_add(1);
        self.finish_link(link);
        true
    }

    /// Writes an error response and changes no state: for a process that ends
    /// next.
    pub(crate) fn write_error(&self, link: &mut Link, cx: &mut Context, error: &RemoteError) {
        let date = cx.clock.date();
        let head_only = self.exchange.context.kind == RequestKind::Head;
        let headers = link.settings.headers.iter();
        let headers = headers.map(|(name, value)| (name.as_slice(), value.as_slice()));
        let headers = Named::with(self.exchange.label.id(), headers.chain(retry_after(error)));
        link.output.append(&mut cx.buffers, |out| {
            write_error(out, error, headers, &date, head_only);
        });
    }

    /// Refuses the next request, which was not read: the connection brings no other.
    pub(crate) fn refuse(&mut self, link: &mut Link, cx: &mut Context, error: &RemoteError) {
        link.identify_malformed(&mut cx.request_ids, &mut self.exchange.label);
        self.write_error(link, cx, error);
        cx.load.count_refused(error.status);
        link.unread = true;
        link.finish();
    }

    /// The responses that were complete are sent.
    #[inline]
    pub(crate) fn count_sent(&mut self, cx: &mut Context) {
        cx.count_sent(std::mem::take(&mut self.ended), self.exchange.given_ns);
    }

    #[inline]
    pub(crate) fn has_ended(&self) -> bool {
        self.ended > 0
    }

    #[inline]
    fn finish_link(&self, link: &mut Link) {
        if self.exchange.phase().was_last() {
            if !self.exchange.body.is_complete() {
                link.unread = true;
            }
            link.finish();
        }
    }
}
