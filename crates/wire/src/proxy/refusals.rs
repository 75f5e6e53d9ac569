//! Why a connection is refused by its header of the PROXY protocol. For a log.

pub(super) const NONE: &str =
    "the connection was refused: it begins without a header of the PROXY protocol";
pub(super) const MALFORMED: &str =
    "the connection was refused: its header of the PROXY protocol is malformed";
pub(super) const TOO_LONG: &str =
    "the connection was refused: its header of the PROXY protocol is too long";
pub(super) const WRONG_CHECKSUM: &str =
    "the connection was refused: its header of the PROXY protocol has another checksum";
