//! Chunk extensions: `*( BWS ";" BWS name [ BWS "=" BWS value ] )` (RFC 9112 7.1.1).
//!
//! An extension is read and dropped. It must fit the grammar nevertheless: peers that disagree about
//! where a chunk line ends also disagree about where the next request begins.

use crate::tokens::{TEXT, TOKEN, is};

/// Where the reader is in an extension.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Extension {
    /// After the semicolon.
    BeforeName,
    Name,
    AfterName,
    /// After the equals sign.
    BeforeValue,
    Token,
    Quoted,
    /// After a backslash in a quoted string.
    Escaped,
    /// After the closing quote.
    Closed,
    /// In the white space after a value.
    AfterValue,
}

impl Extension {
    /// The place after `byte`; `None` if it does not fit there.
    pub(super) fn after(self, byte: u8) -> Option<Self> {
        let is_blank = matches!(byte, b' ' | b'\t');
        Some(match (self, byte) {
            (Self::BeforeName | Self::BeforeValue | Self::AfterName | Self::AfterValue, _)
                if is_blank =>
            {
                self
            }
            (Self::BeforeName | Self::Name, byte) if is(TOKEN, byte) => Self::Name,
            (Self::Name, _) if is_blank => Self::AfterName,
            (Self::Name | Self::AfterName, b'=') => Self::BeforeValue,
            (Self::BeforeValue, b'"') => Self::Quoted,
            (Self::BeforeValue | Self::Token, byte) if is(TOKEN, byte) => Self::Token,
            (Self::Quoted, b'"') => Self::Closed,
            (Self::Quoted, b'\\') => Self::Escaped,
            (Self::Quoted | Self::Escaped, byte) if is(TEXT, byte) => Self::Quoted,
            (Self::Token | Self::Closed, _) if is_blank => Self::AfterValue,
            (
                Self::Name | Self::AfterName | Self::Token | Self::Closed | Self::AfterValue,
                b';',
            ) => Self::BeforeName,
            _ => return None,
        })
    }

    /// Whether the line may end here: white space belongs to what follows it.
    pub(super) fn may_end(self) -> bool {
        matches!(self, Self::Name | Self::Token | Self::Closed)
    }
}
