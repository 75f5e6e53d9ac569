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

#[inline]
pub(super) fn number(number: u64, out: &mut Vec<u8>) {
    match number {
        0..=9 => out.push(b'0' + number as u8), // seconds and bytes of a request, nearly always
        _ => out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes()),
    }
}

/// Microseconds as seconds, with six decimals.
pub(super) fn seconds(us: u64, out: &mut Vec<u8>) {
    number(us / 1_000_000, out);
    let mut rest = (us % 1_000_000) as u32;
    let mut decimals = *b".000000";
    for digit in decimals.iter_mut().skip(1).rev() {
        *digit += (rest % 10) as u8;
        rest /= 10;
    }
    out.extend_from_slice(&decimals);
}

pub(super) fn address(peer: Peer, out: &mut Vec<u8>) {
    let Some(IpAddr::V4(ip)) = peer.ip() else {
        let _ = write!(out, "{peer}"); // a vector takes all
        return;
    };
    let mut text = [b'.'; 16]; // with a point behind each part
    let mut end = 0;
    for octet in ip.octets() {
        for (least, digit) in [(100, octet / 100), (10, octet / 10 % 10), (0, octet % 10)] {
            if let Some(place) = text.get_mut(end).filter(|_| octet >= least) {
                *place = b'0' + digit;
                end += 1;
            }
        }
        end += 1;
    }
    out.extend_from_slice(text.get(..end - 1).unwrap_or_default());
}
