//! A line as an object of JSON (RFC 8259). Its names are always the same; what is not known is null.

use super::entry::{Asked, Entry, Here};
use super::escape;
use super::values::{address, number, seconds, status};

struct Object<'a> {
    out: &'a mut Vec<u8>,
    most: usize,
}

impl Object<'_> {
    fn name(&mut self, name: &str) {
        let separator: &[u8] = match self.out.last() {
            Some(b'{') => b"\"",
            _ => b",\"",
        };
        self.out.extend_from_slice(separator);
        self.out.extend_from_slice(name.as_bytes());
        self.out.extend_from_slice(b"\":");
    }

    fn text(&mut self, name: &str, text: Option<&[u8]>) {
        self.name(name);
        match text {
            Some(text) => escape::json(text, self.most, self.out),
            None => self.null(),
        }
    }

    /// A text of ours, in which nothing is to be escaped.
    fn word(&mut self, name: &str, word: &str) {
        self.name(name);
        match word {
            "" => self.null(),
            word => {
                self.out.push(b'"');
                self.out.extend_from_slice(word.as_bytes());
                self.out.push(b'"');
            }
        }
    }

    fn number(&mut self, name: &str, value: Option<u64>) {
        self.name(name);
        match value {
            Some(value) => number(value, self.out),
            None => self.null(),
        }
    }

    fn seconds(&mut self, name: &str, us: Option<u64>) {
        self.name(name);
        match us {
            Some(us) => seconds(us, self.out),
            None => self.null(),
        }
    }

    fn null(&mut self) {
        self.out.extend_from_slice(b"null");
    }
}

/// Writes the object of a response. No more than `most` bytes of each text are shown.
pub(super) fn write(entry: &Entry<'_>, here: &Here<'_>, most: usize, out: &mut Vec<u8>) {
    let moment = here.moment;
    out.extend_from_slice(b"{\"time\":\"");
    out.extend_from_slice(moment.date.as_bytes());
    out.push(b'.');
    for digit in [
        moment.millis / 100 % 10,
        moment.millis / 10 % 10,
        moment.millis % 10,
    ] {
        out.push(b'0' + digit as u8);
    }
    out.extend_from_slice(moment.zone.as_bytes());
    out.extend_from_slice(b"\",\"client\":\"");
    address(entry.client, out);
    out.push(b'"');
    let mut object = Object { out, most };
    let fields = entry.fields;
    object.text("user", entry.user().as_deref());
    match entry.asked {
        Asked::Request {
            method,
            path,
            query,
            protocol,
            ..
        } => {
            object.text("method", Some(method));
            object.text("path", Some(path));
            object.text("query", query);
            object.word("protocol", protocol);
        }
        Asked::Unread(line) => {
            object.text("method", None);
            object.text("path", None);
            object.text("query", None);
            object.word("protocol", "");
            object.text("line", line);
        }
    }
    object.word("scheme", entry.scheme);
    object.word("tls", entry.tls.unwrap_or_default());
    object.text("host", fields.of_request(b"host"));
    object.number("status", Some(status(entry).into()));
    object.number("bytes_in", Some(entry.received));
    object.number("bytes_out", Some(entry.sent.unwrap_or(0)));
    object.seconds("duration_s", entry.duration_us(here));
    object.seconds("wait_s", entry.wait_us());
    object.text("referer", fields.of_request(b"referer"));
    object.text("user_agent", fields.of_request(b"user-agent"));
    object.number("pid", Some(here.pid.into()));
    object.number("worker", here.worker.map(u64::from));
    object.text("request_id", entry.request_id);
    object.text("trace_id", entry.trace_id);
    object.out.push(b'}');
}
