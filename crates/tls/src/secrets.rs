//! The traffic secrets of a handshake, which rustls tells a log as it derives them.
//!
//! Always holds: each is at one place, which is zeroed in the end: a value that moves
//! would leave copies. They stay in this thread, between two calls of rustls for one
//! connection.

use crate::suite::{SECRET_BYTES, Secret};
use rustls::KeyLog;
use std::cell::RefCell;
use std::fmt;

/// The traffic secrets of a connection, which rustls tells as it derives them.
#[derive(Default)]
pub(crate) struct Secrets {
    pub(crate) client: Option<Box<Secret>>,
    pub(crate) server: Option<Box<Secret>>,
}

thread_local! {
    /// Those that were told in the current call of rustls.
    static LOGGED: RefCell<Secrets> = const { RefCell::new(Secrets { client: None, server: None }) };
}

impl Secrets {
    /// Takes what was told since the last time.
    pub(crate) fn take_logged(&mut self) {
        LOGGED.with_borrow_mut(|logged| {
            self.client = logged.client.take().or(self.client.take());
            self.server = logged.server.take().or(self.server.take());
        });
    }
}

/// Keeps the secrets from which the keys of the next updates follow (RFC 8446, section
/// 7.2): extracted keys alone do not give them.
pub(crate) struct SecretLog;

impl fmt::Debug for SecretLog {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("SecretLog")
    }
}

impl KeyLog for SecretLog {
    fn log(&self, label: &str, _client_random: &[u8], secret: &[u8]) {
        let mut whole = Box::new(Secret::new([0; SECRET_BYTES]));
        if let Some(place) = whole.get_mut(..secret.len()) {
            place.copy_from_slice(secret);
        }
        LOGGED.with_borrow_mut(|logged| match label {
            "CLIENT_TRAFFIC_SECRET_0" => logged.client = Some(whole),
            "SERVER_TRAFFIC_SECRET_0" => logged.server = Some(whole),
            _ => {}
        });
    }

    fn will_log(&self, label: &str) -> bool {
        label.ends_with("_TRAFFIC_SECRET_0")
    }
}
