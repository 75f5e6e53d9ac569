use super::*;
use crate::half::Half;
use proptest::prelude::*;

const SUITES: [Suite; 3] = [Suite::Aes128Gcm, Suite::Aes256Gcm, Suite::Chacha20Poly1305];

fn half(suite: Suite, secret: &[u8], number: u64) -> Option<Half> {
    let mut state = [0; HALF_BYTES];
    Half::write_state(suite, secret, number, &mut state)?;
    Half::import(suite, &state)
}

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.chunks(2).map(byte).collect()
}

/// A server's record layer, and the direction in which its client sends.
struct Pair {
    server: Records,
    client: Half,
    /// What the server sends, as its client opens it.
    from_server: Half,
}

impl Pair {
    fn new(suite: Suite) -> Self {
        let (client, server) = ([7; SECRET], [9; SECRET]);
        let (client, server) = (&client[..bytes(suite)], &server[..bytes(suite)]);
        Pair {
            server: Records::new(suite, (client, 0), (server, 0)).unwrap(),
            client: half(suite, client, 0).unwrap(),
            from_server: half(suite, server, 0).unwrap(),
        }
    }

    fn record(&mut self, kind: u8, content: &[u8]) -> Vec<u8> {
        let mut record = Vec::new();
        let write = |out: &mut Vec<u8>| out.extend_from_slice(content);
        self.client.seal(kind, &mut record, write).unwrap();
        record
    }

    /// What the server makes of `input`: its data, and the rest of the input.
    fn opens(&mut self, mut input: Vec<u8>) -> Result<(Vec<u8>, usize), Alert> {
        let opened = self.server.open(&mut input, 0, &mut Vec::new())?;
        let rest = input.len() - opened.rest;
        Ok((input[..opened.plaintext_end].to_vec(), rest))
    }

    /// The alert with which the server ends at this record.
    fn refusal(kind: u8, content: &[u8]) -> Option<Alert> {
        let mut pair = Pair::new(Suite::Aes128Gcm);
        let record = pair.record(kind, content);
        pair.opens(record).err()
    }

    /// The records that the server has sent, and their contents.
    fn sent(&mut self, mut bytes: &[u8]) -> Vec<(u8, Vec<u8>)> {
        let mut records = Vec::new();
        while !bytes.is_empty() {
            let header = *bytes.first_chunk::<HEADER_BYTES>().unwrap();
            let length = usize::from(u16::from_be_bytes([header[3], header[4]]));
            let (record, rest) = bytes[HEADER_BYTES..].split_at(length);
            let mut buffer = record.to_vec();
            let (kind, end) = self.from_server.open(header, &mut buffer, 0..).unwrap();
            records.push((kind, buffer[..end].to_vec()));
            if kind == HANDSHAKE {
                self.from_server.update().unwrap();
            }
            bytes = rest;
        }
        records
    }
}

const SECRET: usize = crate::suite::SECRET_BYTES;

fn bytes(suite: Suite) -> usize {
    suite.secret_bytes()
}

fn seal(records: &mut Records, content: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let vectors = [IoSlice::new(content)];
    let sealed = records.seal(&vectors, usize::MAX, &mut out).unwrap();
    assert_eq!(sealed, content.len());
    out
}

// ---- RFC 8448, section 3 -------------------------------------------------------------

const CLIENT_SECRET: &str = "9e40646ce79a7f9dc05af8889bce6552875afa0b06df0087f792ebb7c17504a5";
const SERVER_SECRET: &str = "a11af9f05531f856ad47116b45a950328204b4f44bfb6b3a4b4f1f3fcb631643";

