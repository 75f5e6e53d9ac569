//! What proxies say: the header of the PROXY protocol, and the fields of a request.

use crate::input::{Input, splits};
use prefork_wire::proxy::{
    Extensions, Family, Naming, Networks, Node, Origin, Proxies, Trusted, introduction,
};
use prefork_wire::{Head, HeadParser, Limits};

/// The longest header.
const MOST_BYTES: usize = 4096;

pub fn run(data: &[u8]) {
    let mut input = Input::new(data);
    if input.flag() {
        let choices = [(); 4].map(|()| input.byte());
        header(input.rest(), choices);
    } else {
        fields(&mut input);
    }
}

/// The header is the same in parts: what has become of it stays, however much follows.
fn header(bytes: &[u8], choices: [u8; 4]) {
    let whole = introduction(bytes);
    let ends = splits(bytes, choices);
    let first = ends
        .iter()
        .map(|&end| introduction(&bytes[..end]))
        .find(|found| !matches!(found, Ok(None)));
    match (first, &whole) {
        (None, whole) => assert_eq!(*whole, Ok(None)),
        (Some(first), Ok(_)) => assert_eq!(first, whole),
        (Some(first), Err(_)) => assert!(first.is_err()),
    }
    if whole == Ok(None) {
        assert!(bytes.len() < MOST_BYTES);
    }
    if let Ok(Some(found)) = whole {
        assert!(0 < found.len && found.len <= MOST_BYTES.min(bytes.len()));
        let extensions = found.extensions;
        assert_eq!(extensions.named().is_empty(), extensions.is_empty());
        let moved = Extensions::from_bytes(extensions.as_bytes());
        assert_eq!(moved, Some(extensions));
    }
}

/// The fields of a request that comes through a proxy, or from a stranger.
fn fields(input: &mut Input<'_>) {
    let family = input.one_of(&[Family::XForwarded, Family::Forwarded, Family::Off]);
    let is_trusted = input.flag();
    let network = ["192.0.2.0/24", "198.51.100.1"][usize::from(!is_trusted)];
    let proxies = Proxies {
        family,
        trusted: Trusted {
            networks: Networks::parse([network, "2001:db8::/32"]).expect("networks"),
            with_all: input.flag(),
        },
        naming: Naming::Off,
    };
    let connection = Origin {
        client: Node::Inet {
            ip: [192, 0, 2, 1].into(),
            port: 1,
        },
        https: input.flag(),
    };
    let received = input.rest();
    let Ok(Some((mut head, len))) = HeadParser::default().parse(received, &Limits::default())
    else {
        return;
    };
    let mut bytes = received[..len].to_vec();
    let before = head.clone();
    let origin = proxies.resolve(connection, &mut bytes, &mut head);
    assert_eq!(
        bytes[..len],
        received[..len],
        "what was received has changed"
    );
    if !is_trusted || family == Family::Off {
        assert!(origin == connection && head.host == before.host && head.prefix.is_none());
    }
    check_head(&head, &bytes, is_trusted, family);
}

fn check_head(head: &Head, bytes: &[u8], is_trusted: bool, family: Family) {
    for field in &head.fields {
        let name = field.name.of(bytes).to_ascii_lowercase();
        let says = name.starts_with(b"x-forwarded-f") || name == b"forwarded";
        assert!(
            !says || is_trusted || family == Family::Off,
            "a stranger's word is left"
        );
    }
    assert!(head.host.is_none_or(|host| !host.of(bytes).is_empty()));
    for span in [head.host, head.prefix].into_iter().flatten() {
        let mut text = span.of(bytes).iter();
        assert!(text.all(|byte| byte.is_ascii_graphic()));
    }
}
