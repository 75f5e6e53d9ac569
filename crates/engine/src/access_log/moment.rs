//! The time of a line, in the zone of the machine. It is formatted once a second, and the clock is read for
//! the first line of those that are written together.

use std::mem::MaybeUninit;
use std::time::{SystemTime, UNIX_EPOCH};

const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];

/// A time as it is written.
#[derive(Default)]
pub(crate) struct Moment {
    /// As in `[29/Nov/2026:15:08:18 +0100]`.
    pub(crate) common: String,
    /// RFC 3339, up to the second: `2026-11-29T15:08:18`, and then `+01:00`.
    pub(crate) date: String,
    pub(crate) zone: String,
    pub(crate) millis: u16,
}

#[derive(Default)]
pub(super) struct Moments {
    /// By how much the clock of the machine is ahead of the monotonic one.
    ahead_ns: Option<u64>,
    second: Option<u64>,
    moment: Moment,
}

impl Moments {
    /// `now_ns`: of the monotonic clock.
    pub(super) fn at(&mut self, now_ns: u64) -> &Moment {
        let ahead_ns = *self
            .ahead_ns
            .get_or_insert_with(|| wall_ns().wrapping_sub(now_ns));
        let wall_ns = now_ns.wrapping_add(ahead_ns);
        let second = wall_ns / 1_000_000_000;
        if self.second != Some(second) {
            self.second = Some(second);
            self.moment = Moment::of(&local(second));
        }
        self.moment.millis = (wall_ns / 1_000_000 % 1000) as u16;
        &self.moment
    }

    /// Has the clock read for the next line: before it the clock may be set, or the machine may sleep.
    pub(super) fn read_again(&mut self) {
        self.ahead_ns = None;
    }
}

/// By the C library, as Python has it: its clock may have been replaced, as libfaketime does.
fn wall_ns() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0, |now| now.as_nanos() as u64)
}

impl Moment {
    pub(super) fn of(time: &libc::tm) -> Self {
        let minutes = time.tm_gmtoff / 60;
        let sign = if minutes < 0 { '-' } else { '+' };
        let (hours, minutes) = (minutes.abs() / 60, minutes.abs() % 60);
        let (year, day) = (i64::from(time.tm_year) + 1900, time.tm_mday);
        let month = MONTHS.get(time.tm_mon as usize).copied().unwrap_or("Jan");
        let clock = format!("{:02}:{:02}:{:02}", time.tm_hour, time.tm_min, time.tm_sec);
        Moment {
            common: format!("[{day:02}/{month}/{year}:{clock} {sign}{hours:02}{minutes:02}]"),
            date: format!("{year:04}-{:02}-{day:02}T{clock}", time.tm_mon + 1),
            zone: format!("{sign}{hours:02}:{minutes:02}"),
            millis: 0,
        }
    }

    /// As in `2026-11-29T15:08:18.007+01:00`.
    pub(super) fn rfc3339(&self, out: &mut Vec<u8>) {
        let digit = |place: u16| b'0' + (self.millis / place % 10) as u8;
        out.extend_from_slice(self.date.as_bytes());
        out.extend_from_slice(&[b'.', digit(100), digit(10), digit(1)]);
        out.extend_from_slice(self.zone.as_bytes());
    }
}

/// The local time. The zone was read when the interpreter began.
fn local(second: u64) -> libc::tm {
    let mut time = MaybeUninit::<libc::tm>::zeroed();
    let second = second as _; // the system's time_t, whose name is deprecated for musl
    // SAFETY: the call reads `second` and writes `time`, and nothing else. A `tm` of zeros is one.
    unsafe {
        libc::localtime_r(&raw const second, time.as_mut_ptr());
        time.assume_init()
    }
}
