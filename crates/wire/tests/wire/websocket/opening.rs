//! The opening handshake (RFC 6455, section 4).

use super::*;

pub(super) fn request(fields: &str) -> (Vec<u8>, Head) {
    let bytes = format!(
        "GET /chat HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n{fields}\r\n"
    )
    .into_bytes();
    let head = accept(&bytes);
    (bytes, head)
}

pub(super) const REQUEST: &str =
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

pub(super) fn opening(fields: &str) -> Result<Opening, RemoteError> {
    let (bytes, head) = request(&format!("{REQUEST}{fields}"));
    assert!(head.websocket);
    Opening::read(&head, &bytes)
}

pub(super) fn switch(opening: &Opening, subprotocol: Option<&[u8]>) -> String {
    let mut out = Vec::new();
    write_switching_protocols(&mut out, opening, subprotocol, [].into_iter(), &[b'D'; 29]).unwrap();
    String::from_utf8(out).unwrap()
}

#[test]
fn the_example_of_rfc_6455_1_3() {
    let opening = opening("Sec-WebSocket-Protocol: chat, superchat\r\n").unwrap();
    let offered: Vec<&[u8]> = opening.subprotocols().collect();
    assert_eq!(offered, [&b"chat"[..], b"superchat"]);
    assert_eq!(
        switch(&opening, Some(b"chat")),
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSec-WebSocket-Protocol: chat\r\n\
         Date: DDDDDDDDDDDDDDDDDDDDDDDDDDDDD\r\n\r\n"
    );
}

#[test]
fn only_a_get_of_http_11_that_upgrades_asks_for_a_websocket() {
    let asks = |bytes: &str| accept(bytes).websocket;
    let with = |line: &str, fields: &str| asks(&format!("{line}\r\nHost: a\r\n{fields}\r\n"));
    let get = "GET / HTTP/1.1";
    assert!(with(
        get,
        "Upgrade: h2c, WebSocket\r\nConnection: upgrade\r\n"
    ));
    assert!(!with(get, "Upgrade: websocket\r\n"));
    assert!(!with(get, "Connection: upgrade\r\n"));
    assert!(!with(get, "Upgrade: h2c\r\nConnection: upgrade\r\n"));
    assert!(!with(
        "POST / HTTP/1.1",
        "Upgrade: websocket\r\nConnection: upgrade\r\n"
    ));
    assert!(!with(
        "GET / HTTP/1.0",
        "Upgrade: websocket\r\nConnection: upgrade\r\n"
    ));
    assert!(!with(
        get,
        "Upgrade: websocket\r\nConnection: upgrade\r\nContent-Length: 1\r\n"
    ));
}

#[test]
fn one_that_asks_wrongly_is_refused() {
    let status = |fields: &str| {
        let (bytes, head) = request(fields);
        Opening::read(&head, &bytes).unwrap_err().status
    };
    let key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    let version = "Sec-WebSocket-Version: 13\r\n";
    assert_eq!(status(key), 426);
    assert_eq!(status(&format!("{key}Sec-WebSocket-Version: 8\r\n")), 426);
    assert_eq!(status(&format!("{key}{version}{version}")), 426);
    assert_eq!(status(version), 400);
    assert_eq!(status(&format!("{version}{key}{key}")), 400);
    for wrong in [
        "",
        "dGhlIHNhbXBsZSBub25jZQ",
        "dGhlIHNhbXBsZSBub25j",
        "?GhlIHNhbXBsZSBub25jZQ==",
    ] {
        assert_eq!(
            status(&format!("{version}Sec-WebSocket-Key: {wrong}\r\n")),
            400
        );
    }
}

#[test]
fn a_field_of_the_handshake_is_refused_and_nothing_written() {
    let opening = opening("Sec-WebSocket-Protocol: chat\r\n").unwrap();
    let refused = |subprotocol: Option<&[u8]>, name: &[u8], value: &[u8]| {
        let mut out = b"before".to_vec();
        let fields = [(name, value)].into_iter();
        let result =
            write_switching_protocols(&mut out, &opening, subprotocol, fields, &[b'D'; 29]);
        assert_eq!(out, b"before");
        result.unwrap_err()
    };
    assert!(matches!(
        refused(Some(b"other"), b"a", b"b"),
        LocalError::Subprotocol(_)
    ));
    assert!(matches!(
        refused(None, b"Upgrade", b"h2c"),
        LocalError::Handshake(_)
    ));
    assert!(matches!(
        refused(None, b"SEC-websocket-accept", b"x"),
        LocalError::Handshake(_)
    ));
    assert!(matches!(
        refused(None, b"a", b"b\r\nc: d"),
        LocalError::Value { .. }
    ));
    assert!(matches!(refused(None, b"a b", b"c"), LocalError::Name(_)));
}
