//! HTTP/1.0 and HTTP/1.1 (RFC 9110, RFC 9112).
//!
//! | module | what it holds |
//! |---|---|
//! | `version` | the version that a request is served as |
//! | `fields` | field lines, of a head or of a trailer section |
//! | `target` | the request target, and the authority in it or in Host |
//! | `request_line` | method, target and version |
//! | `framing` | what decides where a request body ends |
//! | `head` | the request line, the fields and what they mean: bytes to a [`Head`] |
//! | `lent` | a request of HTTP/2 in this form, for another process |
//! | `trailers` | which fields are forbidden as trailers, and the section that holds them |
//! | `chunk_extension` | the grammar of chunk extensions |
//! | `body_decoder` | a request body: bytes to runs of data |
//! | `response_fields` | the fields that the application gives a response |
//! | `response` | the head of a response, and responses that the server writes by itself |
//! | `response_reader` | a response of another process: bytes to its parts |
//! | `body_encoder` | a response body: how many bytes may be sent, and the bytes around them |

mod body_decoder;
mod body_encoder;
mod chunk_extension;
mod fields;
mod framing;
mod head;
mod lent;
mod request_line;
mod response;
pub(crate) mod response_fields;
mod response_reader;
mod target;
pub(crate) mod trailers;
mod version;

pub use body_decoder::{BodyDecoder, Decoded};
pub use body_encoder::{BodyEncoder, ChunkLine, Encoded};
pub use fields::{Field, Span};
pub(crate) use framing::BODY_TOO_LARGE;
pub use framing::Framing;
pub use head::{Head, HeadParser};
pub(crate) use head::{Seen, add_field};
pub(crate) use response::frame;
pub use response::{
    CONTINUE, Length, RequestContext, RequestKind, ResponseFraming, error_body, write_error,
    write_head, write_interim,
};
pub(crate) use response_fields::{check_field, content_length};
pub use response_reader::{BadResponse, Expected, ResponsePart, ResponseReader};
pub use target::TargetForm;
pub(crate) use target::{Authority, Target};
pub use version::Version;
