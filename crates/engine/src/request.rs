//! A request whose head is complete, and how its exchange begins: one way for every version of HTTP.
//!
//! Always holds: whose request it is and which id it has are known before the pool counts it and before the
//! application sees it. Knows no protocol: the caller knows how many requests a connection may bring, and has
//! given the exchange the body that is to come.

use crate::context::Context;
use crate::event::Client;
use crate::exchange::Exchange;
use crate::link::Link;
use crate::load::Begun;
use crate::phase::Step;
use prefork_wire::{Head, RequestContext, RequestKind, Version};

/// What was read of it. The head is large: it is lent here, and moves once, into the event.
pub(crate) struct Request<'a> {
    /// The number of its exchange.
    pub(crate) stream: u32,
    /// Since when it could be read.
    pub(crate) ready_ns: u64,
    /// The received head. The spans of `head` point into it.
    pub(crate) bytes: &'a mut Vec<u8>,
    pub(crate) head: &'a mut Head,
}

impl Request<'_> {
    /// Begins its exchange. `version`, `keep_alive`: those of the response. Returns the client, for the
    /// event.
    #[inline(always)]
    pub(crate) fn begin(
        self,
        version: Version,
        keep_alive: bool,
        exchange: &mut Exchange,
        link: &Link,
        cx: &mut Context,
    ) -> Client {
        let Request {
            stream,
            ready_ns,
            bytes,
            head,
        } = self;
        exchange.origin = match head.forwarded {
            true => link.resolve_origin(bytes, head),
            false => None,
        };
        let label = &mut exchange.label;
        link.identify(&mut cx.request_ids, label, bytes, head);
        let (method, target) = (head.method.of(bytes), head.target.of(bytes));
        exchange.context = RequestContext {
            version,
            kind: RequestKind::of(method),
            keep_alive,
        };
        exchange.expects_continue = head.expect_continue;
        let now_ns = cx.clock.now_ns;
        exchange.given_ns = now_ns;
        // What follows the head of a WebSocket is no body.
        let has_body = !exchange.body.is_complete() && !head.websocket;
        if has_body || link.settings.request_timeout_ms > 0 || cx.names_requests {
            exchange.label.set(method, target);
        }
        let origin = exchange.origin.as_deref();
        let begun = Begun {
            method,
            target,
            client: link.client_behind(origin),
            wait_ns: now_ns.saturating_sub(ready_ns),
        };
        if has_body {
            exchange.label.note(begun.client, begun.wait_ns);
            cx.must_advance(exchange, Step::RequestWithBody);
        } else {
            cx.start_request(exchange, begun);
        }
        let client = link.client(stream).behind(exchange.origin.as_deref());
        client.at(ready_ns, now_ns)
    }
}
