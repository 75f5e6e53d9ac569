//! A chunked body, and what follows it.

use crate::input::{Input, splits};
use prefork_wire::{BodyDecoder, Framing, Limits, RemoteError};

pub fn run(data: &[u8]) {
    let mut input = Input::new(data);
    let limits = Limits {
        max_body: [8, 1 << 30][usize::from(input.flag())],
        chunk_line: [16, 4096][usize::from(input.flag())],
        ..Limits::default()
    };
    let choices = [(); 4].map(|()| input.byte());
    let bytes = input.rest();
    let whole = decode(bytes, &[bytes.len()], &limits);
    let parts = decode(bytes, &splits(bytes, choices), &limits);
    assert_eq!(whole.result, parts.result, "the same bytes in parts");
    // What comes before an error may be given out or not, as it is split.
    let shared = whole.body.len().min(parts.body.len());
    assert_eq!(whole.body[..shared], parts.body[..shared]);
    if let Ok(Some(end)) = whole.result {
        assert_eq!(whole.body, parts.body);
        assert!(whole.body.len() as u64 <= limits.max_body);
        assert_eq!(read_plainly(&bytes[..end]), Some(whole.body));
    }
}

struct Outcome {
    body: Vec<u8>,
    /// Where the body ends, if it does.
    result: Result<Option<usize>, RemoteError>,
}

fn decode(bytes: &[u8], ends: &[usize], limits: &Limits) -> Outcome {
    let mut decoder = BodyDecoder::new(Framing::Chunked).expect("a body");
    let (mut body, mut at) = (Vec::new(), 0);
    for &end in ends {
        loop {
            let input = &bytes[at..end];
            let decoded = match decoder.decode(input, limits) {
                Ok(decoded) => decoded,
                Err(error) => {
                    let result = Err(error);
                    return Outcome { body, result };
                }
            };
            assert!(decoded.data.end <= decoded.consumed && decoded.consumed <= input.len());
            body.extend_from_slice(&input[decoded.data.clone()]);
            at += decoded.consumed;
            if decoded.done {
                let result = Ok(Some(at));
                return Outcome { body, result };
            }
            if decoded.consumed == 0 {
                break;
            }
        }
    }
    let result = Ok(None);
    Outcome { body, result }
}

/// A body that was accepted, as the grammar has it (RFC 9112, section 7.1). `None`: it is
/// not one, or something follows it.
fn read_plainly(mut bytes: &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let line = take_line(&mut bytes)?;
        let size = line.split(|&byte| byte == b';').next()?;
        let size = std::str::from_utf8(size)
            .ok()?
            .trim_end_matches([' ', '\t']);
        if !size.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        let size = usize::from_str_radix(size, 16).ok()?;
        if size == 0 {
            break;
        }
        body.extend_from_slice(bytes.get(..size)?);
        bytes = bytes.get(size..)?.strip_prefix(b"\r\n")?;
    }
    while !take_line(&mut bytes)?.is_empty() {}
    bytes.is_empty().then_some(body)
}

fn take_line<'a>(bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
    let end = bytes.windows(2).position(|pair| pair == b"\r\n")?;
    let line = &bytes[..end];
    *bytes = &bytes[end + 2..];
    Some(line)
}
