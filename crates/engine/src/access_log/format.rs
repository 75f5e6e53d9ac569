//! The format of a line: `common`, `combined`, `json`, or a text with atoms such as `%(h)s`.
//!
//! Always holds: a format is read once, and an atom that does not exist is found then. The atoms of one
//! character, and those in braces, are gunicorn's; the longer ones are of this server.

use super::entry::{Asked, Entry, Here};
use super::values::{address, number, seconds, status};
use super::{escape, json};

const COMMON: &str = r#"%(h)s %(l)s %(u)s %(t)s "%(r)s" %(s)s %(b)s"#;
const COMBINED: &str = r#"%(h)s %(l)s %(u)s %(t)s "%(r)s" %(s)s %(b)s "%(f)s" "%(a)s""#;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Atom {
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
    Referer,
    Agent,
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
}

/// The names of the atoms, and whether their value is a number, which `%(...)d` may be written for too.
const ATOMS: [(&str, Atom, bool); 29] = [
    ("h", Atom::Client, false),
    ("l", Atom::Nothing, false),
    ("u", Atom::User, false),
    ("t", Atom::Time, false),
    ("r", Atom::RequestLine, false),
    ("m", Atom::Method, false),
    ("U", Atom::Path, false),
    ("q", Atom::Query, false),
    ("H", Atom::Protocol, false),
    ("s", Atom::Status, true),
    ("B", Atom::Bytes, true),
    ("b", Atom::BytesOrDash, false),
    ("f", Atom::Referer, false),
    ("a", Atom::Agent, false),
    ("T", Atom::Seconds, true),
    ("D", Atom::Micros, true),
    ("M", Atom::Millis, true),
    ("L", Atom::DecimalSeconds, false),
    ("p", Atom::Pid, false),
    ("wait", Atom::Wait, false),
    ("worker", Atom::Worker, false),
    ("bytes_in", Atom::BytesIn, true),
    ("bytes_out", Atom::Bytes, true),
    ("protocol", Atom::Protocol, false),
    ("scheme", Atom::Scheme, false),
    ("tls", Atom::Tls, false),
    ("duration", Atom::DecimalSeconds, false),
    ("request_id", Atom::RequestId, false),
    ("trace_id", Atom::TraceId, false),
];

#[derive(Debug, PartialEq, Eq)]
enum Part {
    Text(Box<[u8]>),
    Atom(Atom),
    /// The names are in lower case.
    OfRequest(Box<[u8]>),
    OfResponse(Box<[u8]>),
    Variable(Box<[u8]>),
}

/// The format of a log.
#[derive(Debug, PartialEq, Eq)]
pub struct Format(Kind);

#[derive(Debug, PartialEq, Eq)]
enum Kind {
    Json,
    Parts(Vec<Part>),
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
        match text {
            "json" => Ok(Format(Kind::Json)),
            "common" => parts(COMMON).map(|parts| Format(Kind::Parts(parts))),
            "combined" => parts(COMBINED).map(|parts| Format(Kind::Parts(parts))),
            text => {
                let parts = parts(text)?;
                match parts.iter().all(|part| matches!(part, Part::Text(_))) {
                    true => Err(FormatError::Constant),
                    false => Ok(Format(Kind::Parts(parts))),
                }
            }
        }
    }

    /// The names of the atoms, without those of fields and variables.
    pub fn atoms() -> impl ExactSizeIterator<Item = &'static str> {
        ATOMS.iter().map(|(name, ..)| *name)
    }

    /// Whether it has a variable of the environ.
    pub fn has_variables(&self) -> bool {
        match &self.0 {
            Kind::Json => false,
            Kind::Parts(parts) => parts.iter().any(|part| matches!(part, Part::Variable(_))),
        }
    }

    /// The names of the variables of the environ that it has, in lower case.
    pub fn variables(&self) -> impl Iterator<Item = &[u8]> {
        let parts = match &self.0 {
            Kind::Json => &[],
            Kind::Parts(parts) => parts.as_slice(),
        };
        parts.iter().filter_map(|part| match part {
            Part::Variable(name) => Some(&**name),
            _ => None,
        })
    }

    /// Appends a line, without its end. No more than `most` bytes of each text of a client are shown.
    pub(crate) fn write(&self, entry: &Entry<'_>, here: &Here<'_>, most: usize, out: &mut Vec<u8>) {
        match &self.0 {
            Kind::Json => json::write(entry, here, most, out),
            Kind::Parts(parts) => {
                for part in parts {
                    write_part(part, entry, here, most, out);
                }
            }
        }
    }
}

fn write_part(part: &Part, entry: &Entry<'_>, here: &Here<'_>, most: usize, out: &mut Vec<u8>) {
    let mut text = |text: Option<&[u8]>| match text {
        Some(text) => escape::text(text, most, out),
        None => out.push(b'-'),
    };
    match part {
        Part::Text(text) => out.extend_from_slice(text),
        Part::Atom(atom) => write_atom(*atom, entry, here, most, out),
        Part::OfRequest(name) => text(entry.fields.of_request(name)),
        Part::OfResponse(name) => text(entry.fields.of_response(name)),
        Part::Variable(name) => text(entry.fields.variable(name).as_deref()),
    }
}

