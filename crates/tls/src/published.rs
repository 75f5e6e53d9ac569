//! What the process that reads the certificates publishes to those that serve.

use crate::tickets::{TICKET_LIFETIME_S, TicketKeys};
use rustls::server::ProducesTickets;
use std::fmt;
use std::sync::Arc;
use zeroize::Zeroizing;

/// Memory that all processes of a server see.
pub trait Published: Send + Sync {
    /// The number of the newest [`Bundle`](crate::Bundle).
    fn generation(&self) -> u64;

    /// That bundle as bytes, and its number. `None`: it cannot be read.
    fn bundle(&self) -> Option<(u64, Zeroizing<Vec<u8>>)>;

    /// `None`: they cannot be read.
    fn ticket_keys(&self) -> Option<TicketKeys>;
}

/// Makes and reads tickets with the keys that are published.
pub(crate) struct Tickets(pub(crate) Arc<dyn Published>);

impl fmt::Debug for Tickets {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Tickets")
    }
}

impl ProducesTickets for Tickets {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        TICKET_LIFETIME_S
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        self.0.ticket_keys()?.seal(plain)
    }

    fn decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        self.0.ticket_keys()?.open(ticket)
    }
}
