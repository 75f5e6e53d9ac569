//! Rows about how much a peer may send. Each refusal comes before the end of what is too long.

use prefork_wire::{Limits, Underscore};

use crate::feed::{accept, head_under, refuse, refuse_under};

const KIB: usize = 1024;

#[test]
fn a_request_line_over_16_kib_is_414_before_its_end() {
    let target = |length: usize| format!("/{}", "a".repeat(length - "GET / HTTP/1.1".len()));
    accept(format!(
        "GET {} HTTP/1.1\r\nHost: a\r\n\r\n",
        target(16 * KIB)
    ));
    accept(format!(
        "\r\nGET {} HTTP/1.1\r\nHost: a\r\n\r\n",
        target(16 * KIB)
    ));
    refuse(
        414,
        format!("GET {} HTTP/1.1\r\nHost: a\r\n\r\n", target(16 * KIB + 1)),
    );
    refuse(
        414,
        format!(
            "\r\nGET {} HTTP/1.1\r\nHost: a\r\n\r\n",
            target(16 * KIB + 1)
        ),
    );
    assert_eq!(
        refuse(414, format!("GET /{}", "a".repeat(17 * KIB))),
        16 * KIB + 1
    );
    assert_eq!(refuse(414, "A".repeat(17 * KIB)), 16 * KIB + 1);
}

#[test]
fn every_way_over_the_request_line_gives_one_verdict() {
    for limit in 1..40 {
        let limits = Limits {
            line: limit,
            ..Limits::default()
        };
        for line in [
            "GET /path HTTP/1.1",
            "GET /path HTTP/1.1xyz",
            "G\x01T /path HTTP/1.1",
            "GET /path  HTTP/1.1",
            "GET /path\n",
        ] {
            let (result, _) = head_under(&limits, format!("{line}\r\nHost: a\r\n\r\n").as_bytes());
            assert_eq!(
                result.is_ok(),
                line == "GET /path HTTP/1.1" && limit >= line.len()
            );
        }
    }
}

#[test]
fn a_field_line_over_16_kib_is_431_before_its_end() {
    let head = |value: usize| {
        format!(
            "GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n",
            "y".repeat(value)
        )
    };
    accept(head(16 * KIB - 3));
    refuse(431, head(16 * KIB - 2));
    let start = "GET / HTTP/1.1\r\n";
    assert_eq!(
        refuse(431, format!("{start}X: {}", "y".repeat(17 * KIB))),
        start.len() + 16 * KIB + 1
    );
    assert_eq!(
        refuse(431, format!("{start}{}", "y".repeat(17 * KIB))),
        start.len() + 16 * KIB + 1
    );
    assert_eq!(
        refuse(431, format!("{start}X:{}", " ".repeat(17 * KIB))),
        start.len() + 16 * KIB + 1
    );
    assert_eq!(
        refuse(431, format!("{start}{}", "_".repeat(17 * KIB))),
        start.len() + 16 * KIB + 1
    );
}

#[test]
fn more_than_100_fields_are_431_before_the_next_one_is_read() {
    let head = |fields: usize| {
        format!(
            "GET / HTTP/1.1\r\nHost: a\r\n{}",
            "X: y\r\n".repeat(fields - 1)
        )
    };
    assert_eq!(accept(head(100) + "\r\n").fields.len(), 100);
    assert_eq!(refuse(431, head(101)), head(100).len() + 1);
    let underscored = format!(
        "GET / HTTP/1.1\r\nHost: a\r\n{}\r\n",
        "X_: y\r\n".repeat(100)
    );
    refuse(431, underscored);
}

#[test]
fn a_head_over_64_kib_is_431_before_its_end() {
    let line = format!("X: {}\r\n", "y".repeat(16 * KIB - 5));
    let head = |last: usize| {
        format!(
            "GET / HTTP/1.1\r\nHost: a\r\n{}Y: {}\r\n\r\n",
            line.repeat(3),
            "z".repeat(last)
        )
    };
    let room = 64 * KIB - head(0).len();
    accept(head(room));
    assert!(refuse(431, head(room + 1)) <= 64 * KIB + 1);
    assert!(refuse(431, head(room + 8)) <= 64 * KIB + 1);
    let (endless, _) = head_under(&Limits::default(), line.repeat(5).as_bytes());
    assert!(endless.is_err());
}

#[test]
fn every_way_over_the_head_gives_one_verdict() {
    let input = b"GET /path HTTP/1.1\r\nHost: a\r\nX_Y: zz\r\nAccept: */*\r\n\r\n";
    for head in 0..input.len() + 2 {
        let limits = Limits {
            head,
            line: 18,
            underscore: Underscore::Drop,
            ..Limits::default()
        };
        let (result, needed) = head_under(&limits, input);
        assert_eq!(result.is_ok(), head >= input.len(), "{head}: {result:?}");
        assert!(
            needed <= head + 4,
            "{needed} bytes taken under a limit of {head}"
        );
    }
    refuse_under(
        &Limits {
            head: 10,
            ..Limits::default()
        },
        431,
        input,
    );
}
