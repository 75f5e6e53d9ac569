//! What a line is about: a request, its response, and the process that wrote it.

use super::moment::Moment;
use crate::peer::Peer;
use std::borrow::Cow;

/// What the client has asked for.
#[derive(Clone, Copy)]
pub enum Asked<'a> {
    Request {
        method: &'a [u8],
        /// As it came.
        target: &'a [u8],
        path: &'a [u8],
        query: Option<&'a [u8]>,
        protocol: &'static str,
    },
    /// Something that is no request. If its first line could be read, that is it.
    Unread(Option<&'a [u8]>),
}

impl<'a> Asked<'a> {
    /// A request of which method and target are known.
    pub fn of(method: &'a [u8], target: &'a [u8], protocol: &'static str) -> Self {
        let mut parts = target.splitn(2, |&byte| byte == b'?');
        Asked::Request {
            method,
            target,
            path: parts.next().unwrap_or_default(),
            query: parts.next(),
            protocol,
        }
    }

    pub(super) fn protocol(&self) -> &'static str {
        match self {
            Asked::Request { protocol, .. } => protocol,
            Asked::Unread(_) => "",
        }
    }
}

/// The fields of a request and of its response, of which few logs have any but two.
pub trait Fields {
    /// The first value of a field of the request.
    fn of_request(&self, name: &[u8]) -> Option<&[u8]>;
    /// The first value of a field of the response that the application has set.
    fn of_response(&self, name: &[u8]) -> Option<&[u8]>;
    /// A variable of the environ, by its name in lower case.
    fn variable(&self, name: &[u8]) -> Option<Cow<'_, [u8]>>;
    /// The id of the trace that the request belongs to.
    fn trace_id(&self) -> Option<&[u8]>;
}

/// Of a request whose fields are not known.
pub struct NoFields;

impl Fields for NoFields {
    fn of_request(&self, _name: &[u8]) -> Option<&[u8]> {
        None
    }

    fn of_response(&self, _name: &[u8]) -> Option<&[u8]> {
        None
    }

    fn variable(&self, _name: &[u8]) -> Option<Cow<'_, [u8]>> {
        None
    }

    fn trace_id(&self) -> Option<&[u8]> {
        None
    }
}

/// One response.
pub struct Entry<'a> {
    pub client: Peer,
    pub asked: Asked<'a>,
    pub scheme: &'static str,
    /// The version of TLS, if this server speaks it with the client.
    pub tls: Option<&'static str>,
    pub status: u16,
    /// Bytes of the request's body that were read.
    pub received: u64,
    /// Bytes of the response's body that were sent; `None`: not even its head was.
    pub sent: Option<u64>,
    /// When the request could be read, and when it was given to the application: of the monotonic clock.
    /// 0: it is not known.
    pub ready_ns: u64,
    pub given_ns: u64,
    /// When the response ended, on the same clock.
    pub ended_ns: u64,
    /// The id of the request, if it has one.
    pub request_id: Option<&'a [u8]>,
    pub fields: &'a dyn Fields,
}

/// Where and when the line is written.
pub(crate) struct Here<'a> {
    pub(crate) moment: &'a Moment,
    pub(crate) pid: u32,
    pub(crate) worker: Option<u32>,
}

impl Entry<'_> {
    /// The time from the request, when it was given to the application, to the end of its response.
    pub(super) fn duration_us(&self) -> Option<u64> {
        let since = (self.given_ns > 0).then_some(self.given_ns)?;
        Some(self.ended_ns.saturating_sub(since) / 1000)
    }

    /// The time that it has waited before.
    pub(super) fn wait_us(&self) -> Option<u64> {
        let since = (self.ready_ns > 0 && self.given_ns > 0).then_some(self.ready_ns)?;
        Some(self.given_ns.saturating_sub(since) / 1000)
    }

    pub(super) fn user(&self) -> Option<Vec<u8>> {
        let credentials = self.fields.of_request(b"authorization")?;
        let (scheme, encoded) = credentials.split_at_checked(6)?;
        if !scheme.eq_ignore_ascii_case(b"basic ") {
            return None;
        }
        let mut decoded = base64(encoded.trim_ascii())?;
        let colon = decoded.iter().position(|&byte| byte == b':')?;
        decoded.truncate(colon);
        (!decoded.is_empty()).then_some(decoded)
    }
}

/// RFC 4648, section 4. `None`: it is not that.
fn base64(encoded: &[u8]) -> Option<Vec<u8>> {
    let padding = encoded
        .iter()
        .rev()
        .take_while(|&&byte| byte == b'=')
        .count();
    let digits = encoded.get(..encoded.len() - padding)?;
    if padding > 2 || digits.len() % 4 == 1 {
        return None;
    }
    let mut decoded = Vec::with_capacity(digits.len() * 3 / 4);
    let (mut bits, mut count) = (0_u32, 0_u32);
    for &digit in digits {
        let value = match digit {
            b'A'..=b'Z' => digit - b'A',
            b'a'..=b'z' => digit - b'a' + 26,
            b'0'..=b'9' => digit - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = bits << 6 | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            decoded.push((bits >> count) as u8);
        }
    }
    Some(decoded)
}
