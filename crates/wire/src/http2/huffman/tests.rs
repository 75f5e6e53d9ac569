//! The words of the appendix, and strings that are no words.

use super::*;
use proptest::prelude::*;

/// A slow encoder, straight from the definition of a canonical code.
pub(crate) fn encode(text: &[u8]) -> Vec<u8> {
    let words = words();
    let mut bits = Vec::new();
    for byte in text {
        let (word, length) = words[usize::from(*byte)];
        bits.extend((0..length).rev().map(|at| word >> at & 1 == 1));
    }
    while bits.len() % 8 != 0 {
        bits.push(true);
    }
    bits.chunks(8)
        .map(|bits| bits.iter().fold(0, |byte, bit| byte << 1 | u8::from(*bit)))
        .collect()
}

fn words() -> Vec<(u32, u8)> {
    let mut order: Vec<usize> = (0..257).collect();
    order.sort_by_key(|symbol| (LENGTHS[*symbol], *symbol));
    let mut words = vec![(0, 0); 257];
    let (mut word, mut before) = (0_u32, 0);
    for symbol in order {
        word <<= LENGTHS[symbol] - before;
        before = LENGTHS[symbol];
        words[symbol] = (word, before);
        word += 1;
    }
    words
}

#[test]
fn the_words_are_those_of_the_appendix() {
    let words = words();
    for (symbol, word, length) in [
        (b'0' as usize, 0x0, 5),
        (b't' as usize, 0x9, 5),
        (b' ' as usize, 0x14, 6),
        (b'X' as usize, 0xfc, 8),
        (b'\\' as usize, 0x7fff0, 19),
        (1, 0x7fffd8, 23),
        (22, 0x3ffffffe, 30),
        (249, 0xffffffe, 28),
        (EOS, 0x3fffffff, 30),
    ] {
        assert_eq!(words[symbol], (word, length), "{symbol}");
    }
}

#[test]
fn wrong_padding_and_the_end_symbol_are_refused() {
    for wrong in [
        &[0xff][..],               // eight ones
        &[0x1f, 0xff],             // 'a', then eleven ones
        &[0x18],                   // 'a', then zeros
        &[0xff, 0xff, 0xff, 0xff], // EOS and two ones
        &[0xff, 0xff, 0xff, 0xfc], // EOS
    ] {
        assert_eq!(decode(wrong, &mut Vec::new()), None, "{wrong:x?}");
    }
    assert_eq!(decode(&[0x1f], &mut Vec::new()), Some(()));
    assert_eq!(decode(&[], &mut Vec::new()), Some(()));
}

proptest! {
    #[test]
    fn what_was_encoded_is_decoded(text: Vec<u8>) {
        let mut out = Vec::new();
        prop_assert_eq!(decode(&encode(&text), &mut out), Some(()));
        prop_assert_eq!(out, text);
    }

    #[test]
    fn nothing_panics(input: Vec<u8>) {
        let _ = decode(&input, &mut Vec::new());
    }
}
