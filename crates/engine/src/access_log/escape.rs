//! How a text is shown that a client has sent: none of it ends a line or a field, or controls a terminal.
//!
//! Always holds: what is written is printable ASCII, whatever bytes came.

/// Put behind a text of which only the beginning is shown.
const CUT: &[u8] = b"...";

/// What is shown of `text`, if no more than `most` bytes of it are, and whether that is not all.
fn beginning(text: &[u8], most: usize) -> (&[u8], bool) {
    match text.get(..most) {
        Some(beginning) if most < text.len() => (beginning, true),
        _ => (text, false),
    }
}

fn is_plain(byte: u8) -> bool {
    matches!(byte, b' '..=b'~') && byte != b'"' && byte != b'\\'
}

/// Whether there is nothing to escape, as nearly always. It does not stop at the first byte that is not
/// plain, so that the compiler can compare many bytes at once.
fn are_plain(text: &[u8]) -> bool {
    text.iter().fold(true, |all, &byte| all & is_plain(byte))
}

/// As in the log of Apache: `\"`, `\\`, `\n`, `\x1b`.
pub(super) fn text(text: &[u8], most: usize, out: &mut Vec<u8>) {
    let (text, is_cut) = beginning(text, most);
    match are_plain(text) {
        true => out.extend_from_slice(text),
        false => text.iter().for_each(|&byte| escape_byte(byte, out)),
    }
    if is_cut {
        out.extend_from_slice(CUT);
    }
}

/// As [`text`], for a text that stands without quotes.
pub(super) fn word(text: &[u8], most: usize, out: &mut Vec<u8>) {
    let (text, is_cut) = beginning(text, most);
    for &byte in text {
        match byte {
            b' ' => hex(byte, out),
            byte => escape_byte(byte, out),
        }
    }
    if is_cut {
        out.extend_from_slice(CUT);
    }
}

fn escape_byte(byte: u8, out: &mut Vec<u8>) {
    match byte {
        b'"' => out.extend_from_slice(b"\\\""),
        b'\\' => out.extend_from_slice(b"\\\\"),
        b'\n' => out.extend_from_slice(b"\\n"),
        b'\r' => out.extend_from_slice(b"\\r"),
        b'\t' => out.extend_from_slice(b"\\t"),
        byte if is_plain(byte) => out.push(byte),
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

/// A string of JSON (RFC 8259, section 7), without its quotes. A byte that is not UTF-8 is shown as `\xff`,
/// in four characters.
pub(super) fn json(text: &[u8], most: usize, out: &mut Vec<u8>) {
    let (text, is_cut) = beginning(text, most);
    if are_plain(text) {
        out.extend_from_slice(text);
    } else {
        for chunk in text.utf8_chunks() {
            chunk.valid().chars().for_each(|char| json_char(char, out));
            for &byte in chunk.invalid() {
                out.push(b'\\');
                hex(byte, out);
            }
        }
    }
    if is_cut {
        out.extend_from_slice(CUT);
    }
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
