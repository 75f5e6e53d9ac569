//! What `X-Forwarded-*` and `Forwarded` (RFC 7239) say of a request.
//!
//! Owns: the grammar of the fields, and the walk through them. The elements of a list are read from the
//! right: each proxy adds its own there, so what stands left of the first peer that is not trusted
//! may be forged, and is not looked at. Always holds: the time is linear in the length of the fields. Knows
//! no connection, and not what becomes of what it reads.

use super::names::FORWARDED;
use super::networks::Networks;
use super::node::Node;
use crate::http1::Head;
use crate::tokens::{self, TOKEN, trim};
use std::borrow::Cow;

/// What the trusted proxies say. `None`: nothing, or nothing valid.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Said<'a> {
    pub(super) client: Option<Node>,
    pub(super) https: Option<bool>,
    pub(super) host: Option<Cow<'a, [u8]>>,
    pub(super) port: Option<u16>,
    pub(super) prefix: Option<&'a [u8]>,
}

/// The lines of a field, the last one first.
fn lines_from_right<'a>(
    head: &'a Head,
    bytes: &'a [u8],
    name: &'static [u8],
) -> impl Iterator<Item = &'a [u8]> {
    let lines = head.fields.iter().rev();
    let named = lines.filter(move |line| line.name.of(bytes).eq_ignore_ascii_case(name));
    named.map(|line| line.value.of(bytes))
}

// ---- X-Forwarded-* -----------------------------------------------------------------

/// What `X-Forwarded-For`, `-Proto`, `-Host`, `-Port` and `-Prefix` say. The peer that sent them is
/// trusted.
///
/// Of a list, that element counts which the outermost of the trusted proxies has written. As
/// `X-Forwarded-For` has one element of each of them, it tells how many they are. A shorter list was
/// begun by a proxy further inside.
pub(super) fn x_forwarded<'a>(head: &'a Head, bytes: &'a [u8], trusted: &Networks) -> Said<'a> {
    let list = |name| {
        lines_from_right(head, bytes, name).flat_map(|line| {
            let elements = line.rsplit(|byte| *byte == b',').map(trim);
            elements.filter(|element| !element.is_empty())
        })
    };
    let mut client = None;
    let mut proxies = 0;
    for element in list(b"x-forwarded-for") {
        let node = Node::parse(element);
        client = Some(node);
        proxies += 1;
        if !trusted.contain(node) {
            break;
        }
    }
    let outermost = |name| list(name).take(proxies.max(1)).last();
    Said {
        client,
        https: outermost(b"x-forwarded-proto").and_then(is_https),
        host: outermost(b"x-forwarded-host").map(Cow::Borrowed),
        port: outermost(b"x-forwarded-port").and_then(port),
        prefix: outermost(b"x-forwarded-prefix"),
    }
}

fn is_https(scheme: &[u8]) -> Option<bool> {
    let is = |name: &[u8]| scheme.eq_ignore_ascii_case(name);
    match () {
        () if is(b"https") || is(b"wss") => Some(true),
        () if is(b"http") || is(b"ws") => Some(false),
        () => None,
    }
}

fn port(digits: &[u8]) -> Option<u16> {
    let port = u16::try_from(tokens::decimal(digits)?).ok()?;
    (port > 0).then_some(port)
}

// ---- Forwarded ---------------------------------------------------------------------

/// What `Forwarded` says. The peer that sent it is trusted.
///
/// Of scheme and host, those count which the outermost of the trusted proxies says.
pub(super) fn forwarded<'a>(head: &'a Head, bytes: &'a [u8], trusted: &Networks) -> Said<'a> {
    let mut said = Said::default();
    for line in lines_from_right(head, bytes, FORWARDED) {
        let mut rest = line;
        while let Some(element) = take_last(&mut rest) {
            if element.is_empty() {
                continue;
            }
            let Some(element) = Element::parse(element) else {
                said.client = Some(Node::Unknown);
                return said;
            };
            said.https = element.https.or(said.https);
            said.host = element.host.or(said.host.take());
            let Some(node) = element.node else {
                return said;
            };
            said.client = Some(node);
            if !trusted.contain(node) {
                return said;
            }
        }
    }
    said
}

/// Takes the last element off a list; `None`: none is left.
///
/// A comma in quotes does not end an element. The quotes are found from the right as well: the elements
/// of the trusted proxies are well-formed, and one that a client has left open cannot reach into them.
fn take_last<'a>(list: &mut &'a [u8]) -> Option<&'a [u8]> {
    let whole = *list;
    if whole.is_empty() {
        return None;
    }
    let mut at = whole.len();
    while let Some(before) = at.checked_sub(1) {
        match whole.get(before) {
            Some(b',') => {
                let (rest, element) = (whole.get(..before), whole.get(at..));
                *list = rest.unwrap_or_default();
                return Some(trim(element.unwrap_or_default()));
            }
            Some(b'"') => at = opening_quote(whole, before),
            _ => at = before,
        }
    }
    *list = &[];
    Some(trim(whole))
}

/// Where the quoted string begins whose last quote is at `end`; 0 if nowhere.
fn opening_quote(list: &[u8], end: usize) -> usize {
    let mut at = end;
    while let Some(before) = at.checked_sub(1) {
        at = before;
        if list.get(before) != Some(&b'"') {
            continue;
        }
        let rest = list.get(..before).unwrap_or_default();
        let escapes = rest.iter().rev().take_while(|byte| **byte == b'\\').count();
        if escapes % 2 == 0 {
            return before;
        }
    }
    0
}

