//! The response of a hostile application: whatever it asks for, its client reads one
//! response, and the one that it was sent.

use crate::input::Input;
use prefork_wire::{
    BodyEncoder, Length, RequestContext, RequestKind, Status, Version, write_head, write_interim,
};

const DATE: &[u8; 29] = b"Sun, 06 Nov 1994 08:49:37 GMT";
const NAMES: [&[u8]; 9] = [
    b"Content-Length",
    b"Transfer-Encoding",
    b"Connection",
    b"Date",
    b"Trailer",
    b"Content-Type",
    b"Keep-Alive",
    b"Upgrade",
    b"X-Other",
];

pub fn run(data: &[u8]) {
    let mut input = Input::new(data);
    let request = RequestContext {
        version: input.one_of(&[Version::Http11, Version::Http10]),
        kind: input.one_of(&[RequestKind::Other, RequestKind::Head, RequestKind::Connect]),
        keep_alive: input.flag(),
    };
    let status = input.one_of(&[
        200, 204, 205, 206, 301, 304, 404, 500, 999, 100, 101, 0, 1000,
    ]);
    let reason = input.flag().then(|| input.bytes());
    let length = match input.flag() {
        true => Length::Known(input.below(40) as u64),
        false => Length::Unknown,
    };
    let parts = [(); 3].map(|()| input.bytes());
    let trailer = input.flag().then(|| field(&mut input));
    let mut fields = Vec::new();
    while !input.is_empty() && fields.len() < 20 {
        fields.push(field(&mut input));
    }

    let mut interim = b"before".to_vec();
    match write_interim(&mut interim, 103, fields.iter().copied()) {
        Ok(()) => {
            read_head(&interim[6..], 103);
        }
        Err(_) => assert_eq!(interim, b"before"),
    }
    let mut out = b"before".to_vec();
    let asked = Status {
        code: status,
        reason,
    };
    let Ok(framing) = write_head(&mut out, &request, asked, fields.into_iter(), length, DATE)
    else {
        assert_eq!(out, b"before", "a head that is refused has written nothing");
        return;
    };
    let mut encoder = framing.body;
    let mut sent = Vec::new();
    for part in parts {
        let encoded = encoder.encode(part.len());
        assert!(encoded.len <= part.len());
        if encoded.len > 0 {
            out.extend_from_slice(encoded.prefix.as_bytes());
            out.extend_from_slice(&part[..encoded.len]);
            out.extend_from_slice(encoded.suffix);
            sent.extend_from_slice(&part[..encoded.len]);
        }
    }
    if let Some(trailer) = trailer {
        let before = out.len();
        if encoder
            .write_trailers(&mut out, std::iter::once(trailer))
            .is_err()
        {
            assert_eq!(out.len(), before);
        }
    }
    let is_short = encoder.finish(&mut out).is_err();
    let (head, body) = read_head(&out[6..], status);
    assert!(body_of(&head, body, &request, status, framing.body, is_short) == sent);
    let closes = head
        .values("connection")
        .any(|value| value.contains("close"));
    let says_open = match request.version {
        Version::Http11 | Version::Http2 => !closes,
        Version::Http10 => head.values("connection").any(|value| value == "keep-alive"),
    };
    assert_eq!(says_open, framing.keep_alive);
    assert!(request.keep_alive || !framing.keep_alive);
    if framing.body == BodyEncoder::Close {
        assert!(!framing.keep_alive, "its end is that of the connection");
    }
}

fn field<'a>(input: &mut Input<'a>) -> (&'a [u8], &'a [u8]) {
    let choice = usize::from(input.byte());
    let name = NAMES.get(choice).copied().unwrap_or_else(|| input.bytes());
    (name, input.bytes())
}

struct ReadHead(Vec<(String, String)>);

impl ReadHead {
    fn values(&self, name: &str) -> impl Iterator<Item = &str> {
        let found = self.0.iter().filter(move |(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }
}

/// Reads a head as a strict client does. Returns what follows it too.
fn read_head(bytes: &[u8], status: u16) -> (ReadHead, &[u8]) {
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n");
    let (head, body) = bytes.split_at(end.expect("an empty line") + 4);
    let mut lines = Vec::new();
    let mut rest = &head[..head.len() - 2];
    while let Some(end) = rest.windows(2).position(|pair| pair == b"\r\n") {
        let line = &rest[..end];
        assert!(!line.iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0)));
        lines.push(line);
        rest = &rest[end + 2..];
    }
    let start = format!("HTTP/1.1 {status} ");
    assert!(lines[0].starts_with(start.as_bytes()));
    let field = |line: &&[u8]| {
        let colon = line.iter().position(|&byte| byte == b':').expect("a colon");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).to_ascii_lowercase();
        assert!(colon > 0 && !line[..colon].contains(&b' '));
        let value = text(&line[colon + 1..]);
        (text(&line[..colon]), value.trim().to_owned())
    };
    (ReadHead(lines[1..].iter().map(field).collect()), body)
}

/// The body that a client reads, by the head and what it knows of its request (RFC 9112,
/// section 6.3).
fn body_of(
    head: &ReadHead,
    body: &[u8],
    request: &RequestContext,
    status: u16,
    encoder: BodyEncoder,
    is_short: bool,
) -> Vec<u8> {
    let lengths: Vec<&str> = head.values("content-length").collect();
    let codings: Vec<&str> = head.values("transfer-encoding").collect();
    assert!(lengths.len() + codings.len() <= 1);
    let is_tunnel = request.kind == RequestKind::Connect && (200..300).contains(&status);
    let has_none = request.kind == RequestKind::Head || matches!(status, 204 | 304);
    match (&lengths[..], &codings[..]) {
        ([], []) if is_tunnel => body.to_vec(),
        _ if is_tunnel => panic!("a tunnel with a length"),
        _ if has_none => {
            assert!(body.is_empty() && codings.is_empty());
            Vec::new()
        }
        ([length], _) => {
            let length: usize = length.parse().expect("a number");
            assert_eq!(body.len() < length, is_short);
            assert!(body.len() <= length, "more than it says");
            body.to_vec()
        }
        (_, ["chunked"]) => {
            assert_eq!(request.version, Version::Http11);
            unchunk(body)
        }
        (_, codings) => {
            assert!(codings.is_empty());
            assert_eq!(encoder, BodyEncoder::Close);
            body.to_vec()
        }
    }
}

/// The data of a chunked body, which must end where `bytes` do.
fn unchunk(mut bytes: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    loop {
        let size = take_line(&mut bytes);
        let text = std::str::from_utf8(size).expect("a size");
        let size = usize::from_str_radix(text, 16).expect("a size");
        if size == 0 {
            break;
        }
        let (data, rest) = bytes.split_at(size);
        body.extend_from_slice(data);
        bytes = rest.strip_prefix(b"\r\n").expect("the end of a chunk");
    }
    while !take_line(&mut bytes).is_empty() {}
    assert!(bytes.is_empty());
    body
}

fn take_line<'a>(bytes: &mut &'a [u8]) -> &'a [u8] {
    let end = bytes.windows(2).position(|pair| pair == b"\r\n");
    let (line, rest) = bytes.split_at(end.expect("the end of a line"));
    *bytes = &rest[2..];
    line
}
