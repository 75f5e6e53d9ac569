//! The end of a connection: how the peer sees it, and what the owner is told.

use super::{Connection, Protocol};
use crate::context::Context;
use crate::disk::{DiskTask, DiskWork};
use crate::event::{Closed, Event};
use crate::exchange::ExchangeId;
use crate::phase::Step;
use crate::transport::Transport;

impl Connection {
    /// Ends the connection for the peer, whatever other process has the socket open.
    ///
    /// A response without a length ends with its connection. One that is cut short must not pass for a
    /// whole one (RFC 9112, section 8): the connection is reset.
    pub(crate) fn end_for_peer(&mut self) {
        let is_cut = match &self.protocol {
            Protocol::Http1(http1) => http1.ends_with_connection(self.link.pending() > 0),
            Protocol::Http2(_) | Protocol::WebSocket(_) | Protocol::TakenOver(_) => false,
        };
        match is_cut {
            true => self.link.transport.reset(),
            false => self.link.end_sending(),
        }
    }

    /// Adds the events of a closed connection: those of its exchanges, then its
    /// own. `interrupted`: the reason, if it had more to do. Returns the
    /// transport, which is closed when it is dropped.
    pub(crate) fn close(
        mut self: Box<Self>,
        cx: &mut Context,
        interrupted: Option<&'static str>,
    ) -> Transport {
        // A WebSocket that has ended was not interrupted.
        let interrupted = interrupted.filter(|_| match &self.protocol {
            Protocol::WebSocket(websocket) => websocket.is_open(),
            Protocol::TakenOver(exchange) => exchange.phase().owes_response(),
            Protocol::Http1(_) | Protocol::Http2(_) => true,
        });
        let failed = match &self.protocol {
            Protocol::Http2(http2) => http2.failed,
            _ => None,
        };
        let failed = failed.or_else(|| self.link.transport.failure());
        let interrupted = failed.or(interrupted);
        let early = interrupted.is_some();
        let peer = self.client_address();
        let connection = self.link.id;
        let open = self
            .exchange(0)
            .filter(|exchange| exchange.phase().is_in_flight());
        let request_id = open.and_then(|exchange| exchange.label.id_text());
        let gone = self
            .exchange(0)
            .filter(|exchange| exchange.must_report_gone(early))
            .map(|exchange| exchange.phase().owes_response());
        match &mut self.protocol {
            Protocol::Http1(http1) => {
                if let Some(file) = http1.exchange.body.take_file() {
                    cx.events.push_back(Event::Disk(DiskTask {
                        connection,
                        stream: 0,
                        work: DiskWork::Discard(Some(file)),
                    }));
                }
                cx.must_advance(&mut http1.exchange, Step::Abort);
            }
            Protocol::Http2(http2) => http2.abort(&self.link, cx, early),
            Protocol::WebSocket(websocket) => websocket.abort(&self.link, cx),
            Protocol::TakenOver(exchange) => {
                // The application has the socket open, and may wait in it.
                self.link.transport.shut_down();
                cx.must_advance(exchange, Step::Abort);
            }
        }
        let is_http = matches!(self.protocol, Protocol::Http1(_));
        let unsent = is_http.then(|| self.link.pending());
        cx.events.extend(gone.into_iter().map(|owed| Event::Gone {
            exchange: ExchangeId::only(connection),
            unsent: unsent.filter(|_| owed && early),
        }));
        if self.wants_closed || early {
            cx.events.push_back(Event::Closed(Closed {
                connection,
                listener: self.link.listener,
                peer,
                interrupted,
                request_id,
            }));
        }
        self.link.transport
    }
}
