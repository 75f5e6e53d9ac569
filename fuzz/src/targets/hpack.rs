//! Header blocks of a client of HTTP/2, in one frame each or in several, and those that we write.

use super::http2::line;
use crate::input::Input;
use prefork_wire::http2::{Connection, Fault, Incoming};
use prefork_wire::{Head, Limits};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const HEAD_BYTES: usize = 9;
/// The largest frame that is read (RFC 9113, section 4.2).
const FRAME_BYTES: usize = 16_384;

/// :method GET, :scheme http, :path /, :authority a, without the table.
const GET: &[u8] = b"\x82\x86\x84\x01\x01a";
/// After so long the budget of a connection is full: it does not count frames here.
const REFILL_MS: u64 = 20_000;
const BLOCKS: usize = 8;
/// What an entry of a list costs beside its bytes (RFC 7541, section 4.1).
const ENTRY_BYTES: usize = 32;

pub fn run(data: &[u8]) {
    let mut input = Input::new(data);
    match input.flag() {
        true => write(&mut input),
        false => read(&mut input),
    }
}

/// A connection that has read its preface.
fn connection(limits: &Limits) -> Connection {
    let mut connection = Connection::new(&mut Vec::new(), 100, limits);
    let read = connection.read(PREFACE, &mut Vec::new(), limits, 0);
    assert!(read.is_ok_and(|read| read.consumed == PREFACE.len()));
    connection
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let len = (payload.len() as u32).to_be_bytes();
    let head = [&len[1..], &[kind, flags], &stream.to_be_bytes()].concat();
    [&head, payload].concat()
}

// ---- what a client writes ----------------------------------------------------------

fn read(input: &mut Input<'_>) {
    let limits = match input.flag() {
        true => Limits::default(),
        false => Limits {
            line: 64,
            head: 256,
            fields: 6,
            ..Limits::default()
        },
    };
    let (mut whole, mut parts) = (connection(&limits), connection(&limits));
    let (mut stream, mut now_ms) = (1, 0);
    for _ in 0..BLOCKS {
        if input.is_empty() {
            return;
        }
        let choice = input.byte();
        let cuts = [(); 3].map(|()| input.byte());
        let begins = if choice & 2 == 0 { b"" } else { GET };
        let repeated = input
            .bytes()
            .repeat([1, 1, 8, 60][usize::from(choice >> 2 & 3)]);
        let block = [begins, &repeated].concat();
        let ends = if choice & 1 == 0 { 0 } else { END_STREAM };
        if choice & 16 == 0 {
            stream += 2; // otherwise these are the trailers of the one before
        }
        now_ms += REFILL_MS;
        let one = frame(HEADERS, ends | END_HEADERS, stream, &block);
        let several = continued(stream, ends, &block, cuts);
        let one = hear(&mut whole, &one, &limits, now_ms);
        let several = hear(&mut parts, &several, &limits, now_ms);
        assert!(one == several, "the same block in several frames");
        assert_eq!(whole.open_streams(), parts.open_streams());
        if one.2.is_some() {
            return;
        }
    }
}

/// A block in HEADERS and CONTINUATION, some of which may be empty.
fn continued(stream: u32, ends: u8, block: &[u8], cuts: [u8; 3]) -> Vec<u8> {
    let mut cuts = cuts.map(|cut| usize::from(cut) * block.len() / 255);
    cuts.sort_unstable();
    let [a, b, c] = cuts;
    [
        frame(HEADERS, ends, stream, &block[..a]),
        frame(CONTINUATION, 0, stream, &block[a..b]),
        frame(CONTINUATION, 0, stream, &block[b..c]),
        frame(CONTINUATION, END_HEADERS, stream, &block[c..]),
    ]
    .concat()
}

/// What was read, what was written, and why it ended.
type Heard = (Vec<String>, Vec<u8>, Option<Fault>);

fn hear(connection: &mut Connection, bytes: &[u8], limits: &Limits, now_ms: u64) -> Heard {
    let (mut heard, mut out, mut at) = (Vec::new(), Vec::new(), 0);
    while at < bytes.len() {
        let input = &bytes[at..];
        let read = match connection.read(input, &mut out, limits, now_ms) {
            Ok(read) => read,
            Err(fault) => return (heard, out, Some(fault)),
        };
        at += read.consumed;
        if let Some(incoming) = read.incoming {
            if let Incoming::Request { bytes, head, .. } = &incoming {
                check_size(bytes, head, limits);
            }
            heard.push(line(&incoming, input, limits));
        }
    }
    (heard, out, None)
}

