//! Who gets in and who does not: each refusal on a real connection, with the reason on both sides.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use crate::support::{
    AGENT, COORDINATOR, DAY, Pki, READER, Running, call, open, serve, stopped_at,
};
use interlock_mesh::PeerError;
use interlock_mesh::channel::{self, ConnectError, Expected, Target};
use interlock_mesh::credentials::{Credentials, system_clock};
use interlock_mesh::server::Options;
use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, Issuer, KeyPair};
use rustls::RootCertStore;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::Notify;
use tracing::subscriber::DefaultGuard;

/// What the server logs while the guard lives; the tests' runtimes have one thread, so its tasks are on it.
#[derive(Clone, Default)]
struct Log {
    text: Arc<Mutex<Vec<u8>>>,
    written: Arc<Notify>,
}

impl Log {
    fn capture() -> (Self, DefaultGuard) {
        let log = Self::default();
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_ansi(false)
            .with_writer(move || writer.clone())
            .finish();
        (log, tracing::subscriber::set_default(subscriber))
    }

    /// Waits for the line about a refused connection: there is one, and it says why.
    async fn refusal_says(&self, why: &str) {
        loop {
            let text = String::from_utf8(self.text.lock().unwrap().clone()).unwrap();
            let lines: Vec<&str> = text
                .lines()
                .filter(|line| line.contains("connection refused"))
                .collect();
            if let [line] = lines[..] {
                assert!(line.contains(why) && line.contains("127.0.0.1"), "{line}");
                return;
            }
            assert!(lines.is_empty(), "one line per refusal:\n{text}");
            self.written.notified().await;
        }
    }
}