fn write_atom(atom: Atom, entry: &Entry<'_>, here: &Here<'_>, most: usize, out: &mut Vec<u8>) {
    let asked = &entry.asked;
    match atom {
        Atom::Client => address(entry.client, out),
        Atom::Nothing => out.push(b'-'),
        Atom::User => match entry.user() {
            Some(user) => escape::word(&user, most, out),
            None => out.push(b'-'),
        },
        Atom::Time => {
            out.push(b'[');
            out.extend_from_slice(here.moment.common.as_bytes());
            out.push(b']');
        }
        Atom::RequestLine => write_request_line(asked, most, out),
        Atom::Method | Atom::Path | Atom::Query => {
            let text = match (atom, asked) {
                (_, Asked::Unread(_)) => Some(&b"-"[..]),
                (Atom::Method, Asked::Request { method, .. }) => Some(*method),
                (Atom::Path, Asked::Request { path, .. }) => Some(*path),
                (_, Asked::Request { query, .. }) => *query,
            };
            escape::text(text.unwrap_or_default(), most, out);
        }
        Atom::Protocol => word(asked.protocol(), out),
        Atom::Status => number(status(entry).into(), out),
        Atom::Bytes => number(entry.sent.unwrap_or(0), out),
        Atom::BytesOrDash => match entry.sent {
            Some(sent @ 1..) => number(sent, out),
            _ => out.push(b'-'),
        },
        Atom::Referer => field(entry, b"referer", most, out),
        Atom::Agent => field(entry, b"user-agent", most, out),
        Atom::Seconds => number(entry.duration_us(here).unwrap_or(0) / 1_000_000, out),
        Atom::Micros => number(entry.duration_us(here).unwrap_or(0), out),
        Atom::Millis => number(entry.duration_us(here).unwrap_or(0) / 1000, out),
        Atom::DecimalSeconds => seconds(entry.duration_us(here).unwrap_or(0), out),
        Atom::Pid => {
            out.push(b'<');
            number(here.pid.into(), out);
            out.push(b'>');
        }
        Atom::Wait => match entry.wait_us() {
            Some(us) => seconds(us, out),
            None => out.push(b'-'),
        },
        Atom::Worker => match here.worker {
            Some(worker) => number(worker.into(), out),
            None => out.push(b'-'),
        },
        Atom::BytesIn => number(entry.received, out),
        Atom::Scheme => word(entry.scheme, out),
        Atom::RequestId | Atom::TraceId => {
            let id = match atom {
                Atom::RequestId => entry.request_id,
                _ => entry.trace_id,
            };
            escape::word(id.unwrap_or(b"-"), most, out);
        }
        Atom::Tls => word(entry.tls.unwrap_or_default(), out),
    }
}

fn write_request_line(asked: &Asked<'_>, most: usize, out: &mut Vec<u8>) {
    match asked {
        Asked::Unread(None) => out.push(b'-'),
        Asked::Unread(Some(line)) => escape::text(line, most, out),
        Asked::Request {
            method,
            target,
            protocol,
            ..
        } => {
            escape::text(method, most, out);
            out.push(b' ');
            escape::text(target, most, out);
            out.push(b' ');
            word(protocol, out);
        }
    }
}

fn field(entry: &Entry<'_>, name: &[u8], most: usize, out: &mut Vec<u8>) {
    match entry.fields.of_request(name) {
        Some(value) => escape::text(value, most, out),
        None => out.push(b'-'),
    }
}

/// A word of ours, or a dash.
fn word(word: &str, out: &mut Vec<u8>) {
    let word = if word.is_empty() { "-" } else { word };
    out.extend_from_slice(word.as_bytes());
}

// ---- reading a format --------------------------------------------------------------

fn parts(text: &str) -> Result<Vec<Part>, FormatError> {
    let mut parts = Vec::new();
    let mut constant = Vec::new();
    let mut rest = text;
    while let Some((before, behind)) = rest.split_once('%') {
        add_constant(before, &mut constant);
        if let Some(behind) = behind.strip_prefix('%') {
            constant.push(b'%');
            rest = behind;
            continue;
        }
        let (part, behind) = atom(behind)?;
        if !constant.is_empty() {
            parts.push(Part::Text(std::mem::take(&mut constant).into()));
        }
        parts.push(part);
        rest = behind;
    }
    add_constant(rest, &mut constant);
    if !constant.is_empty() {
        parts.push(Part::Text(constant.into()));
    }
    Ok(parts)
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
fn atom(text: &str) -> Result<(Part, &str), FormatError> {
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
    let part = part_of(name).ok_or_else(|| FormatError::Unknown(name.to_owned()))?;
    let is_number = ATOMS
        .iter()
        .any(|(known, _, is_number)| *known == name && *is_number);
    match conversion == 's' || is_number {
        true => Ok((part, behind)),
        false => Err(no_atom()),
    }
}

fn part_of(name: &str) -> Option<Part> {
    if let Some(name) = name.strip_prefix('{') {
        let (name, kind) = name.split_once('}')?;
        let name: Box<[u8]> = name.to_ascii_lowercase().into_bytes().into();
        return match kind {
            _ if name.is_empty() => None,
            "i" => Some(Part::OfRequest(name)),
            "o" => Some(Part::OfResponse(name)),
            "e" => Some(Part::Variable(name)),
            _ => None,
        };
    }
    let mut atoms = ATOMS.iter();
    let (_, atom, _) = atoms.find(|(known, ..)| *known == name)?;
    Some(Part::Atom(*atom))
}
