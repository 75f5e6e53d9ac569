//! Which clients are admitted: the limits on their number.
//!
//! Owns: the connections per client address of a process that has no pool, and when each
//! limit was last reported. Always holds: a connection is counted from `add` to `remove`,
//! in the process that has it. Knows no connection and no socket.

use crate::load::Load;
use crate::peer::Peer;
use crate::scoreboard::{AddressKey, AddressTable, Limit, Slot};
use crate::settings::ListenerSettings;

/// A limit is reported at most once in this time.
const REPORT_MS: u64 = 60_000;

#[derive(Default)]
pub(crate) struct Admission {
    /// Made when it is needed: in a pool the scoreboard has the table.
    own: Option<Box<AddressTable>>,
    /// When each limit was reported last.
    reported_ms: [Option<u64>; Limit::ALL.len()],
}

impl Admission {
    /// A connection was opened. Returns the name of its address, for [`Admission::remove`].
    #[inline]
    pub(crate) fn add(
        &mut self,
        load: &Load,
        settings: &ListenerSettings,
        peer: &Peer,
    ) -> Option<AddressKey> {
        let slot = load.slot();
        let key = key_of(slot, settings, peer)?;
        match slot {
            Some(slot) => slot.add_address(key),
            None => self.own.get_or_insert_with(AddressTable::boxed).add(key),
        }
        Some(key)
    }

    /// It was closed.
    pub(crate) fn remove(&mut self, load: &Load, key: AddressKey) {
        match (load.slot(), &self.own) {
            (Some(slot), _) => slot.remove_address(key),
            (None, Some(own)) => own.remove(key),
            (None, None) => {}
        }
    }

    /// Whether a client's address has as many connections as it may.
    #[inline]
    pub(crate) fn has_too_many(
        &self,
        load: &Load,
        settings: &ListenerSettings,
        peer: &Peer,
    ) -> bool {
        let slot = load.slot();
        let most = u32::try_from(settings.max_connections_per_address).unwrap_or(u32::MAX);
        key_of(slot, settings, peer).is_some_and(|key| match (slot, &self.own) {
            (Some(slot), _) => slot.has_connections(key, most),
            (None, Some(own)) => own.count(key) >= most,
            (None, None) => false,
        })
    }

    /// Whether a limit that was applied is to be reported: by one worker of a pool.
    pub(crate) fn must_report(&mut self, load: &Load, limit: Limit, now_ms: u64) -> bool {
        let Some(reported_ms) = self.reported_ms.get_mut(limit as usize) else {
            return false;
        };
        let is_recent = |reported_ms: u64| now_ms < reported_ms.saturating_add(REPORT_MS);
        if reported_ms.is_some_and(is_recent) {
            return false;
        }
        *reported_ms = Some(now_ms);
        let Some(slot) = load.slot() else {
            return true;
        };
        let is_due = !slot.reported_elsewhere_ms(limit).is_some_and(is_recent);
        if is_due {
            slot.note_report(limit, now_ms);
        }
        is_due
    }
}

/// The name of a client's address, if its connections are limited: a proxy that is trusted
/// has the connections of all its clients.
#[inline]
fn key_of(slot: Option<&Slot>, settings: &ListenerSettings, peer: &Peer) -> Option<AddressKey> {
    // With the PROXY protocol, only trusted proxies are served.
    if settings.max_connections_per_address == 0 || settings.proxy_protocol {
        return None;
    }
    let address = peer.ip()?;
    if settings.proxies.trusted.networks.contain((*peer).into()) {
        return None;
    }
    Some(match slot {
        Some(slot) => slot.address_key(address),
        None => AddressKey::new(address, 0),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use prefork_wire::proxy::Networks;

    fn settings(most: u64) -> ListenerSettings {
        ListenerSettings {
            max_connections_per_address: most,
            ..ListenerSettings::default()
        }
    }

    fn peer(address: &str) -> Peer {
        Peer::Inet {
            ip: address.parse().unwrap(),
            port: 1,
        }
    }

    #[test]
    fn an_address_has_as_many_connections_as_it_may() {
        let (mut admission, load, settings) = (Admission::default(), Load::default(), settings(2));
        let (client, neighbour) = (peer("2001:db8::1"), peer("2001:db8::2"));
        let key = admission.add(&load, &settings, &client).unwrap();
        assert!(!admission.has_too_many(&load, &settings, &client));
        admission.add(&load, &settings, &neighbour);
        assert!(admission.has_too_many(&load, &settings, &client));
        assert!(!admission.has_too_many(&load, &settings, &peer("192.0.2.1")));
        admission.remove(&load, key);
        assert!(!admission.has_too_many(&load, &settings, &client));
    }

    #[test]
    fn a_trusted_proxy_has_no_limit_and_no_table() {
        let (mut admission, load) = (Admission::default(), Load::default());
        let settings = settings(1);
        for local in [
            peer("127.0.0.1"),
            peer("127.9.9.9"),
            peer("::1"),
            Peer::Unix,
        ] {
            assert!(admission.add(&load, &settings, &local).is_none());
            assert!(admission.add(&load, &settings, &local).is_none());
            assert!(!admission.has_too_many(&load, &settings, &local));
        }
        assert!(admission.own.is_none());
    }

    #[test]
    fn who_is_trusted_is_an_option() {
        let (mut admission, load, mut settings) =
            (Admission::default(), Load::default(), settings(1));
        settings.proxies.trusted.networks = Networks::parse(["192.0.2.0/24"]).unwrap();
        assert!(
            admission
                .add(&load, &settings, &peer("192.0.2.7"))
                .is_none()
        );
        assert!(
            admission
                .add(&load, &settings, &peer("127.0.0.1"))
                .is_some()
        );
        // There the client's address comes later, from a proxy that is trusted.
        settings.proxy_protocol = true;
        assert!(
            admission
                .add(&load, &settings, &peer("127.0.0.1"))
                .is_none()
        );
    }

    #[test]
    fn a_limit_is_reported_once_a_minute() {
        let (mut admission, load) = (Admission::default(), Load::default());
        assert!(admission.must_report(&load, Limit::Queue, 1_000));
        assert!(!admission.must_report(&load, Limit::Queue, 60_999));
        assert!(admission.must_report(&load, Limit::Address, 60_999));
        assert!(admission.must_report(&load, Limit::Queue, 61_000));
    }
}
