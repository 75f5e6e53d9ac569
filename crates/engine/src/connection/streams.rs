//! The streams of HTTP/2 that wait until the application can be called, or that other workers serve.

use super::{Connection, Protocol};
use crate::context::Context;
use crate::http2::carrier::Carrier;
use prefork_wire::Head;
use std::io;

impl Connection {
    pub(crate) fn is_http2(&self) -> bool {
        matches!(&self.protocol, Protocol::Http2(_))
    }

    /// Whether requests of its streams wait until the application can be called.
    #[inline]
    pub(crate) fn has_waiting_streams(&self) -> bool {
        matches!(&self.protocol, Protocol::Http2(http2) if http2.has_waiting())
    }

    /// Notes that they are in the list of those that wait. False: they were.
    pub(crate) fn note_waiting_streams(&mut self) -> bool {
        match &mut self.protocol {
            Protocol::Http2(http2) => !std::mem::replace(&mut http2.is_noted, true),
            _ => false,
        }
    }

    pub(crate) fn forget_waiting_streams(&mut self) {
        if let Protocol::Http2(http2) = &mut self.protocol {
            http2.is_noted = false;
        }
    }

    /// Makes a carrier for the first of them that can be lent, with its stream.
    pub(crate) fn offer_stream<R>(
        &self,
        make: impl FnOnce(u32, &Head, &[u8]) -> io::Result<R>,
    ) -> Option<io::Result<R>> {
        match &self.protocol {
            Protocol::Http2(http2) => http2.offer(make),
            _ => None,
        }
    }

    /// Another worker serves a stream.
    pub(crate) fn lend_stream(&mut self, cx: &mut Context, stream: u32, carrier: Carrier) {
        if let Protocol::Http2(http2) = &mut self.protocol {
            http2.lend(&mut self.link, cx, stream, carrier);
        }
    }

    /// Something has come of a stream that another worker serves, or can be sent to it.
    pub(crate) fn carry(&mut self, cx: &mut Context, stream: u32) {
        if let Protocol::Http2(http2) = &mut self.protocol {
            http2.carry(&mut self.link, cx, stream);
        }
    }

    /// Whether other workers serve some of its streams.
    pub(crate) fn has_lent_streams(&self) -> bool {
        matches!(&self.protocol, Protocol::Http2(http2) if http2.has_lent())
    }
}