#[test]
fn the_trace_of_rfc_8448_is_opened_and_sealed_byte_for_byte() {
    let content: Vec<u8> = (0..50).collect();
    let (client, server) = (hex(CLIENT_SECRET), hex(SERVER_SECRET));
    // The server's first record was a ticket.
    let mut records = Records::new(Suite::Aes128Gcm, (&client, 0), (&server, 1)).unwrap();
    let mut input = hex(
        "17 03 03 00 43 a2 3f 70 54 b6 2c 94 d0 af fa fe 82 28 ba 55 cb ef ac ea 42 f9 14 aa
         66 bc ab 3f 2b 98 19 a8 a5 b4 6b 39 5b d5 4a 9a 20 44 1e 2b 62 97 4e 1f 5a 62 92 a2
         97 70 14 bd 1e 3d ea e6 3a ee bb 21 69 49 15 e4",
    );
    let opened = records.open(&mut input, 0, &mut Vec::new()).unwrap();
    assert_eq!(input[..opened.plaintext_end], content);
    let sealed = hex(
        "17 03 03 00 43 2e 93 7e 11 ef 4a c7 40 e5 38 ad 36 00 5f c4 a4 69 32 fc 32 25 d0 5f
         82 aa 1b 36 e3 0e fa f9 7d 90 e6 df fc 60 2d cb 50 1a 59 a8 fc c4 9c 4b f2 e5 f0 a2
         1c 00 47 c2 ab f3 32 54 0d d0 32 e1 67 c2 95 5d",
    );
    assert_eq!(seal(&mut records, &content), sealed);
    let mut alert = hex("17 03 03 00 13 c9 87 27 60 65 56 66 b7 4d 7f f1 15 3e fd 6d b6 d0 b0 e3");
    let opened = records.open(&mut alert, 0, &mut Vec::new()).unwrap();
    assert_eq!(opened.end, Some(PeerEnd::Closed));
    let mut out = Vec::new();
    records.close(&mut out).unwrap();
    assert_eq!(
        out,
        hex("17 03 03 00 13 b5 8f d6 71 66 eb f5 99 d2 47 20 cf be 7e fa 7a 88 64 a9")
    );
}

// ---- data ----------------------------------------------------------------------------

proptest! {
    #[test]
    fn data_comes_out_as_it_went_in_however_it_is_cut(
        parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..3000), 1..6),
        cuts in prop::collection::vec(1usize..4000, 1..10),
        suite in prop::sample::select(SUITES.to_vec()),
        padding in 0usize..40,
    ) {
        let mut pair = Pair::new(suite);
        let mut input = Vec::new();
        for part in &parts {
            let mut padded = part.clone();
            padded.push(DATA);
            padded.extend(std::iter::repeat_n(0, padding));
            // The type that `seal` adds is a zero of the padding.
            input.extend(pair.record(0, &padded));
        }
        let (mut data, mut kept, mut cuts) = (Vec::new(), Vec::new(), cuts.into_iter().cycle());
        let mut input = input.as_slice();
        while !input.is_empty() {
            let (now, later) = input.split_at(cuts.next().unwrap().min(input.len()));
            kept.extend_from_slice(now);
            let opened = pair.server.open(&mut kept, 0, &mut Vec::new()).unwrap();
            data.extend_from_slice(&kept[..opened.plaintext_end]);
            kept.drain(..opened.rest);
            input = later;
        }
        prop_assert!(kept.is_empty());
        prop_assert_eq!(data, parts.concat());
    }

    #[test]
    fn what_is_sealed_is_the_vectors_in_their_order(
        parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40_000), 0..5),
        most in 0usize..100_000,
        suite in prop::sample::select(SUITES.to_vec()),
    ) {
        let mut pair = Pair::new(suite);
        let vectors: Vec<IoSlice<'_>> = parts.iter().map(|part| IoSlice::new(part)).collect();
        let mut out = Vec::new();
        let sealed = pair.server.seal(&vectors, most, &mut out).unwrap();
        let records = pair.sent(&out);
        prop_assert!(records.iter().all(|(kind, content)| *kind == DATA && content.len() <= PLAINTEXT_BYTES));
        let content: Vec<u8> = records.into_iter().flat_map(|(_, content)| content).collect();
        let whole = parts.concat();
        prop_assert_eq!(sealed, whole.len().min(most));
        prop_assert_eq!(&content, &whole[..sealed]);
    }

    #[test]
    fn nothing_that_a_peer_sends_panics(
        input in prop::collection::vec(any::<u8>(), 0..200),
        start in 0usize..20,
    ) {
        let mut pair = Pair::new(Suite::Chacha20Poly1305);
        let mut buffer = vec![0; start];
        buffer.extend(input);
        let _ = pair.server.open(&mut buffer, start, &mut Vec::new());
    }

    #[test]
    fn one_bit_that_changes_on_the_way_is_noticed(
        content in prop::collection::vec(any::<u8>(), 1..100),
        bit in any::<prop::sample::Index>(),
    ) {
        let mut pair = Pair::new(Suite::Aes256Gcm);
        let mut record = pair.record(DATA, &content);
        // The version has no meaning but is authenticated, the length decides how much is awaited.
        let bit = 8 * HEADER_BYTES + bit.index(8 * (record.len() - HEADER_BYTES));
        record[bit / 8] ^= 1 << (bit % 8);
        prop_assert_eq!(pair.opens(record), Err(Alert::BadRecordMac));
    }
}

