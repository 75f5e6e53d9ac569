//! What each frame leads to in each state, for a client that behaves and for one that does not.

use super::*;
use crate::http1::{BodyEncoder, Length, RequestContext};
use crate::http2::frame::{
    FrameHead, HEAD_BYTES, Kind, write_block, write_head, write_ping_ack, write_reset, write_window,
};
use crate::http2::hpack::Encoder as ClientEncoder;
use proptest::prelude::*;

const DATE: &[u8; 29] = b"Sun, 06 Nov 1994 08:49:37 GMT";

/// A client and our side of its connection.
struct Bench {
    ours: Connection,
    encoder: ClientEncoder,
    input: Vec<u8>,
    limits: Limits,
    now_ms: u64,
}

type Frame = (Kind, u8, u32, Vec<u8>);

impl Bench {
    fn new() -> Self {
        let mut bench = Self::fresh();
        bench.input.extend_from_slice(PREFACE);
        write_head(&mut bench.input, 0, Kind::Settings, 0, 0);
        let frames = bench.expect(None);
        assert_eq!(frames, [(Kind::Settings, 1, 0, Vec::new())]);
        bench
    }

    fn fresh() -> Self {
        let limits = Limits::default();
        Self {
            ours: Connection::new(&mut Vec::new(), 128, &limits),
            encoder: ClientEncoder::new(),
            input: Vec::new(),
            limits,
            now_ms: 0,
        }
    }

    fn frame(&mut self, kind: Kind, flags: u8, stream: u32, payload: &[u8]) -> &mut Self {
        write_head(&mut self.input, payload.len(), kind, flags, stream);
        self.input.extend_from_slice(payload);
        self
    }

    fn settings(&mut self, name: u16, value: u32) -> &mut Self {
        let mut payload = name.to_be_bytes().to_vec();
        payload.extend_from_slice(&value.to_be_bytes());
        self.frame(Kind::Settings, 0, 0, &payload)
    }

    fn request(&mut self, stream: u32, ended: bool, more: &[(&str, &str)]) -> &mut Self {
        let encoder = &mut self.encoder;
        write_block(&mut self.input, stream, ended, 1 << 20, |out| {
            let base = [
                (":method", "POST"),
                (":scheme", "http"),
                (":path", "/"),
                (":authority", "a"),
            ];
            for (name, value) in base.iter().chain(more) {
                encoder.field(out, name.as_bytes(), value.as_bytes());
            }
        });
        self
    }

    fn data(&mut self, stream: u32, data: &[u8], ended: bool) -> &mut Self {
        let flags = u8::from(ended);
        self.frame(Kind::Data, flags, stream, data)
    }

    /// Reads all of the input. Returns what it means, and the frames that were written.
    fn read(&mut self) -> Result<(Vec<Incoming>, Vec<Frame>), Fault> {
        let (mut out, mut all) = (Vec::new(), Vec::new());
        loop {
            let read = self
                .ours
                .read(&self.input, &mut out, &self.limits, self.now_ms)?;
            self.input.drain(..read.consumed);
            if read.incoming.is_none() && read.consumed == 0 {
                return Ok((all, frames(&out)));
            }
            all.extend(read.incoming);
        }
    }

    /// Reads, and expects at most this stream to be reset. Returns the frames.
    fn expect(&mut self, reset: Option<u32>) -> Vec<Frame> {
        let (incoming, frames) = self.read().unwrap();
        let found = incoming.iter().find_map(|incoming| match incoming {
            Incoming::Reset { stream, .. } => Some(*stream),
            _ => None,
        });
        assert_eq!(found, reset, "{incoming:?}");
        frames
    }

    fn fault(&mut self) -> ErrorCode {
        match self.read() {
            Ok(read) => panic!("no fault: {read:?}"),
            Err(fault) => fault.code,
        }
    }

