//! Loading credentials: each way in which files can be wrong has its own error, with its own remedy.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::SystemTime;

use interlock_mesh::credentials::{self, LoadError, system_clock};
use interlock_mesh::identity::Kind;
use rcgen::{CertificateParams, Issuer, KeyPair};

use crate::support::{AGENT, COORDINATOR, DAY, Pki, READER, open, stopped_at};

#[test]
fn good_files_make_credentials() {
    let pki = Pki::new("acd");
    let credentials = pki.member(AGENT);
    assert_eq!(credentials.identity().to_string(), AGENT);
    assert!(credentials.not_after() > SystemTime::now() + 8 * DAY);
}

#[test]
fn a_key_that_others_can_read_is_refused_with_the_command_that_repairs_it() {
    let pki = Pki::new("acd");
    let files = pki.issue(AGENT, DAY, 10 * DAY);
    for bad in [0o640, 0o604, 0o644, 0o700, 0o660] {
        fs::set_permissions(&files.key, fs::Permissions::from_mode(bad)).unwrap();
        let error = open(files.clone(), AGENT, system_clock()).unwrap_err();
        assert!(
            matches!(error, LoadError::KeyMode { mode, .. } if mode == bad),
            "{error}"
        );
        assert!(
            error
                .to_string()
                .contains(&format!("chmod 0600 {}", files.key.display())),
            "{error}"
        );
    }
    fs::set_permissions(&files.key, fs::Permissions::from_mode(0o400)).unwrap();
    open(files, AGENT, system_clock()).unwrap();
}

#[test]
fn a_key_of_another_certificate_is_refused() {
    let pki = Pki::new("acd");
    let mut files = pki.issue(AGENT, DAY, 10 * DAY);
    files.key = pki.issue(COORDINATOR, DAY, 10 * DAY).key;
    let error = open(files, AGENT, system_clock()).unwrap_err();
    assert!(matches!(error, LoadError::KeyMismatch { .. }), "{error}");
}

#[test]
fn a_certificate_outside_its_dates_is_refused() {
    let pki = Pki::new("acd");
    let error = open(pki.issue(AGENT, 10 * DAY, 9 * DAY), AGENT, system_clock()).unwrap_err();
    assert!(matches!(error, LoadError::Expired { .. }), "{error}");
    let yesterday = stopped_at(SystemTime::now() - 2 * DAY);
    let error = open(pki.issue(AGENT, DAY, 9 * DAY), AGENT, yesterday).unwrap_err();
    assert!(matches!(error, LoadError::NotYetValid { .. }), "{error}");
    assert!(error.to_string().contains("clock"), "{error}");
}

#[test]
fn a_certificate_of_another_authority_is_refused() {
    let (pki, other) = (Pki::new("acd"), Pki::new("acd"));
    let mut files = pki.issue(AGENT, DAY, 10 * DAY);
    files.authority = other.issue(AGENT, DAY, 10 * DAY).authority;
    let error = open(files, AGENT, system_clock()).unwrap_err();
    assert!(matches!(error, LoadError::OtherAuthority { .. }), "{error}");
}

#[test]
fn a_program_takes_a_certificate_of_its_own_kind_only() {
    let pki = Pki::new("acd");
    for (uri, wanted) in [
        (AGENT, Kind::Coordinator),
        (COORDINATOR, Kind::Agent),
        (READER, Kind::Agent),
    ] {
        let error =
            credentials::open(pki.issue(uri, DAY, 10 * DAY), wanted, system_clock()).unwrap_err();
        assert!(matches!(error, LoadError::WrongKind { .. }), "{error}");
        assert!(error.to_string().contains(uri), "{error}");
    }
}

#[test]
fn a_certificate_with_two_identities_is_refused() {
    let pki = Pki::new("acd");
    let files = pki.issue(AGENT, DAY, 10 * DAY);
    let issuer_key = KeyPair::from_pem(&pki.authority.key_pem()).unwrap();
    let issuer = Issuer::from_ca_cert_pem(pki.authority.cert_pem(), issuer_key).unwrap();
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
    params.subject_alt_names = [AGENT, COORDINATOR]
        .map(|uri| rcgen::SanType::URI(uri.try_into().unwrap()))
        .to_vec();
    fs::write(
        &files.certificate,
        params.signed_by(&key, &issuer).unwrap().pem(),
    )
    .unwrap();
    fs::write(&files.key, key.serialize_pem()).unwrap();

    let error = open(files, AGENT, system_clock()).unwrap_err();
    assert!(matches!(error, LoadError::Unidentified { .. }), "{error}");
}

#[test]
fn a_file_that_is_missing_or_something_else_is_named() {
    let pki = Pki::new("acd");
    let good = pki.issue(AGENT, DAY, 10 * DAY);
    let missing = pki.directory().join("missing");
    let junk = pki.directory().join("junk");
    fs::write(&junk, "-----BEGIN GARBAGE-----\n").unwrap();
    fs::set_permissions(&junk, fs::Permissions::from_mode(0o600)).unwrap();

    for path in [&missing, &junk] {
        for part in 0..3 {
            let mut files = good.clone();
            *[&mut files.certificate, &mut files.key, &mut files.authority][part] = path.clone();
            let error = open(files, AGENT, system_clock()).unwrap_err();
            assert!(
                matches!(error, LoadError::Read { .. } | LoadError::Pem { .. }),
                "{error}"
            );
            assert!(
                error.to_string().contains(path.to_str().unwrap()),
                "{error}"
            );
        }
    }
}
