//! Lines as text, whatever bytes came; and where they go when that fails.

use super::entry::Here;
use super::moment::{Moment, Moments};
use super::*;
use crate::peer::Peer;
use std::borrow::Cow;
use std::fs;
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;

struct Known(Vec<(&'static [u8], Vec<u8>)>);

impl Known {
    fn value(&self, name: &[u8]) -> Option<&[u8]> {
        let (_, value) = self.0.iter().find(|(known, _)| *known == name)?;
        Some(value)
    }
}

impl Fields for Known {
    fn of_request(&self, name: &[u8]) -> Option<&[u8]> {
        self.value(name)
    }

    fn of_response(&self, name: &[u8]) -> Option<&[u8]> {
        self.value(name).map(|_| b"text/plain".as_slice())
    }

    fn variable(&self, name: &[u8]) -> Option<Cow<'_, [u8]>> {
        self.value(name).map(Cow::Borrowed)
    }

    fn trace_id(&self) -> Option<&[u8]> {
        self.value(b"trace")
    }
}

fn entry<'a>(fields: &'a dyn Fields, target: &'a [u8]) -> Entry<'a> {
    Entry {
        client: Peer::Inet {
            ip: [192, 0, 2, 10].into(),
            port: 5000,
        },
        asked: Asked::of(b"GET", target, "HTTP/1.1"),
        scheme: "https",
        tls: Some("TLSv1.3"),
        status: 200,
        received: 3,
        sent: Some(1234),
        ready_ns: 1_000_000_000,
        given_ns: 1_000_250_000,
        ended_ns: 3_001_500_000,
        request_id: Some(b"id-1"),
        fields,
    }
}

fn ended(ended_ns: u64, target: &[u8]) -> Entry<'_> {
    Entry {
        ended_ns,
        ..entry(&NoFields, target)
    }
}

fn line_of(format: &str, entry: &Entry<'_>, most: usize) -> String {
    let moment = Moment {
        common: "[29/Nov/2026:15:08:18 +0100]".into(),
        date: "2026-11-29T15:08:18".into(),
        zone: "+01:00".into(),
        millis: 7,
    };
    let here = Here {
        moment: &moment,
        pid: 77,
        worker: Some(3),
    };
    let mut out = Vec::new();
    let format = Format::parse(format).unwrap();
    format.write(entry, &here, most, &mut out);
    let line = String::from_utf8(out).unwrap();
    line.strip_suffix('\n').unwrap().to_owned()
}

fn line(format: &str) -> String {
    let fields = Known(vec![
        (b"referer", b"http://here/".to_vec()),
        (b"user-agent", b"curl/8".to_vec()),
        (b"authorization", b"Basic am9lOmE6Yg==".to_vec()),
        (b"host", b"example.com".to_vec()),
        (b"trace", b"0af7".to_vec()),
    ]);
    line_of(format, &entry(&fields, b"/a%20b?x=1"), usize::MAX)
}

