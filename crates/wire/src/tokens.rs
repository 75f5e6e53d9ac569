//! Which byte may stand where (RFC 9110 5.6, RFC 3986): one table, and the scans over it.

/// `tchar`: methods, field names, list members.
pub(crate) const TOKEN: u8 = 1;
/// `tchar` without `_`, which is looked for in field names.
pub(crate) const NAME: u8 = 2;
/// What a request target may hold: visible ASCII without `#`.
pub(crate) const TARGET: u8 = 4;
/// What a field value may hold: everything but control bytes. The tab is allowed.
pub(crate) const TEXT: u8 = 8;
/// `reg-name` without percent-encoding, and without the comma: with it, two joined Host lines would look
/// like one.
pub(crate) const HOST: u8 = 16;

const CLASSES: [u8; 256] = classes();

#[expect(
    clippy::indexing_slicing,
    reason = "evaluated at compile time, where an index out of bounds is an error"
)]
const fn classes() -> [u8; 256] {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = classify(byte as u8);
        byte += 1;
    }
    table
}

const fn classify(byte: u8) -> u8 {
    let alphanumeric = byte.is_ascii_alphanumeric();
    let token = alphanumeric
        || matches!(byte, b'!' | b'#'..=b'\'' | b'*' | b'+' | b'-' | b'.' | b'^'..=b'`' | b'|' | b'~');
    let host = alphanumeric
        || matches!(
            byte,
            b'-' | b'.' | b'_' | b'~' | b'!' | b'$' | b'&'..=b'+' | b';' | b'='
        );
    let mut class = 0;
    if token {
        class |= TOKEN;
    }
    if token && byte != b'_' {
        class |= NAME;
    }
    if byte.is_ascii_graphic() && byte != b'#' {
        class |= TARGET;
    }
    if !byte.is_ascii_control() || byte == b'\t' {
        class |= TEXT;
    }
    if host {
        class |= HOST;
    }
    class
}

/// The classes that `byte` belongs to.
#[inline]
#[expect(
    clippy::indexing_slicing,
    reason = "256 entries cover every u8; the compiler removes the check"
)]
const fn class_of(byte: u8) -> u8 {
    CLASSES[byte as usize]
}

/// Whether `byte` belongs to `class`.
#[inline]
pub(crate) const fn is(class: u8, byte: u8) -> bool {
    class_of(byte) & class != 0
}

/// Whether `value` is allowed as a field value (RFC 9110 5.5).
pub(crate) fn is_text(value: &[u8]) -> bool {
    skip_text(value, 0) == value.len()
}

/// Whether `bytes` are a token (RFC 9110 5.6.2). Nearly all names are, so the loop does not stop at the
/// first byte that is wrong.
pub(crate) fn is_token(bytes: &[u8]) -> bool {
    let common = bytes
        .iter()
        .fold(TOKEN, |common, byte| common & class_of(*byte));
    !bytes.is_empty() && common != 0
}

/// Whether `name` is `lower`, which is in lower case, in any case. All bytes are compared at once: a name
/// of that length is nearly always the one.
#[inline]
pub(crate) fn is_name<const N: usize>(name: &[u8], lower: &[u8; N]) -> bool {
    let Ok(name) = <&[u8; N]>::try_from(name) else {
        return false;
    };
    let pairs = name.iter().zip(lower);
    let differing = pairs.fold(0, |differing, (byte, lower)| {
        let case = if lower.is_ascii_lowercase() { 0x20 } else { 0 };
        differing | (byte | case) ^ lower
    });
    differing == 0
}

/// The position of the first byte at or after `from` that is not of `class`; the end of `input` if
/// there is none.
#[inline]
pub(crate) fn skip(input: &[u8], from: usize, class: u8) -> usize {
    let rest = input.get(from..).unwrap_or_default();
    from + rest
        .iter()
        .position(|byte| !is(class, *byte))
        .unwrap_or(rest.len())
}

/// As [`skip`] over [`TEXT`], eight bytes at a time: values are most of a head.
#[inline]
pub(crate) fn skip_text(input: &[u8], from: usize) -> usize {
    let mut at = from;
    let mut rest = input.get(from..).unwrap_or_default();
    while let Some((block, tail)) = rest.split_first_chunk::<8>() {
        let flags = control_bytes(u64::from_le_bytes(*block));
        if flags != 0 {
            at += flags.trailing_zeros() as usize / 8;
            if input.get(at) != Some(&b'\t') {
                return at;
            }
            at += 1;
            rest = input.get(at..).unwrap_or_default();
        } else {
            at += 8;
            rest = tail;
        }
    }
    skip(input, at, TEXT)
}

