//! The examples of RFC 7541 appendix C, and what must hold for any input.

use super::*;
use crate::http2::huffman::tests::encode as huffman;
use proptest::prelude::*;

const WIDE: ListBounds = ListBounds {
    bytes: 65536,
    fields: 100,
};

fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    let pairs = digits
        .chunks(2)
        .map(|pair| std::str::from_utf8(pair).unwrap());
    pairs
        .map(|pair| u8::from_str_radix(pair, 16).unwrap())
        .collect()
}

fn text(list: &List) -> Vec<String> {
    let part = |span: Span| String::from_utf8(span.of(&list.bytes).to_vec()).unwrap();
    let fields = list.fields.iter();
    fields
        .map(|field| format!("{}: {}", part(field.name), part(field.value)))
        .collect()
}

/// Decodes blocks one after the other, and checks the lists and the size of the table after each.
fn check(mut decoder: Decoder, blocks: &[(&str, &[&str], usize)]) {
    for (block, expected, size) in blocks {
        let list = decoder.decode(&unhex(block), WIDE).unwrap();
        assert_eq!(text(&list), *expected);
        assert_eq!(decoder.table.size, *size);
    }
}

#[test]
fn single_fields_of_c_2() {
    let block = "400a 6375 7374 6f6d 2d6b 6579 0d63 7573 746f 6d2d 6865 6164 6572";
    check(
        Decoder::new(),
        &[(block, &["custom-key: custom-header"], 55)],
    );
    let block = "040c 2f73 616d 706c 652f 7061 7468";
    check(Decoder::new(), &[(block, &[":path: /sample/path"], 0)]);
    let block = "1008 7061 7373 776f 7264 0673 6563 7265 74";
    check(Decoder::new(), &[(block, &["password: secret"], 0)]);
    check(Decoder::new(), &[("82", &[":method: GET"], 0)]);
}

const FIRST: &[&str] = &[
    ":method: GET",
    ":scheme: http",
    ":path: /",
    ":authority: www.example.com",
];
const SECOND: &[&str] = &[
    ":method: GET",
    ":scheme: http",
    ":path: /",
    ":authority: www.example.com",
    "cache-control: no-cache",
];
const THIRD: &[&str] = &[
    ":method: GET",
    ":scheme: https",
    ":path: /index.html",
    ":authority: www.example.com",
    "custom-key: custom-value",
];

#[test]
fn requests_of_c_3_and_c_4() {
    check(
        Decoder::new(),
        &[
            (
                "8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d",
                FIRST,
                57,
            ),
            ("8286 84be 5808 6e6f 2d63 6163 6865", SECOND, 110),
            (
                "8287 85bf 400a 6375 7374 6f6d 2d6b 6579 0c63 7573 746f 6d2d 7661 6c75 65",
                THIRD,
                164,
            ),
        ],
    );
    check(
        Decoder::new(),
        &[
            ("8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff", FIRST, 57),
            ("8286 84be 5886 a8eb 1064 9cbf", SECOND, 110),
            (
                "8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf",
                THIRD,
                164,
            ),
        ],
    );
}

