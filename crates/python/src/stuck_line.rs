//! The line about a process that is stuck, with the tracebacks of its threads, as one JSON object: what
//! `prefork.logs.json_lines` writes for all else. Python cannot do that here.
//!
//! Always holds: no lock is taken, and nothing waits.

use prefork_wire::imf_fixdate;
use std::fmt::Write;
use std::fs::File;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::fs::FileExt;
use std::time::{SystemTime, UNIX_EPOCH};

/// More than the tracebacks of a hundred threads.
const MOST_BYTES: usize = 256 * 1024;
const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];

/// What `write` writes to the descriptor `fd`. It goes to a file in memory instead, from now on.
pub(crate) fn caught(fd: RawFd, write: impl FnOnce()) -> Vec<u8> {
    let made = rustix::fs::memfd_create(c"tracebacks", rustix::fs::MemfdFlags::CLOEXEC);
    let file = made.map(File::from);
    if let Ok(file) = &file {
        // SAFETY: it uses no memory. The descriptor is one that was made for this.
        unsafe { libc::dup2(file.as_raw_fd(), fd) };
    }
    write();
    let mut text = vec![0; MOST_BYTES];
    let len = file.map(|file| file.read_at(&mut text, 0).unwrap_or(0));
    text.truncate(len.unwrap_or(0));
    text
}

/// The line, with its end. `text` is ASCII.
pub(crate) fn line(text: &str, request_id: Option<&str>, tracebacks: &[u8]) -> String {
    let mut line = format!(
        "{{\"time\": \"{}\", \"level\": \"CRITICAL\", \"logger\": \"prefork.worker\", \"pid\": {}",
        now(),
        std::process::id()
    );
    for (name, value) in [
        ("message", Some(text.as_bytes())),
        ("request_id", request_id.map(str::as_bytes)),
        ("exception", Some(tracebacks)),
    ] {
        if let Some(value) = value {
            let _ = write!(line, ", \"{name}\": ");
            quote(value, &mut line);
        }
    }
    line.push_str("}\n");
    line
}

/// A JSON string (RFC 8259 7). faulthandler writes ASCII; any other byte is escaped as in a log.
fn quote(text: &[u8], out: &mut String) {
    out.push('"');
    for byte in text {
        let _ = match byte {
            b'"' => out.write_str("\\\""),
            b'\\' => out.write_str("\\\\"),
            b'\n' => out.write_str("\\n"),
            b' '..=b'~' => out.write_char(char::from(*byte)),
            _ => write!(out, "\\\\x{byte:02x}"),
        };
    }
    out.push('"');
}

/// The time as RFC 3339 has it, in UTC.
fn now() -> String {
    let since_epoch = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let date = imf_fixdate(since_epoch.as_secs());
    let date = String::from_utf8_lossy(&date); // Sun, 06 Nov 1994 08:49:37 GMT
    let mut words = date.split(' ').skip(1);
    let mut word = || words.next().unwrap_or_default();
    let (day, name, year, time) = (word(), word(), word(), word());
    let month = MONTHS.iter().position(|month| *month == name);
    let month = month.map_or(0, |index| index + 1);
    format!(
        "{year}-{month:02}-{day}T{time}.{:03}Z",
        since_epoch.subsec_millis()
    )
}
