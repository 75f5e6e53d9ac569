//! Header compression (RFC 7541): the tables, and the two directions.
//!
//! It owns the dynamic table of each direction. Always holds: a block is read to its end even if its
//! list is too large, because later blocks depend on the table; no memory is spent on such a list.
//! It does not know what a field means.

use super::huffman;
use super::static_table::{STATIC, name_index};
use crate::http1::{Field, Span};
use std::collections::VecDeque;

/// The default size of a dynamic table, which we do not change (RFC 9113 6.5.2).
pub(super) const TABLE_BYTES: usize = 4096;
/// What an entry costs beside its bytes (RFC 7541 4.1).
const ENTRY_BYTES: usize = 32;
/// No number in a block needs more bytes than this.
const MOST_NUMBER_BYTES: usize = 5;

/// The block cannot be read: the tables of both sides differ from now on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BadBlock;

struct Entry {
    /// The name, then the value.
    bytes: Box<[u8]>,
    name: usize,
}

impl Entry {
    fn parts(&self) -> (&[u8], &[u8]) {
        self.bytes
            .split_at_checked(self.name)
            .unwrap_or((&self.bytes, &[]))
    }

    fn size(&self) -> usize {
        self.bytes.len() + ENTRY_BYTES
    }
}

/// A dynamic table, the newest entry first.
struct Table {
    entries: VecDeque<Entry>,
    size: usize,
    most: usize,
}

impl Table {
    fn new() -> Self {
        Self {
            entries: VecDeque::new(),
            size: 0,
            most: TABLE_BYTES,
        }
    }

    fn resize(&mut self, most: usize) {
        self.most = most;
        self.evict(0);
    }

    /// Drops the oldest entries until there is room for `more` bytes.
    fn evict(&mut self, more: usize) {
        while self.size + more > self.most {
            let Some(entry) = self.entries.pop_back() else {
                return;
            };
            self.size -= entry.size();
        }
    }

    fn insert(&mut self, name: &[u8], value: &[u8]) {
        let size = name.len() + value.len() + ENTRY_BYTES;
        self.evict(size);
        if size > self.most {
            return;
        }
        let mut bytes = Vec::with_capacity(name.len() + value.len());
        bytes.extend_from_slice(name);
        bytes.extend_from_slice(value);
        self.size += size;
        self.entries.push_front(Entry {
            bytes: bytes.into(),
            name: name.len(),
        });
    }

    /// The entry with this index, of the static table or of this one (RFC 7541 2.3.3).
    fn get(&self, index: usize) -> Option<(&[u8], &[u8])> {
        match index.checked_sub(STATIC.len() + 1) {
            Some(at) => self.entries.get(at).map(Entry::parts),
            None => STATIC.get(index.checked_sub(1)?).copied(),
        }
    }
}

// ---- reading -----------------------------------------------------------------------

/// A header list. The spans of the fields are places in `bytes`.
#[derive(Debug, Default)]
pub(super) struct List {
    pub(super) bytes: Vec<u8>,
    pub(super) fields: Vec<Field>,
    /// The size of the whole list, as SETTINGS_MAX_HEADER_LIST_SIZE counts it (RFC 9113 6.5.2).
    pub(super) size: usize,
    /// The list has more than is allowed, and is not complete.
    pub(super) is_cut: bool,
}

/// What a list may have.
#[derive(Debug, Clone, Copy)]
pub(super) struct ListBounds {
    pub(super) bytes: usize,
    pub(super) fields: usize,
}

/// Reads header blocks.
pub(super) struct Decoder {
    table: Table,
}

/// The two kinds of a literal's name.
enum Name {
    Index(usize),
    Literal,
}

impl Decoder {
    pub(super) fn new() -> Self {
        Self {
            table: Table::new(),
        }
    }