#[test]
fn the_common_formats() {
    let common =
        r#"192.0.2.10 - joe [29/Nov/2026:15:08:18 +0100] "GET /a%20b?x=1 HTTP/1.1" 200 1234"#;
    assert_eq!(line("common"), common);
    assert_eq!(
        line("combined"),
        format!(r#"{common} "http://here/" "curl/8""#)
    );
}

#[test]
fn each_atom() {
    for (atom, shown) in [
        ("h", "192.0.2.10"),
        ("l", "-"),
        ("u", "joe"),
        ("t", "[29/Nov/2026:15:08:18 +0100]"),
        ("r", "GET /a%20b?x=1 HTTP/1.1"),
        ("m", "GET"),
        ("U", "/a%20b"),
        ("q", "x=1"),
        ("H", "HTTP/1.1"),
        ("s", "200"),
        ("B", "1234"),
        ("b", "1234"),
        ("f", "http://here/"),
        ("a", "curl/8"),
        ("T", "2"),
        ("D", "2001250"),
        ("M", "2001"),
        ("L", "2.001250"),
        ("p", "<77>"),
        ("{Host}i", "example.com"),
        ("{Missing}i", "-"),
        ("{HOST}o", "text/plain"),
        ("{missing}o", "-"),
        ("{host}e", "example.com"),
        ("wait", "0.000250"),
        ("duration", "2.001250"),
        ("worker", "3"),
        ("bytes_in", "3"),
        ("bytes_out", "1234"),
        ("protocol", "HTTP/1.1"),
        ("scheme", "https"),
        ("tls", "TLSv1.3"),
        ("request_id", "id-1"),
        ("trace_id", "0af7"),
    ] {
        assert_eq!(
            line(&format!("<%({atom})s>")),
            format!("<{shown}>"),
            "{atom}"
        );
    }
    let named: Vec<&str> = Format::atoms().collect();
    assert_eq!(named.len(), 29);
}

#[test]
fn a_text_between_atoms_stays_and_a_percent_sign_is_written_twice() {
    assert_eq!(line("100%% é\t%(s)d"), "100% é\t200");
    assert_eq!(
        line("a\nb\x1b[31m %(m)s"),
        r"a\nb\x1b[31m GET",
        "no line ends in its middle"
    );
}

#[test]
fn what_is_no_format_says_why() {
    let unknown = |name: &str| Err(FormatError::Unknown(name.into()));
    assert_eq!(Format::parse("%(h)s %(status)s"), unknown("status"));
    assert_eq!(Format::parse("%({Host}x)s"), unknown("{Host}x"));
    assert_eq!(Format::parse("%({}i)s"), unknown("{}i"));
    assert_eq!(Format::parse("combine"), Err(FormatError::Constant));
    assert_eq!(Format::parse("%%"), Err(FormatError::Constant));
    for text in ["%h %l", "%(h", "%(h)", "%(h)x", "%(h)d", "%"] {
        let parsed = Format::parse(text);
        assert!(
            matches!(&parsed, Err(FormatError::NoAtom(_))),
            "{text} {parsed:?}"
        );
    }
}

#[test]
fn a_client_that_left_and_what_is_no_request() {
    let mut left = entry(&NoFields, b"/");
    left.sent = None;
    assert_eq!(
        line_of("%(s)s %(b)s %(B)s %(u)s", &left, usize::MAX),
        "499 - 0 -"
    );
    let mut malformed = entry(&NoFields, b"/");
    (malformed.asked, malformed.given_ns) = (Asked::Unread(Some(b"GET \"")), 0);
    let shown = line_of(
        "%(r)s|%(m)s|%(q)s|%(H)s|%(D)s|%(wait)s",
        &malformed,
        usize::MAX,
    );
    assert_eq!(shown, r#"GET \"|-|-|-|0|-"#);
    malformed.asked = Asked::Unread(None);
    assert_eq!(line_of("%(r)s", &malformed, usize::MAX), "-");
    let json = line_of("json", &malformed, usize::MAX);
    assert!(json.contains(r#""method":null,"path":null,"query":null,"protocol":null,"line":null"#));
}

#[test]
fn json_has_always_the_same_names() {
    assert_eq!(
        line("json"),
        concat!(
            r#"{"time":"2026-11-29T15:08:18.007+01:00","client":"192.0.2.10","user":"joe","method":"GET","#,
            r#""path":"/a%20b","query":"x=1","protocol":"HTTP/1.1","scheme":"https","tls":"TLSv1.3","#,
            r#""host":"example.com","status":200,"bytes_in":3,"bytes_out":1234,"duration_s":2.001250,"#,
            r#""wait_s":0.000250,"referer":"http://here/","user_agent":"curl/8","pid":77,"worker":3,"request_id":"id-1","trace_id":"0af7"}"#,
        )
    );
}

/// Every byte in every place where a client can put it.
#[test]
fn no_byte_ends_a_line_or_a_field_or_controls_a_terminal() {
    for byte in 0..=255_u8 {
        let text = [b'a', byte, b'b'];
        let fields = Known(vec![
            (b"referer", text.to_vec()),
            (b"user-agent", text.to_vec()),
            (b"host", text.to_vec()),
        ]);
        for format in ["combined", "json", "%({referer}i)s %(U)s %(q)s %({host}e)s"] {
            let target = [b"/".as_slice(), &text, b"?", &text].concat();
            let shown = line_of(format, &entry(&fields, &target), usize::MAX);
            assert!(
                shown.bytes().all(|byte| matches!(byte, b' '..=b'~')),
                "{byte} {shown}"
            );
        }
        let shown = line_of("\"%(a)s\"", &entry(&fields, b"/"), usize::MAX);
        let quotes = shown.replace("\\\\", "").replace("\\\"", "");
        assert_eq!(quotes.matches('"').count(), 2, "{byte} {shown}");
    }
}

#[test]
fn text_that_is_not_ascii_is_whole_in_json() {
    let fields = Known(vec![(b"user-agent", "é€𝄞\u{202e}".as_bytes().to_vec())]);
    let shown = line_of("json", &entry(&fields, b"/"), usize::MAX);
    assert!(
        shown.contains(r#""user_agent":"\u00e9\u20ac\ud834\udd1e\u202e""#),
        "{shown}"
    );
    let fields = Known(vec![(b"user-agent", b"\xff\xc3(".to_vec())]);
    let shown = line_of("json", &entry(&fields, b"/"), usize::MAX);
    assert!(shown.contains(r#""user_agent":"\\xff\\xc3(""#), "{shown}");
    let shown = line_of("combined", &entry(&fields, b"/"), usize::MAX);
    assert!(shown.ends_with(r#""\xff\xc3(""#), "{shown}");
}

#[test]
fn a_user_is_one_word() {
    for (credentials, user) in [
        (&b"Basic YSBiOmM="[..], r"a\x20b"), // "a b:c"
        (b"basic am9lOg==", "joe"),
        (b"Basic Omo=", "-"),
        (b"Basic am9l", "-"),
        (b"Basic !!!!", "-"),
        (b"Basic a", "-"),
        (b"Bearer abc", "-"),
        (b"Basic", "-"),
    ] {
        let fields = Known(vec![(b"authorization", credentials.to_vec())]);
        assert_eq!(line_of("%(u)s", &entry(&fields, b"/"), usize::MAX), user);
    }
}

#[test]
fn the_zone_is_that_of_the_time() {
    // SAFETY: a `tm` of zeros is one.
    let mut time: libc::tm = unsafe { std::mem::zeroed() };
    (time.tm_year, time.tm_mon, time.tm_mday) = (126, 10, 9);
    (time.tm_hour, time.tm_min, time.tm_sec, time.tm_gmtoff) = (1, 2, 3, -12_600);
    let moment = Moment::of(&time);
    assert_eq!(moment.common, "[09/Nov/2026:01:02:03 -0330]");
    assert_eq!(
        (&*moment.date, &*moment.zone),
        ("2026-11-09T01:02:03", "-03:30")
    );
}

#[test]
fn the_time_goes_on_within_a_turn() {
    let mut moments = Moments::default();
    let mut millis_at = |now_ms: u64| moments.at(now_ms * 1_000_000).millis;
    let first = millis_at(5_000);
    for later_ms in [0, 1, 250, 999, 1_000, 61_007] {
        let expected = (u64::from(first) + later_ms) % 1_000;
        assert_eq!(u64::from(millis_at(5_000 + later_ms)), expected);
    }
}

/// The monotonic clock stands while the machine sleeps, and the other one can be set.
#[test]
fn the_clock_is_read_again_after_what_was_written() {
    let place = directory();
    let path = place.path().join("access.log");
    let mut log = AccessLog::new(&Arc::new(AccessLogSettings {
        place: Place::Path(path.clone()),
        format: Format::parse("%(t)s %(U)s").unwrap(),
        skip: Vec::new(),
    }));
    let (ten_years_ns, long) = (315_360_000_000_000_000, vec![b'x'; TURN_BYTES]);
    log.add(&ended(1, &long), None); // is written at once
    log.add(&ended(ten_years_ns, b"/"), None);
    log.flush(1);
    log.add(&ended(2 * ten_years_ns, b"/"), None);
    log.flush(1);
    let lines = fs::read_to_string(path).unwrap();
    let mut years: Vec<&str> = lines.lines().map(|line| &line[8..12]).collect();
    assert_eq!(years.len(), 3);
    years.dedup();
    assert_eq!(years.len(), 1, "{years:?}");
}

#[test]
fn paths_to_skip_are_whole_or_beginnings() {
    let log = settings(Place::Descriptor(1), &["/healthz", "/static/*"]);
    for (path, skips) in [
        ("/healthz", true),
        ("/healthz/", false),
        ("/static/", true),
        ("/static/a/b", true),
        ("/static", false),
    ] {
        assert_eq!(log.skips(path.as_bytes()), skips, "{path}");
    }
}

// ---- where the lines go ------------------------------------------------------------

fn settings(place: Place, skip: &[&str]) -> Arc<AccessLogSettings> {
    Arc::new(AccessLogSettings {
        place,
        format: Format::parse("%(U)s").unwrap(),
        skip: skip.iter().map(|path| path.as_bytes().to_vec()).collect(),
    })
}

struct Written {
    log: AccessLog,
    now_ms: u64,
}

impl Written {
    fn to(place: Place) -> Self {
        Written {
            log: AccessLog::new(&settings(place, &[])),
            now_ms: 1_000_000,
        }
    }

    /// Logs a response, a second later.
    fn add(&mut self, path: &[u8]) -> Option<LogNews> {
        self.now_ms += 1_000;
        self.log.add(&ended(self.now_ms * 1_000_000, path), None);
        self.log.flush(self.now_ms)
    }

    fn later(&mut self) -> Option<LogNews> {
        self.now_ms += 10_000;
        self.log.flush(self.now_ms)
    }
}

fn pipe() -> (fs::File, fs::File) {
    let (ours, theirs) = rustix::pipe::pipe().unwrap();
    (ours.into(), theirs.into())
}

fn directory() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

#[test]
fn lines_of_a_turn_are_one_write() {
    let place = directory();
    let path = place.path().join("access.log");
    let mut written = Written::to(Place::Path(path.clone()));
    for path in [&b"/a"[..], b"/b"] {
        written.log.add(&ended(1, path), None);
    }
    assert!(!path.exists());
    assert_eq!(written.log.flush(1), None);
    assert_eq!(fs::read_to_string(path).unwrap(), "/a\n/b\n");
    assert!(!written.log.has_work());
}

#[test]
fn a_file_that_was_rotated_away_is_made_again() {
    let place = directory();
    let path = place.path().join("access.log");
    let mut written = Written::to(Place::Path(path.clone()));
    written.add(b"/a");
    fs::rename(&path, place.path().join("old")).unwrap();
    written.add(b"/b");
    fs::remove_file(&path).unwrap();
    written.add(b"/c");
    assert_eq!(
        fs::read_to_string(place.path().join("old")).unwrap(),
        "/a\n"
    );
    assert_eq!(fs::read_to_string(&path).unwrap(), "/c\n");
    fs::rename(&path, place.path().join("old")).unwrap();
    assert_eq!(written.log.reopen(written.now_ms), None);
    assert!(path.exists(), "at once, without a line");
}

#[test]
fn a_directory_that_vanishes_costs_lines_and_is_told_once() {
    let place = directory();
    let logs = place.path().join("logs");
    let path = logs.join("access.log");
    fs::create_dir(&logs).unwrap();
    let mut written = Written::to(Place::Path(path.clone()));
    written.add(b"/a");
    fs::remove_dir_all(&logs).unwrap();
    let error = Errno::NOENT;
    assert_eq!(
        written.add(b"/b"),
        Some(LogNews::Fails {
            error,
            goes_on: false
        })
    );
    assert_eq!(written.add(b"/c"), None);
    fs::create_dir(&logs).unwrap();
    assert_eq!(written.add(b"/d"), Some(LogNews::Works { lost: 2 }));
    assert_eq!(fs::read_to_string(&path).unwrap(), "/d\n");
    assert_eq!(written.later(), None);
    assert_eq!(written.log.lost(), 2);
}

#[test]
fn a_renamed_file_takes_lines_while_there_is_no_other() {
    let place = directory();
    let logs = place.path().join("logs");
    let path = logs.join("access.log");
    fs::create_dir(&logs).unwrap();
    let mut written = Written::to(Place::Path(path));
    written.add(b"/a");
    fs::rename(&logs, place.path().join("other")).unwrap();
    let error = Errno::NOENT;
    assert_eq!(
        written.add(b"/b"),
        Some(LogNews::Fails {
            error,
            goes_on: true
        })
    );
    assert_eq!(written.add(b"/c"), None);
    let kept = place.path().join("other/access.log");
    assert_eq!(fs::read_to_string(kept).unwrap(), "/a\n/b\n/c\n");
    fs::create_dir(&logs).unwrap();
    assert_eq!(written.add(b"/d"), Some(LogNews::Works { lost: 0 }));
}

#[test]
fn a_full_disk_costs_lines_and_their_number_is_told() {
    let full = fs::OpenOptions::new()
        .write(true)
        .open("/dev/full")
        .unwrap();
    let mut written = Written::to(Place::Descriptor(full.as_raw_fd()));
    let error = Errno::NOSPC;
    assert_eq!(
        written.add(b"/a"),
        Some(LogNews::Fails {
            error,
            goes_on: false
        })
    );
    assert_eq!(written.add(b"/b"), None);
    assert_eq!(written.log.lost(), 2);
}

#[test]
fn a_line_that_a_full_disk_took_in_part_is_one_lost_line() {
    let place = directory();
    let path = place.path().join("access.log");
    let mut written = Written::to(Place::Path(path.clone()));
    written.add(b"/a");
    let taken = written.log.destination.take();
    let full = fs::OpenOptions::new()
        .write(true)
        .open("/dev/full")
        .unwrap();
    let full = Place::Descriptor(full.as_raw_fd());
    written.log.destination = Destination::open(&full).ok();
    written.log.look_ms = u64::MAX;
    written.log.lines = b"/torn\n".to_vec();
    written.log.written = 3;
    fs::write(&path, "/a\n/to").unwrap();
    written.later();
    assert_eq!(written.log.lost(), 1);
    written.add(b"/b");
    written.add(b"/c");
    assert_eq!(written.log.lost(), 3, "the break before /b is no line");
    written.log.destination = taken;
    written.add(b"/d");
    assert_eq!(fs::read_to_string(&path).unwrap(), "/a\n/to\n/d\n");
    assert_eq!(written.log.lost(), 3);
}

#[test]
fn a_slow_reader_costs_nothing_until_too_much_waits() {
    let (ours, theirs) = pipe();
    let mut written = Written::to(Place::Descriptor(theirs.as_raw_fd()));
    let path = [b"/".as_slice(), &[b'x'; 1000]].concat();
    let lines = 2 * KEPT_BYTES / path.len();
    for _ in 0..lines {
        assert_eq!(written.add(&path), None);
    }
    let lost = written.log.lost();
    assert!(lost > 0);
    assert!(written.log.due_ms().is_some());
    let reader = std::thread::spawn(move || {
        use std::io::BufRead;
        std::io::BufReader::new(ours)
            .lines()
            .map_while(Result::ok)
            .count()
    });
    let mut news = None;
    while written.log.has_work() {
        news = written.later().or(news);
        std::thread::yield_now();
    }
    assert_eq!(news, Some(LogNews::Works { lost }));
    drop((written, theirs));
    assert_eq!(reader.join().unwrap() as u64 + lost, lines as u64);
}

#[test]
fn a_reader_that_died_costs_lines() {
    let (ours, theirs) = pipe();
    let mut written = Written::to(Place::Descriptor(theirs.as_raw_fd()));
    written.add(b"/a");
    drop(ours);
    let error = Errno::PIPE;
    assert_eq!(
        written.add(b"/b"),
        Some(LogNews::Fails {
            error,
            goes_on: false
        })
    );
}

#[test]
fn a_line_that_a_pipe_does_not_take_whole_is_shortened() {
    let (ours, theirs) = pipe();
    let mut written = Written::to(Place::Descriptor(theirs.as_raw_fd()));
    written.add(&[b"/".as_slice(), &[b'x'; 10_000]].concat());
    drop((written, theirs));
    let shown = std::io::read_to_string(ours).unwrap();
    assert_eq!(shown, format!("/{}...\n", "x".repeat(SHORT_BYTES - 1)));
}

#[test]
fn a_file_takes_a_long_line_whole() {
    let place = directory();
    let path = place.path().join("access.log");
    let mut written = Written::to(Place::Path(path.clone()));
    written.add(&[b"/".as_slice(), &[b'x'; 10_000]].concat());
    assert_eq!(fs::read_to_string(path).unwrap().len(), 10_002);
}

#[test]
fn a_named_pipe_needs_no_reader() {
    let place = directory();
    let path = place.path().join("pipe");
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, mode, 0).unwrap();
    let mut written = Written::to(Place::Path(path.clone()));
    assert_eq!(written.add(b"/a"), None);
    let flags = rustix::fs::OFlags::NONBLOCK.bits() as i32;
    let mut reader = fs::OpenOptions::new()
        .read(true)
        .custom_flags(flags)
        .open(path)
        .unwrap();
    let mut found = [0; 3];
    std::io::Read::read_exact(&mut reader, &mut found).unwrap();
    assert_eq!(&found, b"/a\n");
}

#[test]
fn a_number_that_is_another_file_is_not_written() {
    let place = directory();
    let path = place.path().join("access.log");
    let mut written = Written::to(Place::Path(path.clone()));
    written.add(b"/a");
    let other = place.path().join("other");
    let file = fs::File::create(&other).unwrap();
    let number = written.log.destination.as_ref().unwrap().number();
    // SAFETY: the program closes a number that is not its own, and opens another file there.
    assert!(unsafe { libc::dup2(file.as_raw_fd(), number) } >= 0);
    written.add(b"/b");
    assert_eq!(fs::read_to_string(path).unwrap(), "/a\n/b\n");
    assert_eq!(fs::read_to_string(other).unwrap(), "");
}
