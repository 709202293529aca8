//! Certificates of the tests' own, and the server's side of TLS.

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    date_time_ymd,
};
use rustls::{
    RootCertStore, ServerConfig, ServerConnection, StreamOwned,
    crypto::ring,
    pki_types::PrivateKeyDer,
    server::{WebPkiClientVerifier, danger::ClientCertVerifier},
};
use std::{
    net::TcpStream,
    sync::{Arc, Mutex},
};

/// An authority of a test's own.
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

/// How a certificate is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Certificate {
    /// For 127.0.0.1, valid for long.
    Good,
    /// Its validity has ended long ago.
    Expired,
    /// Its validity ends within the next days.
    Expiring,
    /// For another name.
    Elsewhere,
}

/// What a server shows, and whether it wants to see something too. It can be changed while the server runs.
#[derive(Clone)]
pub struct Keys(Arc<Mutex<Arc<ServerConfig>>>);

impl Authority {
    pub fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params
            .distinguished_name
            .push(DnType::CommonName, "Authority of a test");
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// The authority's own certificate.
    pub fn pem(&self) -> String {
        self.0.pem()
    }

    /// A client's certificate and key.
    pub fn client(&self) -> (String, String) {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        (certificate.pem(), key.serialize_pem())
    }

    /// A server's keys.
    pub fn server(&self, certificate: Certificate) -> Keys {
        Keys(Arc::new(Mutex::new(Arc::new(self.config(certificate, None)))))
    }

    /// A server's keys that wants a client's certificate of the same authority.
    pub fn mutual(&self) -> Keys {
        let mut roots = RootCertStore::empty();
        roots.add(self.0.der().clone()).unwrap();
        let provider = Arc::new(ring::default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
            .build()
            .unwrap();
        let config = self.config(Certificate::Good, Some(verifier));
        Keys(Arc::new(Mutex::new(Arc::new(config))))
    }

    /// Replaces what a server shows.
    pub fn renew(&self, keys: &Keys, certificate: Certificate) {
        *keys.0.lock().unwrap() = Arc::new(self.config(certificate, None));
    }

    fn config(
        &self,
        certificate: Certificate,
        verifier: Option<Arc<dyn ClientCertVerifier>>,
    ) -> ServerConfig {
        let name = match certificate {
            Certificate::Elsewhere => "elsewhere.test",
            _ => "127.0.0.1",
        };
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        match certificate {
            Certificate::Expired => {
                params.not_before = date_time_ymd(2001, 1, 1);
                params.not_after = date_time_ymd(2002, 1, 1);
            }
            Certificate::Expiring => {
                let now = std::time::UNIX_EPOCH.elapsed().unwrap();
                params.not_after =
                    date_time_ymd(1970, 1, 1) + now + std::time::Duration::from_secs(3 * 86_400);
            }
            Certificate::Good | Certificate::Elsewhere => {}
        }
        let key = KeyPair::generate().unwrap();
        let leaf = params.signed_by(&key, &self.0).unwrap();
        let builder = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap();
        let builder = match verifier {
            Some(verifier) => builder.with_client_cert_verifier(verifier),
            None => builder.with_no_client_auth(),
        };
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        builder
            .with_single_cert(vec![leaf.der().clone(), self.0.der().clone()], key)
            .unwrap()
    }
}

impl Keys {
    /// The handshake; none when the client breaks it off.
    pub fn accept(&self, stream: TcpStream) -> Option<StreamOwned<ServerConnection, TcpStream>> {
        let config = Arc::clone(&self.0.lock().unwrap());
        let mut stream = StreamOwned::new(ServerConnection::new(config).unwrap(), stream);
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock).ok()?;
        }
        Some(stream)
    }
}
