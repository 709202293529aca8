use super::{
    ErrorCode, Failure, Phase, handshake,
    http::{
        self,
        streaming::{Exchange, Head},
        upload::Upload,
    },
    net::{ClientCertificate, IpFamily, TlsOptions},
    tcp::{self, Expectation, Step},
    testing::{Bench, bench, loopback, patiently, read_head, serve, silent},
    tls::Inside,
};
use http_body_util::BodyExt;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    date_time_ymd,
};
use rustls::{
    ServerConfig,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer},
    server::WebPkiClientVerifier,
};
use std::{future::poll_fn, net::SocketAddr, sync::Arc, task::Poll};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::TlsAcceptor;

/// An authority of a test's own.
struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate with its key.
struct Identity {
    chain: Vec<CertificateDer<'static>>,
    key: KeyPair,
    pem: String,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params
            .distinguished_name
            .push(DnType::CommonName, "Test Authority");
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    fn trust(&self) -> TlsOptions {
        TlsOptions {
            ca: Some(self.0.pem()),
            ..TlsOptions::default()
        }
    }

    fn leaf(&self, name: &str) -> Identity {
        self.leaf_with(name, |_| {})
    }

    fn leaf_with(&self, name: &str, change: impl FnOnce(&mut CertificateParams)) -> Identity {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, "leaf");
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        Identity {
            chain: vec![certificate.der().clone(), self.0.der().clone()],
            pem: certificate.pem(),
            key,
        }
    }
}

impl Identity {
    fn key_der(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::try_from(self.key.serialize_der()).unwrap()
    }

    fn server(&self) -> ServerConfig {
        self.server_speaking(rustls::DEFAULT_VERSIONS)
    }

