//! Rows about keep-alive and Expect.

use crate::feed::{accept, refuse};

fn keeps(version: &str, lines: &str) -> bool {
    accept(format!("GET / HTTP/{version}\r\nHost: a\r\n{lines}\r\n")).keep_alive
}

#[test]
fn http_1_1_keeps_the_connection_without_close() {
    assert!(keeps("1.1", ""));
    assert!(keeps("1.1", "Connection: keep-alive\r\n"));
    assert!(keeps("1.1", "Connection: upgrade\r\n"));
    assert!(keeps("1.1", "Connection: closed, xclose\r\n"));
    assert!(!keeps("1.1", "Connection: close\r\n"));
    assert!(!keeps("1.1", "connection: x , CLOSE\t,y\r\n"));
    assert!(!keeps(
        "1.1",
        "Connection: close\r\nConnection: keep-alive\r\n"
    ));
    assert!(!keeps("1.1", "Connection: keep-alive, close\r\n"));
}

#[test]
fn http_1_0_closes_without_keep_alive() {
    assert!(!keeps("1.0", ""));
    assert!(!keeps("1.0", "Connection: close\r\n"));
    assert!(!keeps("1.0", "Keep-Alive: timeout=5\r\n"));
    assert!(keeps("1.0", "Connection: Keep-Alive\r\n"));
    assert!(keeps("1.0", "Connection: te, keep-alive\r\n"));
    assert!(!keeps(
        "1.0",
        "Connection: keep-alive\r\nConnection: close\r\n"
    ));
}

#[test]
fn expect_100_continue_is_respected_if_there_is_a_body() {
    let expects = |line: &str, body: &str| {
        accept(format!(
            "POST / {line}\r\nHost: a\r\nExpect: 100-Continue\r\n{body}\r\n"
        ))
        .expect_continue
    };
    assert!(expects("HTTP/1.1", "Content-Length: 5\r\n"));
    assert!(expects("HTTP/1.1", "Transfer-Encoding: chunked\r\n"));
    assert!(!expects("HTTP/1.1", "Content-Length: 0\r\n"));
    assert!(!expects("HTTP/1.1", ""));
    assert!(!expects("HTTP/1.0", "Content-Length: 5\r\n"));
}

#[test]
fn other_expectations_are_417() {
    for value in [
        "",
        "200-ok",
        "100-continue, 200-ok",
        "100-continue;a=b",
        "\"100-continue\"",
    ] {
        refuse(
            417,
            format!("POST / HTTP/1.1\r\nHost: a\r\nExpect: {value}\r\nContent-Length: 5\r\n\r\n"),
        );
    }
}

#[test]
fn an_upgrade_that_the_server_ignores_is_an_ordinary_request() {
    let head =
        accept("GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
    assert!(head.keep_alive);
    assert_eq!(head.fields.len(), 3);
}
