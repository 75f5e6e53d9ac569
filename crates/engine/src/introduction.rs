//! The header of the PROXY protocol, which a proxy sends before all else on a connection.
//!
//! Owns: the part of the header that has come, and what follows it. Always holds: a peer that may not send
//! one is refused before anything of it is read. Knows no socket.

use prefork_tls::Config;
use prefork_wire::proxy::{Introduction, introduction};

pub(crate) struct Introducing {
    part: Vec<u8>,
    /// How the connection goes on.
    tls: Option<Config>,
    is_trusted: bool,
}

/// What has been read of a header.
pub(crate) enum Introduced {
    Part,
    /// All of it. The connection goes on with `tls`.
    All {
        introduction: Introduction,
        tls: Option<Config>,
    },
    Refused(&'static str),
}

const STRANGER: &str = "the connection was refused: it comes from none of the trusted_proxies, and the PROXY \
     protocol is on";

impl Introducing {
    pub(crate) fn new(tls: Option<Config>, is_trusted: bool) -> Self {
        Introducing {
            part: Vec::new(),
            tls,
            is_trusted,
        }
    }

    /// Why nothing is read.
    pub(crate) fn refusal(&self) -> Option<&'static str> {
        (!self.is_trusted).then_some(STRANGER)
    }

    /// Whether the header is read, here or in another process.
    pub(crate) fn may_move(&self) -> bool {
        self.is_trusted
    }

    /// The part of the header that has come.
    pub(crate) fn part(&self) -> &[u8] {
        &self.part
    }

    pub(crate) fn set_part(&mut self, part: Vec<u8>) {
        self.part = part;
    }

    /// Puts the part that came before at the end of `buffer`.
    pub(crate) fn restore_part(&mut self, buffer: &mut Vec<u8>) {
        buffer.append(&mut self.part);
    }

    /// Reads the header that `buffer` has from `start` on, and removes it.
    pub(crate) fn read(&mut self, buffer: &mut Vec<u8>, start: usize) -> Introduced {
        match introduction(buffer.get(start..).unwrap_or_default()) {
            Ok(None) => {
                self.part = buffer.split_off(start);
                Introduced::Part
            }
            Ok(Some(introduction)) => {
                buffer.drain(start..start + introduction.len);
                Introduced::All {
                    introduction,
                    tls: self.tls.take(),
                }
            }
            Err(reason) => {
                buffer.truncate(start);
                Introduced::Refused(reason)
            }
        }
    }
}
