//! The certificate authority and its files.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, SystemTime};

use interlock_mesh::credentials::system_clock;
use interlock_mesh::pki::{
    AuthorityError, CertificateAuthority, Existing, IssueError, IssueRequest, SubjectName,
    WriteError, write_private,
};
use x509_parser::extensions::GeneralName;
use x509_parser::pem::parse_x509_pem;

use crate::support::{AGENT, COORDINATOR, DAY, Pki, READER, open};

fn request(uri: &str) -> IssueRequest {
    IssueRequest {
        identity: uri.parse().unwrap(),
        names: vec!["10.9.0.21", "dbm1.example"]
            .into_iter()
            .map(|name| name.parse().unwrap())
            .collect(),
        not_before: SystemTime::now(),
        life: DAY,
    }
}

#[test]
fn an_authority_that_was_saved_issues_as_before() {
    let pki = Pki::new("acd");
    let directory = tempfile::tempdir().unwrap();
    pki.authority.save(directory.path()).unwrap();
    let loaded = CertificateAuthority::load(
        &fs::read_to_string(CertificateAuthority::cert_path(directory.path())).unwrap(),
        &fs::read_to_string(CertificateAuthority::key_path(directory.path())).unwrap(),
    )
    .unwrap();
    assert_eq!(loaded.cluster(), pki.authority.cluster());

    let issued = loaded.issue(&request(AGENT)).unwrap();
    let files = issued
        .save(
            pki.directory(),
            "dbm1",
            pki.authority.cert_pem(),
            Existing::Keep,
        )
        .unwrap();
    open(files, AGENT, system_clock()).unwrap();
}

#[test]
fn a_certificate_says_what_its_holder_may_do_and_no_more() {
    let pki = Pki::new("acd");
    for (uri, serves) in [(AGENT, true), (COORDINATOR, true), (READER, false)] {
        let issued = pki.authority.issue(&request(uri)).unwrap();
        let (_, pem) = parse_x509_pem(issued.cert_pem.as_bytes()).unwrap();
        let certificate = pem.parse_x509().unwrap();

        let usage = certificate.extended_key_usage().unwrap().unwrap().value;
        assert_eq!(
            (usage.client_auth, usage.server_auth),
            (true, serves),
            "{uri}"
        );
        let key_usage = certificate.key_usage().unwrap().unwrap().value;
        assert!(
            key_usage.digital_signature() && !key_usage.key_cert_sign(),
            "{uri}"
        );
        assert!(!certificate.is_ca(), "{uri}");

        let names = &certificate
            .subject_alternative_name()
            .unwrap()
            .unwrap()
            .value
            .general_names;
        assert!(names.contains(&GeneralName::URI(uri)), "{names:?}");
        assert!(
            names.contains(&GeneralName::IPAddress(&[10, 9, 0, 21])),
            "{names:?}"
        );
        assert!(
            names.contains(&GeneralName::DNSName("dbm1.example")),
            "{names:?}"
        );
    }

    let (_, pem) = parse_x509_pem(pki.authority.cert_pem().as_bytes()).unwrap();
    let authority = pem.parse_x509().unwrap();
    let constraints = authority.basic_constraints().unwrap().unwrap();
    assert!(constraints.critical && constraints.value.ca);
    assert_eq!(constraints.value.path_len_constraint, Some(0));
    assert!(
        authority
            .key_usage()
            .unwrap()
            .unwrap()
            .value
            .key_cert_sign()
    );
}

#[test]
fn each_certificate_has_a_key_and_a_serial_number_of_its_own() {
    let pki = Pki::new("acd");
    let serial = || {
        let issued = pki.authority.issue(&request(AGENT)).unwrap();
        let (_, pem) = parse_x509_pem(issued.cert_pem.as_bytes()).unwrap();
        (
            pem.parse_x509().unwrap().raw_serial().to_owned(),
            issued.key_pem,
        )
    };
    let (one, two) = (serial(), serial());
    assert!(one.0 != two.0 && one.1 != two.1);
}

