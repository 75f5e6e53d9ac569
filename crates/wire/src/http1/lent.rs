//! A request of HTTP/2 that another process serves: in the form of HTTP/1, from the process that has the
//! connection to the one that has the application.
//!
//! It owns what that form leaves out, and what it adds. Always holds: a head that is written and restored is
//! the head that came, except for the pieces that HTTP/1 has to say in fields.

use super::fields::Field;
use super::framing::Framing;
use super::head::Head;
use super::target::TargetForm;
use super::version::Version;
use super::{HeadParser, Span};
use crate::errors::RemoteError;
use crate::limits::Limits;

/// Fields that say in HTTP/1 what HTTP/2 says by frames: no client of HTTP/2 may send them.
const ADDED: [&[u8]; 3] = [b"connection", b"transfer-encoding", b"upgrade"];

/// No bound: the process that writes the head has applied its own.
const ANY: usize = u32::MAX as usize;

impl Head {
    /// Whether it can be written for another process. A tunnel has no form in which its end can be seen.
    #[must_use]
    pub fn may_be_lent(&self) -> bool {
        self.version == Version::Http2 && self.form != TargetForm::Authority
    }

    /// Writes the head of a request of HTTP/2 as one of HTTP/1. `bytes` is what its spans point into.
    pub fn write_lent(&self, bytes: &[u8], out: &mut Vec<u8>) {
        let method = match self.websocket {
            true => b"GET",
            false => self.method.of(bytes),
        };
        for part in [method, b" ", self.target.of(bytes), b" HTTP/1.1\r\n"] {
            out.extend_from_slice(part);
        }
        for field in &self.fields {
            for part in [field.name.of(bytes), b": ", field.value.of(bytes), b"\r\n"] {
                out.extend_from_slice(part);
            }
        }
        if self.websocket {
            out.extend_from_slice(b"connection: upgrade\r\nupgrade: websocket\r\n");
        } else if self.framing == Framing::Chunked {
            out.extend_from_slice(b"transfer-encoding: chunked\r\n");
        }
        out.extend_from_slice(b"\r\n");
    }

    /// Makes a head that [`Self::write_lent`] has written one of HTTP/2 again.
    pub fn restore_lent(&mut self, bytes: &mut Vec<u8>) {
        self.version = Version::Http2;
        let is_added = |field: &Field| ADDED.contains(&field.name.of(bytes));
        self.fields.retain(|field| !is_added(field));
        if self.websocket {
            let start = bytes.len();
            bytes.extend_from_slice(b"CONNECT");
            self.method = Span::new(start, bytes.len());
        }
    }
}

impl HeadParser {
    /// As [`HeadParser::parse`], for a head that [`Head::write_lent`] has written.
    ///
    /// # Errors
    /// [`RemoteError`].
    pub fn parse_lent(
        &mut self,
        input: &[u8],
        limits: &Limits,
    ) -> Result<Option<(Head, usize)>, RemoteError> {
        let limits = Limits {
            line: ANY,
            head: ANY,
            fields: ANY,
            ..limits.clone()
        };
        self.parse(input, &limits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http2::Connection;
    use crate::http2::{Incoming, Read};

    /// The head of an HTTP/2 request with these fields.
    fn request(fields: &[(&str, &str)], ended: bool) -> (Vec<u8>, Head) {
        let (mut out, limits) = (Vec::new(), Limits::default());
        let mut connection = Connection::new(&mut out, 128, &limits);
        let mut input = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0".to_vec();
        let mut block = Vec::new();
        for (name, value) in fields {
            block.extend_from_slice(&[0, name.len() as u8]);
            block.extend_from_slice(name.as_bytes());
            block.push(value.len() as u8);
            block.extend_from_slice(value.as_bytes());
        }
        let flags = if ended { 5 } else { 4 };
        input.extend_from_slice(&[0, 0, block.len() as u8, 1, flags, 0, 0, 0, 1]);
        input.extend_from_slice(&block);
        loop {
            let Read { consumed, incoming } =
                connection.read(&input, &mut out, &limits, 0).unwrap();
            assert!(consumed > 0, "no request");
            input.drain(..consumed);
            if let Some(Incoming::Request { bytes, head, .. }) = incoming {
                return (bytes, head);
            }
        }
    }

    const GET: [(&str, &str); 4] = [
        (":method", "GET"),
        (":scheme", "https"),
        (":path", "/a?b"),
        (":authority", "example.com"),
    ];

    type Seen = (Vec<u8>, Vec<u8>, Vec<(Vec<u8>, Vec<u8>)>, Framing, bool);

    fn seen(bytes: &[u8], head: &Head) -> Seen {
        let of = |span: Span| span.of(bytes).to_vec();
        let fields = head.fields.iter();
        let fields = fields.map(|field| (of(field.name), of(field.value)));
        let websocket = head.websocket;
        (
            of(head.method),
            of(head.target),
            fields.collect(),
            head.framing,
            websocket,
        )
    }

    fn lend(bytes: &[u8], head: &Head) -> (Vec<u8>, Head) {
        assert!(head.may_be_lent());
        let mut written = Vec::new();
        head.write_lent(bytes, &mut written);
        let parsed = HeadParser::default().parse_lent(&written, &Limits::default());
        let (mut restored, consumed) = parsed.unwrap().unwrap();
        assert_eq!(consumed, written.len());
        restored.restore_lent(&mut written);
        (written, restored)
    }

    #[test]
    fn a_head_comes_out_as_it_went_in() {
        let others: [(&[(&str, &str)], bool); 5] = [
            (&[], true),
            (
                &[("cookie", "a=1"), ("cookie", "b=2"), ("te", "trailers")],
                true,
            ),
            (&[("content-length", "5")], false),
            (&[("expect", "100-continue"), ("x-empty", "")], false),
            (&[("host", "example.com"), ("priority", "u=1")], true),
        ];
        for (more, ended) in others {
            let fields = [&GET[..], more].concat();
            let (bytes, head) = request(&fields, ended);
            let (written, restored) = lend(&bytes, &head);
            assert_eq!(seen(&written, &restored), seen(&bytes, &head));
            assert_eq!(restored.version, Version::Http2);
            assert_eq!(restored.expect_continue, head.expect_continue);
            assert_eq!(restored.path.of(&written), b"/a");
            assert_eq!(restored.query.unwrap().of(&written), b"b");
            assert_eq!(restored.host.unwrap().of(&written), b"example.com");
        }
    }

    #[test]
    fn a_websocket_stays_one() {
        let mut fields = GET.to_vec();
        fields[0] = (":method", "CONNECT");
        fields.push((":protocol", "websocket"));
        fields.push(("sec-websocket-version", "13"));
        let (bytes, head) = request(&fields, false);
        let (written, restored) = lend(&bytes, &head);
        assert!(restored.websocket);
        assert_eq!(seen(&written, &restored), seen(&bytes, &head));
    }

    #[test]
    fn a_tunnel_stays() {
        let fields = [(":method", "CONNECT"), (":authority", "example.com:443")];
        assert!(!request(&fields, false).1.may_be_lent());
    }

    #[test]
    fn what_fits_the_limits_of_http2_is_not_measured_again() {
        let (mut bytes, mut head) = request(&GET, true);
        let limits = Limits::default();
        let start = bytes.len();
        bytes.push(b'/');
        bytes.resize(start + limits.line, b'a');
        head.target = Span::new(start, bytes.len());
        let (written, restored) = lend(&bytes, &head);
        assert_eq!(restored.target.of(&written).len(), limits.line);
    }
}
