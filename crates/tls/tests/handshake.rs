//! A handshake with a client, and what follows it.
#![cfg(test)]

use prefork_tls::{
    Bundle, Config, Established, File, Files, Handshake, Progress, Published, Records, Session,
    Settings, TicketKeys, Version,
};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, Error, SignatureScheme};
use std::io::{Read, Write};
use std::sync::Arc;
use zeroize::Zeroizing;

#[cfg(feature = "aws-lc")]
use rustls::crypto::aws_lc_rs::default_provider;
#[cfg(not(feature = "aws-lc"))]
use rustls::crypto::ring::default_provider;

const CERT: &[u8] = include_bytes!("../../../tests/support/tls/cert.pem");
const KEY: &[u8] = include_bytes!("../../../tests/support/tls/key.pem");

struct Alone(TicketKeys);

impl Published for Alone {
    fn generation(&self) -> u64 {
        0
    }

    fn bundle(&self) -> Option<(u64, Zeroizing<Vec<u8>>)> {
        None
    }

    fn ticket_keys(&self) -> Option<TicketKeys> {
        Some(self.0.clone())
    }
}

/// The certificate of the tests is its own issuer, which webpki does not take.
#[derive(Debug)]
struct Trusting;

impl ServerCertVerifier for Trusting {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let known = default_provider().signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signed, &known)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let known = default_provider().signature_verification_algorithms;
        known.supported_schemes()
    }
}

fn config() -> Config {
    let file = |name, content| File { name, content };
    let files = Files {
        pairs: &[(file("cert.pem", CERT), file("key.pem", KEY))],
        password: None,
        client_ca: None,
        revoked: None,
    };
    let now = UnixTime::now().as_secs();
    let bundle = Bundle::read(&files, now).unwrap();
    let alone = Alone(TicketKeys::generate().unwrap());
    Config::new(Settings::default(), &bundle, Arc::new(alone)).unwrap()
}

fn client() -> ClientConnection {
    let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()));
    let config = builder
        .with_safe_default_protocol_versions()
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Trusting))
        .with_no_client_auth();
    let name = ServerName::try_from("localhost").unwrap();
    ClientConnection::new(Arc::new(config), name).unwrap()
}

/// The server's side after the handshake.
fn shake_hands(client: &mut ClientConnection, config: &Config) -> (Established, Session) {
    let mut handshake = Handshake::new(config).unwrap();
    let mut input = Vec::new();
    loop {
        client.write_tls(&mut input).unwrap();
        let mut out = Vec::new();
        let (progress, read) = handshake.read(&input, &mut out);
        input.drain(..read);
        let mut rest = out.as_slice();
        while !rest.is_empty() {
            client.read_tls(&mut rest).unwrap();
            client.process_new_packets().unwrap();
        }
        handshake = match progress {
            Progress::Handshake(handshake) => handshake,
            Progress::Established(established, session) => return (established, session),
            Progress::Failed(reason) => panic!("{reason}"),
        };
    }
}

#[test]
fn data_goes_both_ways_after_the_handshake() {
    let mut client = client();
    let (mut established, session) = shake_hands(&mut client, &config());
    assert_eq!(session.version, Version::Tls13);
    assert_eq!(session.server_name.as_deref(), Some("localhost"));
    client.writer().write_all(b"request").unwrap();
    let mut input = Vec::new();
    client.write_tls(&mut input).unwrap();
    let mut out = Vec::new();
    match &mut established {
        Established::Tls13(state) => {
            let mut records = Records::import(state).unwrap();
            let opened = records.open(&mut input, 0, &mut out).unwrap();
            assert_eq!(input[..opened.plaintext_end], *b"request");
            let response = [std::io::IoSlice::new(b"response")];
            records.seal(&response, 100, &mut out).unwrap();
        }
        Established::Rustls(connection) => {
            connection.read_tls(&mut input.as_slice()).unwrap();
            connection.process_new_packets().unwrap();
            let mut received = [0; 7];
            connection.reader().read_exact(&mut received).unwrap();
            assert_eq!(received, *b"request");
            connection.writer().write_all(b"response").unwrap();
            connection.write_tls(&mut out).unwrap();
        }
    }
    client.read_tls(&mut out.as_slice()).unwrap();
    client.process_new_packets().unwrap();
    let mut received = [0; 8];
    client.reader().read_exact(&mut received).unwrap();
    assert_eq!(received, *b"response");
    let stays = matches!(established, Established::Rustls(_));
    assert_eq!(stays, cfg!(feature = "fips"));
}

#[test]
fn the_group_of_the_key_exchange_is_the_best_that_the_library_has() {
    let mut client = client();
    shake_hands(&mut client, &config());
    let group = client.negotiated_key_exchange_group().unwrap().name();
    let expected = match cfg!(feature = "aws-lc") {
        true => rustls::NamedGroup::X25519MLKEM768,
        false => rustls::NamedGroup::X25519,
    };
    assert_eq!(group, expected);
}
