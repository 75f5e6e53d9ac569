//! WebSockets on streams (RFC 8441): their frames are the data of the stream.
//!
//! Always holds: what a WebSocket does not read stays within the window of its stream.

use super::queue::StreamPipe;
use super::{Ending, Http2, Stream};
use crate::content::Content;
use crate::context::{Context, Work};
use crate::errors::LocalError;
use crate::event::Event;
use crate::exchange::ExchangeId;
use crate::link::Link;
use crate::phase::Step;
use crate::progress::Progress;
use crate::request_ids::Named;
use crate::settings::WebSocketSettings;
use crate::unread::Unread;
use crate::websocket::WebSocket;
use prefork_wire::Length;
use prefork_wire::http2::ErrorCode;
use prefork_wire::websocket::{CloseCode, Opening};
use std::sync::Arc;

impl Http2 {
    /// Accepts the WebSocket that a request asks for: 200, and the stream carries its frames.
    #[expect(
        clippy::too_many_arguments,
        reason = "those of the call, and where it goes"
    )]
    pub(crate) fn upgrade<'a>(
        &mut self,
        link: &mut Link,
        cx: &mut Context,
        stream: u32,
        opening: &Opening,
        subprotocol: Option<&[u8]>,
        headers: impl Iterator<Item = (&'a [u8], &'a [u8])> + Clone,
        settings: WebSocketSettings,
    ) -> Result<Arc<Unread>, LocalError> {
        let date = cx.clock.date();
        let place = self.place(stream)?;
        let open = self.streams.get_mut(place).ok_or(LocalError::Closed)?;
        open.exchange.expects(Step::Upgrade)?;
        let own = opening
            .accepting_fields(subprotocol, headers.clone())
            .map_err(LocalError::Invalid)?;
        let own = own.iter().map(|(name, value)| (*name, value.as_slice()));
        let (wire, context) = (&mut self.wire, &open.exchange.context);
        // Of the shorter of the two lifetimes.
        let headers = headers.map(|(name, value)| -> (&[u8], &[u8]) { (name, value) });
        let fields = Named::with(open.exchange.label.id(), own.chain(headers));
        link.output
            .append(&mut cx.buffers, |out| {
                let length = Length::Unknown;
                wire.write_response(out, stream, context, 200.into(), fields, length, &date)
            })
            .map_err(LocalError::Invalid)?;
        cx.accept_websocket(&mut open.exchange, 200)?;
        let mut exchange = std::mem::take(&mut open.exchange);
        self.ended.push(std::mem::take(&mut exchange.given_ns));
        exchange.body.complete();
        let unread = Unread::new(&cx.unread);
        let handle = Arc::clone(&unread);
        let now_ms = cx.clock.now_ms;
        open.websocket = Some(Box::new(WebSocket::new(
            exchange, opening, settings, unread, now_ms,
        )));
        Ok(handle)
    }

    /// Lets the WebSocket of a stream act, and sends what it has written.
    fn converse<R>(
        &mut self,
        link: &mut Link,
        cx: &mut Context,
        stream: u32,
        act: impl FnOnce(&mut WebSocket, &mut StreamPipe<'_>, &mut Context) -> R,
    ) -> Result<R, LocalError> {
        let client = link.client(stream);
        let open = self.stream(stream)?;
        let Stream {
            websocket, queue, ..
        } = open;
        let websocket = websocket.as_mut().ok_or(LocalError::OutOfTurn)?;
        let was_empty = queue.len() == 0;
        let mut pipe = StreamPipe {
            client,
            queue,
            is_finished: false,
        };
        let result = act(websocket, &mut pipe, cx);
        let is_finished = pipe.is_finished;
        if is_finished && matches!(open.ending, Ending::Open) {
            open.ending = Ending::Finish;
        }
        if was_empty && open.queue.len() > 0 {
            open.moved_ms = cx.clock.now_ms;
            self.queued += 1;
            self.wire.set_ready(stream, true);
        } else if was_empty && is_finished {
            self.end(link, cx, stream);
            self.forget_if_over(link, stream);
        }
        self.pump(link, cx);
        Ok(result)
    }

    /// The stream of a WebSocket that has input, and may read it.
    pub(super) fn has_message(&self) -> Option<u32> {
        let mut open = self.streams.iter();
        let found = open.find(|open| {
            let websocket = open.websocket.as_ref();
            websocket.is_some_and(|websocket| {
                websocket.reads()
                    && !open.is_looked_at
                    && (!open.input.is_empty() || open.has_ended && !open.is_over())
            })
        });
        found.map(|open| open.id)
    }

    /// Reads what has come for a WebSocket.
    pub(super) fn read_messages(
        &mut self,
        link: &mut Link,
        cx: &mut Context,
        stream: u32,
    ) -> Option<Event> {
        let open = self.stream(stream).ok()?;
        let has_ended = open.has_ended;
        let input = std::mem::take(&mut open.input);
        let before = input.len();
        let outer = std::mem::replace(&mut cx.work, Work::of(input));
        let read = self.converse(link, cx, stream, |websocket, pipe, cx| {
            websocket.read(pipe, cx)
        });
        let rest = std::mem::replace(&mut cx.work, outer).take();
        let used = before - rest.len();
        let is_stuck = used == 0;
        if let Ok(open) = self.stream(stream) {
            open.input = rest;
            // Without this, what cannot be read yet would be looked at again and again.
            open.is_looked_at = is_stuck;
        }
        self.with_frames(link, cx, |http2, _, _, out| {
            http2.wire.give_back(stream, used, out);
        });
        match read {
            Ok(Progress::Event(event)) => Some(event),
            Ok(Progress::Wait | Progress::Flush) if has_ended && is_stuck => {
                self.abort_conversation(link, cx, stream);
                None
            }
            Ok(Progress::Close(_) | Progress::Abort(_)) => {
                self.abort_conversation(link, cx, stream);
                None
            }
            _ => None,
        }
    }

    /// The peer has ended its side, or does not respond.
    fn abort_conversation(&mut self, link: &mut Link, cx: &mut Context, stream: u32) {
        let is_open = self.stream(stream).is_ok_and(|open| {
            let websocket = open.websocket.as_ref();
            websocket.is_some_and(|websocket| websocket.is_open())
        });
        let is_ending = self
            .stream(stream)
            .is_ok_and(|open| !matches!(open.ending, Ending::Open));
        if is_open || !is_ending {
            self.reset_with(link, cx, stream, ErrorCode::Cancel);
        }
    }

    pub(crate) fn send_message(
        &mut self,
        link: &mut Link,
        cx: &mut Context,
        stream: u32,
        text: bool,
        content: Content<'_>,
    ) -> Result<usize, LocalError> {
        self.converse(link, cx, stream, |websocket, pipe, cx| {
            websocket.send(pipe, cx, text, content)
        })??;
        Ok(self.unsent(stream))
    }

    pub(crate) fn close_websocket(
        &mut self,
        link: &mut Link,
        cx: &mut Context,
        stream: u32,
        code: CloseCode,
        reason: &str,
    ) -> Result<(), LocalError> {
        self.converse(link, cx, stream, |websocket, pipe, cx| {
            websocket.close(pipe, cx, code, reason)
        })?
    }

    /// Closes every open WebSocket.
    pub(super) fn close_websockets(&mut self, link: &mut Link, cx: &mut Context, code: CloseCode) {
        let open = self.streams.iter().filter(|open| open.websocket.is_some());
        let open: Vec<u32> = open.map(|open| open.id).collect();
        for stream in open {
            let _ = self.close_websocket(link, cx, stream, code, "");
        }
    }

    /// The time of a WebSocket is over: for a Pong, or for the Close of the peer.
    pub(super) fn expire_websocket(&mut self, link: &mut Link, cx: &mut Context, stream: u32) {
        let expired = self.converse(link, cx, stream, |websocket, pipe, cx| {
            match websocket.is_open() {
                true => websocket.ping(pipe, cx),
                false => Progress::Close(None),
            }
        });
        match expired {
            Ok(Progress::Close(_)) => self.reset_with(link, cx, stream, ErrorCode::Cancel),
            Ok(Progress::Event(event)) => cx.events.push_back(event),
            _ => {}
        }
    }

    /// Reports the drain for each response that might not end by itself, and closes WebSockets.
    pub(crate) fn report_draining(&mut self, link: &mut Link, cx: &mut Context, code: CloseCode) {
        self.close_websockets(link, cx, code);
        for open in &self.streams {
            if open.exchange.wants_gone && open.exchange.phase().owes_response() {
                let exchange = ExchangeId {
                    connection: link.id,
                    stream: open.id,
                };
                cx.events.push_back(Event::Draining { exchange });
            }
        }
    }
}