#[test]
fn what_does_not_fit_the_authority_is_not_issued() {
    let pki = Pki::new("acd");
    let refuse = |request: &IssueRequest| pki.authority.issue(request).unwrap_err();

    let error = refuse(&request("interlock://beta/agent/dbm1"));
    assert!(matches!(error, IssueError::OtherCluster { .. }), "{error}");
    let error = refuse(&IssueRequest {
        life: 2_000 * DAY,
        ..request(AGENT)
    });
    assert!(
        matches!(error, IssueError::OutlivesAuthority { .. }),
        "{error}"
    );
    let error = refuse(&IssueRequest {
        life: Duration::ZERO,
        ..request(AGENT)
    });
    assert!(matches!(error, IssueError::Life(_)), "{error}");
    let error = refuse(&IssueRequest {
        life: Duration::MAX,
        ..request(AGENT)
    });
    assert!(matches!(error, IssueError::Life(_)), "{error}");
    let error = refuse(&IssueRequest {
        names: vec![SubjectName::Dns("döner".into())],
        ..request(AGENT)
    });
    assert!(matches!(error, IssueError::HostName { .. }), "{error}");
}

#[test]
fn files_that_are_no_authority_are_refused() {
    let (pki, other) = (Pki::new("acd"), Pki::new("acd"));
    let load = |cert: &str, key: &str| CertificateAuthority::load(cert, key).unwrap_err();
    let (cert, key) = (pki.authority.cert_pem(), pki.authority.key_pem());

    assert!(matches!(load("", &key), AuthorityError::Certificate));
    assert!(matches!(load(cert, ""), AuthorityError::Key(_)));
    assert!(matches!(
        load(cert, &other.authority.key_pem()),
        AuthorityError::KeyMismatch
    ));
    let member = pki.authority.issue(&request(AGENT)).unwrap();
    assert!(matches!(
        load(&member.cert_pem, &member.key_pem),
        AuthorityError::NotAnAuthority(_)
    ));
}

#[test]
fn an_existing_key_is_kept_unless_its_replacement_is_asked_for() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("dbm1.key");
    write_private(&path, "first", Existing::Keep).unwrap();
    assert_eq!(
        fs::metadata(&path).unwrap().permissions().mode() & 0o7777,
        0o600
    );

    let error = write_private(&path, "second", Existing::Keep).unwrap_err();
    assert!(
        matches!(&error, WriteError::Exists(existing) if *existing == path),
        "{error}"
    );
    assert_eq!(fs::read_to_string(&path).unwrap(), "first");

    // A key that others could read is not made readable again by what replaces it.
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    write_private(&path, "third", Existing::Replace).unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), "third");
    assert_eq!(
        fs::metadata(&path).unwrap().permissions().mode() & 0o7777,
        0o600
    );

    let left: Vec<_> = fs::read_dir(directory.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(left, ["dbm1.key"], "nothing temporary is left");
}

#[test]
fn an_authority_is_never_written_over_another() {
    let directory = tempfile::tempdir().unwrap();
    Pki::new("acd").authority.save(directory.path()).unwrap();
    let before = fs::read(CertificateAuthority::key_path(directory.path())).unwrap();
    let error = Pki::new("acd")
        .authority
        .save(directory.path())
        .unwrap_err();
    assert!(matches!(error, WriteError::Exists(_)), "{error}");
    assert_eq!(
        fs::read(CertificateAuthority::key_path(directory.path())).unwrap(),
        before
    );
}

#[test]
fn debug_output_shows_no_key() {
    let pki = Pki::new("acd");
    let issued = pki.authority.issue(&request(AGENT)).unwrap();
    let (store, credentials) = pki.watched_member(AGENT);
    let text = format!("{:?} {issued:?} {store:?} {credentials:?}", pki.authority);
    for key in [pki.authority.key_pem(), issued.key_pem] {
        let body: Vec<&str> = key
            .lines()
            .filter(|line| !line.starts_with("-----"))
            .collect();
        assert!(
            !body.is_empty() && !body.iter().any(|line| text.contains(line)),
            "{text}"
        );
    }
    assert!(!text.contains("PRIVATE"), "{text}");
}