    fn respond(&mut self, stream: u32, length: Length) -> (BodyEncoder, Vec<Frame>) {
        let mut out = Vec::new();
        let headers = [(&b"Server"[..], &b"x"[..])].into_iter();
        let context = RequestContext {
            version: crate::Version::Http2,
            ..RequestContext::default()
        };
        let body = self
            .ours
            .write_response(
                &mut out,
                stream,
                &context,
                200.into(),
                headers,
                length,
                DATE,
            )
            .unwrap();
        (body, frames(&out))
    }

    fn write(&mut self, stream: u32, len: usize, last: bool) -> Result<(), Fault> {
        let mut out = Vec::new();
        let written = self.ours.write_data(&mut out, stream, len, len, last);
        if last {
            self.ours.end_stream(&mut out, stream);
        }
        written
    }
}

fn frames(mut out: &[u8]) -> Vec<Frame> {
    let mut frames = Vec::new();
    while let Some(head) = FrameHead::read(out) {
        let payload = out[HEAD_BYTES..HEAD_BYTES + head.len].to_vec();
        frames.push((head.kind, head.flags, head.stream, payload));
        out = &out[HEAD_BYTES + head.len..];
    }
    assert!(out.is_empty());
    frames
}

fn reset(stream: u32, code: u8) -> Frame {
    (Kind::Reset, 0, stream, vec![0, 0, 0, code])
}

#[test]
fn a_request_and_its_response() {
    let mut bench = Bench::new();
    bench.request(1, false, &[]).data(1, b"body", true);
    let (incoming, written) = bench.read().unwrap();
    let [
        Incoming::Request {
            stream: 1,
            ended: false,
            ..
        },
        Incoming::Data {
            ended: true, data, ..
        },
    ] = incoming.as_slice()
    else {
        panic!("{incoming:?}");
    };
    assert_eq!((data.len(), written.len()), (4, 0));
    let (body, written) = bench.respond(1, Length::Known(5));
    assert_eq!(body, BodyEncoder::Length { left: 5 });
    assert!(matches!(written.as_slice(), [(Kind::Headers, 4, 1, _)]));
    assert_eq!(bench.ours.room(1), FRAME_BYTES);
    bench.write(1, 5, true).unwrap();
    assert_eq!(bench.ours.open_streams(), 0);
}

#[test]
fn a_response_without_a_body_ends_with_its_head() {
    let mut bench = Bench::new();
    bench
        .request(1, true, &[])
        .request(3, false, &[])
        .read()
        .unwrap();
    let (body, written) = bench.respond(1, Length::Known(0));
    assert_eq!(body, BodyEncoder::Nothing);
    assert!(matches!(written.as_slice(), [(Kind::Headers, 5, 1, _)]));
    // The rest of the other's request is not wanted.
    let (_, written) = bench.respond(3, Length::Known(0));
    assert!(matches!(written.as_slice(), [(Kind::Headers, 5, 3, _), last] if *last == reset(3, 0)));
    bench.data(3, b"late", false).data(3, b"", true);
    assert_eq!(bench.expect(None), []);
}

#[test]
fn a_preface_comes_first() {
    for at in 0..PREFACE.len() {
        let mut wrong = PREFACE.to_vec();
        assert_eq!(Connection::is_preface(&wrong[..at]), None);
        wrong[at] ^= 1;
        assert_eq!(Connection::is_preface(&wrong), Some(false));
        let mut bench = Bench::fresh();
        bench.input = wrong;
        assert_eq!(bench.fault(), ErrorCode::Protocol);
    }
    let mut bench = Bench::fresh();
    bench.input = PREFACE.to_vec();
    assert!(bench.ours.awaits_head());
    bench.frame(Kind::Ping, 0, 0, &[0; 8]);
    assert_eq!(bench.fault(), ErrorCode::Protocol);
}

#[test]
fn replies_of_the_connection() {
    let mut bench = Bench::new();
    bench.frame(Kind::Ping, 0, 0, b"12345678");
    assert_eq!(
        bench.expect(None),
        [(Kind::Ping, 1, 0, b"12345678".to_vec())]
    );
    bench.settings(INITIAL_WINDOW_SIZE, 10);
    assert_eq!(bench.expect(None), [(Kind::Settings, 1, 0, Vec::new())]);
    write_ping_ack(&mut bench.input, &[0; 8]);
    bench.frame(Kind::Unknown, 0xff, 7, b"anything");
    bench.frame(Kind::PriorityUpdate, 0, 0, b"\0\0\0\x05u=1");
    assert_eq!(bench.expect(None), []);
}

