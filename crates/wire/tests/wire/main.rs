//! The wire crate from outside: each row of the wire policy that needs no clock and no TLS is a
//! test by name.
//!
//! `feed` gives every case whole, byte by byte, at every split point and with trailing bytes.

#[cfg(test)]
mod body_decoder;
#[cfg(test)]
mod body_encoder;
#[cfg(test)]
mod connection;
#[cfg(test)]
mod date;
#[cfg(test)]
mod feed;
#[cfg(test)]
mod fields;
#[cfg(test)]
mod framing;
#[cfg(test)]
mod limits;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod proxy;
#[cfg(test)]
mod request_line;
#[cfg(test)]
mod response;
#[cfg(test)]
mod speed;
#[cfg(test)]
mod target;
#[cfg(test)]
mod websocket;
