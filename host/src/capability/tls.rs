//! TLS of the lent network calls: configurations from what a guest asks for, and the handshake.
//!
//! Architecture invariant: whether a certificate is good is decided by the Clock's time, against the host's roots
//! or the guest's own; `insecure` accepts every certificate and still reports it. Sessions are never resumed, so
//! that every handshake shows the peer's certificate, and nothing links one tenant's connections to another's.

use super::{
    error::{ErrorCode, Failure, Phase},
    net::TlsOptions,
    target::Host,
};
use crate::clock::Clock;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
    client::{
        Resumption, WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        verify_server_name,
    },
    crypto::{CryptoProvider, ring},
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject},
    server::ParsedCertificate,
    time_provider::TimeProvider,
};
use sha2::{Digest, Sha256};
use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::Duration,
};
use tokio::sync::OnceCell;

/// Configurations kept; the oldest makes room.
const CONFIGS_MAX: usize = 64;
/// Bytes of one PEM text, and certificates in it.
const PEM_BYTES_MAX: usize = 256 << 10;
const PEM_CERTIFICATES_MAX: usize = 256;

/// What is spoken inside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Inside {
    /// HTTP, version by ALPN.
    Http,
    /// Anything; no ALPN.
    Bytes,
}

type Key = [u8; 32];

/// Makes and keeps configurations.
pub(super) struct Configs {
    provider: Arc<CryptoProvider>,
    time: Arc<ClockTime>,
    roots: OnceCell<Arc<RootCertStore>>,
    kept: Mutex<VecDeque<(Key, Arc<ClientConfig>)>>,
}

impl Configs {
    pub(super) fn new(clock: Clock) -> Self {
        Self {
            provider: Arc::new(ring::default_provider()),
            time: Arc::new(ClockTime(clock)),
            roots: OnceCell::new(),
            kept: Mutex::new(VecDeque::new()),
        }
    }

    /// The configuration for what the guest asks for.
    pub(super) async fn get(
        &self,
        options: &TlsOptions,
        inside: Inside,
    ) -> Result<Arc<ClientConfig>, Failure> {
        let key = key(options, inside);
        if let Some(config) = self.find(&key) {
            return Ok(config);
        }
        let verifier = self.verifier(options).await?;
        let config = Arc::new(self.make(options, inside, verifier)?);
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= CONFIGS_MAX {
            kept.pop_front();
        }
        kept.push_back((key, Arc::clone(&config)));
        Ok(config)
    }

    /// A configuration under which every chain is accepted, and what is thought of it is noted. It is made for one
    /// handshake and not kept.
    pub(super) async fn judging(
        &self,
        options: &TlsOptions,
        alpn: Vec<Vec<u8>>,
    ) -> Result<(ClientConfig, Arc<Judge>), Failure> {
        let judge = Arc::new(Judge {
            judge: self.verifier(options).await?,
            refusal: OnceLock::new(),
        });
        let mut config = self.make(options, Inside::Bytes, Arc::clone(&judge) as _)?;
        config.alpn_protocols = alpn;
        Ok((config, judge))
    }

    /// Fills in what nobody can guess.
    pub(super) fn random(&self, bytes: &mut [u8]) -> Result<(), Failure> {
        self.provider
            .secure_random
            .fill(bytes)
            .map_err(|_| Failure::host(Phase::Prepare, "the system has no random numbers"))
    }

    fn find(&self, key: &Key) -> Option<Arc<ClientConfig>> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let found = kept.iter().find(|(own, _)| own == key)?;
        Some(Arc::clone(&found.1))
    }

    fn make(
        &self,
        options: &TlsOptions,
        inside: Inside,
        verifier: Arc<dyn ServerCertVerifier>,
    ) -> Result<ClientConfig, Failure> {
        let provider = Arc::clone(&self.provider);
        let time: Arc<dyn TimeProvider> = Arc::clone(&self.time) as _;
        let builder = ClientConfig::builder_with_details(provider, time)
            .with_safe_default_protocol_versions()
            .map_err(|error| Failure::host(Phase::Prepare, error.to_string()))?
            .dangerous()
            .with_custom_certificate_verifier(verifier);
        let mut config = match &options.client_certificate {
            None => builder.with_no_client_auth(),
            Some(own) => {
                let chain = certificates("client-certificate.chain", &own.chain)?;
                // The error could quote the text, and the text is a secret.
                let key = PrivateKeyDer::from_pem_slice(pem("client-certificate.key", &own.key)?)
                    .map_err(|_| Failure::invalid("client-certificate.key holds no private key in PEM"))?;
                builder
                    .with_client_auth_cert(chain, key)
                    .map_err(|error| Failure::invalid(format!("client-certificate: {error}")))?
            }
        };
        config.resumption = Resumption::disabled();
        if inside == Inside::Http {
            config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        }
        Ok(config)
    }

    async fn verifier(&self, options: &TlsOptions) -> Result<Arc<dyn ServerCertVerifier>, Failure> {
        if options.insecure {
            return Ok(Arc::new(AcceptAny(Arc::clone(&self.provider))));
        }
        let (roots, own) = match &options.ca {
            None => (self.roots().await?, Vec::new()),
            Some(text) => {
                let own = certificates("ca", text)?;
                let mut roots = RootCertStore::empty();
                for certificate in &own {
                    roots
                        .add(certificate.clone())
                        .map_err(|error| Failure::invalid(format!("ca: {error}")))?;
                }
                (Arc::new(roots), own)
            }
        };
        let chain = WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(&self.provider))
            .build()
            .map_err(|error| Failure::invalid(format!("ca: {error}")))?;
        Ok(Arc::new(Verify { chain, own }))
    }

    /// The host's roots, read once, when first needed.
    async fn roots(&self) -> Result<Arc<RootCertStore>, Failure> {
        let roots = self
            .roots
            .get_or_try_init(|| async {
                tokio::task::spawn_blocking(|| {
                    let mut roots = RootCertStore::empty();
                    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
                    Arc::new(roots)
                })
                .await
                .map_err(|error| Failure::host(Phase::Prepare, error.to_string()))
            })
            .await?;
        if roots.is_empty() {
            return Err(Failure::host(
                Phase::Prepare,
                "this host has no root certificates; install them, or give the monitor a `ca`",
            ));
        }
        Ok(Arc::clone(roots))
    }
}