    /// Reads a whole block.
    pub(super) fn decode(&mut self, block: &[u8], bounds: ListBounds) -> Result<List, BadBlock> {
        let mut list = List {
            bytes: Vec::with_capacity(block.len() * 2),
            fields: Vec::with_capacity(USUAL_FIELDS),
            ..List::default()
        };
        let mut input = block;
        let mut may_resize = true;
        while let Some(first) = input.first().copied() {
            if first & 0xe0 == 0x20 {
                let most = number(&mut input, 5)?;
                if !may_resize || most > TABLE_BYTES {
                    return Err(BadBlock);
                }
                self.table.resize(most);
                continue;
            }
            may_resize = false;
            if first & 0x80 != 0 {
                let index = number(&mut input, 7)?;
                let (name, value) = self.table.get(index).ok_or(BadBlock)?;
                list.push(name, value, bounds);
            } else {
                let is_kept = first & 0x40 != 0;
                let index = number(&mut input, if is_kept { 6 } else { 4 })?;
                let name = match index {
                    0 => Name::Literal,
                    index => Name::Index(index),
                };
                self.literal(&mut input, name, is_kept, &mut list, bounds)?;
            }
        }
        Ok(list)
    }

    fn literal(
        &mut self,
        input: &mut &[u8],
        name: Name,
        is_kept: bool,
        list: &mut List,
        bounds: ListBounds,
    ) -> Result<(), BadBlock> {
        let start = list.bytes.len();
        match name {
            Name::Index(index) => {
                let (name, _) = self.table.get(index).ok_or(BadBlock)?;
                list.bytes.extend_from_slice(name);
            }
            Name::Literal => string(input, &mut list.bytes)?,
        }
        let middle = list.bytes.len();
        string(input, &mut list.bytes)?;
        if is_kept {
            let name = list.bytes.get(start..middle).unwrap_or_default();
            let value = list.bytes.get(middle..).unwrap_or_default();
            self.table.insert(name, value);
        }
        list.add(start, middle, bounds);
        Ok(())
    }
}

/// Enough for the lists of browsers, in one allocation.
const USUAL_FIELDS: usize = 20;

impl List {
    fn push(&mut self, name: &[u8], value: &[u8], bounds: ListBounds) {
        let start = self.bytes.len();
        if self.is_cut {
            self.size = self
                .size
                .saturating_add(name.len() + value.len() + ENTRY_BYTES);
            return;
        }
        self.bytes.extend_from_slice(name);
        self.bytes.extend_from_slice(value);
        self.add(start, start + name.len(), bounds);
    }

    /// Adds the field whose name begins at `start` and whose value at `middle`, at the end of the
    /// bytes.
    fn add(&mut self, start: usize, middle: usize, bounds: ListBounds) {
        let end = self.bytes.len();
        self.size = self.size.saturating_add(end - start + ENTRY_BYTES);
        self.is_cut |= self.size > bounds.bytes || self.fields.len() >= bounds.fields;
        if self.is_cut {
            self.bytes.truncate(start);
            return;
        }
        self.fields.push(Field {
            name: Span::new(start, middle),
            value: Span::new(middle, end),
        });
    }
}

/// Takes a number with a prefix of `bits` bits (RFC 7541 5.1).
fn number(input: &mut &[u8], bits: u32) -> Result<usize, BadBlock> {
    let (first, mut rest) = input.split_first().ok_or(BadBlock)?;
    let most = ((1_u16 << bits) - 1) as u8;
    let mut value = usize::from(first & most);
    if value == usize::from(most) {
        for at in 0.. {
            let (byte, tail) = rest.split_first().ok_or(BadBlock)?;
            if at == MOST_NUMBER_BYTES {
                return Err(BadBlock);
            }
            rest = tail;
            value += usize::from(byte & 0x7f) << (7 * at);
            if byte & 0x80 == 0 {
                break;
            }
        }
    }
    *input = rest;
    Ok(value)
}

/// Takes a string and appends it to `out` (RFC 7541 5.2).
fn string(input: &mut &[u8], out: &mut Vec<u8>) -> Result<(), BadBlock> {
    let is_coded = input.first().is_some_and(|first| first & 0x80 != 0);
    let len = number(input, 7)?;
    let (text, rest) = input.split_at_checked(len).ok_or(BadBlock)?;
    *input = rest;
    match is_coded {
        true => huffman::decode(text, out).ok_or(BadBlock),
        false => {
            out.extend_from_slice(text);
            Ok(())
        }
    }
}

// ---- writing -----------------------------------------------------------------------

/// Writes header blocks.
///
/// A field goes to the table when it is written for the second time: what never comes again, such as
/// an identifier of the request, would only displace the others.
pub(super) struct Encoder {
    table: Table,
    /// The hashes of fields that were written once.
    seen: [u32; SEEN],
    next_seen: usize,
    /// The size of the table has changed, and the peer does not know it: the smallest since the last
    /// block.
    resized: Option<usize>,
}