#[test]
fn data_before_a_record_stays_where_it_is() {
    let mut pair = Pair::new(Suite::Aes128Gcm);
    let mut buffer = b"before".to_vec();
    buffer.extend(pair.record(DATA, b" and"));
    buffer.extend(pair.record(DATA, b" after"));
    let opened = pair.server.open(&mut buffer, 6, &mut Vec::new()).unwrap();
    assert_eq!(&buffer[..opened.plaintext_end], b"before and after");
    assert_eq!(opened.rest, buffer.len());
}

#[test]
fn a_record_may_hold_what_the_rfc_allows_and_no_more() {
    let mut pair = Pair::new(Suite::Aes128Gcm);
    let record = pair.record(DATA, &[1; PLAINTEXT_BYTES]);
    assert_eq!(pair.opens(record).unwrap().0.len(), PLAINTEXT_BYTES);
    let more = [1; PLAINTEXT_BYTES + 1];
    assert_eq!(Pair::refusal(DATA, &more), Some(Alert::RecordOverflow));
    let padded = [vec![1, DATA], vec![0; PLAINTEXT_BYTES]].concat();
    assert_eq!(Pair::refusal(0, &padded), Some(Alert::RecordOverflow));
    let length = u16::try_from(CIPHERTEXT_BYTES + 1).unwrap().to_be_bytes();
    let header = vec![DATA, 3, 3, length[0], length[1]];
    assert_eq!(pair.opens(header), Err(Alert::RecordOverflow));
}

#[test]
fn what_is_no_protected_record_is_refused() {
    for outer in [20, 21, 22, 24, 0, b'G'] {
        let mut pair = Pair::new(Suite::Aes128Gcm);
        let record = [&[outer, 3, 3, 0, 1], &[1][..]].concat();
        assert_eq!(pair.opens(record), Err(Alert::UnexpectedMessage), "{outer}");
    }
    for length in [0, 1, 16] {
        let mut pair = Pair::new(Suite::Aes128Gcm);
        let record = [vec![DATA, 3, 3, 0, length], vec![0; usize::from(length)]].concat();
        assert_eq!(pair.opens(record), Err(Alert::BadRecordMac), "{length}");
    }
    assert_eq!(
        Pair::refusal(0, &[0; 30]),
        Some(Alert::UnexpectedMessage),
        "only padding"
    );
    assert_eq!(
        Pair::refusal(20, &[1]),
        Some(Alert::UnexpectedMessage),
        "change_cipher_spec"
    );
    assert_eq!(
        Pair::refusal(25, b"x"),
        Some(Alert::UnexpectedMessage),
        "unknown"
    );
}

#[test]
fn a_record_that_comes_again_or_out_of_order_is_refused() {
    let mut pair = Pair::new(Suite::Aes128Gcm);
    let (first, second) = (pair.record(DATA, b"1"), pair.record(DATA, b"2"));
    assert_eq!(pair.opens(first.clone()).unwrap().0, b"1");
    assert_eq!(pair.opens(first), Err(Alert::BadRecordMac));
    let mut pair = Pair::new(Suite::Aes128Gcm);
    assert_eq!(pair.opens(second), Err(Alert::BadRecordMac));
}

#[test]
fn after_an_error_nothing_is_opened_and_its_alert_is_the_last_record() {
    let mut pair = Pair::new(Suite::Aes128Gcm);
    let good = pair.record(DATA, b"good");
    let mut reply = Vec::new();
    let alert = pair
        .server
        .open(&mut [DATA, 3, 3, 0xff, 0xff], 0, &mut reply);
    assert_eq!(alert, Err(Alert::RecordOverflow));
    assert_eq!(pair.sent(&reply), [(ALERT, vec![FATAL, 22])]);
    assert_eq!(pair.opens(good.clone()).unwrap(), (Vec::new(), good.len()));
    assert!(pair.server.export().is_none());
}

// ---- alerts --------------------------------------------------------------------------

#[test]
fn an_alert_ends_the_peers_side() {
    for (description, end) in [(0, PeerEnd::Closed), (42, PeerEnd::Alert(42))] {
        // The level has no meaning (RFC 8446, section 6).
        for level in [1, 2, 77] {
            let mut pair = Pair::new(Suite::Aes128Gcm);
            let mut input = pair.record(DATA, b"last");
            input.extend(pair.record(ALERT, &[level, description]));
            input.extend(pair.record(DATA, b"ignored"));
            let opened = pair.server.open(&mut input, 0, &mut Vec::new()).unwrap();
            assert_eq!(opened.end, Some(end));
            assert_eq!(&input[..opened.plaintext_end], b"last");
            seal(&mut pair.server, b"the response"); // a half-close
        }
    }
    let mut pair = Pair::new(Suite::Aes128Gcm);
    let canceled = pair.record(ALERT, &[1, USER_CANCELED]);
    assert_eq!(pair.opens(canceled).unwrap().0, b"");
}