#[test]
fn frames_that_end_the_connection() {
    type Send = fn(&mut Bench);
    let table: [(&str, ErrorCode, Send); 29] = [
        ("data on 0", ErrorCode::Protocol, |b| {
            b.data(0, b"x", false);
        }),
        ("headers on 0", ErrorCode::Protocol, |b| {
            b.request(0, true, &[]);
        }),
        ("headers on 2", ErrorCode::Protocol, |b| {
            b.request(2, true, &[]);
        }),
        ("data on idle", ErrorCode::Protocol, |b| {
            b.data(3, b"x", false);
        }),
        ("reset of idle", ErrorCode::Protocol, |b| {
            write_reset(&mut b.input, 3, ErrorCode::Cancel)
        }),
        ("window of idle", ErrorCode::Protocol, |b| {
            write_window(&mut b.input, 3, 1)
        }),
        ("window by 0", ErrorCode::Protocol, |b| {
            write_window(&mut b.input, 0, 0)
        }),
        ("window too large", ErrorCode::FlowControl, |b| {
            write_window(&mut b.input, 0, 0x7fff_ffff)
        }),
        ("push", ErrorCode::Protocol, |b| {
            b.frame(Kind::Push, 4, 1, &[0; 8]);
        }),
        ("settings on 1", ErrorCode::Protocol, |b| {
            b.frame(Kind::Settings, 0, 1, &[]);
        }),
        ("ack with payload", ErrorCode::FrameSize, |b| {
            b.frame(Kind::Settings, 1, 0, &[0; 6]);
        }),
        ("5 bytes of settings", ErrorCode::FrameSize, |b| {
            b.frame(Kind::Settings, 0, 0, &[0; 5]);
        }),
        ("push 2", ErrorCode::Protocol, |b| {
            b.settings(ENABLE_PUSH, 2);
        }),
        ("window setting", ErrorCode::FlowControl, |b| {
            b.settings(INITIAL_WINDOW_SIZE, 1 << 31);
        }),
        ("small frames", ErrorCode::Protocol, |b| {
            b.settings(MAX_FRAME_SIZE, 16_383);
        }),
        ("large frames", ErrorCode::Protocol, |b| {
            b.settings(MAX_FRAME_SIZE, 1 << 24);
        }),
        ("ping on 1", ErrorCode::Protocol, |b| {
            b.frame(Kind::Ping, 0, 1, &[0; 8]);
        }),
        ("ping of 7", ErrorCode::FrameSize, |b| {
            b.frame(Kind::Ping, 0, 0, &[0; 7]);
        }),
        ("goaway on 1", ErrorCode::Protocol, |b| {
            b.frame(Kind::GoAway, 0, 1, &[0; 8]);
        }),
        ("goaway of 7", ErrorCode::FrameSize, |b| {
            b.frame(Kind::GoAway, 0, 0, &[0; 7]);
        }),
        ("reset of 5", ErrorCode::FrameSize, |b| {
            b.frame(Kind::Reset, 0, 1, &[0; 5]);
        }),
        ("priority on 0", ErrorCode::Protocol, |b| {
            b.frame(Kind::Priority, 0, 0, &[0; 5]);
        }),
        ("update on 1", ErrorCode::Protocol, |b| {
            b.frame(Kind::PriorityUpdate, 0, 1, &[0; 5]);
        }),
        ("continuation", ErrorCode::Protocol, |b| {
            b.frame(Kind::Continuation, 4, 1, &[]);
        }),
        ("a large frame", ErrorCode::FrameSize, |b| {
            b.data(1, &[0; FRAME_BYTES + 1], false);
        }),
        ("padding", ErrorCode::Protocol, |b| {
            b.frame(Kind::Data, frame::PADDED, 1, &[3, 0, 0]);
        }),
        ("no padding", ErrorCode::FrameSize, |b| {
            b.frame(Kind::Data, frame::PADDED, 1, &[]);
        }),
        ("a bad block", ErrorCode::Compression, |b| {
            b.frame(Kind::Headers, 4, 3, &[0x80]);
        }),
        ("an interrupted block", ErrorCode::Protocol, |b| {
            b.frame(Kind::Headers, 0, 3, &[0x82])
                .frame(Kind::Ping, 0, 0, &[0; 8]);
        }),
    ];
    for (what, code, send) in table {
        let mut bench = Bench::new();
        bench.request(1, false, &[]).read().unwrap();
        send(&mut bench);
        assert_eq!(bench.fault(), code, "{what}");
    }
}

