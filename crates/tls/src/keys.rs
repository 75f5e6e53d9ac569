//! Private keys: from PEM, with or without a password.

use crate::files::{ConfigError, File, find};
use pkcs8::{EncryptedPrivateKeyInfoRef, SecretDocument};
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use zeroize::Zeroizing;

const BEGIN: &[u8] = b"-----BEGIN ENCRYPTED PRIVATE KEY-----";
const END: &[u8] = b"-----END ENCRYPTED PRIVATE KEY-----";
/// The key is encrypted as OpenSSL did it before PKCS#8.
const OLD: &[u8] = b"Proc-Type: 4,ENCRYPTED";

/// The first key of a file, in DER. `password` is that of a key that is encrypted.
pub(crate) fn read_key(
    file: &File<'_>,
    password: Option<&[u8]>,
) -> Result<Zeroizing<Vec<u8>>, ConfigError> {
    file.check_sections()?;
    if find(file.content, OLD).is_some() {
        return Err(
            file.error("the key is encrypted in an old form: convert it with openssl pkcs8 -topk8")
        );
    }
    if let Some(start) = find(file.content, BEGIN) {
        let Some(password) = password else {
            return Err(
                file.error("the key is encrypted: tls_key_password_file must have its password")
            );
        };
        return decrypt(file, start, password);
    }
    match PrivateKeyDer::from_pem_slice(file.content) {
        Ok(key) => Ok(Zeroizing::new(key.secret_der().to_vec())),
        Err(_) => Err(file.error("there is no private key in it, as PEM")),
    }
}

fn decrypt(
    file: &File<'_>,
    start: usize,
    password: &[u8],
) -> Result<Zeroizing<Vec<u8>>, ConfigError> {
    let damaged = || file.error("the encrypted key is damaged, or of no kind that can be used");
    let text = file.content.get(start..).unwrap_or_default();
    let end = find(text, END).ok_or_else(damaged)? + END.len();
    let text = text
        .get(..end)
        .and_then(|text| std::str::from_utf8(text).ok());
    let (_, document) = text
        .and_then(|text| SecretDocument::from_pem(text).ok())
        .ok_or_else(damaged)?;
    let encrypted = EncryptedPrivateKeyInfoRef::try_from(document.as_bytes());
    let encrypted = encrypted.map_err(|_| damaged())?;
    match encrypted.decrypt(password) {
        Ok(key) => Ok(Zeroizing::new(key.as_bytes().to_vec())),
        Err(_) => Err(file.error("the password does not decrypt the key")),
    }
}
