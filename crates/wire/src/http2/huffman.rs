//! The Huffman code of HPACK (RFC 7541 5.2 and appendix B).
//!
//! The code is canonical: the lengths of its words define it. The decoder is a table with a row for
//! each inner node of the tree and a column for each value of four bits. No word is shorter than
//! five bits, so a step ends at most one word.

/// The length of the word of each byte, and of EOS, the last one.
const LENGTHS: [u8; 257] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, //
    28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 28, //
    6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, //
    5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10, //
    13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, //
    7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6, //
    15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5, //
    6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28, //
    20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23, //
    24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24, //
    22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23, //
    21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23, //
    26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25, //
    19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27, //
    20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23, //
    26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26, //
    30,
];

const EOS: usize = 256;

/// A step from a node of the tree by four bits.
#[derive(Clone, Copy)]
struct Step {
    /// The node that follows. The root is 0.
    node: u8,
    /// The byte whose word has ended, if `emits`.
    byte: u8,
    emits: bool,
    /// The step meets EOS, which must not be sent.
    fails: bool,
}

const STUCK: Step = Step {
    node: 0,
    byte: 0,
    emits: false,
    fails: true,
};

/// The steps of each node, and whether a string may end there: after less than a byte of ones.
struct Table {
    steps: [[Step; 16]; 256],
    ends: [bool; 256],
}

static TABLE: Table = build();

/// The tree: for each inner node and bit an inner node, or `LEAF` and a symbol.
const LEAF: u16 = 0x8000;

#[expect(
    clippy::indexing_slicing,
    reason = "evaluated at compile time, where an index out of bounds is an error"
)]
const fn tree() -> [[u16; 2]; 256] {
    let mut tree = [[0_u16; 2]; 256];
    let mut nodes = 1;
    let mut word: u32 = 0;
    let mut length = 0;
    while length < 30 {
        length += 1;
        word <<= 1;
        let mut symbol = 0;
        while symbol <= EOS {
            if LENGTHS[symbol] == length {
                let mut node = 0;
                let mut left = length;
                while left > 1 {
                    left -= 1;
                    let bit = (word >> left & 1) as usize;
                    if tree[node][bit] == 0 {
                        tree[node][bit] = nodes;
                        nodes += 1;
                    }
                    node = tree[node][bit] as usize;
                }
                tree[node][(word & 1) as usize] = LEAF | symbol as u16;
                word += 1;
            }
            symbol += 1;
        }
    }
    tree
}

#[expect(
    clippy::indexing_slicing,
    reason = "evaluated at compile time, where an index out of bounds is an error"
)]
const fn build() -> Table {
    let tree = tree();
    let mut table = Table {
        steps: [[STUCK; 16]; 256],
        ends: [false; 256],
    };
    let mut node = 0;
    while node < 256 {
        let mut bits = 0;
        while bits < 16 {
            table.steps[node][bits] = step(&tree, node, bits);
            bits += 1;
        }
        node += 1;
    }
    // The padding of a string is the beginning of EOS: up to seven ones (RFC 7541 5.2).
    let mut ones = 0;
    let mut end = 0;
    while ones < 8 {
        table.ends[end] = true;
        end = tree[end][1] as usize;
        ones += 1;
    }
    table
}

#[expect(
    clippy::indexing_slicing,
    reason = "evaluated at compile time, where an index out of bounds is an error"
)]
const fn step(tree: &[[u16; 2]; 256], from: usize, bits: usize) -> Step {
    let mut step = STUCK;
    let mut node = from;
    let mut left = 4;
    while left > 0 {
        left -= 1;
        let next = tree[node][bits >> left & 1];
        if next & LEAF == 0 {
            node = next as usize;
        } else if next == LEAF | EOS as u16 {
            return STUCK;
        } else {
            step.byte = (next & 0xff) as u8;
            step.emits = true;
            node = 0;
        }
    }
    step.node = node as u8;
    step.fails = false;
    step
}

/// Appends the decoded string to `out`; `None` if it holds EOS or is padded wrongly.
#[expect(
    clippy::indexing_slicing,
    reason = "256 rows cover every u8, 16 columns every value of four bits"
)]
pub(super) fn decode(input: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let mut node = 0_u8;
    out.reserve(input.len() * 8 / 5);
    for byte in input {
        for bits in [byte >> 4, byte & 15] {
            let step = TABLE.steps[usize::from(node)][usize::from(bits)];
            if step.fails {
                return None;
            }
            if step.emits {
                out.push(step.byte);
            }
            node = step.node;
        }
    }
    TABLE.ends[usize::from(node)].then_some(())
}

#[cfg(test)]
pub(super) mod tests;