#[test]
fn a_closed_stream_is_closed() {
    let closed = || {
        let mut bench = Bench::new();
        bench
            .request(1, true, &[])
            .request(3, true, &[])
            .read()
            .unwrap();
        bench.respond(1, Length::Known(0));
        bench
    };
    assert_eq!(closed().data(1, b"", true).fault(), ErrorCode::StreamClosed);
    assert_eq!(
        closed().request(1, true, &[]).fault(),
        ErrorCode::StreamClosed
    );
    let mut bench = closed();
    write_window(&mut bench.input, 1, 1);
    write_reset(&mut bench.input, 1, ErrorCode::Cancel);
    assert_eq!(bench.expect(None), []);
    // What the peer has ended itself.
    assert_eq!(closed().data(3, b"x", false).expect(Some(3)), [reset(3, 5)]);
    assert_eq!(
        closed().request(3, true, &[]).expect(Some(3)),
        [reset(3, 5)]
    );
}

#[test]
fn errors_of_a_stream_end_it_alone() {
    let open = |more: &[(&str, &str)]| {
        let mut bench = Bench::new();
        bench
            .request(1, false, more)
            .request(3, false, &[])
            .read()
            .unwrap();
        bench
    };
    let mut bench = open(&[]);
    write_window(&mut bench.input, 1, 0);
    assert_eq!(bench.expect(Some(1)), [reset(1, 1)]);
    let mut bench = open(&[]);
    write_window(&mut bench.input, 1, 0x7fff_ffff);
    assert_eq!(bench.expect(Some(1)), [reset(1, 3)]);
    let mut bench = open(&[("content-length", "3")]);
    assert_eq!(bench.data(1, b"1234", false).expect(Some(1)), [reset(1, 1)]);
    let mut bench = open(&[("content-length", "3")]);
    assert_eq!(bench.data(1, b"12", true).expect(Some(1)), [reset(1, 1)]);
    let mut bench = open(&[("content-length", "3")]);
    assert_eq!(
        bench.data(1, b"12", false).data(1, b"3", true).expect(None),
        []
    );
    let mut bench = open(&[]);
    bench.frame(Kind::Priority, 0, 1, &[0, 0, 0, 1, 0]);
    assert_eq!(bench.expect(Some(1)), [reset(1, 1)]);
    let mut bench = open(&[]);
    bench.frame(Kind::Headers, 4, 1, &[]);
    assert_eq!(
        bench.expect(Some(1)),
        [reset(1, 1)],
        "trailers that end nothing"
    );
    // A request that is malformed is never told to the caller.
    let mut bench = open(&[]);
    bench.request(5, true, &[("connection", "close")]);
    assert_eq!(bench.expect(None), [reset(5, 1)]);
    let mut bench = open(&[]);
    bench.request(5, true, &[("content-length", "3")]);
    assert_eq!(bench.expect(None), [reset(5, 1)]);
    assert_eq!(bench.ours.open_streams(), 2);
}

#[test]
fn trailers_end_a_body() {
    let mut bench = Bench::new();
    bench.request(1, false, &[]).data(1, b"x", false);
    bench.read().unwrap();
    let encoder = &mut bench.encoder;
    write_block(&mut bench.input, 1, true, 100, |out| {
        encoder.field(out, b"x-sum", b"1")
    });
    let (incoming, _) = bench.read().unwrap();
    assert!(matches!(
        incoming.as_slice(),
        [Incoming::Data {
            stream: 1,
            ended: true,
            ..
        }]
    ));
}