/// The list of a request is no larger than the SETTINGS of the server allow.
fn check_size(bytes: &[u8], head: &Head, limits: &Limits) {
    let fields = head.fields.iter();
    let sizes = fields.map(|field| field.name.of(bytes).len() + field.value.of(bytes).len());
    let fields: usize = sizes.map(|size| size + ENTRY_BYTES).sum();
    let (method, target) = (head.method.of(bytes), head.target.of(bytes));
    let pseudo = match method {
        b"CONNECT" => 0, // it may have no other
        _ => ":path".len() + target.len() + ":scheme".len() + "http".len() + 2 * ENTRY_BYTES,
    };
    let method = ":method".len() + method.len() + ENTRY_BYTES;
    assert!(method + pseudo + fields <= limits.head);
    assert!(bytes.len() <= 2 * limits.head);
}

// ---- what we write -----------------------------------------------------------------

/// In any case, and some that are not kept in the table.
const NAMES: [&[u8]; 8] = [
    b"x-a",
    b"X-Longer-Name",
    b"accept",
    b"User-Agent",
    b"etag",
    b"location",
    b"set-cookie",
    b"vary",
];

type Field = (&'static [u8], Vec<u8>);

/// Each block of ours is read as that of a request, with the pseudo-header fields of one: it has the fields
/// that were written.
fn write(input: &mut Input<'_>) {
    let limits = Limits {
        line: FRAME_BYTES,
        ..Limits::default()
    };
    let (mut ours, mut peer) = (connection(&limits), connection(&limits));
    let (mut stream, mut now_ms) = (1, 0);
    while !input.is_empty() && stream < 64 {
        now_ms += REFILL_MS;
        for _ in 0..input.byte() % 4 {
            let size = input.below(5_000) as u32;
            let setting = [&[0, 1], &size.to_be_bytes()[..]].concat();
            let told = hear(&mut ours, &frame(SETTINGS, 0, 0, &setting), &limits, now_ms);
            assert!(told.2.is_none());
        }
        let fields = fields(input);
        let asked = frame(HEADERS, END_STREAM | END_HEADERS, stream, GET);
        assert_eq!(hear(&mut ours, &asked, &limits, now_ms).0.len(), 1);
        let mut written = Vec::new();
        let given = fields.iter().map(|(name, value)| (*name, &value[..]));
        ours.write_trailers(&mut written, stream, given);
        let block = as_request(&written[HEAD_BYTES..]);
        let asked = frame(HEADERS, END_STREAM | END_HEADERS, stream, &block);
        let read = peer.read(&asked, &mut Vec::new(), &limits, now_ms);
        let Some(Incoming::Request { bytes, head, .. }) = read.expect("a block").incoming else {
            panic!("a block of ours is no request");
        };
        assert_eq!(decoded(&bytes, &head), lower(&fields));
        stream += 2;
    }
}

fn fields(input: &mut Input<'_>) -> Vec<Field> {
    let count = input.byte() % 6;
    let field = |_| {
        let name = input.one_of(&NAMES);
        let value = input.bytes().iter().map(|byte| b'!' + byte % 94);
        (name, value.collect())
    };
    (0..count).map(field).collect()
}

/// A block with the fields of a request behind the sizes of the table, which come first.
fn as_request(block: &[u8]) -> Vec<u8> {
    let mut at = 0;
    while block.get(at).is_some_and(|byte| byte & 0xe0 == 0x20) {
        let is_long = block[at] & 0x1f == 0x1f;
        at += 1;
        while is_long && block[at] & 0x80 != 0 {
            at += 1;
        }
        at += usize::from(is_long);
    }
    [&block[..at], GET, &block[at..]].concat()
}

fn lower(fields: &[Field]) -> Vec<(Vec<u8>, Vec<u8>)> {
    let fields = fields.iter();
    fields
        .map(|(name, value)| (name.to_ascii_lowercase(), value.clone()))
        .collect()
}

/// The fields of a request, without Host.
fn decoded(bytes: &[u8], head: &Head) -> Vec<(Vec<u8>, Vec<u8>)> {
    let fields = head.fields.iter();
    fields
        .map(|field| (field.name.of(bytes), field.value.of(bytes)))
        .filter(|(name, _)| *name != b"host")
        .map(|(name, value)| (name.to_vec(), value.to_vec()))
        .collect()
}