impl io::Write for Log {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        self.text.lock().unwrap().extend_from_slice(text);
        self.written.notify_one();
        Ok(text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

async fn connect(
    server: &Running,
    credentials: &Credentials,
    expected: Expected,
) -> Result<(), ConnectError> {
    channel::connect(
        &server.target(expected),
        credentials,
        &channel::Options::default(),
    )
    .await
    .map(drop)
}

#[tokio::test]
async fn members_of_one_cluster_reach_each_other() {
    let pki = Pki::new("acd");
    let server = pki.coordinator().await;
    for uri in [AGENT, READER, "interlock://acd/coordinator/mgmt2"] {
        call(server.connect(&pki.member(uri)).await.unwrap())
            .await
            .unwrap();
    }
    server.stop().await;
}

#[tokio::test]
async fn a_client_whose_certificate_has_expired_is_refused_and_told() {
    let pki = Pki::new("acd");
    // The client thinks that it is two days ago, so to it the server's certificate must have begun before.
    let files = pki.issue(COORDINATOR, 20 * DAY, 40 * DAY);
    let server = serve(
        open(files, COORDINATOR, system_clock()).unwrap().1,
        Options::default(),
    )
    .await;
    let (log, _guard) = Log::capture();
    let error = server.refuse(&pki.expired_member(AGENT)).await;
    assert!(
        matches!(error, ConnectError::OwnExpired { .. }),
        "{error:?}"
    );
    assert!(error.to_string().contains(AGENT), "{error}");
    log.refusal_says("its certificate expired at 20").await;
}

#[tokio::test]
async fn a_client_of_another_authority_is_refused_and_told() {
    let (pki, other) = (Pki::new("acd"), Pki::new("acd"));
    // It trusts this cluster's authority, so only its own certificate is wrong.
    let mut files = other.issue(AGENT, DAY, 10 * DAY);
    files.authority = both_authorities(&pki, &other);
    let stranger = open(files, AGENT, system_clock()).unwrap().1;

    let server = pki.coordinator().await;
    let (log, _guard) = Log::capture();
    let error = server.refuse(&stranger).await;
    assert!(
        matches!(error, ConnectError::OwnOtherAuthority { .. }),
        "{error:?}"
    );
    log.refusal_says("issued by another authority").await;
}

#[tokio::test]
async fn a_client_of_another_cluster_is_refused_even_with_a_trusted_authority() {
    let (pki, other) = (Pki::new("acd"), Pki::new("beta"));
    let trusts_both = both_authorities(&pki, &other);
    let mut files = pki.issue(COORDINATOR, DAY, 10 * DAY);
    files.authority = trusts_both.clone();
    let server = serve(
        open(files, COORDINATOR, system_clock()).unwrap().1,
        Options::default(),
    )
    .await;

    let (log, _guard) = Log::capture();
    let config = raw_client(
        &other.issue("interlock://beta/agent/dbm1", DAY, 10 * DAY),
        &trusts_both,
    );
    let alert = raw_connect(&server, config).await;
    assert_eq!(
        alert,
        rustls::Error::AlertReceived(rustls::AlertDescription::CertificateUnknown)
    );
    log.refusal_says("it belongs to cluster beta, not to acd")
        .await;
}

#[tokio::test]
async fn a_client_without_an_interlock_identity_is_refused() {
    let pki = Pki::new("acd");
    let server = pki.coordinator().await;
    let (log, _guard) = Log::capture();
    let key = KeyPair::generate().unwrap();
    let issuer_key = KeyPair::from_pem(&pki.authority.key_pem()).unwrap();
    let issuer = Issuer::from_ca_cert_pem(pki.authority.cert_pem(), issuer_key).unwrap();
    let mut params = CertificateParams::new(["dbm1.example".to_owned()]).unwrap();
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let certificate = params.signed_by(&key, &issuer).unwrap();

    let files = pki.issue(AGENT, DAY, 10 * DAY);
    std::fs::write(&files.certificate, certificate.pem()).unwrap();
    std::fs::write(&files.key, key.serialize_pem()).unwrap();
    let alert = raw_connect(&server, raw_client(&files, &files.authority)).await;
    assert_eq!(
        alert,
        rustls::Error::AlertReceived(rustls::AlertDescription::CertificateUnknown)
    );
    log.refusal_says("names no interlock:// identity").await;
}

#[tokio::test]
async fn a_client_without_a_certificate_is_refused() {
    let pki = Pki::new("acd");
    let server = pki.coordinator().await;
    let (log, _guard) = Log::capture();
    let files = pki.issue(AGENT, DAY, 10 * DAY);
    let alert = raw_connect(&server, raw_builder(&files.authority).with_no_client_auth()).await;
    assert_eq!(
        alert,
        rustls::Error::AlertReceived(rustls::AlertDescription::CertificateRequired)
    );
    log.refusal_says("it showed no certificate").await;
}

#[tokio::test]
async fn a_server_whose_certificate_has_expired_is_not_talked_to() {
    let pki = Pki::new("acd");
    let server = serve(pki.expired_member(COORDINATOR), Options::default()).await;
    let (log, _guard) = Log::capture();
    let error = server.refuse(&pki.member(AGENT)).await;
    assert!(
        matches!(error, ConnectError::ServerExpired { .. }),
        "{error:?}"
    );
    log.refusal_says("it refused this server's certificate")
        .await;
}

#[tokio::test]
async fn a_server_of_another_authority_is_not_talked_to() {
    let (pki, other) = (Pki::new("acd"), Pki::new("acd"));
    let server = other.coordinator().await;
    let error = server.refuse(&pki.member(AGENT)).await;
    assert!(
        matches!(error, ConnectError::ServerOtherAuthority { .. }),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_server_of_another_cluster_is_not_talked_to_even_with_a_trusted_authority() {
    let (pki, other) = (Pki::new("acd"), Pki::new("beta"));
    let trusts_both = both_authorities(&pki, &other);
    let server = serve(
        other.member("interlock://beta/coordinator/mgmt1"),
        Options::default(),
    )
    .await;
    let mut files = pki.issue(AGENT, DAY, 10 * DAY);
    files.authority = trusts_both;
    let error = server
        .refuse(&open(files, AGENT, system_clock()).unwrap().1)
        .await;
    let ConnectError::WrongServer {
        source: PeerError::OtherCluster { found, .. },
        ..
    } = error
    else {
        panic!("{error:?}");
    };
    assert_eq!(found.cluster().as_str(), "beta");
}

#[tokio::test]
async fn a_server_of_another_kind_or_name_is_not_talked_to() {
    let pki = Pki::new("acd");
    let coordinator = pki.coordinator().await;
    let agent = serve(pki.member(AGENT), Options::default()).await;
    let client = pki.member(READER);
    let node = |name: &str| name.parse().unwrap();

    for (server, wrong) in [
        (&coordinator, Expected::Agent(node("mgmt1"))),
        (&coordinator, Expected::CoordinatorOn(node("mgmt2"))),
        (&agent, Expected::Coordinator),
        (&agent, Expected::CoordinatorOn(node("dbm1"))),
        (&agent, Expected::Agent(node("dbm2"))),
    ] {
        let error = connect(server, &client, wrong.clone()).await.unwrap_err();
        let ConnectError::WrongServer {
            source: PeerError::Unexpected { expected, .. },
            ..
        } = error
        else {
            panic!("{error:?}");
        };
        assert_eq!(expected, wrong);
    }
    connect(
        &coordinator,
        &client,
        Expected::CoordinatorOn(node("mgmt1")),
    )
    .await
    .unwrap();
    connect(&agent, &client, Expected::Agent(node("dbm1")))
        .await
        .unwrap();
}

#[tokio::test]
async fn an_operators_certificate_cannot_serve() {
    let pki = Pki::new("acd");
    let server = serve(pki.member(READER), Options::default()).await;
    let error = server.refuse(&pki.member(AGENT)).await;
    assert!(
        matches!(error, ConnectError::ServerCertificate { .. }),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_clock_that_is_behind_is_named_as_the_cause() {
    let pki = Pki::new("acd");
    let server = pki.coordinator().await;
    let files = pki.issue(AGENT, 50 * DAY, 100 * DAY);
    let behind = open(files, AGENT, stopped_at(SystemTime::now() - 5 * DAY))
        .unwrap()
        .1;
    let error = server.refuse(&behind).await;
    assert!(
        matches!(error, ConnectError::ServerNotYetValid { .. }),
        "{error:?}"
    );
    assert!(error.to_string().contains("clocks"), "{error}");
}

#[tokio::test]
async fn a_port_where_nobody_listens_refuses() {
    let pki = Pki::new("acd");
    // Bound and not listening: nobody else gets the port meanwhile.
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let target = target_of(socket.local_addr().unwrap());
    let error = channel::connect(&target, &pki.member(AGENT), &channel::Options::default())
        .await
        .unwrap_err();
    assert!(matches!(error, ConnectError::Refused { .. }), "{error:?}");
    assert!(error.is_transient());
}

#[tokio::test]
async fn a_program_that_speaks_no_tls_is_named_as_such() {
    let pki = Pki::new("acd");
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target = target_of(listener.local_addr().unwrap());
    let other = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        tokio::io::AsyncWriteExt::write_all(&mut stream, b"SSH-2.0-OpenSSH_9.2\r\n")
            .await
            .unwrap();
        // Until the client hangs up.
        drop(stream.read_to_end(&mut Vec::new()).await);
    });
    let error = channel::connect(&target, &pki.member(AGENT), &channel::Options::default())
        .await
        .unwrap_err();
    assert!(matches!(error, ConnectError::Protocol { .. }), "{error:?}");
    other.await.unwrap();
}

#[tokio::test]
async fn a_lazy_channels_request_says_why_it_could_not_connect() {
    let (pki, other) = (Pki::new("acd"), Pki::new("acd"));
    let server = other.coordinator().await;
    let target = server.target(Expected::Coordinator);
    let channel = channel::connect_lazy(&target, &pki.member(AGENT), &channel::Options::default());
    let status = call(channel).await.unwrap_err();
    assert_eq!(status.code(), tonic::Code::Unavailable);
    let cause = ConnectError::inside(&status).unwrap_or_else(|| panic!("{status:?}"));
    assert!(
        matches!(cause, ConnectError::ServerOtherAuthority { .. }),
        "{cause:?}"
    );
}

fn target_of(address: SocketAddr) -> Target {
    let address = address.to_string().parse().unwrap();
    Target {
        address,
        expected: Expected::Coordinator,
    }
}

/// A file with the authorities of both.
fn both_authorities(one: &Pki, two: &Pki) -> std::path::PathBuf {
    let path = one.directory().join("both.crt");
    std::fs::write(
        &path,
        format!("{}{}", one.authority.cert_pem(), two.authority.cert_pem()),
    )
    .unwrap();
    path
}

/// A client that does not check itself as ours does.
fn raw_client(
    files: &interlock_mesh::credentials::Files,
    authority: &std::path::Path,
) -> rustls::ClientConfig {
    let chain = vec![CertificateDer::from_pem_file(&files.certificate).unwrap()];
    raw_builder(authority)
        .with_client_auth_cert(chain, PrivateKeyDer::from_pem_file(&files.key).unwrap())
        .unwrap()
}

fn raw_builder(
    authority: &std::path::Path,
) -> rustls::ConfigBuilder<rustls::ClientConfig, rustls::client::WantsClientCert> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(authority).unwrap() {
        roots.add(certificate.unwrap()).unwrap();
    }
    rustls::ClientConfig::builder_with_provider(Arc::new(
        rustls::crypto::aws_lc_rs::default_provider(),
    ))
    .with_protocol_versions(&[&rustls::version::TLS13])
    .unwrap()
    .with_root_certificates(roots)
}

/// Connects to 127.0.0.1 by address, as grpcurl would, and reads until the server says no.
async fn raw_connect(server: &Running, mut config: rustls::ClientConfig) -> rustls::Error {
    config.alpn_protocols = vec![b"h2".to_vec()];
    let tcp = TcpStream::connect(server.address).await.unwrap();
    let name = ServerName::IpAddress(server.address.ip().into());
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    let mut stream = connector.connect(name, tcp).await.unwrap();
    let error = stream.read(&mut [0; 1]).await.unwrap_err();
    error.downcast::<rustls::Error>().unwrap()
}
