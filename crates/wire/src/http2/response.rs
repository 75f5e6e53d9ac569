//! The header block of a response (RFC 9113 8.3.2).
//!
//! It owns what a response says about its length. A block is written as a whole or not at all, and
//! the table of the encoder changes only with it.

use super::hpack::Encoder;
use crate::errors::LocalError;
use crate::http1::{
    BodyEncoder, Length, RequestContext, check_field, content_length, frame, trailers,
};
use crate::status::Status;
use crate::tokens::{is_text, trim};

/// The fields of a response that were checked.
pub(super) struct Fields<'a> {
    fields: Vec<(&'a [u8], &'a [u8])>,
    content_length: Option<u64>,
    dated: bool,
}

/// Enough for most responses, in one allocation.
const USUAL_FIELDS: usize = 12;

impl<'a> Fields<'a> {
    /// Checks the application's fields, and leaves out those that mean nothing in HTTP/2 (RFC 9113
    /// 8.2.2).
    pub(super) fn check(
        headers: impl Iterator<Item = (&'a [u8], &'a [u8])>,
    ) -> Result<Self, LocalError> {
        let mut checked = Self {
            fields: Vec::with_capacity(USUAL_FIELDS),
            content_length: None,
            dated: false,
        };
        for (name, value) in headers {
            check_field(name, value)?;
            let is = |other: &[u8]| name.eq_ignore_ascii_case(other);
            match name.len() {
                4 if is(b"date") => checked.dated = true,
                7 if is(b"upgrade") => continue,
                10 if is(b"connection") || is(b"keep-alive") => continue,
                14 if is(b"content-length") => {
                    let length = content_length(checked.content_length, value)?;
                    checked.content_length = Some(length);
                    continue;
                }
                16 if is(b"proxy-connection") => continue,
                17 if is(b"transfer-encoding") => continue,
                _ => {}
            }
            checked.fields.push((name, trim(value)));
        }
        Ok(checked)
    }

    fn write(&self, encoder: &mut Encoder, out: &mut Vec<u8>) {
        for (name, value) in &self.fields {
            encoder.field(out, name, value);
        }
    }
}

/// The head of a response that was checked, and how its body is framed.
pub(super) struct ResponseHead<'a> {
    status: u16,
    fields: Fields<'a>,
    length: Option<u64>,
    pub(super) body: BodyEncoder,
}

impl<'a> ResponseHead<'a> {
    pub(super) fn check(
        request: &RequestContext,
        status: Status<'a>,
        headers: impl Iterator<Item = (&'a [u8], &'a [u8])>,
        length: Length,
    ) -> Result<Self, LocalError> {
        if !(200..=999).contains(&status.code) {
            return Err(LocalError::Status(status.code));
        }
        // HTTP/2 has no reason phrase; one that is wrong is wrong in each version.
        if let Some(reason) = status.reason.filter(|reason| !is_text(reason)) {
            return Err(LocalError::Reason(reason.into()));
        }
        let fields = Fields::check(headers)?;
        let (body, length) = frame(request, status.code, fields.content_length, length);
        Ok(Self {
            status: status.code,
            fields,
            length,
            // END_STREAM ends what has no length.
            body: match body {
                BodyEncoder::Chunked => BodyEncoder::Close,
                body => body,
            },
        })
    }

    pub(super) fn write(&self, encoder: &mut Encoder, out: &mut Vec<u8>, date: &[u8; 29]) {
        encoder.begin(out);
        encoder.status(out, self.status);
        self.fields.write(encoder, out);
        if !self.fields.dated {
            encoder.field(out, b"date", date);
        }
        if let Some(length) = self.length {
            let mut digits = itoa::Buffer::new();
            encoder.field(out, b"content-length", digits.format(length).as_bytes());
        }
    }
}

pub(super) fn write_interim(
    encoder: &mut Encoder,
    out: &mut Vec<u8>,
    status: u16,
    fields: &Fields<'_>,
) {
    encoder.begin(out);
    encoder.status(out, status);
    fields.write(encoder, out);
}

/// Checks the fields of a trailer section.
pub(super) fn check_trailers<'a>(
    fields: impl Iterator<Item = (&'a [u8], &'a [u8])> + Clone,
) -> Result<(), LocalError> {
    for (name, value) in fields {
        if trailers::is_forbidden(name) {
            return Err(LocalError::Trailer(name.into()));
        }
        check_field(name, value)?;
    }
    Ok(())
}

pub(super) fn write_trailers<'a>(
    encoder: &mut Encoder,
    out: &mut Vec<u8>,
    fields: impl Iterator<Item = (&'a [u8], &'a [u8])>,
) {
    encoder.begin(out);
    for (name, value) in fields {
        encoder.field(out, name, trim(value));
    }
}