#[test]
fn our_settings_say_how_many_streams_may_be_open() {
    for streams in [1, 128, 1_024, 10_000] {
        let mut out = Vec::new();
        let _ = Connection::new(&mut out, streams, &Limits::default());
        let frames = frames(&out);
        let (kind, flags, stream, payload) = &frames[0];
        assert_eq!((kind, flags, stream), (&Kind::Settings, &0, &0));
        let announced = payload.chunks(6).find(|pair| pair[..2] == [0, 3]);
        assert_eq!(announced.unwrap()[2..], streams.to_be_bytes());
    }
}

#[test]
fn all_streams_can_be_reset_at_once() {
    for streams in [128, 1_024] {
        let mut bench = Bench::new();
        bench.ours = Connection::new(&mut Vec::new(), streams, &bench.limits);
        bench.input.extend_from_slice(PREFACE);
        bench.frame(Kind::Settings, 0, 0, &[]);
        let ids = || (1..).step_by(2).take(streams as usize);
        for id in ids() {
            bench.request(id, false, &[]);
        }
        let next = 2 * streams + 1;
        bench.request(next, true, &[]);
        let (incoming, written) = bench.read().unwrap();
        assert_eq!(incoming.len(), streams as usize);
        assert_eq!(written[1..], [reset(next, 7)]);
        // By us: data that crosses the resets is no error of the connection.
        for id in ids().take(streams as usize / 2) {
            bench.ours.reset(id, ErrorCode::Cancel, &mut Vec::new());
        }
        for id in ids().take(streams as usize / 2) {
            bench.data(id, b"crosses the reset", true);
        }
        bench.expect(None);
        // By the client.
        for id in ids().skip(streams as usize / 2) {
            write_reset(&mut bench.input, id, ErrorCode::Cancel);
        }
        bench.read().unwrap();
        assert_eq!(bench.ours.open_streams(), 0);
    }
}

#[test]
fn streams_beyond_the_limit_are_refused() {
    let limits = Limits::default();
    let mut bench = Bench::new();
    let old = std::mem::replace(
        &mut bench.ours,
        Connection::new(&mut Vec::new(), 2, &limits),
    );
    assert_eq!(old.open_streams(), 0);
    bench.input.extend_from_slice(PREFACE);
    bench.frame(Kind::Settings, 0, 0, &[]);
    bench
        .request(1, true, &[])
        .request(3, false, &[])
        .request(5, false, &[]);
    bench.data(5, b"crosses the refusal", true);
    let (incoming, written) = bench.read().unwrap();
    assert_eq!(incoming.len(), 2);
    assert_eq!(written[1..], [reset(5, 7)]);
}

#[test]
fn what_comes_after_our_goaway_may_be_sent_again_elsewhere() {
    let mut bench = Bench::new();
    bench.request(1, false, &[]).read().unwrap();
    let mut out = Vec::new();
    bench.ours.drain(&mut out);
    bench.ours.drain(&mut out);
    assert_eq!(
        frames(&out),
        [(Kind::GoAway, 0, 0, vec![0, 0, 0, 1, 0, 0, 0, 0])]
    );
    bench
        .request(3, false, &[])
        .data(3, b"x", true)
        .data(1, b"y", true);
    let (incoming, written) = bench.read().unwrap();
    assert!(matches!(
        incoming.as_slice(),
        [Incoming::Data { stream: 1, .. }]
    ));
    assert_eq!(written, [reset(3, 7)]);
}

