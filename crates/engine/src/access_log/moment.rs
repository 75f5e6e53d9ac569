//! The time of a line, in the zone of the machine. It is formatted once a second.

use std::mem::MaybeUninit;
use std::time::{SystemTime, UNIX_EPOCH};

const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];

/// A time as it is written.
#[derive(Default)]
pub(crate) struct Moment {
    /// As in `29/Nov/2026:15:08:18 +0100`.
    pub(crate) common: String,
    /// RFC 3339, up to the second: `2026-11-29T15:08:18`, and then `+01:00`.
    pub(crate) date: String,
    pub(crate) zone: String,
    pub(crate) millis: u16,
}

#[derive(Default)]
pub(super) struct Moments {
    second: Option<i64>,
    moment: Moment,
}

impl Moments {
    pub(super) fn now(&mut self) -> &Moment {
        // By the C library, as Python has it: its clock may have been replaced, as libfaketime does.
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let second = now.as_secs() as i64;
        if self.second != Some(second) {
            self.second = Some(second);
            self.moment = Moment::of(&local(second));
        }
        self.moment.millis = now.subsec_millis() as u16;
        &self.moment
    }
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
            common: format!("{day:02}/{month}/{year}:{clock} {sign}{hours:02}{minutes:02}"),
            date: format!("{year:04}-{:02}-{day:02}T{clock}", time.tm_mon + 1),
            zone: format!("{sign}{hours:02}:{minutes:02}"),
            millis: 0,
        }
    }
}

/// The local time. The zone was read when the interpreter began.
fn local(second: i64) -> libc::tm {
    let mut time = MaybeUninit::<libc::tm>::zeroed();
    let second = second as libc::time_t;
    // SAFETY: the call reads `second` and writes `time`, and nothing else. A `tm` of zeros is one.
    unsafe {
        libc::localtime_r(&raw const second, time.as_mut_ptr());
        time.assume_init()
    }
}