const SEEN: usize = 16;
/// A longer field does not go to the table.
const MOST_KEPT: usize = 256;

/// Names whose values seldom come again, or must not be in a table.
const NOT_KEPT: [&[u8]; 5] = [
    b"content-length",
    b"etag",
    b"last-modified",
    b"location",
    b"content-range",
];
/// A proxy must not put it in a table either (RFC 7541 7.1.3).
const SECRET: &[u8] = b"set-cookie";

impl Encoder {
    pub(super) fn new() -> Self {
        Self {
            table: Table::new(),
            seen: [0; SEEN],
            next_seen: 0,
            resized: None,
        }
    }

    /// The peer has limited the table to `most` bytes.
    pub(super) fn limit(&mut self, most: usize) {
        let most = most.min(TABLE_BYTES);
        if most != self.table.most {
            self.table.resize(most);
            self.resized = Some(self.resized.map_or(most, |smallest| smallest.min(most)));
        }
    }

    /// Begins a block. A table that was smaller in between has lost its entries, and the peer must lose
    /// them too (RFC 7541 4.2).
    pub(super) fn begin(&mut self, out: &mut Vec<u8>) {
        let Some(smallest) = self.resized.take() else {
            return;
        };
        write_number(out, 0x20, 5, smallest);
        if smallest != self.table.most {
            write_number(out, 0x20, 5, self.table.most);
        }
    }

    pub(super) fn status(&mut self, out: &mut Vec<u8>, code: u16) {
        let index = match code {
            200 => 8,
            204 => 9,
            206 => 10,
            304 => 11,
            400 => 12,
            404 => 13,
            500 => 14,
            _ => {
                write_number(out, 0, 4, 8);
                write_string(out, itoa::Buffer::new().format(code).as_bytes());
                return;
            }
        };
        write_number(out, 0x80, 7, index);
    }

    /// Writes a field. Its name may be in any case, and is sent in lower case.
    pub(super) fn field(&mut self, out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
        let len = name.len() + value.len();
        let is_it = |entry: &Entry| {
            let (known, text) = entry.parts();
            entry.bytes.len() == len && text == value && known.eq_ignore_ascii_case(name)
        };
        if let Some(at) = self.table.entries.iter().position(is_it) {
            return write_number(out, 0x80, 7, STATIC.len() + 1 + at);
        }
        let is = |other: &[u8]| name.eq_ignore_ascii_case(other);
        let (pattern, bits) = match name.len() {
            10 if is(SECRET) => (0x10, 4),
            _ if len > MOST_KEPT || NOT_KEPT.into_iter().any(is) => (0, 4),
            _ if self.was_seen(name, value) => {
                self.table.insert(&name.to_ascii_lowercase(), value);
                (0x40, 6)
            }
            _ => (0, 4),
        };
        match name_index(name) {
            Some(index) => write_number(out, pattern, bits, index),
            None => {
                out.push(pattern);
                write_number(out, 0, 7, name.len());
                out.extend(name.iter().map(u8::to_ascii_lowercase));
            }
        }
        write_string(out, value);
    }

    /// Whether the field was written before; notes it.
    fn was_seen(&mut self, name: &[u8], value: &[u8]) -> bool {
        let mix = |hash: u32, byte: u8| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193);
        let names = name.iter().map(u8::to_ascii_lowercase);
        let hash = names.chain(value.iter().copied()).fold(0x811c_9dc5, mix);
        if self.seen.contains(&hash) {
            return true;
        }
        if let Some(place) = self.seen.get_mut(self.next_seen) {
            *place = hash;
        }
        self.next_seen = (self.next_seen + 1) % SEEN;
        false
    }
}

fn write_number(out: &mut Vec<u8>, pattern: u8, bits: u32, number: usize) {
    let most = (1_usize << bits) - 1;
    if number < most {
        return out.push(pattern | number as u8);
    }
    out.push(pattern | most as u8);
    let mut rest = number - most;
    while rest >= 0x80 {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

/// Writes a string as it is: the table makes short what comes again, and the code costs more time
/// than its bytes.
pub(super) fn write_string(out: &mut Vec<u8>, text: &[u8]) {
    write_number(out, 0, 7, text.len());
    out.extend_from_slice(text);
}

#[cfg(test)]
mod tests;
