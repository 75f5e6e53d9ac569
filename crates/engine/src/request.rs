//! A request whose head is complete, and how its exchange begins: one way for every version of HTTP.
//!
//! Always holds: whose request it is and which id it has are known before the pool counts it and before the
//! application sees it. Knows no protocol: the caller knows how many requests a connection may bring, and has
//! given the exchange the body that is to come.

use crate::context::Context;
use crate::event::Event;
use crate::exchange::Exchange;
use crate::link::Link;
use crate::load::Begun;
use crate::phase::Step;
use prefork_wire::{Head, RequestContext, RequestKind, Version};

pub(crate) struct Request {
    /// The number of its exchange.
    pub(crate) stream: u32,
    /// Since when it could be read.
    pub(crate) ready_ns: u64,
    /// The received head. The spans of `head` point into it.
    pub(crate) bytes: Vec<u8>,
    pub(crate) head: Head,
}

impl Request {
    /// Begins its exchange. `version`, `keep_alive`: those of the response. Returns the event for the
    /// application.
    #[inline(always)]
    pub(crate) fn begin(
        self,
        version: Version,
        keep_alive: bool,
        exchange: &mut Exchange,
        link: &Link,
        cx: &mut Context,
    ) -> Event {
        let Request {
            stream,
            ready_ns,
            mut bytes,
            mut head,
        } = self;
        exchange.origin = match head.forwarded {
            true => link.resolve_origin(&mut bytes, &mut head),
            false => None,
        };
        let label = &mut exchange.label;
        link.identify(&mut cx.request_ids, label, &mut bytes, &mut head);
        let (method, target) = (head.method.of(&bytes), head.target.of(&bytes));
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
        let client = link.client(stream).behind(origin).at(ready_ns, now_ns);
        if has_body {
            exchange.label.note(begun.client, begun.wait_ns);
            cx.must_advance(exchange, Step::RequestWithBody);
        } else {
            cx.start_request(exchange, begun);
        }
        Event::Request {
            client,
            bytes,
            head,
        }
    }
}