#[test]
fn responses_of_c_5_and_c_6_with_eviction() {
    let first: &[&str] = &[
        ":status: 302",
        "cache-control: private",
        "date: Mon, 21 Oct 2013 20:13:21 GMT",
        "location: https://www.example.com",
    ];
    let second: &[&str] = &[
        ":status: 307",
        "cache-control: private",
        "date: Mon, 21 Oct 2013 20:13:21 GMT",
        "location: https://www.example.com",
    ];
    let third: &[&str] = &[
        ":status: 200",
        "cache-control: private",
        "date: Mon, 21 Oct 2013 20:13:22 GMT",
        "location: https://www.example.com",
        "content-encoding: gzip",
        "set-cookie: foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1",
    ];
    let small = || {
        let mut decoder = Decoder::new();
        decoder.table.resize(256);
        decoder
    };
    check(
        small(),
        &[
            (
                "4803 3330 3258 0770 7269 7661 7465 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133
                 2032 303a 3133 3a32 3120 474d 546e 1768 7474 7073 3a2f 2f77 7777 2e65 7861 6d70
                 6c65 2e63 6f6d",
                first,
                222,
            ),
            ("4803 3330 37c1 c0bf", second, 222),
            (
                "88c1 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32 3220 474d
                 54c0 5a04 677a 6970 7738 666f 6f3d 4153 444a 4b48 514b 425a 584f 5157 454f 5049
                 5541 5851 5745 4f49 553b 206d 6178 2d61 6765 3d33 3630 303b 2076 6572 7369 6f6e
                 3d31",
                third,
                215,
            ),
        ],
    );
    check(
        small(),
        &[
            (
                "4882 6402 5885 aec3 771a 4b61 96d0 7abe 9410 54d4 44a8 2005 9504 0b81 66e0 82a6
                 2d1b ff6e 919d 29ad 1718 63c7 8f0b 97c8 e9ae 82ae 43d3",
                first,
                222,
            ),
            ("4883 640e ffc1 c0bf", second, 222),
            (
                "88c1 6196 d07a be94 1054 d444 a820 0595 040b 8166 e084 a62d 1bff c05a 839b d9ab
                 77ad 94e7 821d d7f2 e6c7 b335 dfdf cd5b 3960 d5af 2708 7f36 72c1 ab27 0fb5 291f
                 9587 3160 65c0 03ed 4ee5 b106 3d50 07",
                third,
                215,
            ),
        ],
    );
}

#[test]
fn numbers_of_c_1() {
    for (bytes, bits, value) in [
        (&[0x0a][..], 5, 10),
        (&[0x1f, 0x9a, 0x0a], 5, 1337),
        (&[0x2a], 8, 42),
    ] {
        assert_eq!(number(&mut &bytes[..], bits), Ok(value));
        let mut out = Vec::new();
        write_number(&mut out, 0, bits, value);
        assert_eq!(out, bytes);
    }
    let endless = [0x1f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];
    assert_eq!(number(&mut &endless[..], 5), Err(BadBlock));
    assert_eq!(number(&mut &[0x1f, 0x80][..], 5), Err(BadBlock));
}

#[test]
fn blocks_that_cannot_be_read_are_refused() {
    for (wrong, why) in [
        ("80", "index 0"),
        ("be", "an index behind the table"),
        ("7e 0161", "the same for a name"),
        ("40 0561", "a string longer than the block"),
        ("40 01", "no value"),
        ("82 20", "a new size behind a field"),
        ("3f e2 1f", "a size above ours: 4097"),
        ("00 81ff 00", "a string of padding only, too long"),
    ] {
        let decoded = Decoder::new().decode(&unhex(wrong), WIDE);
        assert!(decoded.is_err(), "{why}");
    }
    assert!(Decoder::new().decode(&unhex("3fe11f 20 82"), WIDE).is_ok());
}

#[test]
fn a_list_that_is_too_large_costs_no_memory_and_keeps_the_table() {
    let mut decoder = Decoder::new();
    let value = "a".repeat(4000);
    let mut block = vec![0x40, 1, b'x', 0x7f, 0xa1, 0x1e];
    block.extend_from_slice(value.as_bytes());
    block.extend(std::iter::repeat_n(0xbe, 50_000));
    let list = decoder.decode(&block, WIDE).unwrap();
    assert!(list.is_cut);
    assert!(list.size > 50_000 * 4000);
    assert!(
        list.bytes.capacity() <= 3 * 65536,
        "{}",
        list.bytes.capacity()
    );
    let list = decoder.decode(&[0xbe], WIDE).unwrap();
    assert_eq!(text(&list), [format!("x: {value}")]);
    let few = ListBounds { fields: 2, ..WIDE };
    assert!(!decoder.decode(&[0x82, 0x82], few).unwrap().is_cut);
    assert!(decoder.decode(&[0x82, 0x82, 0x82], few).unwrap().is_cut);
}