#[test]
fn an_alert_has_two_bytes() {
    let cases: [(&[u8], _); 3] = [
        (&[], Alert::UnexpectedMessage), // section 5.4
        (&[2], Alert::DecodeError),
        (&[2, 42, 2], Alert::DecodeError),
    ];
    for (content, expected) in cases {
        assert_eq!(Pair::refusal(ALERT, content), Some(expected), "{content:?}");
    }
}

// ---- key updates ---------------------------------------------------------------------

#[test]
fn the_peer_updates_its_key() {
    for suite in SUITES {
        let mut pair = Pair::new(suite);
        for round in 0..3u8 {
            let update = pair.record(HANDSHAKE, &[KEY_UPDATE, 0, 0, 1, 0]);
            pair.client.update().unwrap();
            let data = pair.record(DATA, &[round]);
            let mut reply = Vec::new();
            let mut input = [update, data].concat();
            let opened = pair.server.open(&mut input, 0, &mut reply).unwrap();
            assert_eq!(input[..opened.plaintext_end], [round]);
            assert!(reply.is_empty(), "none was asked for");
        }
    }
}

#[test]
fn an_update_that_is_asked_for_is_sent_once_for_all_in_one_read() {
    let mut pair = Pair::new(Suite::Aes256Gcm);
    let mut input = Vec::new();
    for _ in 0..3 {
        input.extend(pair.record(HANDSHAKE, &[KEY_UPDATE, 0, 0, 1, 1]));
        pair.client.update().unwrap();
    }
    let mut reply = Vec::new();
    pair.server.open(&mut input, 0, &mut reply).unwrap();
    assert_eq!(
        pair.sent(&reply),
        [(HANDSHAKE, vec![KEY_UPDATE, 0, 0, 1, 0])]
    );
    let out = seal(&mut pair.server, b"with the new key");
    assert_eq!(pair.sent(&out), [(DATA, b"with the new key".to_vec())]);
}

#[test]
fn an_update_may_come_in_pieces_but_nothing_between_them() {
    let mut pair = Pair::new(Suite::Aes128Gcm);
    for byte in [KEY_UPDATE, 0, 0, 1, 0] {
        let record = pair.record(HANDSHAKE, &[byte]);
        assert_eq!(pair.opens(record).unwrap().0, b"");
    }
    pair.client.update().unwrap();
    let data = pair.record(DATA, b"new key");
    assert_eq!(pair.opens(data).unwrap().0, b"new key");
    for (kind, content) in [(DATA, &b"x"[..]), (DATA, b""), (ALERT, &[1, 0])] {
        let mut pair = Pair::new(Suite::Aes128Gcm);
        let mut input = pair.record(HANDSHAKE, &[KEY_UPDATE, 0]);
        input.extend(pair.record(kind, content));
        assert_eq!(pair.opens(input), Err(Alert::UnexpectedMessage), "{kind}");
    }
}

#[test]
fn other_handshake_messages_are_refused() {
    let update = [KEY_UPDATE, 0, 0, 1, 0];
    // The key changes behind the record, so an update ends with it.
    let two = [update, update].concat();
    let cases: [(&[u8], _); 7] = [
        (&[1, 0, 0, 1, 0], Alert::UnexpectedMessage),
        (&[4; 40], Alert::UnexpectedMessage),
        (&[], Alert::UnexpectedMessage),
        (&two, Alert::UnexpectedMessage),
        (&[KEY_UPDATE, 0, 0, 2], Alert::DecodeError),
        (&[KEY_UPDATE, 0, 0, 2, 0, 0], Alert::DecodeError),
        (&[KEY_UPDATE, 0, 0, 1, 2], Alert::IllegalParameter),
    ];
    for (content, expected) in cases {
        let refused = Pair::refusal(HANDSHAKE, content);
        assert_eq!(refused, Some(expected), "{content:?}");
    }
    assert_eq!(
        Pair::refusal(HANDSHAKE, &[KEY_UPDATE, 0, 0, 0]),
        Some(Alert::DecodeError)
    );
}