/// What one proxy says.
#[derive(Debug, Default, PartialEq, Eq)]
struct Element<'a> {
    node: Option<Node>,
    https: Option<bool>,
    host: Option<Cow<'a, [u8]>>,
}

impl<'a> Element<'a> {
    /// `forwarded-element` (RFC 7239 4). `None` if it is malformed. White space is allowed around the
    /// semicolons, because proxies send it.
    fn parse(text: &'a [u8]) -> Option<Self> {
        let mut element = Self::default();
        let mut seen = 0_u8;
        let mut rest = text;
        while !rest.is_empty() {
            if let Some((b';', after)) = rest.split_first() {
                rest = trim(after);
                continue;
            }
            let equals = rest.iter().position(|byte| *byte == b'=')?;
            let (name, after) = rest.split_at_checked(equals)?;
            if !tokens::is_token(name) {
                return None;
            }
            let (value, after) = value(after.get(1..)?)?;
            rest = trim(after);
            if !matches!(rest.first(), None | Some(b';')) {
                return None;
            }
            let is = |known: &[u8]| name.eq_ignore_ascii_case(known);
            let bit = match () {
                () if is(b"for") => 1,
                () if is(b"proto") => 2,
                () if is(b"host") => 4,
                () if is(b"by") => 8,
                () => continue,
            };
            if seen & bit != 0 {
                return None; // "Each parameter MUST NOT occur more than once"
            }
            seen |= bit;
            match bit {
                1 => element.node = Some(Node::parse(&value)),
                2 => element.https = is_https(&value),
                4 => element.host = Some(value),
                _ => {}
            }
        }
        Some(element)
    }
}

/// The value at the start of `text`, and what follows: a token, or a quoted string (RFC 9110 5.6.4). An
/// address that should be quoted and is not is taken as well.
fn value(text: &[u8]) -> Option<(Cow<'_, [u8]>, &[u8])> {
    let Some(quoted) = text.strip_prefix(b"\"") else {
        let is_value = |byte: &u8| tokens::is(TOKEN, *byte) || matches!(byte, b':' | b'[' | b']');
        let end = text.iter().position(|byte| !is_value(byte));
        let (value, after) = text.split_at_checked(end.unwrap_or(text.len()))?;
        return (!value.is_empty()).then_some((Cow::Borrowed(value), after));
    };
    let mut escaped = false;
    let mut any_escaped = false;
    let end = quoted.iter().position(|byte| {
        let ends = *byte == b'"' && !escaped;
        escaped = *byte == b'\\' && !escaped;
        any_escaped |= escaped;
        ends
    })?;
    let (value, after) = quoted.split_at_checked(end)?;
    let after = after.get(1..)?;
    if !any_escaped {
        return Some((Cow::Borrowed(value), after));
    }
    let mut plain = Vec::with_capacity(value.len());
    let mut bytes = value.iter();
    while let Some(byte) = bytes.next() {
        plain.push(if *byte == b'\\' {
            *bytes.next()?
        } else {
            *byte
        });
    }
    Some((Cow::Owned(plain), after))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn elements(list: &str) -> Vec<&[u8]> {
        let mut rest = list.as_bytes();
        std::iter::from_fn(|| take_last(&mut rest)).collect()
    }

    #[test]
    fn a_list_is_split_from_the_right() {
        for (list, parts) in [
            ("", &[][..]),
            ("a", &["a"][..]),
            ("a, b,c", &["c", "b", "a"]),
            (r#"for="a,b", c"#, &["c", r#"for="a,b""#]),
            (r#"for="a\",b", c"#, &["c", r#"for="a\",b""#]),
            (r#"for="open, for=x"#, &["for=x", r#"for="open"#]),
            (r#"for="open\, for="x""#, &[r#"for="x""#, r#"for="open\"#]),
            (r#"a, open";host=h"#, &[r#"a, open";host=h"#]),
        ] {
            let parts: Vec<&[u8]> = parts.iter().map(|part| part.as_bytes()).collect();
            assert_eq!(elements(list), parts, "{list}");
        }
    }

    #[test]
    fn an_element_has_its_parameters_in_any_order_and_case() {
        let ip = "2001:db8:cafe::17".parse().unwrap();
        let node = Some(Node::Inet { ip, port: 4711 });
        for text in [
            r#"for="[2001:db8:cafe::17]:4711";proto=https;host=example.com"#,
            r#"HOST="example.com";by=203.0.113.43;Proto=HTTPS;For="[2001:db8:cafe::17]:4711""#,
            r#"for=[2001:db8:cafe::17]:4711 ; host="e\xample.com"; proto=wss;secret=x;"#,
        ] {
            let element = Element::parse(text.as_bytes()).unwrap();
            assert_eq!(element.node, node, "{text}");
            assert_eq!(element.https, Some(true), "{text}");
            assert_eq!(element.host.as_deref(), Some(&b"example.com"[..]), "{text}");
        }
    }

    #[test]
    fn a_malformed_element_says_nothing() {
        for text in [
            "for",
            "=x",
            "for=",
            "for =x",
            "for= x",
            r#"for="x"#,
            r#"for="x\""#,
            "for=x y",
            "for=a;for=b",
            "proto=http;proto=https",
            r#"for="x"y"#,
            "for=x;;=",
            "for=\u{e9}",
            "(for)=x",
        ] {
            assert_eq!(Element::parse(text.as_bytes()), None, "{text}");
        }
    }
}
