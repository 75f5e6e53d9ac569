//! Heads of requests, one after another.

use crate::input::{Input, splits};
use prefork_wire::{Framing, Head, HeadParser, Limits, RemoteError, Underscore, Version};

pub fn run(data: &[u8]) {
    let mut input = Input::new(data);
    let choice = input.byte();
    let limits = limits(choice);
    let choices = [(); 4].map(|()| input.byte());
    let mut rest = input.rest();
    // A fixed number of heads: an input of many empty lines would only take time.
    for _ in 0..8 {
        let whole = HeadParser::default().parse(rest, &limits);
        let parts = parse_in_parts(rest, &limits, choices);
        assert_eq!(whole, parts, "the same bytes in parts");
        let _ = HeadParser::request_line(rest, &limits);
        let Ok(Some((head, consumed))) = whole else {
            return;
        };
        assert!(0 < consumed && consumed <= rest.len());
        check(&head, &rest[..consumed]);
        rest = &rest[consumed..];
    }
}

fn limits(choice: u8) -> Limits {
    match choice & 3 {
        0 => Limits {
            line: 64,
            head: 256,
            fields: 6,
            ..Limits::default()
        },
        1 => Limits {
            underscore: Underscore::Reject,
            ..Limits::default()
        },
        _ => Limits::default(),
    }
}

fn parse_in_parts(
    bytes: &[u8],
    limits: &Limits,
    choices: [u8; 4],
) -> Result<Option<(Head, usize)>, RemoteError> {
    let mut parser = HeadParser::default();
    for end in splits(bytes, choices) {
        if let Some(found) = parser.parse(&bytes[..end], limits)? {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

/// A head that was accepted leaves no room for another reading.
fn check(head: &Head, bytes: &[u8]) {
    let text = bytes.strip_prefix(b"\r\n").unwrap_or(bytes);
    assert!(text.ends_with(b"\r\n"));
    let mut lines = text.split(|&byte| byte == b'\n');
    let lines_end_well = lines.all(|line| {
        let line = line.strip_suffix(b"\r");
        line.is_none_or(|line| !line.iter().any(|&byte| byte == b'\r' || byte == 0))
    });
    assert!(lines_end_well);
    let bare = text
        .windows(2)
        .any(|pair| pair[1] == b'\n' && pair[0] != b'\r');
    assert!(!bare && text[0] != b'\n');
    let end = text.windows(4).position(|four| four == b"\r\n\r\n");
    assert_eq!(
        end,
        Some(text.len() - 4),
        "the head ends at the first empty line"
    );

    assert!(!head.method.of(bytes).is_empty());
    assert!(head.method.of(bytes).iter().all(|&byte| is_token(byte)));
    assert!(
        head.target
            .of(bytes)
            .iter()
            .all(|byte| byte.is_ascii_graphic())
    );
    let mut lengths = Vec::new();
    let mut codings = 0;
    for field in &head.fields {
        let (name, value) = (field.name.of(bytes), field.value.of(bytes));
        assert!(!name.is_empty() && name.iter().all(|&byte| is_token(byte)));
        assert!(!name.contains(&b'_'));
        assert!(!value.iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0)));
        if name.eq_ignore_ascii_case(b"content-length") {
            lengths.push(value);
        }
        codings += usize::from(name.eq_ignore_ascii_case(b"transfer-encoding"));
    }
    match head.framing {
        Framing::None => assert!(lengths.is_empty() && codings == 0),
        Framing::Chunked => assert!(lengths.is_empty() && codings == 1),
        Framing::Length(length) => {
            let [value] = lengths[..] else {
                panic!("{} Content-Length fields", lengths.len());
            };
            let text = std::str::from_utf8(value).unwrap_or_default();
            assert!(codings == 0 && text.bytes().all(|byte| byte.is_ascii_digit()));
            assert_eq!(text.parse(), Ok(length));
        }
    }
    assert!(head.host.is_some() || head.version == Version::Http10);
    assert!(!head.expect_continue || head.framing != Framing::None);
    assert!(!head.websocket || head.framing == Framing::None);
}

fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}