/// The name to send and to verify.
pub(super) fn server_name(options: &TlsOptions, host: &Host) -> Result<ServerName<'static>, Failure> {
    let wanted = match &options.server_name {
        Some(text) => Host::parse(text).map_err(|error| Failure::invalid(format!("server-name: {error}")))?,
        None => host.clone(),
    };
    match wanted {
        Host::Address(address) => Ok(ServerName::IpAddress(address.into())),
        Host::Name(name) => ServerName::try_from(name)
            .map_err(|error| Failure::invalid(format!("the server's name: {error}"))),
    }
}

fn key(options: &TlsOptions, inside: Inside) -> Key {
    let mut hash = Sha256::new();
    let mut field = |text: Option<&str>| match text {
        // The length keeps two fields from running into each other.
        Some(text) => {
            hash.update([1]);
            hash.update((text.len() as u64).to_le_bytes());
            hash.update(text);
        }
        None => hash.update([0]),
    };
    let own = options.client_certificate.as_ref();
    field(options.ca.as_deref());
    field(own.map(|own| own.chain.as_str()));
    field(own.map(|own| own.key.as_str()));
    hash.update([u8::from(options.insecure), inside as u8]);
    hash.finalize().into()
}

fn pem<'t>(what: &str, text: &'t str) -> Result<&'t [u8], Failure> {
    if text.len() > PEM_BYTES_MAX {
        return Err(Failure::invalid(format!(
            "{what} is longer than {PEM_BYTES_MAX} bytes"
        )));
    }
    Ok(text.as_bytes())
}

fn certificates(what: &str, text: &str) -> Result<Vec<CertificateDer<'static>>, Failure> {
    let found: Vec<_> = CertificateDer::pem_slice_iter(pem(what, text)?)
        .take(PEM_CERTIFICATES_MAX + 1)
        .collect::<Result<_, _>>()
        .map_err(|error| Failure::invalid(format!("{what} is no PEM: {error}")))?;
    if found.is_empty() || found.len() > PEM_CERTIFICATES_MAX {
        return Err(Failure::invalid(format!(
            "{what} holds no certificate, or more than {PEM_CERTIFICATES_MAX}"
        )));
    }
    Ok(found)
}

/// Certificates are judged by the Clock's time.
#[derive(Debug)]
struct ClockTime(Clock);

impl TimeProvider for ClockTime {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(Duration::from_millis(self.0.wall().0)))
    }
}

/// The usual verification, and one thing beside it: a server that shows the very certificate that stands in `ca`
/// is trusted even when that is marked as an authority, as self-signed certificates mostly are.
#[derive(Debug)]
struct Verify {
    chain: Arc<WebPkiServerVerifier>,
    own: Vec<CertificateDer<'static>>,
}

impl ServerCertVerifier for Verify {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let verdict = self
            .chain
            .verify_server_cert(leaf, intermediates, name, ocsp, now);
        match verdict {
            Err(rustls::Error::InvalidCertificate(CertificateError::Other(_))) if self.own.contains(leaf) => {
                check_validity(leaf, now)?;
                verify_server_name(&ParsedCertificate::try_from(leaf)?, name)?;
                Ok(ServerCertVerified::assertion())
            }
            verdict => verdict,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.chain.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.chain.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chain.supported_verify_schemes()
    }
}

fn check_validity(leaf: &CertificateDer<'_>, now: UnixTime) -> Result<(), rustls::Error> {
    let bad = |error| Err(rustls::Error::InvalidCertificate(error));
    let Ok((_, parsed)) = x509_parser::parse_x509_certificate(leaf) else {
        return bad(CertificateError::BadEncoding);
    };
    let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
    if now < parsed.validity().not_before.timestamp() {
        return bad(CertificateError::NotValidYet);
    }
    if now > parsed.validity().not_after.timestamp() {
        return bad(CertificateError::Expired);
    }
    Ok(())
}

/// Notes what a verifier thinks of a chain, and goes on whatever it is. That the peer holds the certificate's key is
/// checked all the same.
#[derive(Debug)]
pub(super) struct Judge {
    judge: Arc<dyn ServerCertVerifier>,
    refusal: OnceLock<rustls::Error>,
}

impl Judge {
    /// What is wrong with the chain, if something is.
    pub(super) fn refusal(&self) -> Option<&rustls::Error> {
        self.refusal.get()
    }
}

impl ServerCertVerifier for Judge {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if let Err(error) = self
            .judge
            .verify_server_cert(leaf, intermediates, name, ocsp, now)
        {
            let _ = self.refusal.set(error);
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.judge.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.judge.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.judge.supported_verify_schemes()
    }
}

/// `insecure`: the operator said that any certificate will do.
#[derive(Debug)]
struct AcceptAny(Arc<CryptoProvider>);

impl ServerCertVerifier for AcceptAny {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// What a failed handshake means.
pub(super) fn handshake_failure(error: &std::io::Error) -> Failure {
    if error.kind() == std::io::ErrorKind::UnexpectedEof {
        return Failure::new(
            ErrorCode::ConnectionReset,
            Phase::Tls,
            "the peer closed the connection during the TLS handshake",
        );
    }
    Failure::io(Phase::Tls, error)
}
