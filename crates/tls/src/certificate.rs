//! What is in a certificate and in a list of revoked ones (RFC 5280), as text.

use x509_cert::crl::CertificateList;
use x509_cert::der::asn1::{Ia5String, PrintableString, Utf8StringRef};
use x509_cert::der::oid::db::rfc4519::CN;
use x509_cert::der::pem::{LineEnding, encode_string};
use x509_cert::der::{DateTime, Decode, Encode};
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::name::Name;
use x509_cert::time::Time;

/// A point in time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moment {
    /// Seconds of the Unix epoch.
    pub unix_s: u64,
    /// As OpenSSL writes it: `Nov 28 23:59:59 2026 GMT`.
    pub text: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// Names as RFC 4514 has them: the most specific part first.
    pub subject: String,
    pub issuer: String,
    /// The common name of the subject.
    pub common_name: Option<String>,
    /// In hexadecimal digits.
    pub serial: String,
    pub not_before: Moment,
    pub not_after: Moment,
    /// The names of hosts that it is for, in lower case. One may begin with `*.`.
    pub hosts: Vec<String>,
}

impl Certificate {
    /// `None`: it is damaged.
    pub fn read(der: &[u8]) -> Option<Self> {
        let certificate = x509_cert::Certificate::from_der(der).ok()?;
        let body = certificate.tbs_certificate();
        let serial = body.serial_number().as_bytes();
        let validity = body.validity();
        Some(Certificate {
            subject: body.subject().to_string(),
            issuer: body.issuer().to_string(),
            common_name: common_name(body.subject()),
            serial: serial.iter().map(|byte| format!("{byte:02X}")).collect(),
            not_before: moment(&validity.not_before),
            not_after: moment(&validity.not_after),
            hosts: hosts(body.get_extension::<SubjectAltName>().ok()?),
        })
    }
}

/// A list of revoked certificates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RevocationList {
    /// As RFC 4514 has it.
    pub issuer: String,
    /// From then on it tells of no certificate any more.
    pub next_update: Moment,
}

impl RevocationList {
    /// `None`: it is damaged, or does not tell when the next one comes, which RFC 5280 (5.1.2.5) demands.
    pub fn read(der: &[u8]) -> Option<Self> {
        let list = <CertificateList>::from_der(der).ok()?.tbs_cert_list;
        Some(RevocationList {
            issuer: list.issuer.to_string(),
            next_update: moment(list.next_update.as_ref()?),
        })
    }
}

/// A certificate in DER as PEM.
pub fn to_pem(der: &[u8]) -> String {
    // It fails for a label or a size that no certificate has.
    encode_string("CERTIFICATE", LineEnding::LF, der).unwrap_or_default()
}

fn hosts(names: Option<(bool, SubjectAltName)>) -> Vec<String> {
    let names = names.map(|(_, names)| names.0).unwrap_or_default();
    let host = |name: &GeneralName| match name {
        GeneralName::DnsName(name) => Some(name.as_str().to_ascii_lowercase()),
        _ => None,
    };
    names.iter().filter_map(host).collect()
}

fn common_name(name: &Name) -> Option<String> {
    let parts = name.iter_rdn().flat_map(|part| part.iter());
    let value = parts
        .filter(|part| part.oid == CN)
        .last()?
        .value
        .to_der()
        .ok()?;
    let utf8 = Utf8StringRef::from_der(&value).map(|text| text.as_str().to_owned());
    let printable = || PrintableString::from_der(&value).map(|text| text.to_string());
    let ia5 = || Ia5String::from_der(&value).map(|text| text.to_string());
    utf8.or_else(|_| printable()).or_else(|_| ia5()).ok()
}

const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];

fn moment(time: &Time) -> Moment {
    let date: DateTime = time.to_date_time();
    let month = MONTHS.get(usize::from(date.month()) - 1).unwrap_or(&"");
    let (day, year) = (date.day(), date.year());
    let (hour, minute, second) = (date.hour(), date.minutes(), date.seconds());
    Moment {
        unix_s: time.to_unix_duration().as_secs(),
        text: format!("{month} {day:2} {hour:02}:{minute:02}:{second:02} {year} GMT"),
    }
}
