//! A line as an object of JSON (RFC 8259). Its names are always the same; what is not known is null.

use super::entry::{Asked, Entry, Here};
use super::escape;
use super::values::{address, number, seconds, status};

/// A member behind the first one. What is constant of it is written at once.
macro_rules! member {
    ($out:ident, $name:literal, $value:expr, $write:expr) => {
        member!($out, $name, "", $value, $write)
    };
    ($out:ident, $name:literal, $begin:literal, $value:expr, $write:expr) => {
        match $value {
            Some(value) => {
                $out.extend_from_slice(concat!(",\"", $name, "\":", $begin).as_bytes());
                $write(value, $out);
            }
            None => $out.extend_from_slice(concat!(",\"", $name, "\":null").as_bytes()),
        }
    };
}

/// One whose value is a string, of which `$write` writes what is between the quotes.
macro_rules! string {
    ($out:ident, $name:literal, $value:expr, $write:expr) => {
        member!($out, $name, "\"", $value, |value, out: &mut Vec<u8>| {
            $write(value, out);
            out.push(b'"');
        })
    };
}

/// Writes the object of a response. No more than `most` bytes of each text are shown.
pub(super) fn write(entry: &Entry<'_>, here: &Here<'_>, most: usize, out: &mut Vec<u8>) {
    let text = |text: &[u8], out: &mut _| escape::json(text, most, out);
    let fields = entry.fields;
    out.extend_from_slice(b"{\"time\":\"");
    here.moment.rfc3339(out);
    out.extend_from_slice(b"\",\"client\":\"");
    address(entry.client, out);
    out.push(b'"');
    string!(out, "user", entry.user().as_deref(), text);
    match entry.asked {
        Asked::Request {
            method,
            path,
            query,
            protocol,
            ..
        } => {
            string!(out, "method", Some(method), text);
            string!(out, "path", Some(path), text);
            string!(out, "query", query, text);
            string!(out, "protocol", Some(protocol), word);
        }
        Asked::Unread(line) => {
            let nulls = br#","method":null,"path":null,"query":null,"protocol":null"#;
            out.extend_from_slice(nulls);
            string!(out, "line", line, text);
        }
    }
    string!(out, "scheme", Some(entry.scheme), word);
    string!(out, "tls", entry.tls, word);
    string!(out, "host", fields.of_request(b"host"), text);
    member!(out, "status", Some(status(entry).into()), number);
    member!(out, "bytes_in", Some(entry.received), number);
    member!(out, "bytes_out", Some(entry.sent.unwrap_or(0)), number);
    member!(out, "duration_s", entry.duration_us(), seconds);
    member!(out, "wait_s", entry.wait_us(), seconds);
    string!(out, "referer", fields.of_request(b"referer"), text);
    string!(out, "user_agent", fields.of_request(b"user-agent"), text);
    member!(out, "pid", Some(here.pid.into()), number);
    member!(out, "worker", here.worker.map(u64::from), number);
    string!(out, "request_id", entry.request_id, text);
    string!(out, "trace_id", fields.trace_id(), text);
    out.extend_from_slice(b"}\n");
}

/// A text of ours, in which nothing is to be escaped.
fn word(word: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(word.as_bytes());
}
