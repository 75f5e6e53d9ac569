//! The format of a line: `common`, `combined`, `json`, or a text with atoms such as `%(h)s`.
//!
//! Always holds: a format is read once, and an atom that does not exist is found then. The atoms of one
//! character, and those in braces, are gunicorn's; the longer ones are of this server.

use super::entry::{Asked, Entry, Here};
use super::values::{address, number, seconds, status};
use super::{escape, json};
use std::borrow::Cow;

const COMMON: &str = r#"%(h)s %(l)s %(u)s %(t)s "%(r)s" %(s)s %(b)s"#;
const COMBINED: &str = r#"%(h)s %(l)s %(u)s %(t)s "%(r)s" %(s)s %(b)s "%(f)s" "%(a)s""#;

#[derive(Clone, Debug, PartialEq, Eq)]
enum Value {
    Client,
    Nothing,
    User,
    Time,
    RequestLine,
    Method,
    Path,
    Query,
    Protocol,
    Status,
    Bytes,
    BytesOrDash,
    Seconds,
    Micros,
    Millis,
    DecimalSeconds,
    Pid,
    Wait,
    Worker,
    BytesIn,
    Scheme,
    Tls,
    RequestId,
    TraceId,
    /// The names are in lower case.
    OfRequest(Cow<'static, [u8]>),
    OfResponse(Cow<'static, [u8]>),
    Variable(Cow<'static, [u8]>),
}

const REFERER: Value = Value::OfRequest(Cow::Borrowed(b"referer"));
const AGENT: Value = Value::OfRequest(Cow::Borrowed(b"user-agent"));

/// The names of the atoms, and whether their value is a number, which `%(...)d` may be written for too.
const ATOMS: [(&str, Value, bool); 29] = [
    ("h", Value::Client, false),
    ("l", Value::Nothing, false),
    ("u", Value::User, false),
    ("t", Value::Time, false),
    ("r", Value::RequestLine, false),
    ("m", Value::Method, false),
    ("U", Value::Path, false),
    ("q", Value::Query, false),
    ("H", Value::Protocol, false),
    ("s", Value::Status, true),
    ("B", Value::Bytes, true),
    ("b", Value::BytesOrDash, false),
    ("f", REFERER, false),
    ("a", AGENT, false),
    ("T", Value::Seconds, true),
    ("D", Value::Micros, true),
    ("M", Value::Millis, true),
    ("L", Value::DecimalSeconds, false),
    ("p", Value::Pid, false),
    ("wait", Value::Wait, false),
    ("worker", Value::Worker, false),
    ("bytes_in", Value::BytesIn, true),
    ("bytes_out", Value::Bytes, true),
    ("protocol", Value::Protocol, false),
    ("scheme", Value::Scheme, false),
    ("tls", Value::Tls, false),
    ("duration", Value::DecimalSeconds, false),
    ("request_id", Value::RequestId, false),
    ("trace_id", Value::TraceId, false),
];

/// The format of a log.
#[derive(Debug, PartialEq, Eq)]
pub struct Format {
    kind: Kind,
    /// The names of the variables of the environ that it has, in lower case.
    variables: Vec<Cow<'static, [u8]>>,
}

#[derive(Debug, PartialEq, Eq)]
enum Kind {
    Json,
    Text(Text),
}

/// What a line consists of: values, each with the text in front of it, and the end of the line behind the
/// last one.
#[derive(Debug, Default, PartialEq, Eq)]
struct Text {
    values: Vec<(Box<[u8]>, Value)>,
    end: Vec<u8>,
}

/// Why a text is no format.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FormatError {
    /// There is no atom of this name.
    Unknown(String),
    /// It has no atom, so that every line would be the same.
    Constant,
    /// What begins here is no atom. A percent sign is written as `%%`.
    NoAtom(String),
}

impl Format {
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, FormatError> {
        let text = match text {
            "json" => {
                return Ok(Format {
                    kind: Kind::Json,
                    variables: Vec::new(),
                });
            }
            "common" => COMMON,
            "combined" => COMBINED,
            text => text,
        };
        let text = Text::parse(text)?;
        if text.values.is_empty() {
            return Err(FormatError::Constant);
        }
        let variables = text.values.iter().filter_map(|(_, value)| match value {
            Value::Variable(name) => Some(name.clone()),
            _ => None,
        });
        Ok(Format {
            variables: variables.collect(),
            kind: Kind::Text(text),
        })
    }

    /// The names of the atoms, without those of fields and variables.
    pub fn atoms() -> impl ExactSizeIterator<Item = &'static str> {
        ATOMS.iter().map(|(name, ..)| *name)
    }

    /// The names of the variables of the environ that it has, in lower case.
    pub fn variables(&self) -> &[Cow<'static, [u8]>] {
        &self.variables
    }

    /// Appends a line. No more than `most` bytes of each text of a client are shown.
    pub(crate) fn write(&self, entry: &Entry<'_>, here: &Here<'_>, most: usize, out: &mut Vec<u8>) {
        match &self.kind {
            Kind::Json => json::write(entry, here, most, out),
            Kind::Text(text) => {
                for (before, value) in &text.values {
                    out.extend_from_slice(before);
                    write_value(value, entry, here, most, out);
                }
                out.extend_from_slice(&text.end);
            }
        }
    }
}

fn write_value(value: &Value, entry: &Entry<'_>, here: &Here<'_>, most: usize, out: &mut Vec<u8>) {
    let (asked, fields) = (&entry.asked, entry.fields);
    let duration_us = || entry.duration_us().unwrap_or(0);
    let text = |text, out: &mut _| escape::text(text, most, out);
    let word = |word, out: &mut _| escape::word(word, most, out);
    match value {
        Value::Client => address(entry.client, out),
        Value::Nothing => out.push(b'-'),
        Value::User => or_dash(entry.user().as_deref(), word, out),
        Value::Time => out.extend_from_slice(here.moment.common.as_bytes()),
        Value::RequestLine => match asked {
            Asked::Unread(line) => or_dash(*line, text, out),
            Asked::Request {
                method,
                target,
                protocol,
                ..
            } => {
                text(method, out);
                out.push(b' ');
                text(target, out);
                out.push(b' ');
                our_word(protocol, out);
            }
        },
        Value::Method | Value::Path | Value::Query => {
            let shown = match (value, asked) {
                (_, Asked::Unread(_)) => Some(&b"-"[..]),
                (Value::Method, Asked::Request { method, .. }) => Some(*method),
                (Value::Path, Asked::Request { path, .. }) => Some(*path),
                (_, Asked::Request { query, .. }) => *query,
            };
            text(shown.unwrap_or_default(), out);
        }
        Value::Protocol => our_word(asked.protocol(), out),
        Value::Status => number(status(entry).into(), out),
        Value::Bytes => number(entry.sent.unwrap_or(0), out),
        Value::BytesOrDash => or_dash(entry.sent.filter(|sent| *sent > 0), number, out),
        Value::Seconds => number(duration_us() / 1_000_000, out),
        Value::Micros => number(duration_us(), out),
        Value::Millis => number(duration_us() / 1000, out),
        Value::DecimalSeconds => seconds(duration_us(), out),
        Value::Pid => {
            out.push(b'<');
            number(here.pid.into(), out);
            out.push(b'>');
        }
        Value::Wait => or_dash(entry.wait_us(), seconds, out),
        Value::Worker => or_dash(here.worker.map(u64::from), number, out),
        Value::BytesIn => number(entry.received, out),
        Value::Scheme => our_word(entry.scheme, out),
        Value::Tls => our_word(entry.tls.unwrap_or_default(), out),
        Value::RequestId => or_dash(entry.request_id, word, out),
        Value::TraceId => or_dash(fields.trace_id(), word, out),
        Value::OfRequest(name) => or_dash(fields.of_request(name), text, out),
        Value::OfResponse(name) => or_dash(fields.of_response(name), text, out),
        Value::Variable(name) => or_dash(fields.variable(name).as_deref(), text, out),
    }
}

fn or_dash<T>(value: Option<T>, write: impl FnOnce(T, &mut Vec<u8>), out: &mut Vec<u8>) {
    match value {
        Some(value) => write(value, out),
        None => out.push(b'-'),
    }
}

/// Needs no escape. An empty one is a dash.
fn our_word(word: &str, out: &mut Vec<u8>) {
    let word = if word.is_empty() { "-" } else { word };
    out.extend_from_slice(word.as_bytes());
}

// ---- reading a format --------------------------------------------------------------

impl Text {
    fn parse(text: &str) -> Result<Self, FormatError> {
        let (mut values, mut constant) = (Vec::new(), Vec::new());
        let mut rest = text;
        while let Some((before, behind)) = rest.split_once('%') {
            add_constant(before, &mut constant);
            if let Some(behind) = behind.strip_prefix('%') {
                constant.push(b'%');
                rest = behind;
                continue;
            }
            let (value, behind) = atom(behind)?;
            values.push((std::mem::take(&mut constant).into(), value));
            rest = behind;
        }
        add_constant(rest, &mut constant);
        constant.push(b'\n');
        Ok(Text {
            values,
            end: constant,
        })
    }
}

/// Text between atoms is written as it is, but for what would end a line or control a terminal.
fn add_constant(text: &str, out: &mut Vec<u8>) {
    for char in text.chars() {
        match char {
            '\t' => out.push(b'\t'),
            char if char.is_control() => escape::text(char.to_string().as_bytes(), usize::MAX, out),
            char => out.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
}

/// Reads an atom, behind its percent sign. Also returns what follows it.
fn atom(text: &str) -> Result<(Value, &str), FormatError> {
    let no_atom = || {
        let beginning: String = text.chars().take(20).collect();
        FormatError::NoAtom(format!("%{beginning}"))
    };
    let inner = text.strip_prefix('(').ok_or_else(no_atom)?;
    let (name, behind) = inner.split_once(')').ok_or_else(no_atom)?;
    let (conversion, behind) = match behind.as_bytes().first() {
        Some(b's') => ('s', behind.get(1..).unwrap_or_default()),
        Some(b'd') => ('d', behind.get(1..).unwrap_or_default()),
        _ => return Err(no_atom()),
    };
    let (value, is_number) = value_of(name).ok_or_else(|| FormatError::Unknown(name.to_owned()))?;
    match conversion == 's' || is_number {
        true => Ok((value, behind)),
        false => Err(no_atom()),
    }
}

/// Also returns whether it is a number.
fn value_of(name: &str) -> Option<(Value, bool)> {
    if let Some(name) = name.strip_prefix('{') {
        let (name, kind) = name.split_once('}')?;
        let name: Cow<[u8]> = Cow::Owned(name.to_ascii_lowercase().into_bytes());
        return match kind {
            _ if name.is_empty() => None,
            "i" => Some((Value::OfRequest(name), false)),
            "o" => Some((Value::OfResponse(name), false)),
            "e" => Some((Value::Variable(name), false)),
            _ => None,
        };
    }
    let mut atoms = ATOMS.into_iter();
    let (_, value, is_number) = atoms.find(|(known, ..)| *known == name)?;
    Some((value, is_number))
}
