//! What a request is called in logs: its id (`X-Request-ID`), and the trace that it belongs to (W3C Trace
//! Context, `traceparent`).
//!
//! Always holds: an id is short and has no byte that a log, a header field or a query would have to escape.

use crate::http1::{Field, Head, Span};

/// Where the ids of requests come from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Naming {
    /// There are none. A field that comes is like any other.
    #[default]
    Off,
    /// From a trusted proxy. A request that brings none gets one.
    Trusted,
    /// Each request gets one.
    Make,
}

/// The length of an id that is made: that of a UUID.
pub const MADE_ID_BYTES: usize = 36;

/// The name of the field.
pub const REQUEST_ID: &[u8] = b"X-Request-ID";

/// Longer ids are not taken.
const MAX_ID_BYTES: usize = 128;

/// Whether a field of that name has the id of a request.
#[inline]
#[must_use]
pub fn is_request_id(name: &[u8]) -> bool {
    name.len() == REQUEST_ID.len() && name.eq_ignore_ascii_case(REQUEST_ID)
}

/// Whether a proxy may call a request so.
fn is_valid(id: &[u8]) -> bool {
    let is_plain = |byte: &u8| {
        byte.is_ascii_alphanumeric()
            || matches!(
                byte,
                b'-' | b'_' | b'.' | b'~' | b'+' | b'/' | b'=' | b':' | b'@'
            )
    };
    (1..=MAX_ID_BYTES).contains(&id.len()) && id.iter().all(is_plain)
}

impl Head {
    /// Gives the request an id: the one that it brings if that is `trusted` and valid and the only one, or
    /// that of `make`. Afterwards the head has one field with it. `bytes`, which its spans refer to, may grow.
    pub fn identify(
        &mut self,
        bytes: &mut Vec<u8>,
        trusted: bool,
        make: impl FnOnce() -> [u8; MADE_ID_BYTES],
    ) -> Span {
        let is_id = |field: &Field| is_request_id(field.name.of(bytes));
        let mut given = self.fields.iter().filter(|field| is_id(field));
        if let (Some(only), None, true) = (given.next(), given.next(), trusted) {
            if is_valid(only.value.of(bytes)) {
                return only.value;
            }
        }
        self.fields.retain(|field| !is_id(field));
        let mut append = |part: &[u8]| {
            let start = bytes.len();
            bytes.extend_from_slice(part);
            Span::new(start, bytes.len())
        };
        let (name, value) = (append(REQUEST_ID), append(&make()));
        self.fields.push(Field { name, value });
        value
    }
}

/// The trace that the values of `traceparent` name; `None` unless there is one valid value.
#[must_use]
pub fn trace_id<'a>(mut values: impl Iterator<Item = &'a [u8]>) -> Option<&'a [u8]> {
    match (values.next(), values.next()) {
        (Some(only), None) => trace_of(only),
        _ => None,
    }
}

/// `version-trace-parent-flags` (W3C Trace Context 3.2). A version that is not known yet may have more.
fn trace_of(value: &[u8]) -> Option<&[u8]> {
    let mut parts = value.splitn(5, |byte| *byte == b'-');
    let mut part = |length: usize| {
        let part = parts.next()?;
        let is_hex = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        (part.len() == length && part.iter().all(is_hex)).then_some(part)
    };
    let (version, trace, parent) = (part(2)?, part(32)?, part(16)?);
    part(2)?;
    let is_zero = |part: &[u8]| part.iter().all(|byte| *byte == b'0');
    let has_more = parts.next().is_some();
    let is_valid = version != b"ff" && !is_zero(trace) && !is_zero(parent);
    (is_valid && !(has_more && version == b"00")).then_some(trace)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{HeadParser, Limits};

    const MADE: &[u8; MADE_ID_BYTES] = b"00000000-0000-4000-8000-000000000000";

    /// The id that a request with these fields gets, and what its head has then.
    fn identified(fields: &str, trusted: bool) -> (String, Vec<String>) {
        let mut bytes = format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n").into_bytes();
        let parsed = HeadParser::default().parse(&bytes, &Limits::default());
        let (mut head, _) = parsed.unwrap().unwrap();
        let id = head.identify(&mut bytes, trusted, || *MADE);
        let text = |span: Span| String::from_utf8(span.of(&bytes).to_vec()).unwrap();
        let ids = head.fields.iter();
        let ids = ids.filter(|field| is_request_id(field.name.of(&bytes)));
        (text(id), ids.map(|field| text(field.value)).collect())
    }

    #[test]
    fn an_id_is_taken_if_it_is_trusted_and_valid_and_the_only_one() {
        let long = "a".repeat(MAX_ID_BYTES);
        for given in ["7", "f00-BA_r.~+/=:@9", long.as_str()] {
            let (id, fields) = identified(&format!("x-request-id: {given}\r\n"), true);
            assert_eq!((id.as_str(), fields), (given, vec![given.to_owned()]));
        }
    }

    #[test]
    fn any_other_request_gets_one() {
        let made = std::str::from_utf8(MADE).unwrap();
        let long = format!("X-Request-ID: {}\r\n", "a".repeat(MAX_ID_BYTES + 1));
        for (fields, trusted) in [
            ("", true),
            ("", false),
            ("X-Request-ID: 7\r\n", false),
            ("X-Request-ID: \r\n", true),
            ("X-Request-ID: 7\r\nx-request-id: 7\r\n", true),
            ("X-Request-ID: a b\r\n", true),
            ("X-Request-ID: a,b\r\n", true),
            ("X-Request-ID: a\"b\r\n", true),
            ("X-Request-ID: a\\b\r\n", true),
            ("X-Request-ID: \u{e9}\r\n", true),
            (&long, true),
        ] {
            let (id, fields) = identified(fields, trusted);
            assert_eq!((id.as_str(), fields), (made, vec![made.to_owned()]));
        }
    }

    #[test]
    fn a_trace_is_read_from_one_valid_traceparent() {
        let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
        let parent = "00f067aa0ba902b7";
        let read = |values: &[String]| {
            let values = values.iter().map(|value| value.as_bytes());
            trace_id(values).map(|trace| String::from_utf8(trace.to_vec()).unwrap())
        };
        for valid in [
            format!("00-{trace}-{parent}-01"),
            format!("00-{trace}-{parent}-00"),
            format!("cc-{trace}-{parent}-01-what-comes"),
        ] {
            let mut values = vec![valid];
            assert_eq!(read(&values), Some(trace.to_owned()), "{values:?}");
            values.extend_from_within(..);
            assert_eq!(read(&values), None, "two");
        }
        assert_eq!(read(&[]), None);
        for invalid in [
            format!("00-{trace}-{parent}-01-more"),
            format!("00-{trace}-{parent}-01-"),
            format!("00-{trace}-{parent}"),
            format!("ff-{trace}-{parent}-01"),
            format!("00-{}-{parent}-01", trace.to_uppercase()),
            format!("00-{}-{parent}-01", "0".repeat(32)),
            format!("00-{trace}-{}-01", "0".repeat(16)),
            format!("00-{trace}-{parent}-0g"),
            format!("00-{trace}f-{parent}-01"),
            format!("00{trace}{parent}01"),
            String::new(),
        ] {
            let values = [invalid];
            assert_eq!(read(&values), None, "{values:?}");
        }
    }
}