    fn server_speaking(&self, versions: &[&'static rustls::SupportedProtocolVersion]) -> ServerConfig {
        ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(versions)
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(self.chain.clone(), self.key_der())
            .unwrap()
    }
}

/// Answers one request over TLS.
async fn https(config: ServerConfig) -> SocketAddr {
    let acceptor = TlsAcceptor::from(Arc::new(config));
    serve(move |stream| {
        let acceptor = acceptor.clone();
        async move {
            // A client that does not like the certificate breaks off here.
            let Ok(mut stream) = acceptor.accept(stream).await else {
                return;
            };
            read_head(&mut stream).await;
            let _ = stream
                .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
                .await;
            let _ = stream.shutdown().await;
        }
    })
    .await
}

async fn get(bench: &Bench, url: String, tls: TlsOptions) -> Result<http::Response, Failure> {
    let request = http::Request {
        method: "GET".into(),
        url,
        headers: Vec::new(),
        body: None,
        max_redirects: 0,
        family: IpFamily::Any,
        tls: Some(tls),
        timeout_ms: None,
        max_body_bytes: None,
    };
    bench.lender.http(&loopback().done(), request).await
}

async fn code(address: SocketAddr, tls: TlsOptions) -> ErrorCode {
    let failure = get(&bench(), format!("https://web.test:{}/", address.port()), tls)
        .await
        .unwrap_err();
    assert_eq!((failure.phase, &failure.taint), (Phase::Tls, &None), "{failure}");
    failure.code
}

#[tokio::test]
async fn a_good_certificate_and_its_facts() {
    let authority = Authority::new();
    let leaf = authority.leaf("web.test");
    let mut config = leaf.server();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    let address = https(config).await;
    let bench = bench();
    let url = format!("https://web.test:{}/", address.port());
    let answer = get(&bench, url, authority.trust()).await.unwrap();
    assert_eq!((answer.status, answer.body.as_slice()), (200, &b"ok"[..]));
    assert_eq!(answer.timings.tls_us, 1);
    let facts = answer.tls.unwrap();
    assert_eq!(
        (facts.version.as_str(), facts.alpn.as_deref()),
        ("TLSv1.3", Some("http/1.1"))
    );
    assert!(
        facts.cipher.starts_with("TLS_AES_") || facts.cipher.starts_with("TLS_CHACHA20_"),
        "{}",
        facts.cipher
    );
    assert_eq!(facts.certificates.len(), 2);
    let shown = &facts.certificates[0];
    assert_eq!(
        (shown.subject.as_str(), shown.names.as_slice()),
        ("CN=leaf", &["web.test".to_owned()][..])
    );
    assert!(shown.issuer.contains("Test Authority"));
    assert!(shown.not_before < 1_795_478_400 && shown.not_after > 1_795_478_400);
    let digest = <sha2::Sha256 as sha2::Digest>::digest(&leaf.chain[0]);
    assert_eq!(shown.sha256, format!("{digest:x}"));
}

#[tokio::test]
async fn addresses_have_certificates_too() {
    let authority = Authority::new();
    let address = https(authority.leaf("127.0.0.1").server()).await;
    let answer = get(&bench(), format!("https://{address}/"), authority.trust())
        .await
        .unwrap();
    assert_eq!(answer.tls.unwrap().certificates[0].names, ["127.0.0.1"]);
}

#[tokio::test]
async fn older_servers_are_understood() {
    let authority = Authority::new();
    let leaf = authority.leaf("web.test");
    let address = https(leaf.server_speaking(&[&rustls::version::TLS12])).await;
    let url = format!("https://web.test:{}/", address.port());
    let facts = get(&bench(), url, authority.trust()).await.unwrap().tls.unwrap();
    assert_eq!((facts.version.as_str(), facts.alpn), ("TLSv1.2", None));
    assert!(facts.cipher.starts_with("TLS_ECDHE_"), "{}", facts.cipher);
}

#[tokio::test]
async fn bad_certificates_say_why() {
    let authority = Authority::new();
    let expired = authority.leaf_with("web.test", |params| {
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(2021, 1, 1);
    });
    let early = authority.leaf_with("web.test", |params| params.not_before = date_time_ymd(2027, 1, 1));
    let other = authority.leaf("other.test");
    let stranger = Authority::new().leaf("web.test");
    for (identity, expected) in [
        (&expired, ErrorCode::CertificateExpired),
        (&early, ErrorCode::CertificateExpired),
        (&other, ErrorCode::CertificateNameMismatch),
        (&stranger, ErrorCode::CertificateUntrusted),
    ] {
        let address = https(identity.server()).await;
        assert_eq!(code(address, authority.trust()).await, expected);
        // Whoever asked for it gets an answer all the same, and the facts.
        let insecure = TlsOptions {
            insecure: true,
            ..TlsOptions::default()
        };
        let url = format!("https://web.test:{}/", address.port());
        let facts = get(&bench(), url, insecure).await.unwrap().tls.unwrap();
        assert_eq!(facts.certificates[0].subject, "CN=leaf");
    }
}

#[tokio::test]
async fn another_name_can_be_asked_for() {
    let authority = Authority::new();
    let address = https(authority.leaf("inner.test").server()).await;
    let named = |name: &str| TlsOptions {
        server_name: Some(name.into()),
        ..authority.trust()
    };
    let url = format!("https://{address}/");
    assert_eq!(
        get(&bench(), url.clone(), named("inner.test"))
            .await
            .unwrap()
            .status,
        200
    );
    let failure = get(&bench(), url, named("no name")).await.unwrap_err();
    assert_eq!(failure.code, ErrorCode::InvalidRequest);
}

/// As `openssl req -x509` makes them: an authority that shows itself.
#[tokio::test]
async fn a_self_signed_certificate_can_be_trusted_as_it_is() {
    let make = |name: &str, last_year: i32| {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.not_after = date_time_ymd(last_year, 1, 1);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        Identity {
            chain: vec![certificate.der().clone()],
            pem: certificate.pem(),
            key,
        }
    };
    let trust = |identity: &Identity| TlsOptions {
        ca: Some(identity.pem.clone()),
        ..TlsOptions::default()
    };
    let good = make("web.test", 2040);
    let address = https(good.server()).await;
    let url = format!("https://web.test:{}/", address.port());
    assert_eq!(get(&bench(), url, trust(&good)).await.unwrap().status, 200);
    assert_eq!(
        code(address, trust(&make("web.test", 2040))).await,
        ErrorCode::CertificateUntrusted
    );
    let expired = make("web.test", 2021);
    assert_eq!(
        code(https(expired.server()).await, trust(&expired)).await,
        ErrorCode::CertificateExpired
    );
    let other = make("other.test", 2040);
    assert_eq!(
        code(https(other.server()).await, trust(&other)).await,
        ErrorCode::CertificateNameMismatch
    );
}

#[tokio::test]
async fn client_certificates() {
    let authority = Authority::new();
    let leaf = authority.leaf("web.test");
    let mut roots = rustls::RootCertStore::empty();
    roots.add(authority.0.der().clone()).unwrap();
    let provider = Arc::new(ring::default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
        .build()
        .unwrap();
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(verifier)
        .with_single_cert(leaf.chain.clone(), leaf.key_der())
        .unwrap();
    let address = https(config).await;
    let url = || format!("https://web.test:{}/", address.port());
    let own = authority.leaf_with("client", |params| {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    });
    let with = |chain: &str, key: String| TlsOptions {
        client_certificate: Some(ClientCertificate {
            chain: chain.into(),
            key,
        }),
        ..authority.trust()
    };
    let key = own.key.serialize_pem();
    let answer = get(&bench(), url(), with(&own.pem, key.clone())).await.unwrap();
    assert_eq!(answer.status, 200);
    let failure = get(&bench(), url(), authority.trust()).await.unwrap_err();
    assert_eq!(failure.code, ErrorCode::TlsFailed, "{failure}");
    let others_key = leaf.key.serialize_pem();
    for options in [
        with("", key.clone()),
        with(&own.pem, "secret".into()),
        with(&own.pem, others_key),
        TlsOptions {
            ca: Some("no PEM".into()),
            ..TlsOptions::default()
        },
    ] {
        let failure = get(&bench(), url(), options).await.unwrap_err();
        assert_eq!(
            (failure.code, failure.phase),
            (ErrorCode::InvalidRequest, Phase::Prepare)
        );
        assert!(!failure.message.contains("secret"));
    }
}

#[tokio::test]
async fn a_server_that_speaks_no_tls() {
    let plain = serve(|mut stream| async move {
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
        let _ = stream.read(&mut [0; 4096]).await;
    })
    .await;
    assert_eq!(code(plain, Authority::new().trust()).await, ErrorCode::TlsFailed);
    let closing = serve(|mut stream| async move {
        let _ = stream.read(&mut [0; 4096]).await;
    })
    .await;
    assert_eq!(
        code(closing, Authority::new().trust()).await,
        ErrorCode::ConnectionReset
    );
    let silent = silent().await;
    let trust = Authority::new().trust();
    let failure = patiently(async |timeout_ms| {
        let request = tcp::Request {
            host: "web.test".into(),
            port: silent.port(),
            family: IpFamily::Any,
            tls: Some(trust.clone()),
            steps: Vec::new(),
            timeout_ms: Some(timeout_ms),
            max_bytes: None,
        };
        let failure = bench().lender.tcp(&loopback().done(), request).await.unwrap_err();
        (failure.phase == Phase::Tls).then_some(failure)
    })
    .await;
    assert_eq!((failure.code, failure.taint), (ErrorCode::Timeout, None));
}

#[tokio::test]
async fn http2_by_alpn() {
    let authority = Authority::new();
    let mut config = authority.leaf("web.test").server();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let address = serve(move |stream| {
        let acceptor = acceptor.clone();
        async move {
            let stream = acceptor.accept(stream).await.unwrap();
            let service =
                hyper::service::service_fn(|request: ::http::Request<hyper::body::Incoming>| async move {
                    assert!(
                        request.headers().get("host").is_none()
                            && request.headers().get("connection").is_none()
                    );
                    let body = match request.uri().path() {
                        "/count" => {
                            let body = request.into_body().collect().await.unwrap().to_bytes();
                            bytes::Bytes::from(body.len().to_string())
                        }
                        "/big" => bytes::Bytes::from(vec![b'x'; 3 << 20]),
                        _ => bytes::Bytes::from(request.uri().to_string()),
                    };
                    Ok::<_, std::convert::Infallible>(::http::Response::new(http_body_util::Full::new(body)))
                });
            let _ = hyper::server::conn::http2::Builder::new(hyper_util::rt::TokioExecutor::new())
                .serve_connection(hyper_util::rt::TokioIo::new(stream), service)
                .await;
        }
    })
    .await;
    let bench = bench();
    let url = format!("https://web.test:{}/p?q", address.port());
    let answer = get(&bench, url.clone(), authority.trust()).await.unwrap();
    assert_eq!((answer.status, answer.version.as_str()), (200, "HTTP/2.0"));
    assert_eq!(String::from_utf8(answer.body).unwrap(), url);
    assert_eq!(answer.tls.unwrap().alpn.as_deref(), Some("h2"));
    let big = url.replace("/p?q", "/big");
    let answer = get(&bench, big, authority.trust()).await.unwrap();
    assert_eq!((answer.body.len(), answer.body_truncated), (1 << 20, true));
    // What is done beside the calls ends with them, and gives the sockets back at once.
    let shared = Arc::clone(&bench.lender.shared);
    assert_eq!(shared.sockets_free(), shared.sockets_max());

    // The same while somebody looks: a body that is larger than the windows goes out beside the call as well.
    let (lender, lease) = (Arc::new(bench.lender), Arc::new(loopback().done()));
    let upload = Upload::new(None);
    let head = Head {
        method: "POST".into(),
        url: url.replace("/p?q", "/count"),
        fields: ::http::HeaderMap::new(),
        upload: Some(upload.clone()),
    };
    let mut exchange = Exchange::trusting(&lender, &lease, head, authority.trust());
    let mut left = 600_000;
    poll_fn(|cx| {
        loop {
            exchange.poll(cx);
            let room = upload.room().unwrap_or(0).min(left);
            if room > 0 {
                upload.write(&vec![b'x'; room]).unwrap();
                left -= room;
            } else if left > 0 {
                return Poll::Pending;
            }
            if left == 0 {
                let _ = upload.finish();
            }
            if let Some(frame) = exchange.progress().frame.take() {
                assert_eq!(frame, "600000");
                return Poll::Ready(());
            }
            if room == 0 {
                return Poll::Pending;
            }
        }
    })
    .await;
    assert!(shared.sockets_free() < shared.sockets_max());
    drop(exchange);
    assert_eq!(shared.sockets_free(), shared.sockets_max());
}

#[tokio::test]
async fn configurations_are_kept_within_bounds() {
    let bench = bench();
    let tls = &bench.lender.shared.tls;
    let insecure = TlsOptions {
        insecure: true,
        ..TlsOptions::default()
    };
    let first = tls.get(&insecure, Inside::Http).await.unwrap();
    assert!(Arc::ptr_eq(
        &first,
        &tls.get(&insecure, Inside::Http).await.unwrap()
    ));
    assert!(!Arc::ptr_eq(
        &first,
        &tls.get(&insecure, Inside::Bytes).await.unwrap()
    ));
    for _ in 0..80 {
        tls.get(&Authority::new().trust(), Inside::Http).await.unwrap();
    }
    assert!(!Arc::ptr_eq(
        &first,
        &tls.get(&insecure, Inside::Http).await.unwrap()
    ));
}

/// A mail server that says something more before TLS begins, as an attacker in the middle would have it.
#[tokio::test]
async fn starttls_forgets_what_was_said_before() {
    let authority = Authority::new();
    let acceptor = TlsAcceptor::from(Arc::new(authority.leaf("web.test").server()));
    let address = serve(move |mut stream| {
        let acceptor = acceptor.clone();
        async move {
            stream.write_all(b"220 ready\r\n").await.unwrap();
            let mut command = [0; 10];
            stream.read_exact(&mut command).await.unwrap();
            assert_eq!(&command, b"STARTTLS\r\n");
            stream.write_all(b"220 go\r\n250 injected\r\n").await.unwrap();
            let mut stream = acceptor.accept(stream).await.unwrap();
            stream.write_all(b"250 secure\r\n").await.unwrap();
            let _ = stream.shutdown().await;
        }
    })
    .await;
    let line = || Step::Expect(Expectation::Line);
    let request = |last: Step| tcp::Request {
        host: "web.test".into(),
        port: address.port(),
        family: IpFamily::V4,
        tls: None,
        steps: vec![
            line(),
            Step::Send(b"STARTTLS\r\n".to_vec()),
            line(),
            Step::StartTls(authority.trust()),
            last,
        ],
        timeout_ms: None,
        max_bytes: None,
    };
    let bench = bench();
    let lease = loopback().done();
    let answer = bench.lender.tcp(&lease, request(line())).await.unwrap();
    assert_eq!(answer.unmet, None);
    assert!(answer.received.ends_with(b"250 secure\r\n"));
    assert_eq!((answer.tls.unwrap().alpn, answer.timings.tls_us), (None, 1));
    let injected = Step::Expect(Expectation::Contains(b"injected".to_vec()));
    let answer = bench.lender.tcp(&lease, request(injected)).await.unwrap();
    assert_eq!(answer.unmet, Some(4));
}

async fn shake(
    address: SocketAddr,
    tls: TlsOptions,
    change: impl FnOnce(&mut handshake::Request),
) -> Result<handshake::Response, Failure> {
    let mut request = handshake::Request {
        host: "web.test".into(),
        port: address.port(),
        family: IpFamily::Any,
        tls,
        alpn: Vec::new(),
        before: Vec::new(),
        timeout_ms: None,
    };
    change(&mut request);
    bench().lender.tls(&loopback().done(), request).await
}

#[tokio::test]
async fn a_handshake_tells_what_it_thinks_of_the_chain_and_shows_it_all_the_same() {
    let authority = Authority::new();
    let leaf = authority.leaf("web.test");
    let address = https(leaf.server()).await;
    let good = shake(address, authority.trust(), |_| {}).await.unwrap();
    assert_eq!(good.refusal, None);
    assert_eq!(good.tls.certificates[0].names, ["web.test"]);
    assert_eq!(good.chain[0], leaf.chain[0].to_vec());
    assert_eq!(good.chain.len(), 2);
    assert!(good.timings.tls_us > 0 && good.timings.processing_us == 0);

    let code = |response: &handshake::Response| response.refusal.as_ref().map(|refusal| refusal.code);
    let stranger = shake(address, Authority::new().trust(), |_| {}).await.unwrap();
    assert_eq!(code(&stranger), Some(ErrorCode::CertificateUntrusted));
    assert_eq!(stranger.tls.certificates, good.tls.certificates);
    let elsewhere = shake(address, authority.trust(), |request| {
        request.host = "other.test".into()
    });
    assert_eq!(
        code(&elsewhere.await.unwrap()),
        Some(ErrorCode::CertificateNameMismatch)
    );
    let unjudged = TlsOptions {
        insecure: true,
        ..TlsOptions::default()
    };
    assert_eq!(code(&shake(address, unjudged, |_| {}).await.unwrap()), None);

    let old = authority.leaf_with("web.test", |params| params.not_after = date_time_ymd(2020, 1, 1));
    let address = https(old.server()).await;
    let ended = shake(address, authority.trust(), |_| {}).await.unwrap();
    assert_eq!(code(&ended), Some(ErrorCode::CertificateExpired));
    assert_eq!(ended.tls.certificates[0].not_after, 1_577_836_800);
}

#[tokio::test]
async fn a_handshake_chooses_a_protocol_and_can_come_after_words_in_the_clear() {
    let authority = Authority::new();
    let leaf = authority.leaf("web.test");
    let mut config = leaf.server();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let address = serve(move |mut stream| {
        let acceptor = acceptor.clone();
        async move {
            stream.write_all(b"220 mail ESMTP\r\n").await.unwrap();
            let mut said = [0; 10];
            if stream.read_exact(&mut said).await.is_ok() && said == *b"STARTTLS\r\n" {
                stream.write_all(b"220 go ahead\r\n").await.unwrap();
                let _ = acceptor.accept(stream).await;
            }
        }
    })
    .await;
    let steps = |word: &str| {
        vec![
            Step::Expect(Expectation::Line),
            Step::Send(format!("{word}\r\n").into_bytes()),
            Step::Expect(Expectation::Contains(b"220 ".to_vec())),
            Step::Expect(Expectation::Line),
        ]
    };
    let with = |word, alpn: &str| {
        let alpn = alpn.to_owned();
        shake(address, authority.trust(), move |request| {
            request.before = steps(word);
            request.alpn = vec![alpn];
        })
    };
    let answer = with("STARTTLS", "h2").await.unwrap();
    assert_eq!((answer.refusal, answer.tls.alpn.as_deref()), (None, Some("h2")));
    assert!(answer.timings.processing_us > 0);
    let none = with("STARTTLS", "spdy/3").await.unwrap_err();
    assert_eq!(
        (none.code, none.phase),
        (ErrorCode::TlsFailed, Phase::Tls),
        "{none}"
    );
    // The server closes where it does not know the word.
    let unmet = with("STARTALL", "h2").await.unwrap_err();
    assert_eq!(
        (unmet.code, unmet.phase),
        (ErrorCode::Protocol, Phase::Processing),
        "{unmet}"
    );
}

#[tokio::test]
async fn a_handshake_needs_the_grants_of_tcp_and_has_its_bounds() {
    let (address, leaf) = (silent().await, TlsOptions::default());
    let denied = bench()
        .lender
        .tls(
            &super::testing::lease().done(),
            handshake::Request {
                host: "127.0.0.1".into(),
                port: address.port(),
                family: IpFamily::Any,
                tls: TlsOptions {
                    insecure: true,
                    ..leaf.clone()
                },
                alpn: Vec::new(),
                before: Vec::new(),
                timeout_ms: None,
            },
        )
        .await
        .unwrap_err();
    assert_eq!(denied.code, ErrorCode::Denied);
    assert!(denied.message.contains("grants.tcp"), "{denied}");
    let invalid = async |change: fn(&mut handshake::Request)| {
        let failure = shake(address, TlsOptions::default(), change).await.unwrap_err();
        assert_eq!(failure.code, ErrorCode::InvalidRequest, "{failure}");
    };
    invalid(|request| request.port = 0).await;
    invalid(|request| request.alpn = vec!["h2".into(); 17]).await;
    invalid(|request| request.alpn = vec![String::new()]).await;
    invalid(|request| request.before = vec![Step::StartTls(TlsOptions::default())]).await;
}
