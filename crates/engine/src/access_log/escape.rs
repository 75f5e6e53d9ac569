//! How a text is shown that a client has sent: none of it ends a line or a field, or controls a terminal.
//!
//! Always holds: what is written is printable ASCII, whatever bytes came.

/// Put behind a text of which only the beginning is shown.
const CUT: &str = "...";

/// What is shown of `text`, if no more than `most` bytes of it are.
fn beginning(text: &[u8], most: usize) -> (&[u8], &'static str) {
    match text.get(..most) {
        Some(beginning) if most < text.len() => (beginning, CUT),
        _ => (text, ""),
    }
}

fn is_plain(byte: u8) -> bool {
    matches!(byte, b' '..=b'~') && byte != b'"' && byte != b'\\'
}

/// As in the log of Apache: `\"`, `\\`, `\n`, `\x1b`.
pub(super) fn text(text: &[u8], most: usize, out: &mut Vec<u8>) {
    let (mut rest, end) = beginning(text, most);
    while let Some(at) = rest.iter().position(|&byte| !is_plain(byte)) {
        let (plain, special) = rest.split_at(at);
        out.extend_from_slice(plain);
        if let Some((&byte, behind)) = special.split_first() {
            escape_byte(byte, out);
            rest = behind;
        }
    }
    out.extend_from_slice(rest);
    out.extend_from_slice(end.as_bytes());
}

/// As [`text`], for a text that stands without quotes.
pub(super) fn word(text: &[u8], most: usize, out: &mut Vec<u8>) {
    let (text, end) = beginning(text, most);
    for &byte in text {
        match byte {
            b' ' => hex(byte, out),
            _ if is_plain(byte) => out.push(byte),
            _ => escape_byte(byte, out),
        }
    }
    out.extend_from_slice(end.as_bytes());
}

fn escape_byte(byte: u8, out: &mut Vec<u8>) {
    match byte {
        b'"' => out.extend_from_slice(b"\\\""),
        b'\\' => out.extend_from_slice(b"\\\\"),
        b'\n' => out.extend_from_slice(b"\\n"),
        b'\r' => out.extend_from_slice(b"\\r"),
        b'\t' => out.extend_from_slice(b"\\t"),
        byte => hex(byte, out),
    }
}

fn hex(byte: u8, out: &mut Vec<u8>) {
    out.extend_from_slice(b"\\x");
    digits(u16::from(byte), 2, out);
}

fn digits(number: u16, count: u32, out: &mut Vec<u8>) {
    for place in (0..count).rev() {
        let digit = (number >> (4 * place) & 15) as u8;
        out.push(if digit < 10 {
            b'0' + digit
        } else {
            b'a' + digit - 10
        });
    }
}

/// A string of JSON (RFC 8259, section 7), with its quotes. A byte that is not UTF-8 is shown as `\xff`,
/// in four characters.
pub(super) fn json(text: &[u8], most: usize, out: &mut Vec<u8>) {
    let (text, end) = beginning(text, most);
    out.push(b'"');
    if text.iter().all(|&byte| is_plain(byte)) {
        out.extend_from_slice(text); // nearly always
    } else {
        for chunk in text.utf8_chunks() {
            chunk.valid().chars().for_each(|char| json_char(char, out));
            for &byte in chunk.invalid() {
                out.push(b'\\');
                hex(byte, out);
            }
        }
    }
    out.extend_from_slice(end.as_bytes());
    out.push(b'"');
}

fn json_char(char: char, out: &mut Vec<u8>) {
    match char {
        '"' => out.extend_from_slice(b"\\\""),
        '\\' => out.extend_from_slice(b"\\\\"),
        '\n' => out.extend_from_slice(b"\\n"),
        '\r' => out.extend_from_slice(b"\\r"),
        '\t' => out.extend_from_slice(b"\\t"),
        ' '..='~' => out.push(char as u8),
        char => {
            for unit in char.encode_utf16(&mut [0; 2]) {
                out.extend_from_slice(b"\\u");
                digits(*unit, 4, out);
            }
        }
    }
}
