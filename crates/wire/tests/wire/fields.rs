//! Rows about field lines.

use prefork_wire::{Limits, Underscore};

use crate::feed::{accept, head_under, refuse, refuse_under};

fn with(line: &str) -> String {
    format!("GET / HTTP/1.1\r\nHost: a\r\n{line}\r\n\r\n")
}

#[test]
fn names_are_kept_and_values_trimmed() {
    let input = "GET / HTTP/1.1\r\nHost: a\r\nX-One:1\r\nx-TWO: \t 2 \t 3 \t \r\nX-Empty:\r\nX-Blank:  \t\r\nX-One: 4\r\n\r\n";
    let head = accept(input);
    let fields: Vec<_> = head
        .fields
        .iter()
        .map(|field| {
            [field.name, field.value]
                .map(|span| std::str::from_utf8(span.of(input.as_bytes())).unwrap())
        })
        .collect();
    assert_eq!(
        fields,
        [
            ["Host", "a"],
            ["X-One", "1"],
            ["x-TWO", "2 \t 3"],
            ["X-Empty", ""],
            ["X-Blank", ""],
            ["X-One", "4"]
        ]
    );
}

#[test]
fn a_value_may_hold_any_byte_but_controls() {
    for byte in 0..=255_u8 {
        let input = [
            b"GET / HTTP/1.1\r\nHost: a\r\nX: <",
            &[byte][..],
            b">\r\n\r\n",
        ]
        .concat();
        if byte == b'\t' || (byte >= 0x20 && byte != 0x7f) {
            accept(input);
        } else {
            // A CR is wrong only when no LF follows.
            assert_eq!(
                refuse(400, input),
                30 + usize::from(byte == b'\r'),
                "{byte:#x}"
            );
        }
    }
}

#[test]
fn a_nul_anywhere_in_a_head_is_refused_at_once() {
    let head = with("Accept: text/html");
    for at in 0..head.len() {
        let mut wrong = head.clone();
        wrong.insert(at, '\0');
        assert_eq!(refuse(400, wrong), at + 1);
    }
}

#[test]
fn a_name_is_a_token() {
    for byte in 0..=255_u8 {
        let input = [
            b"GET / HTTP/1.1\r\nHost: a\r\nX",
            &[byte][..],
            b"Y: z\r\n\r\n",
        ]
        .concat();
        let token = byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~:".contains(&byte);
        if token {
            accept(input);
        } else {
            assert_eq!(refuse(400, input), 27, "{byte:#x}");
        }
    }
}

#[test]
fn space_before_the_colon_is_refused() {
    for line in [
        "X : y",
        "X\t: y",
        "Content-Length : 5",
        "Transfer-Encoding\t: chunked",
        "X Y: z",
    ] {
        refuse(400, with(line));
    }
}

#[test]
fn a_line_without_a_name_or_colon_is_refused() {
    for line in [
        ": y",
        ":",
        "X",
        "GET / HTTP/1.1",
        "Content-Length",
        "(x): y",
        "é: y",
        "\"X\": y",
        "X\x0b: y",
    ] {
        refuse(400, with(line));
    }
}

#[test]
fn a_folded_line_is_refused() {
    for line in [
        "X: y\r\n z",
        "X: y\r\n\tz",
        "X:\r\n y",
        "X: y\r\n ",
        "X: y\r\n Content-Length: 5",
    ] {
        refuse(400, with(line));
    }
    refuse(400, "GET / HTTP/1.1\r\n Host: a\r\n\r\n");
    refuse(400, "GET / HTTP/1.1\r\n\tHost: a\r\n\r\n");
    refuse(400, "GET / HTTP/1.1\r\nHost: a\r\n \r\n");
}

#[test]
fn a_name_with_an_underscore_is_dropped_before_it_means_anything() {
    let input = "POST / HTTP/1.1\r\nHost: a\r\nX_User: root\r\n_: 1\r\nContent_Length: 5\r\nTransfer_Encoding: chunked\r\nX-User: me\r\nA_: 1\r\n\r\n";
    let head = accept(input);
    let names: Vec<_> = head
        .fields
        .iter()
        .map(|field| field.name.of(input.as_bytes()))
        .collect();
    assert_eq!(names, [&b"Host"[..], b"X-User"]);
    assert_eq!(head.framing, prefork_wire::Framing::None);
}

#[test]
fn an_option_rejects_names_with_an_underscore_instead() {
    let limits = Limits {
        underscore: Underscore::Reject,
        ..Limits::default()
    };
    for line in ["X_User: root", "_: 1", "A_: 1"] {
        refuse_under(&limits, 400, with(line));
    }
    assert!(matches!(
        head_under(&limits, with("X-User: a_b").as_bytes()).0,
        Ok(Some(_))
    ));
}

#[test]
fn a_field_that_may_stand_once_has_one_value() {
    for name in ["Content-Type", "Content-Encoding", "Authorization"] {
        let two = |first: &str, second: &str| {
            with(&format!(
                "{name}: {first}\r\nX: y\r\n{}: {second}",
                name.to_uppercase()
            ))
        };
        assert_eq!(accept(two("a", "a")).fields.len(), 4);
        assert_eq!(accept(two("", "")).fields.len(), 4);
        for (first, second) in [("a", "b"), ("a", "A"), ("a", ""), ("", "a"), ("a", "a, a")] {
            refuse(400, two(first, second));
        }
        refuse(400, with(&format!("{name}: a\r\n{name}: a\r\n{name}: b")));
    }
    // The values of these may be joined, or the first one stands: no proxy routes by the other.
    for name in [
        "Accept",
        "User-Agent",
        "Referer",
        "Cookie",
        "Content-Language",
    ] {
        accept(with(&format!("{name}: a\r\n{name}: b")));
    }
}
