//! What a TLS handshake showed, for guests.
//!
//! Architecture invariant: what a peer can put into a certificate is bounded here, in number and in length.

use super::{
    log::one_line,
    net::{Certificate, TlsFacts},
};
use rustls::{ClientConnection, ProtocolVersion, pki_types::CertificateDer};
use sha2::{Digest, Sha256};
use std::{
    fmt::Write,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};
use x509_parser::extensions::GeneralName;

/// Certificates of a chain, and names of a certificate, that are reported.
const CERTIFICATES_MAX: usize = 8;
const NAMES_MAX: usize = 128;

/// The facts of a finished handshake.
pub(super) fn facts(connection: &ClientConnection) -> TlsFacts {
    let version = match connection.protocol_version() {
        Some(ProtocolVersion::TLSv1_2) => "TLSv1.2".into(),
        Some(ProtocolVersion::TLSv1_3) => "TLSv1.3".into(),
        other => format!("{other:?}"),
    };
    let cipher = connection
        .negotiated_cipher_suite()
        .map(|suite| iana(&format!("{:?}", suite.suite())))
        .unwrap_or_default();
    TlsFacts {
        version,
        cipher,
        alpn: connection
            .alpn_protocol()
            .map(|name| String::from_utf8_lossy(name).into_owned()),
        certificates: connection
            .peer_certificates()
            .unwrap_or_default()
            .iter()
            .take(CERTIFICATES_MAX)
            .map(certificate)
            .collect(),
    }
}

/// The certificates that [`facts`] tells of, as they came.
pub(super) fn chain(connection: &ClientConnection) -> Vec<Vec<u8>> {
    let certificates = connection.peer_certificates().unwrap_or_default().iter();
    certificates
        .take(CERTIFICATES_MAX)
        .map(|certificate| certificate.to_vec())
        .collect()
}

/// The library's name of a suite is IANA's but for those of TLS 1.3.
fn iana(name: &str) -> String {
    match name.strip_prefix("TLS13_") {
        Some(rest) => format!("TLS_{rest}"),
        None => name.into(),
    }
}

/// One certificate. One that can't be read, which `insecure` lets through, still has its digest.
fn certificate(der: &CertificateDer<'_>) -> Certificate {
    let sha256 = Sha256::digest(der)
        .iter()
        .fold(String::with_capacity(64), |mut hex, byte| {
            // Writing to a String can't fail.
            let _ = write!(hex, "{byte:02x}");
            hex
        });
    let Ok((_, parsed)) = x509_parser::parse_x509_certificate(der) else {
        return Certificate {
            subject: String::new(),
            issuer: String::new(),
            names: Vec::new(),
            not_before: 0,
            not_after: 0,
            sha256,
        };
    };
    let names = match parsed.subject_alternative_name() {
        Ok(Some(extension)) => extension
            .value
            .general_names
            .iter()
            .filter_map(name)
            .take(NAMES_MAX)
            .collect(),
        _ => Vec::new(),
    };
    Certificate {
        subject: one_line(&parsed.subject().to_string()),
        issuer: one_line(&parsed.issuer().to_string()),
        names,
        not_before: parsed.validity().not_before.timestamp(),
        not_after: parsed.validity().not_after.timestamp(),
        sha256,
    }
}

fn name(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(name) => Some(one_line(name)),
        GeneralName::IPAddress(bytes) => {
            let address = if let Ok(bytes) = <[u8; 4]>::try_from(*bytes) {
                IpAddr::from(Ipv4Addr::from(bytes))
            } else {
                IpAddr::from(Ipv6Addr::from(<[u8; 16]>::try_from(*bytes).ok()?))
            };
            Some(address.to_string())
        }
        _ => None,
    }
}