#[test]
fn windows_hold_back_what_we_send() {
    let mut bench = Bench::new();
    bench.settings(INITIAL_WINDOW_SIZE, 100);
    bench
        .request(1, true, &[])
        .request(3, true, &[])
        .read()
        .unwrap();
    bench.respond(1, Length::Unknown);
    bench.respond(3, Length::Unknown);
    bench.ours.set_ready(1, true);
    assert_eq!(
        (bench.ours.room(1), bench.ours.next_sender()),
        (100, Some(1))
    );
    bench.write(1, 100, false).unwrap();
    assert_eq!((bench.ours.room(1), bench.ours.next_sender()), (0, None));
    bench.ours.set_ready(3, true);
    assert_eq!(bench.ours.next_sender(), Some(3));
    // A window that shrinks may become negative (RFC 9113 6.9.2).
    bench.settings(INITIAL_WINDOW_SIZE, 10);
    bench.expect(None);
    assert_eq!((bench.ours.room(1), bench.ours.room(3)), (0, 10));
    write_window(&mut bench.input, 1, 91);
    bench.expect(None);
    assert_eq!(bench.ours.room(1), 1);
}

#[test]
fn the_peer_keeps_to_our_windows() {
    let mut bench = Bench::new();
    bench.request(1, false, &[]);
    for _ in 0..4 {
        bench.data(1, &[0; 16_000], false);
    }
    bench.expect(None);
    bench.data(1, &[0; 2_000], false);
    assert_eq!(bench.expect(Some(1)), [reset(1, 3)]);
    let mut bench = Bench::new();
    bench.request(1, false, &[]);
    let mut out = Vec::new();
    let mut given_back = 0;
    for _ in 0..400 {
        bench.data(1, &[0; 16_000], false);
        given_back += bench.expect(None).len();
        bench.ours.give_back(1, 16_000, &mut out);
    }
    assert!(given_back > 5, "the window of the connection");
    assert!(frames(&out).len() > 100);
}

#[test]
fn padding_is_given_back() {
    let mut bench = Bench::new();
    bench.request(1, false, &[]);
    let mut payload = vec![100];
    payload.extend_from_slice(&[b'x'; 200]);
    payload.extend_from_slice(&[0; 100]);
    for _ in 0..600 {
        bench.frame(Kind::Data, frame::PADDED, 1, &payload);
        bench.expect(None);
        bench.ours.give_back(1, 200, &mut Vec::new());
    }
}

#[test]
fn a_budget_ends_each_flood() {
    type Send = fn(&mut Bench, u32);
    let floods: [(&str, Send); 11] = [
        ("rapid reset", |b, n| {
            b.request(n, true, &[]);
            write_reset(&mut b.input, n, ErrorCode::Cancel);
        }),
        ("provoked resets", |b, n| {
            b.request(n, false, &[]);
            write_window(&mut b.input, n, 0);
        }),
        ("malformed requests", |b, n| {
            b.request(n, true, &[("te", "x")]);
        }),
        ("pings", |b, _| {
            b.frame(Kind::Ping, 0, 0, &[0; 8]);
        }),
        ("settings", |b, _| {
            b.frame(Kind::Settings, 0, 0, &[]);
        }),
        ("empty data", |b, n| {
            b.request(n, false, &[]).data(n, b"", false);
        }),
        ("priorities", |b, n| {
            b.frame(Kind::Priority, 0, n, &[0; 5]);
        }),
        ("updates of priorities", |b, _| {
            b.frame(Kind::PriorityUpdate, 0, 0, &[0, 0, 0, 1]);
        }),
        ("windows", |b, _| write_window(&mut b.input, 0, 1)),
        ("unknown frames", |b, _| {
            b.frame(Kind::Unknown, 0, 0, &[]);
        }),
        ("large lists", |b, n| {
            let block = [0x82].repeat(16_000);
            b.frame(Kind::Headers, 5, n, &block);
        }),
    ];
    for (what, send) in floods {
        let mut bench = Bench::new();
        let spent = (0..4_000).find_map(|at| {
            send(&mut bench, 2 * at + 1);
            match bench.read() {
                Ok((incoming, _)) => {
                    for incoming in incoming {
                        if let Incoming::Refused { stream, .. } | Incoming::Request { stream, .. } =
                            incoming
                        {
                            bench.ours.reset(stream, ErrorCode::Cancel, &mut Vec::new());
                        }
                    }
                    None
                }
                Err(fault) => Some(fault.code),
            }
        });
        assert_eq!(spent, Some(ErrorCode::EnhanceYourCalm), "{what}");
    }
}

