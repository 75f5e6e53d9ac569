//! The bodies of requests, as the application takes them: whole, or part by part.
//!
//! Always holds: what is not taken stays within the window of its stream.

use super::Http2;
use crate::body::{Body, Store};
use crate::context::Context;
use crate::disk::{DiskTask, DiskWork};
use crate::errors::LocalError;
use crate::event::Event;
use crate::exchange::ExchangeId;
use crate::link::Link;
use crate::phase::{Phase, Step};
use crate::request_body::{BodyPart, Collected};
use std::io;

// ---- what has come ---------------------------------------------------------------

impl Http2 {
    /// Gives the application what it wants of a body.
    pub(super) fn read_body(
        &mut self,
        link: &mut Link,
        cx: &mut Context,
        stream: u32,
        out: &mut Vec<u8>,
    ) -> Option<Event> {
        let open = self.stream(stream).ok()?;
        match open.exchange.phase() {
            Phase::Collecting => self.collect_part(link, cx, stream, out),
            Phase::Handling | Phase::Streaming if open.exchange.body.is_wanted() => {
                let part = self.take_part(link, cx, stream, out)?;
                Some(Event::BodyPart {
                    exchange: id(link, stream),
                    part,
                })
            }
            _ => None,
        }
    }

    fn collect_part(
        &mut self,
        link: &mut Link,
        cx: &mut Context,
        stream: u32,
        out: &mut Vec<u8>,
    ) -> Option<Event> {
        let settings = &link.settings;
        let open = self.stream(stream).ok()?;
        let body = open.exchange.body.coming_mut()?;
        // Frames have no errors: the wire has judged them.
        let collected = body.collect(&open.input, &settings.limits, &settings.spool);
        let (used, collected) = collected.ok()?;
        if used > 0 {
            open.input = Vec::new();
        }
        self.wire.give_back(stream, used, out);
        match collected {
            Collected::More => None,
            Collected::Store(store) => Some(Event::Disk(DiskTask {
                connection: link.id,
                stream,
                work: DiskWork::Store(store),
            })),
            Collected::All(body) => self.collected(link, cx, stream, Ok(body)),
        }
    }

    /// Bytes of a body are stored, or cannot be. Returns the event if it is complete.
    pub(crate) fn stored(
        &mut self,
        link: &mut Link,
        cx: &mut Context,
        stream: u32,
        store: Store,
    ) -> Option<Event> {
        let body = self.stream(stream).ok()?.exchange.body.coming_mut()?;
        match body.stored(store).transpose() {
            Some(body) => self.collected(link, cx, stream, body),
            None => self.with_frames(link, cx, |http2, link, cx, out| {
                http2.collect_part(link, cx, stream, out)
            }),
        }
    }

    fn collected(
        &mut self,
        link: &Link,
        cx: &mut Context,
        stream: u32,
        body: io::Result<Body>,
    ) -> Option<Event> {
        let exchange = &mut self.stream(stream).ok()?.exchange;
        match body {
            Ok(_) => exchange.body.complete(),
            Err(_) => exchange.body.drop_rest(),
        }
        exchange.given_ns = cx.clock.now_ns;
        cx.must_advance(exchange, Step::Collected);
        Some(Event::Body {
            exchange: id(link, stream),
            body,
        })
    }

    /// Takes what has come of a body.
    fn take_part(
        &mut self,
        link: &Link,
        cx: &mut Context,
        stream: u32,
        out: &mut Vec<u8>,
    ) -> Option<BodyPart> {
        let open = self.stream(stream).ok()?;
        let body = open.exchange.body.coming_mut()?;
        let (used, part) = body.take_part(&open.input, &link.settings.limits).ok()?;
        let part = part?;
        open.input = Vec::new();
        body.part_given(&part, cx.clock.now_ms);
        open.exchange.given_ns = cx.clock.now_ns;
        if part.last {
            open.exchange.body.complete();
        }
        self.wire.give_back(stream, used, out);
        Some(part)
    }
}

fn id(link: &Link, stream: u32) -> ExchangeId {
    ExchangeId {
        connection: link.id,
        stream,
    }
}

// ---- what the application asks for -----------------------------------------------

impl Http2 {
    pub(crate) fn collect(
        &mut self,
        link: &mut Link,
        cx: &mut Context,
        stream: u32,
    ) -> Result<(), LocalError> {
        cx.advance(&mut self.stream(stream)?.exchange, Step::Collect)?;
        self.ask_for_body(link, cx, stream)
    }

    /// Begins without the body. Returns the part that has come already.
    pub(crate) fn begin_pulling(
        &mut self,
        link: &mut Link,
        cx: &mut Context,
        stream: u32,
    ) -> Result<Option<BodyPart>, LocalError> {
        self.stream(stream)?.exchange.expects(Step::Pull)?;
        let part = self.with_frames(link, cx, |http2, link, cx, out| {
            http2.take_part(link, cx, stream, out)
        });
        cx.advance(&mut self.stream(stream)?.exchange, Step::Pull)?;
        Ok(part)
    }

    pub(crate) fn pull(
        &mut self,
        link: &mut Link,
        cx: &mut Context,
        stream: u32,
    ) -> Result<(), LocalError> {
        let exchange = &self.stream(stream)?.exchange;
        if !exchange.phase().is_in_flight() || exchange.body.coming().is_none() {
            return Err(LocalError::OutOfTurn);
        }
        self.ask_for_body(link, cx, stream)
    }

    pub(crate) fn hold_body(&mut self, cx: &Context, stream: u32) {
        let exchange = self.exchange_mut(stream);
        if let Some(body) = exchange.and_then(|exchange| exchange.body.coming_mut()) {
            body.hold(cx.clock.now_ms);
        }
    }

    /// Wants more of the body. What has come already is an event at once.
    fn ask_for_body(
        &mut self,
        link: &mut Link,
        cx: &mut Context,
        stream: u32,
    ) -> Result<(), LocalError> {
        let open = self.stream(stream)?;
        let body = open.exchange.body.coming_mut();
        let has_ended = body.is_some_and(|body| {
            body.want(cx.clock.now_ms);
            body.has_ended()
        });
        let widens = !has_ended && !std::mem::replace(&mut open.is_wide, true);
        let is_early = open.exchange.phase() != Phase::Streaming;
        let continues = std::mem::take(&mut open.exchange.expects_continue) && is_early;
        let has_input = has_ended || !open.input.is_empty();
        let event = self.with_frames(link, cx, |http2, link, cx, out| {
            if continues {
                let _ = http2
                    .wire
                    .write_interim(out, stream, 100, std::iter::empty());
            }
            if widens {
                http2.wire.widen(stream, out);
            }
            match has_input {
                true => http2.read_body(link, cx, stream, out),
                false => None,
            }
        });
        cx.events.extend(event);
        Ok(())
    }
}
