//! The names of the fields that proxies send.

pub(super) const FORWARDED: &[u8] = b"forwarded";
const X_FORWARDED: &[u8] = b"x-forwarded-";

/// Whether a field is of either family.
#[inline]
pub(crate) fn is_forwarded(name: &[u8]) -> bool {
    matches!(name.first(), Some(b'x' | b'X' | b'f' | b'F'))
        && (is_x_forwarded(name) || name.eq_ignore_ascii_case(FORWARDED))
}

pub(super) fn is_x_forwarded(name: &[u8]) -> bool {
    name.get(..X_FORWARDED.len())
        .is_some_and(|start| start.eq_ignore_ascii_case(X_FORWARDED))
}
