//! The response of another worker to a stream of HTTP/2, whatever its application has written.

use crate::input::{Input, splits};
use prefork_wire::http2::Connection;
use prefork_wire::{
    BadResponse, Expected, Field, Length, Limits, RequestContext, ResponsePart, ResponseReader,
};

const DATE: &[u8; 29] = b"Sun, 06 Nov 1994 08:49:37 GMT";

pub fn run(data: &[u8]) {
    let mut input = Input::new(data);
    let expected = input.one_of(&[Expected::Content, Expected::Nothing, Expected::WebSocket]);
    let choices = [(); 4].map(|()| input.byte());
    let bytes = input.rest();
    let whole = read(bytes, &[bytes.len()], expected);
    let parts = read(bytes, &splits(bytes, choices), expected);
    assert_eq!(whole.1, parts.1, "the same bytes in parts");
    let shared = whole.0.len().min(parts.0.len());
    assert_eq!(whole.0[..shared], parts.0[..shared]);
    if whole.1.is_ok() {
        assert_eq!(whole.0, parts.0);
    }
}

/// What was read, as one text, and whether it has ended.
fn read(bytes: &[u8], ends: &[usize], expected: Expected) -> (Vec<u8>, Result<bool, BadResponse>) {
    let mut reader = ResponseReader::new(expected);
    let (mut heard, mut at, mut ended) = (Vec::new(), 0, false);
    for &end in ends {
        loop {
            let input = &bytes[at..end];
            let (consumed, part) = match reader.read(input) {
                Ok(read) => read,
                Err(error) => return (heard, Err(error)),
            };
            assert!(consumed <= input.len());
            assert!(
                !ended || consumed == 0 && part.is_none(),
                "more after the end"
            );
            let is_over = consumed == 0 && part.is_none();
            if let Some(part) = part {
                ended |= matches!(part, ResponsePart::End { .. });
                note(&part, &input[..consumed], expected, &mut heard);
            }
            at += consumed;
            if is_over {
                break;
            }
        }
    }
    (heard, Ok(ended))
}

fn note(part: &ResponsePart, input: &[u8], expected: Expected, heard: &mut Vec<u8>) {
    let of = |field: &Field| (field.name.of(input), field.value.of(input));
    let (kind, fields) = match part {
        ResponsePart::Data(range) => {
            assert_ne!(expected, Expected::Nothing);
            return heard.extend_from_slice(&input[range.clone()]);
        }
        ResponsePart::Interim { status, fields } => {
            assert!((100..200).contains(status) && *status != 101);
            (*status, fields)
        }
        ResponsePart::Head { status, fields } => {
            assert!((200..1000).contains(status));
            (*status, fields)
        }
        ResponsePart::Switched { fields } => {
            assert_eq!(expected, Expected::WebSocket);
            (101, fields)
        }
        ResponsePart::End { trailers } => (0, trailers),
    };
    heard.extend_from_slice(format!("\n{kind}:").as_bytes());
    for (name, value) in fields.iter().map(of) {
        assert!(!name.is_empty());
        assert!(!value.iter().any(|byte| b"\r\n\0".contains(byte)));
        heard.extend_from_slice(format!("{name:?}={value:?};").as_bytes());
    }
    if let ResponsePart::Head { status, fields } = part {
        // What is read can be written as frames, unless two lengths differ, which were refused.
        let mut out = Vec::new();
        let mut connection = Connection::new(&mut out, 1, &Limits::default());
        let (context, fields) = (RequestContext::default(), fields.iter().map(of));
        let (status, length) = ((*status).into(), Length::Unknown);
        let written =
            connection.write_response(&mut out, 1, &context, status, fields, length, DATE);
        assert!(written.is_ok() || expected == Expected::Nothing || written.is_err_and(is_length));
    }
}

/// Of a response without content, a length is not read.
fn is_length(error: prefork_wire::LocalError) -> bool {
    matches!(error, prefork_wire::LocalError::ContentLength(_))
}
