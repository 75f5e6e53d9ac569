//! Values of a line that every format writes alike.

use super::entry::Entry;
use crate::peer::Peer;
use std::io::Write;
use std::net::IpAddr;

/// The status of a request whose client left before its response began, as nginx has it.
const CLIENT_LEFT: u16 = 499;

/// 499 if the client left before its response began.
pub(super) fn status(entry: &Entry<'_>) -> u16 {
    match entry.sent {
        Some(_) => entry.status,
        None => CLIENT_LEFT,
    }
}

pub(super) fn number(number: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

/// Microseconds as seconds, with six decimals.
pub(super) fn seconds(us: u64, out: &mut Vec<u8>) {
    number(us / 1_000_000, out);
    out.push(b'.');
    let mut digits = *b"000000";
    let mut rest = us % 1_000_000;
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    out.extend_from_slice(&digits);
}

pub(super) fn address(peer: Peer, out: &mut Vec<u8>) {
    if let Some(IpAddr::V4(ip)) = peer.ip() {
        for (index, octet) in ip.octets().into_iter().enumerate() {
            if index > 0 {
                out.push(b'.');
            }
            number(octet.into(), out);
        }
        return;
    }
    let _ = write!(out, "{peer}"); // a vector takes all
}