#[test]
fn a_storm_of_records_without_data_ends_the_connection() {
    for (kind, content) in [
        (DATA, &b""[..]),
        (HANDSHAKE, &[KEY_UPDATE, 0, 0, 1, 1]),
        (ALERT, &[1, USER_CANCELED]),
    ] {
        let mut pair = Pair::new(Suite::Aes128Gcm);
        for round in 0..200 {
            let record = pair.record(kind, content);
            if kind == HANDSHAKE {
                pair.client.update().unwrap();
            }
            match pair.opens(record) {
                Ok(_) => assert!(round < IDLE_RECORDS, "{kind}"),
                Err(alert) => {
                    assert_eq!((alert, round), (Alert::UnexpectedMessage, IDLE_RECORDS));
                    break;
                }
            }
        }
    }
    // With data between them they are no storm.
    let mut pair = Pair::new(Suite::Aes128Gcm);
    for _ in 0..200 {
        let record = pair.record(HANDSHAKE, &[KEY_UPDATE, 0, 0, 1, 0]);
        pair.client.update().unwrap();
        pair.opens(record).unwrap();
        let data = pair.record(DATA, b"x");
        assert_eq!(pair.opens(data).unwrap().0, b"x");
    }
}

#[test]
fn our_key_is_updated_before_it_is_worn() {
    let secret = [1; 32];
    let worn = Suite::Aes128Gcm.records_per_key();
    let server = (&secret[..], worn - 1);
    let mut records = Records::new(Suite::Aes128Gcm, (&secret, 0), server).unwrap();
    let mut pair = Pair::new(Suite::Aes128Gcm);
    pair.from_server = half(Suite::Aes128Gcm, server.0, server.1).unwrap();
    let out = seal(&mut records, &[5; 3 * PLAINTEXT_BYTES]);
    let kinds: Vec<u8> = pair.sent(&out).into_iter().map(|(kind, _)| kind).collect();
    assert_eq!(kinds, [DATA, HANDSHAKE, DATA, DATA]);
}

#[test]
fn record_numbers_do_not_wrap() {
    let secret = [1; 32];
    let mut last = half(Suite::Chacha20Poly1305, &secret, u64::MAX).unwrap();
    let sealed = last.seal(DATA, &mut Vec::new(), |_| {});
    assert_eq!(sealed, Err(Alert::InternalError));
}

// ---- another process -----------------------------------------------------------------

#[test]
fn another_process_goes_on_where_this_one_was() {
    for suite in SUITES {
        let mut pair = Pair::new(suite);
        for round in 0..4u8 {
            let update = pair.record(HANDSHAKE, &[KEY_UPDATE, 0, 0, 1, 0]);
            pair.client.update().unwrap();
            pair.opens(update).unwrap();
            let data = pair.record(DATA, &[round]);
            assert_eq!(pair.opens(data).unwrap().0, [round]);
            let out = seal(&mut pair.server, &[round]);
            assert_eq!(pair.sent(&out), [(DATA, vec![round])]);
            let state = pair.server.export().unwrap();
            pair.server = Records::import(&state).unwrap();
            assert_eq!(pair.server.suite(), suite);
        }
    }
}

#[test]
fn another_process_goes_on_in_the_middle_of_a_message() {
    let mut pair = Pair::new(Suite::Aes128Gcm);
    for byte in [KEY_UPDATE, 0, 0, 1, 1] {
        let record = pair.record(HANDSHAKE, &[byte]);
        let mut reply = Vec::new();
        pair.server
            .open(&mut record.clone(), 0, &mut reply)
            .unwrap();
        let state = pair.server.export().unwrap();
        pair.server = Records::import(&state).unwrap();
        assert_eq!(reply.is_empty(), pair.server.idle_records < 5);
    }
    pair.client.update().unwrap();
    let data = pair.record(DATA, b"new key");
    assert_eq!(pair.opens(data).unwrap().0, b"new key");
}

#[test]
fn a_storm_of_records_without_data_is_counted_across_processes() {
    let mut pair = Pair::new(Suite::Aes128Gcm);
    for _ in 0..IDLE_RECORDS {
        let record = pair.record(DATA, b"");
        assert_eq!(pair.opens(record).unwrap().0, b"");
        pair.server = Records::import(&pair.server.export().unwrap()).unwrap();
    }
    let record = pair.record(DATA, b"");
    assert_eq!(pair.opens(record), Err(Alert::UnexpectedMessage));
}

#[test]
fn a_state_of_no_suite_or_with_too_much_of_a_message_is_refused() {
    assert!(Records::import(&[0; STATE_BYTES]).is_none());
    let mut state = Pair::new(Suite::Aes128Gcm).server.export().unwrap();
    let length = STATE_BYTES - PARTIAL_BYTES - 1;
    state[length] = PARTIAL_BYTES as u8;
    assert!(Records::import(&state).is_some());
    state[length] += 1;
    assert!(Records::import(&state).is_none());
}
