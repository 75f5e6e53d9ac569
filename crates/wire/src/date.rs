//! The date format of HTTP.

const DAYS: [&[u8; 3]; 7] = [b"Thu", b"Fri", b"Sat", b"Sun", b"Mon", b"Tue", b"Wed"];
const MONTHS: [&[u8; 3]; 12] = [
    b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec",
];

/// The last second of the year 9999, the last that four digits can write.
const LAST: u64 = 253_402_300_799;

/// IMF-fixdate (RFC 9110 5.6.7), as in `Sun, 06 Nov 1994 08:49:37 GMT`. A time after the year 9999
/// gives the last second of it.
#[must_use]
pub fn imf_fixdate(unix_seconds: u64) -> [u8; 29] {
    let seconds = unix_seconds.min(LAST);
    let (days, clock) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = civil(days);
    let mut out = *b"Thu, 01 Jan 1970 00:00:00 GMT";
    let mut put = |at: usize, bytes: &[u8]| {
        for (slot, byte) in out.iter_mut().skip(at).zip(bytes) {
            *slot = *byte;
        }
    };
    put(0, name(&DAYS, days % 7));
    put(5, &digits(day));
    put(8, name(&MONTHS, month));
    put(12, &digits(year / 100));
    put(14, &digits(year % 100));
    put(17, &digits(clock / 3600));
    put(20, &digits(clock / 60 % 60));
    put(23, &digits(clock % 60));
    out
}

fn name(names: &[&'static [u8; 3]], index: u64) -> &'static [u8] {
    names
        .get(index as usize)
        .map_or(b"", |name| name.as_slice())
}

fn digits(number: u64) -> [u8; 2] {
    [b'0' + (number / 10 % 10) as u8, b'0' + (number % 10) as u8]
}

/// Year, month (0 is January) and day of the month, `days` after 1 January 1970.
///
/// Years are counted from March, so that the leap day is the last of its year and months have a
/// fixed start in it; 400 such years always have 146,097 days.
fn civil(days: u64) -> (u64, u64, u64) {
    let since = days + 719_468; // 1 March of the year 0
    let (era, day) = (since / 146_097, since % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153; // 0 is March
    let day = day - (153 * month + 2) / 5 + 1;
    let after_december = month >= 10;
    let month = if after_december {
        month - 10
    } else {
        month + 2
    };
    (era * 400 + year + u64::from(after_december), month, day)
}