#[test]
fn a_field_that_comes_again_takes_one_byte() {
    let (mut encoder, mut decoder) = (Encoder::new(), Decoder::new());
    let mut sizes = Vec::new();
    for _ in 0..3 {
        let mut block = Vec::new();
        encoder.begin(&mut block);
        encoder.status(&mut block, 200);
        encoder.field(&mut block, b"Server", b"prefork");
        encoder.field(&mut block, b"X-Other", b"value");
        encoder.field(&mut block, b"Set-Cookie", b"secret");
        encoder.field(&mut block, b"Content-Length", b"5");
        sizes.push(block.len());
        assert_eq!(
            text(&decoder.decode(&block, WIDE).unwrap()),
            [
                ":status: 200",
                "server: prefork",
                "x-other: value",
                "set-cookie: secret",
                "content-length: 5"
            ]
        );
    }
    let literal = 1 + (2 + 8 + 1) + (1 + 1 + 7 + 1 + 5) + (2 + 7) + (2 + 2);
    assert!(
        sizes[0] <= literal && sizes[2] == 1 + 1 + 1 + 9 + 4,
        "{sizes:?}"
    );
    assert_eq!(decoder.table.entries.len(), 2);
}

#[test]
fn the_peer_limits_the_table() {
    let (mut encoder, mut decoder) = (Encoder::new(), Decoder::new());
    for most in [100, 0, 4096, 1 << 30] {
        encoder.limit(most);
        for _ in 0..3 {
            let mut block = Vec::new();
            encoder.begin(&mut block);
            encoder.field(&mut block, b"server", b"prefork");
            encoder.field(&mut block, b"x-one", b"a value of thirty bytes.......");
            let list = decoder.decode(&block, WIDE).unwrap();
            assert_eq!(list.fields.len(), 2);
            assert!(encoder.table.size <= most);
            assert_eq!(encoder.table.size, decoder.table.size);
        }
    }
}

#[test]
fn a_table_that_was_smaller_in_between_is_empty_for_both() {
    let (mut encoder, mut decoder) = (Encoder::new(), Decoder::new());
    let mut talk = |encoder: &mut Encoder| {
        let mut block = Vec::new();
        encoder.begin(&mut block);
        encoder.field(&mut block, b"server", b"prefork");
        decoder.decode(&block, WIDE).unwrap();
        (block, decoder.table.size)
    };
    talk(&mut encoder);
    assert!(talk(&mut encoder).1 > 0);
    encoder.limit(0);
    encoder.limit(4096);
    let (block, size) = talk(&mut encoder);
    assert!(block.starts_with(b"\x20\x3f\xe1\x1f"));
    assert_eq!(size, encoder.table.size);
    encoder.limit(50);
    encoder.limit(0);
    assert!(talk(&mut encoder).0.starts_with(b"\x20\x76")); // one update, then the field
}

proptest! {
    #[test]
    fn what_was_encoded_is_decoded(
        blocks in prop::collection::vec(
            prop::collection::vec(("[a-z-]{1,12}", prop::collection::vec(any::<u8>(), 0..40)), 0..8),
            0..20,
        ),
    ) {
        let (mut encoder, mut decoder) = (Encoder::new(), Decoder::new());
        for fields in blocks.iter().chain(&blocks) {
            let mut block = Vec::new();
            encoder.begin(&mut block);
            for (name, value) in fields {
                encoder.field(&mut block, name.to_uppercase().as_bytes(), value);
            }
            let list = decoder.decode(&block, WIDE).unwrap();
            let found: Vec<_> = list
                .fields
                .iter()
                .map(|field| (field.name.of(&list.bytes), field.value.of(&list.bytes)))
                .collect();
            let expected: Vec<_> = fields
                .iter()
                .map(|(name, value)| (name.as_bytes(), value.as_slice()))
                .collect();
            prop_assert_eq!(found, expected);
        }
    }

    #[test]
    fn nothing_panics_and_the_table_keeps_its_size(blocks: Vec<Vec<u8>>) {
        let mut decoder = Decoder::new();
        for block in blocks {
            let _ = decoder.decode(&block, WIDE);
            prop_assert!(decoder.table.size <= TABLE_BYTES);
        }
    }

    #[test]
    fn coded_and_plain_strings_are_the_same(value: Vec<u8>) {
        let coded = huffman(&value);
        let mut block = vec![0, 1, b'x'];
        let at = block.len();
        write_number(&mut block, 0, 7, coded.len());
        block[at] |= 0x80;
        block.extend_from_slice(&coded);
        let list = Decoder::new().decode(&block, WIDE).unwrap();
        prop_assert_eq!(list.fields[0].value.of(&list.bytes), value);
    }
}
