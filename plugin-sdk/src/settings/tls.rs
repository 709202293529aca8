//! How to reach a peer: settings that every plugin with a network connection shares.

use crate::net;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Which address family to use.
///
/// ```
/// use pulse_plugin_sdk::{serde_json, settings::IpFamily};
///
/// assert_eq!(serde_json::from_str::<IpFamily>("\"v6\"").unwrap(), IpFamily::V6);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum IpFamily {
    /// Whatever the name resolves to, first answer first.
    #[default]
    Any,
    /// IPv4 only.
    V4,
    /// IPv6 only.
    V6,
}

impl From<IpFamily> for net::IpFamily {
    fn from(family: IpFamily) -> Self {
        match family {
            IpFamily::Any => Self::Any,
            IpFamily::V4 => Self::V4,
            IpFamily::V6 => Self::V6,
        }
    }
}

/// A client certificate for mutual TLS.
///
/// ```
/// use pulse_plugin_sdk::{serde_json, settings::ClientCertificate};
///
/// let certificate: ClientCertificate = serde_json::from_str(r#"{"chain": "…", "key": "…"}"#).unwrap();
/// assert_eq!(certificate.chain, "…");
/// ```
#[derive(Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct ClientCertificate {
    /// The chain in PEM, leaf first.
    pub chain: String,
    /// The private key in PEM (PKCS#8, PKCS#1 or SEC1).
    #[schemars(extend("writeOnly" = true))]
    pub key: String,
}

/// The options of a TLS connection; none when all are as usual.
///
/// ```
/// use pulse_plugin_sdk::settings::tls_options;
///
/// assert!(tls_options(None, None, None, false).is_none());
/// assert_eq!(tls_options(None, None, Some("db"), false).unwrap().server_name.as_deref(), Some("db"));
/// ```
#[must_use]
pub fn tls_options(
    ca: Option<&str>,
    client_certificate: Option<&ClientCertificate>,
    server_name: Option<&str>,
    insecure: bool,
) -> Option<net::TlsOptions> {
    let usual = ca.is_none() && client_certificate.is_none() && server_name.is_none() && !insecure;
    (!usual).then(|| net::TlsOptions {
        ca: ca.map(str::to_owned),
        client_certificate: client_certificate.map(|certificate| net::ClientCertificate {
            chain: certificate.chain.clone(),
            key: certificate.key.clone(),
        }),
        server_name: server_name.map(str::to_owned),
        insecure,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usual_options_are_none() {
        assert_eq!(tls_options(None, None, None, false), None);
        let options = tls_options(None, None, Some("db"), false).unwrap();
        assert_eq!(options.server_name.as_deref(), Some("db"));
        assert!(!options.insecure);
        assert!(tls_options(None, None, None, true).unwrap().insecure);
    }
}