#[test]
fn a_block_without_an_end_is_a_flood() {
    let mut bench = Bench::new();
    bench.frame(Kind::Headers, 0, 1, &[0; 16_000]);
    for _ in 0..10 {
        bench.frame(Kind::Continuation, 0, 1, &[0; 16_000]);
    }
    assert_eq!(bench.fault(), ErrorCode::EnhanceYourCalm);
    let mut bench = Bench::new();
    bench.frame(Kind::Headers, 0, 1, &[]);
    for _ in 0..1_000 {
        bench.frame(Kind::Continuation, 0, 1, &[]);
    }
    assert_eq!(bench.fault(), ErrorCode::EnhanceYourCalm);
}

#[test]
fn a_client_that_takes_windows_of_one_byte_is_stopped() {
    let mut bench = Bench::new();
    bench
        .settings(INITIAL_WINDOW_SIZE, 0)
        .request(1, true, &[])
        .read()
        .unwrap();
    bench.respond(1, Length::Unknown);
    let spent = (0..2_000).find_map(|_| {
        write_window(&mut bench.input, 1, 1);
        bench.read().unwrap();
        let mut out = Vec::new();
        bench.ours.write_data(&mut out, 1, 1, 1_000, false).err()
    });
    assert_eq!(spent.unwrap().code, ErrorCode::EnhanceYourCalm);
}

#[test]
fn a_body_beyond_the_limit_is_refused() {
    let mut bench = Bench::new();
    bench.limits.max_body = 5;
    bench.request(1, false, &[]).data(1, b"123456", false);
    let (incoming, _) = bench.read().unwrap();
    let [_, Incoming::BodyRefused { stream: 1, error }] = incoming.as_slice() else {
        panic!("{incoming:?}");
    };
    assert_eq!(error.status, 413);
    // Its response may wait for a window. Nothing more of the request is told meanwhile.
    bench.data(1, b"1", false).data(1, b"23", true);
    assert!(bench.read().unwrap().0.is_empty());
}

#[test]
fn nothing_more_of_a_refused_request_is_told() {
    let mut bench = Bench::new();
    bench.limits.max_body = 5;
    bench.request(1, false, &[("content-length", "6")]);
    bench.request(3, false, &[("expect", "miracles")]);
    let (incoming, _) = bench.read().unwrap();
    assert!(matches!(
        incoming.as_slice(),
        [
            Incoming::Refused { stream: 1, .. },
            Incoming::Refused { stream: 3, .. }
        ]
    ));
    bench.data(1, b"123456", true);
    bench.data(3, b"123456", false).request(3, true, &[]);
    let (incoming, frames) = bench.read().unwrap();
    assert!(matches!(
        incoming.as_slice(),
        [Incoming::Reset { stream: 3, .. }] // trailers with pseudo-header fields
    ));
    assert_eq!(frames, [reset(3, 1)]);
}

#[test]
fn the_messages_of_a_websocket_are_no_body() {
    let mut bench = Bench::new();
    bench.limits.max_body = 5;
    let encoder = &mut bench.encoder;
    write_block(&mut bench.input, 1, false, 1 << 20, |out| {
        for (name, value) in [
            (":method", "CONNECT"),
            (":protocol", "websocket"),
            (":scheme", "http"),
            (":path", "/"),
            (":authority", "a"),
            ("sec-websocket-version", "13"),
        ] {
            encoder.field(out, name.as_bytes(), value.as_bytes());
        }
    });
    bench.data(1, b"1234", false).data(1, b"5678", false);
    let (incoming, _) = bench.read().unwrap();
    assert!(matches!(
        incoming.as_slice(),
        [
            Incoming::Request { .. },
            Incoming::Data { .. },
            Incoming::Data { .. }
        ]
    ));
}

