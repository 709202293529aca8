//! The vocabulary of the network interfaces: `net.wit`, one to one, in plain types.

/// Which address family to use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum IpFamily {
    /// Whatever the name resolves to, first answer first.
    #[default]
    Any,
    /// IPv4 only.
    V4,
    /// IPv6 only.
    V6,
}

/// A client certificate for mutual TLS.
#[derive(Clone, PartialEq, Eq)]
pub struct ClientCertificate {
    /// The chain in PEM, leaf first.
    pub chain: String,
    /// The private key in PEM (PKCS#8, PKCS#1 or SEC1).
    pub key: String,
}

impl std::fmt::Debug for ClientCertificate {
    /// Never shows the key.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClientCertificate")
            .field("chain", &self.chain)
            .finish_non_exhaustive()
    }
}

/// How to speak TLS. The default verifies against the host's roots.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsOptions {
    /// Certificates in PEM to trust in place of the host's roots.
    pub ca: Option<String>,
    /// Shown to a server that asks for one.
    pub client_certificate: Option<ClientCertificate>,
    /// The name to send and to verify, when it is not the host of the URL.
    pub server_name: Option<String>,
    /// Accept any certificate. Facts about the certificate are still reported.
    pub insecure: bool,
}

/// How long each phase took, in microseconds; zero for a phase that did not take place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timings {
    /// Looking the name up.
    pub resolve_us: u64,
    /// Connecting.
    pub connect_us: u64,
    /// The TLS handshake.
    pub tls_us: u64,
    /// From the request sent to the first byte of the answer; or a dialogue.
    pub processing_us: u64,
    /// From the first byte of the answer to the last.
    pub transfer_us: u64,
}

/// One certificate of the chain that the peer showed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// Distinguished name of the subject.
    pub subject: String,
    /// Distinguished name of the issuer.
    pub issuer: String,
    /// DNS names and IP addresses it is valid for.
    pub names: Vec<String>,
    /// Start of validity, in seconds since the Unix epoch.
    pub not_before: i64,
    /// End of validity, in seconds since the Unix epoch.
    pub not_after: i64,
    /// SHA-256 of the certificate, lower-case hexadecimal.
    pub sha256: String,
}

/// What the TLS handshake showed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFacts {
    /// `TLSv1.2` or `TLSv1.3`.
    pub version: String,
    /// Cipher suite by its IANA name.
    pub cipher: String,
    /// Negotiated application protocol.
    pub alpn: Option<String>,
    /// The chain as the peer sent it, leaf first.
    pub certificates: Vec<Certificate>,
}
