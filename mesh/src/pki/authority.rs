//! The authority itself.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use interlock_model::names::ClusterName;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PublicKeyData, SanType,
};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::{
    AuthorityError, Existing, IssueError, IssueRequest, Issued, SubjectName, WriteError,
    write_private, write_public,
};
use crate::identity::{SCHEME, from_unix};

/// The last second that a certificate can express (RFC 5280, 4.1.2.5): 9999-12-31T23:59:59Z, as Unix time.
const END_OF_TIME: u64 = 253_402_300_799;

/// A cluster's certificate authority with its key.
pub struct CertificateAuthority {
    cluster: ClusterName,
    not_after: SystemTime,
    cert_pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl CertificateAuthority {
    /// Makes an authority for `cluster`, valid from `not_before` for `life`.
    ///
    /// # Errors
    /// [`AuthorityError::Make`] if the cryptography refuses, for example for want of randomness.
    pub fn init(
        cluster: ClusterName,
        not_before: SystemTime,
        life: Duration,
    ) -> Result<Self, AuthorityError> {
        let make = |source| AuthorityError::Make {
            cluster: cluster.clone(),
            source,
        };
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(make)?;
        // The URI of an identity without a member: it names the cluster, and can never be taken for a member.
        let uri = format!("{SCHEME}{cluster}").try_into().map_err(make)?;

        let not_after = end(not_before, life).ok_or_else(|| make(rcgen::Error::Time))?;
        let mut params = CertificateParams::default();
        params.not_before = not_before.into();
        params.not_after = not_after.into();
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.subject_alt_names = vec![SanType::URI(uri)];
        // Part of the key's hash, so that the authority before and the one after a rotation, or two that were made
        // for one cluster by mistake, have different names in every tool's output.
        let short: String = params
            .key_identifier(&key)
            .iter()
            .take(4)
            .map(|byte| format!("{byte:02x}"))
            .collect();
        params.distinguished_name = name(&format!("Interlock CA {short}"), &cluster);

        let certificate = params.self_signed(&key).map_err(make)?;
        Ok(Self {
            not_after,
            cert_pem: certificate.pem(),
            issuer: Issuer::new(params, key),
            cluster,
        })
    }

    /// Loads an authority from the PEM texts of its certificate and its key.
    ///
    /// # Errors
    /// [`AuthorityError`] if one of them is unreadable, they do not belong together, or the certificate is not of an
    /// authority made by [`init`](Self::init).
    pub fn load(cert_pem: &str, key_pem: &str) -> Result<Self, AuthorityError> {
        let (_, pem) = x509_parser::pem::parse_x509_pem(cert_pem.as_bytes())
            .map_err(|_| AuthorityError::Certificate)?;
        let (_, certificate) =
            X509Certificate::from_der(&pem.contents).map_err(|_| AuthorityError::Certificate)?;
        let cluster = cluster_of(&certificate)?;
        let not_after = from_unix(certificate.validity().not_after.timestamp());

        let key = KeyPair::from_pem(key_pem).map_err(AuthorityError::Key)?;
        if certificate.public_key().raw != key.subject_public_key_info() {
            return Err(AuthorityError::KeyMismatch);
        }
        let issuer =
            Issuer::from_ca_cert_pem(cert_pem, key).map_err(|_| AuthorityError::Certificate)?;
        Ok(Self {
            cluster,
            not_after,
            cert_pem: cert_pem.to_owned(),
            issuer,
        })
    }

    /// Issues a certificate with a fresh key.
    ///
    /// # Errors
    /// [`IssueError`] if the request does not fit this authority.
    pub fn issue(&self, request: &IssueRequest) -> Result<Issued, IssueError> {
        let identity = || Box::new(request.identity.clone());
        if *request.identity.cluster() != self.cluster {
            return Err(IssueError::OtherCluster {
                identity: identity(),
                cluster: self.cluster.clone(),
            });
        }
        let until =
            end(request.not_before, request.life).ok_or_else(|| IssueError::Life(identity()))?;
        if until > self.not_after {
            return Err(IssueError::OutlivesAuthority {
                identity: identity(),
                until,
                authority_until: self.not_after,
            });
        }

        let sign = |source| IssueError::Sign {
            identity: identity(),
            source,
        };
        let mut params = CertificateParams::default();
        params.not_before = request.not_before.into();
        params.not_after = until.into();
        params.is_ca = IsCa::ExplicitNoCa;
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        if request.identity.kind().serves() {
            params
                .extended_key_usages
                .push(ExtendedKeyUsagePurpose::ServerAuth);
        }
        // For people who read certificates; Interlock reads the URI alone.
        params.distinguished_name = name(request.identity.name(), &self.cluster);
        params.subject_alt_names = alternative_names(request)?;

        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(sign)?;
        let certificate = params.signed_by(&key, &self.issuer).map_err(sign)?;
        Ok(Issued {
            cert_pem: certificate.pem(),
            key_pem: key.serialize_pem(),
        })
    }

    /// The cluster that this is the authority of.
    #[must_use]
    pub const fn cluster(&self) -> &ClusterName {
        &self.cluster
    }

    /// When the authority ends, and with it everything that it issued.
    #[must_use]
    pub const fn not_after(&self) -> SystemTime {
        self.not_after
    }

    /// The certificate, which every member needs and everybody may read.
    #[must_use]
    pub fn cert_pem(&self) -> &str {
        &self.cert_pem
    }

    /// The key. Whoever has it can be anybody in the cluster.
    #[must_use]
    pub fn key_pem(&self) -> String {
        self.issuer.key().serialize_pem()
    }

    /// Where [`save`](Self::save) puts the certificate in `directory`.
    #[must_use]
    pub fn cert_path(directory: &Path) -> PathBuf {
        directory.join("ca.crt")
    }

    /// Where [`save`](Self::save) puts the key in `directory`.
    #[must_use]
    pub fn key_path(directory: &Path) -> PathBuf {
        directory.join("ca.key")
    }

    /// Writes certificate and key into `directory`, and never over an authority that is already there: everything
    /// that it issued would become worthless.
    ///
    /// # Errors
    /// [`WriteError`] if a file exists or cannot be written.
    pub fn save(&self, directory: &Path) -> Result<(), WriteError> {
        write_private(&Self::key_path(directory), &self.key_pem(), Existing::Keep)?;
        write_public(&Self::cert_path(directory), &self.cert_pem, Existing::Keep)
    }
}

impl fmt::Debug for CertificateAuthority {
    /// Leaves the key out.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CertificateAuthority")
            .field("cluster", &self.cluster)
            .field("not_after", &self.not_after)
            .finish_non_exhaustive()
    }
}