#[test]
fn trailers_and_interim_responses_are_written() {
    let mut bench = Bench::new();
    bench.request(1, true, &[]).read().unwrap();
    let mut out = Vec::new();
    let link = [(&b"Link"[..], &b"</a>"[..])];
    bench
        .ours
        .write_interim(&mut out, 1, 103, link.into_iter())
        .unwrap();
    bench.respond(1, Length::Unknown);
    let sum = [(&b"X-Sum"[..], &b"1"[..])];
    Connection::check_trailers(sum.into_iter()).unwrap();
    bench.ours.write_trailers(&mut out, 1, sum.into_iter());
    let kinds: Vec<_> = frames(&out)
        .iter()
        .map(|frame| (frame.0, frame.1))
        .collect();
    assert_eq!(kinds, [(Kind::Headers, 4), (Kind::Headers, 5)]);
    assert_eq!(bench.ours.open_streams(), 0);
    for wrong in [&b"Content-Length"[..], b"Host", b"a b", b":path"] {
        let wrong = [(wrong, &b"1"[..])].into_iter();
        assert!(Connection::check_trailers(wrong).is_err());
    }
}

#[test]
fn a_response_that_breaks_the_rules_writes_nothing() {
    let mut bench = Bench::new();
    bench.request(1, true, &[]).read().unwrap();
    for wrong in [
        ("a b", "x"),
        ("a", "x\r\ny"),
        ("", "x"),
        (":status", "x"),
        ("content-length", "-"),
    ] {
        let mut out = Vec::new();
        let good = (&b"x-good"[..], &b"1"[..]);
        let headers = [good, good, (wrong.0.as_bytes(), wrong.1.as_bytes())];
        let context = RequestContext::default();
        let written = bench.ours.write_response(
            &mut out,
            1,
            &context,
            200.into(),
            headers.into_iter(),
            Length::Unknown,
            DATE,
        );
        assert!(written.is_err() && out.is_empty(), "{wrong:?}");
    }
}

proptest! {
    #[test]
    fn nothing_panics(frames in prop::collection::vec(
        (0_u8..20, any::<u8>(), 0_u32..8, prop::collection::vec(any::<u8>(), 0..40)), 0..40),
    ) {
        let mut bench = Bench::new();
        for (kind, flags, stream, payload) in frames {
            let [_, a, b, c] = (payload.len() as u32).to_be_bytes();
            let [d, e, f, g] = stream.to_be_bytes();
            bench.input.extend_from_slice(&[a, b, c, kind, flags, d, e, f, g]);
            bench.input.extend_from_slice(&payload);
        }
        let _ = bench.read();
    }

    #[test]
    fn the_same_bytes_mean_the_same_however_they_are_split(
        cuts in prop::collection::vec(1_usize..40, 1..30),
    ) {
        let mut whole = Bench::fresh();
        whole.input.extend_from_slice(PREFACE);
        whole.frame(Kind::Settings, 0, 0, &[]);
        whole.request(1, false, &[("x-a", "b")]).data(1, b"some data", false);
        whole.request(3, true, &[]).data(1, b"", true);
        whole.frame(Kind::Ping, 0, 0, &[7; 8]);
        write_reset(&mut whole.input, 3, ErrorCode::Cancel);
        let mut split = Bench::fresh();
        let mut rest = whole.input.clone();
        let (expected, frames) = whole.read().unwrap();
        let (mut found, mut written) = (Vec::new(), Vec::new());
        for cut in cuts.into_iter().cycle() {
            split.input.extend(rest.drain(..cut.min(rest.len())));
            let (incoming, out) = split.read().unwrap();
            found.extend(incoming);
            written.extend(out);
            if rest.is_empty() {
                break;
            }
        }
        prop_assert_eq!(written, frames);
        let name = |incoming: &Incoming| match incoming {
            Incoming::Request { stream, bytes, .. } => format!("request {stream} {bytes:?}"),
            Incoming::Data { stream, data, ended } => format!("{stream} {} {ended}", data.len()),
            Incoming::Reset { stream, .. } => format!("reset {stream}"),
            other => format!("{other:?}"),
        };
        prop_assert_eq!(
            found.iter().map(name).collect::<Vec<_>>(),
            expected.iter().map(name).collect::<Vec<_>>()
        );
    }
}