/// The high bit of each byte that is below 0x20 or is 0x7f. Only the lowest set bit is reliable: a
/// subtraction that borrows may flag the bytes above it.
const fn control_bytes(block: u64) -> u64 {
    const ONES: u64 = u64::from_le_bytes([1; 8]);
    const HIGHS: u64 = ONES << 7;
    let deleted = block ^ (ONES * 0x7f);
    let below = block.wrapping_sub(ONES * 0x20) & !block;
    let delete = deleted.wrapping_sub(ONES) & !deleted;
    (below | delete) & HIGHS
}

/// The members of a comma-separated list, without the white space around them. Empty members are
/// included.
pub(crate) fn members(list: &[u8]) -> impl Iterator<Item = &[u8]> {
    list.split(|byte| *byte == b',').map(trim)
}

/// `bytes` without the spaces and tabs around them (RFC 9110 5.6.3, OWS).
pub(crate) fn trim(bytes: &[u8]) -> &[u8] {
    let blank = |byte: &u8| matches!(byte, b' ' | b'\t');
    let start = bytes
        .iter()
        .position(|byte| !blank(byte))
        .unwrap_or(bytes.len());
    let end = bytes
        .iter()
        .rposition(|byte| !blank(byte))
        .map_or(start, |last| last + 1);
    bytes.get(start..end).unwrap_or_default()
}

/// 1*DIGIT as a number; `None` for anything else, or if it does not fit (RFC 9110 8.6).
pub(crate) fn decimal(bytes: &[u8]) -> Option<u64> {
    if bytes.is_empty() {
        return None;
    }
    bytes.iter().try_fold(0_u64, |number, byte| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        number.checked_mul(10)?.checked_add(digit)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_are_those_of_the_grammar() {
        for byte in 0..=255_u8 {
            let token = byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
            assert_eq!(is(TOKEN, byte), token, "{byte:#x}");
            assert_eq!(is(NAME, byte), token && byte != b'_', "{byte:#x}");
            assert_eq!(
                is(TARGET, byte),
                (0x21..0x7f).contains(&byte) && byte != b'#',
                "{byte:#x}"
            );
            assert_eq!(
                is(TEXT, byte),
                byte == b'\t' || (byte >= 0x20 && byte != 0x7f),
                "{byte:#x}"
            );
            let host = byte.is_ascii_alphanumeric() || b"-._~!$&'()*+;=".contains(&byte);
            assert_eq!(is(HOST, byte), host, "{byte:#x}");
        }
    }

    #[test]
    fn the_fast_scan_agrees_with_the_table_wherever_the_byte_stands() {
        for length in 0..40 {
            for at in 0..length {
                for byte in 0..=255_u8 {
                    let mut text = vec![b'a'; length];
                    text[at] = byte;
                    text[length - 1 - at / 2] = 0x7f;
                    assert_eq!(skip_text(&text, 0), skip(&text, 0, TEXT), "{text:?}");
                    assert_eq!(
                        skip_text(&text, at),
                        skip(&text, at, TEXT),
                        "{text:?} from {at}"
                    );
                }
            }
        }
    }

    #[test]
    fn a_name_is_the_same_in_any_case_and_with_no_other_byte() {
        const NAME: &[u8; 10] = b"keep-alive";
        for at in 0..NAME.len() {
            for byte in 0..=255_u8 {
                let mut name = *NAME;
                name[at] = byte;
                assert_eq!(is_name(&name, NAME), name.eq_ignore_ascii_case(NAME));
            }
        }
        assert!(is_name(b"KEEP-Alive", NAME));
        assert!(!is_name(b"keep-aliv", NAME));
        assert!(!is_name(b"keep-alives", NAME));
    }

    #[test]
    fn a_decimal_is_digits_that_fit() {
        assert_eq!(decimal(b"0"), Some(0));
        assert_eq!(decimal(b"007"), Some(7));
        assert_eq!(decimal(b"18446744073709551615"), Some(u64::MAX));
        for wrong in [
            "",
            "18446744073709551616",
            "99999999999999999999999",
            "+1",
            "-1",
            " 1",
            "1 ",
            "1,1",
            "0x1",
            "1.0",
        ] {
            assert_eq!(decimal(wrong.as_bytes()), None, "{wrong:?}");
        }
    }
}
