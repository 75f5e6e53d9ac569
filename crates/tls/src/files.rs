//! Files of certificates and keys as they are given, and what is wrong with them.

use std::fmt;

/// A file, and its name for an error.
#[derive(Clone, Copy)]
pub struct File<'a> {
    pub name: &'a str,
    pub content: &'a [u8],
}

/// The files of a listener.
#[derive(Clone, Copy)]
pub struct Files<'a> {
    /// Each a chain of certificates, which begins with the server's own; and its key.
    pub pairs: &'a [(File<'a>, File<'a>)],
    /// The password of keys that are encrypted.
    pub password: Option<&'a [u8]>,
    /// The certificates that the certificates of clients must follow from.
    pub client_ca: Option<File<'a>>,
    /// Lists of revoked certificates of clients.
    pub revoked: Option<File<'a>>,
}

/// Why files or settings cannot be used: one line, without the content of a key.
#[derive(Debug)]
pub struct ConfigError(pub(crate) String);

impl fmt::Display for ConfigError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl std::error::Error for ConfigError {}

impl From<rustls::Error> for ConfigError {
    fn from(error: rustls::Error) -> Self {
        ConfigError(error.to_string())
    }
}

impl File<'_> {
    pub(crate) fn error(&self, text: impl fmt::Display) -> ConfigError {
        ConfigError(format!("{}: {text}", self.name))
    }

    /// A section is found only if it begins its line: any other one would be left out in
    /// silence, and a chain be sent without a certificate.
    pub(crate) fn check_sections(&self) -> Result<(), ConfigError> {
        let mut lines = self.content.split(|byte| matches!(byte, b'\r' | b'\n'));
        if lines.any(|line| find(line, b"-----BEGIN ").is_some_and(|at| at > 0)) {
            return Err(self.error(
                "a section of PEM does not begin its line: before it comes the end of another one, a blank, or a byte order mark",
            ));
        }
        Ok(())
    }
}

pub(crate) fn find(text: &[u8], part: &[u8]) -> Option<usize> {
    text.windows(part.len()).position(|window| window == part)
}
