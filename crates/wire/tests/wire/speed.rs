//! The time to parse a head:
//! `cargo test --release -p prefork-wire -- --ignored --nocapture nanoseconds`.

use std::hint::black_box;
use std::time::{Duration, Instant};

use prefork_wire::{
    HeadParser, Length, Limits, RequestContext, RequestKind, Version, imf_fixdate, write_head,
};

const WRK: &[u8] = b"GET / HTTP/1.1\r\nHost: 127.0.0.1:8080\r\n\r\n";

const BROWSER: &[u8] = b"GET /articles/2024/preforking?page=2&sort=new HTTP/1.1\r\n\
    Host: www.example.com\r\n\
    User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0\r\n\
    Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8\r\n\
    Accept-Language: en-US,en;q=0.5\r\n\
    Accept-Encoding: gzip, deflate, br, zstd\r\n\
    Referer: https://www.example.com/articles\r\n\
    Connection: keep-alive\r\n\
    Cookie: session=5f2b8c1d9e7a4c3b; theme=dark; consent=yes\r\n\
    Upgrade-Insecure-Requests: 1\r\n\
    Cache-Control: max-age=0\r\n\r\n";

/// The quickest of several rounds: the others were disturbed.
fn fastest(mut work: impl FnMut()) -> f64 {
    const TIMES: u32 = 100_000;
    let round = |work: &mut dyn FnMut()| {
        let start = Instant::now();
        (0..TIMES).for_each(|_| work());
        start.elapsed()
    };
    let best = (0..15)
        .map(|_| round(&mut work))
        .min()
        .unwrap_or(Duration::MAX);
    best.as_nanos() as f64 / f64::from(TIMES)
}

#[test]
#[ignore = "a measurement, for the release profile"]
fn nanoseconds_for_a_head() {
    let limits = Limits::default();
    for (name, head) in [("wrk", WRK), ("browser", BROWSER)] {
        let cost = fastest(|| {
            let parsed = HeadParser::default().parse(black_box(head), &limits);
            assert!(black_box(parsed).unwrap().is_some());
        });
        println!("{name}: {} bytes in {cost:.0} ns", head.len());
    }
    let date = imf_fixdate(784_111_777);
    let request = RequestContext {
        version: Version::Http11,
        kind: RequestKind::Other,
        keep_alive: true,
    };
    let headers: [(&[u8], &[u8]); 2] = [(b"Content-Type", b"text/plain"), (b"Server", b"prefork")];
    let mut out = Vec::with_capacity(512);
    let cost = fastest(|| {
        out.clear();
        let response = write_head(
            &mut out,
            &request,
            200,
            black_box(headers).into_iter(),
            Length::Known(12),
            &date,
        );
        black_box(response).unwrap();
    });
    println!("response: {} bytes in {cost:.0} ns", out.len());
}
