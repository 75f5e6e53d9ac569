//! The frames of a client of HTTP/2, and the header blocks in them.

use crate::input::{Input, splits};
use prefork_wire::http2::{Connection, Fault, Incoming};
use prefork_wire::{Head, HeadParser, Length, Limits, RequestContext};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
const MAX_STREAMS: u32 = 4;
const DATE: &[u8; 29] = b"Sun, 06 Nov 1994 08:49:37 GMT";

pub fn run(data: &[u8]) {
    let mut input = Input::new(data);
    let responds = input.flag();
    let has_preface = input.flag();
    let choices = [(); 4].map(|()| input.byte());
    let start = if has_preface { PREFACE } else { b"" };
    let bytes = [start, input.rest()].concat();
    let whole = read(&bytes, &[bytes.len()], responds);
    let parts = read(&bytes, &splits(&bytes, choices), responds);
    assert!(whole == parts, "the same bytes in parts");
}

/// What was read, what was written, and why it ended.
type Heard = (Vec<String>, Vec<u8>, Option<Fault>);

fn read(bytes: &[u8], ends: &[usize], responds: bool) -> Heard {
    let limits = Limits {
        max_body: 100_000,
        ..Limits::default()
    };
    let (mut heard, mut out, mut at) = (Vec::new(), Vec::new(), 0);
    let mut connection = Connection::new(&mut out, MAX_STREAMS, &limits);
    for &end in ends {
        loop {
            let input = &bytes[at..end];
            let read = match connection.read(input, &mut out, &limits, 0) {
                Ok(read) => read,
                Err(fault) => return (heard, out, Some(fault)),
            };
            assert!(read.consumed <= input.len());
            assert!(connection.open_streams() <= MAX_STREAMS as usize);
            at += read.consumed;
            if read.incoming.is_none() && read.consumed == 0 {
                break;
            }
            if let Some(incoming) = read.incoming {
                heard.push(line(&incoming, input, &limits));
                if responds {
                    respond(&mut connection, &mut out, &incoming);
                }
            }
        }
    }
    (heard, out, None)
}

/// One line that says all of it.
pub(super) fn line(incoming: &Incoming, input: &[u8], limits: &Limits) -> String {
    match incoming {
        Incoming::Request {
            stream,
            bytes,
            head,
            ended,
        } => {
            assert!(head.fields.len() <= limits.fields + 1);
            for field in &head.fields {
                let (name, value) = (field.name.of(bytes), field.value.of(bytes));
                assert!(!name.is_empty() && !name.iter().any(u8::is_ascii_uppercase));
                assert!(!value.iter().any(|byte| b"\r\n\0".contains(byte)));
            }
            assert!(!head.method.of(bytes).is_empty() && !head.target.of(bytes).is_empty());
            assert!(head.host.is_some());
            check_lent(bytes, head, limits);
            format!("request {stream} {bytes:?} {head:?} {ended}")
        }
        Incoming::Data {
            stream,
            data,
            ended,
        } => format!("data {stream} {:?} {ended}", &input[data.clone()]),
        other => format!("{other:?}"),
    }
}

/// In the form of HTTP/1, for another worker, it is the same request.
fn check_lent(bytes: &[u8], head: &Head, limits: &Limits) {
    if !head.may_be_lent() {
        return;
    }
    let mut written = Vec::new();
    head.write_lent(bytes, &mut written);
    let parsed = HeadParser::default().parse_lent(&written, limits);
    let (mut restored, consumed) = parsed.expect("a head").expect("a whole head");
    assert_eq!(consumed, written.len());
    restored.restore_lent(&mut written);
    let of = |head: &Head, bytes: &[u8]| {
        let fields = head.fields.iter();
        let fields =
            fields.map(|field| [field.name, field.value].map(|span| span.of(bytes).to_vec()));
        let places = [head.method, head.target, head.path].map(|span| span.of(bytes).to_vec());
        let flags = [head.websocket, head.expect_continue, head.forwarded];
        (
            fields.collect::<Vec<_>>(),
            places,
            flags,
            head.framing,
            head.version,
        )
    };
    assert_eq!(of(&restored, &written), of(head, bytes));
}

fn respond(connection: &mut Connection, out: &mut Vec<u8>, incoming: &Incoming) {
    match incoming {
        Incoming::Request { stream, .. } | Incoming::Refused { stream, .. } => {
            let context = RequestContext::default();
            let headers = [(&b"Server"[..], &b"x"[..])].into_iter();
            let length = Length::Known(9);
            let written = connection.write_response(
                out,
                *stream,
                &context,
                200.into(),
                headers,
                length,
                DATE,
            );
            assert!(written.is_ok());
        }
        Incoming::Data { stream, data, .. } => {
            connection.give_back(*stream, data.len(), out);
        }
        _ => {}
    }
}
