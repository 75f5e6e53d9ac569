//! The checksum of a header of the PROXY protocol, version 2.

use super::refusals::{MALFORMED, WRONG_CHECKSUM};

/// Compares the checksum at `at` with that of the header in which it is zero.
///
/// # Errors
/// Why it is not valid, for a log.
pub(super) fn verify(header: &[u8], at: usize, sum: &[u8]) -> Result<(), &'static str> {
    let sum = u32::from_be_bytes(
        *sum.first_chunk()
            .filter(|_| sum.len() == 4)
            .ok_or(MALFORMED)?,
    );
    let bytes = header.iter().enumerate();
    let zeroed = bytes.map(|(place, byte)| match (at..at + 4).contains(&place) {
        true => 0,
        false => *byte,
    });
    match crc32c(zeroed) == sum {
        true => Ok(()),
        false => Err(WRONG_CHECKSUM),
    }
}

/// RFC 9260, appendix A.
fn crc32c(bytes: impl Iterator<Item = u8>) -> u32 {
    !bytes.fold(u32::MAX, |mut crc, byte| {
        crc ^= u32::from(byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (0x82f6_3b78 * (crc & 1));
        }
        crc
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checksum_is_verified() {
        assert_eq!(
            crc32c(b"123456789".iter().copied()),
            0xe306_9283,
            "RFC 9260's polynomial"
        );
        let mut header = *b"a header\0\0\0\0, and more";
        let sum = crc32c(header.iter().copied()).to_be_bytes();
        header[8..12].copy_from_slice(&sum);
        assert_eq!(verify(&header, 8, &sum), Ok(()));
        header[0] ^= 1;
        assert_eq!(verify(&header, 8, &sum), Err(WRONG_CHECKSUM));
        assert_eq!(verify(&header, 8, &sum[..3]), Err(MALFORMED));
    }
}