/// The end of a life, if it is a life and a certificate can express it.
fn end(not_before: SystemTime, life: Duration) -> Option<SystemTime> {
    let until = not_before.checked_add(life)?;
    let seconds = until.duration_since(SystemTime::UNIX_EPOCH).ok()?.as_secs();
    (!life.is_zero() && seconds <= END_OF_TIME).then_some(until)
}

/// A distinguished name: who, in which cluster.
fn name(common: &str, cluster: &ClusterName) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::OrganizationName, cluster.as_str());
    name.push(DnType::CommonName, common);
    name
}

/// The URI of the identity, and what other tools want to see.
fn alternative_names(request: &IssueRequest) -> Result<Vec<SanType>, IssueError> {
    let text = |name: String| {
        let identity = || Box::new(request.identity.clone());
        name.clone().try_into().map_err(|_| IssueError::HostName {
            identity: identity(),
            name,
        })
    };
    let mut all = vec![SanType::URI(text(request.identity.to_string())?)];
    for name in &request.names {
        all.push(match name {
            SubjectName::Ip(address) => SanType::IpAddress(*address),
            SubjectName::Dns(host) => SanType::DnsName(text(host.clone())?),
        });
    }
    Ok(all)
}

/// The cluster in an authority's certificate.
fn cluster_of(certificate: &X509Certificate<'_>) -> Result<ClusterName, AuthorityError> {
    if !certificate.is_ca() {
        return Err(AuthorityError::NotAnAuthority(
            "it is a member's certificate",
        ));
    }
    let names = certificate
        .subject_alternative_name()
        .map_err(|_| AuthorityError::Certificate)?;
    names
        .iter()
        .flat_map(|names| &names.value.general_names)
        .find_map(|name| match name {
            GeneralName::URI(uri) => uri.strip_prefix(SCHEME)?.parse().ok(),
            _ => None,
        })
        .ok_or(AuthorityError::NotAnAuthority("it names no cluster"))
}
