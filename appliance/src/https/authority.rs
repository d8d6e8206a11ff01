//! The certificate authority of a mesh: makes it, keeps it as a secret, and issues certificates with it.
//!
//! A person installs it in a phone once, and the phone believes every box of the mesh from then on. That must not mean that the
//! phone believes the mesh about its bank: so the authority carries *name constraints* (RFC 5280, section 4.2.1.10), marked
//! critical, that permit names in `.local`, `localhost`, the domains that somebody configured on the box that made it, and
//! addresses that the internet does not route. Whoever steals its key can pretend to be a box in a home, and nobody else. It may
//! vouch for servers only, and for no further authority.
//!
//! Its validity is the same for every mesh and comes from no clock: a box without a clock chip that founds a mesh in 1970
//! would make one that has expired when its clock is right. Certificates begin a day early, for those whose clocks are behind,
//! and never before the authority itself.

use std::time::Duration;

use rcgen::{
    BasicConstraints, Certificate, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose,
    Ia5String, IsCa, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, SanType, date_time_ymd,
};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use zeroize::{Zeroize, Zeroizing};

use super::names::{Names, Permitted};

/// 2026-01-01, from which on authorities are valid: no box is older than Warren.
pub(super) const AUTHORITY_FROM: u64 = 1_767_225_600;
/// 2050-01-01, until which they are: the last year that X.509 writes with two digits.
pub(super) const AUTHORITY_UNTIL: u64 = 2_524_608_000;
const DAY: u64 = 24 * 3600;
/// How long a certificate is valid from now on.
const LIFE: u64 = 90 * DAY;
/// How much earlier it begins.
const BACKDATED: u64 = DAY;

const VERSION: u32 = 1;

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub enum HttpsError {
    /// What the mesh keeps is no authority.
    #[error("the certificate authority of the mesh does not read: {0}")]
    Damaged(&'static str),
    /// Made by a newer program.
    #[error("the certificate authority of the mesh was made by a newer Warren")]
    Newer,
    /// A certificate could not be made.
    #[error("make a certificate")]
    Make(#[from] rcgen::Error),
    /// A certificate could not be used.
    #[error("use a certificate")]
    Use(#[from] tokio_rustls::rustls::Error),
}

/// What the mesh keeps: JSON, the two binary fields as hexadecimal digits of DER.
#[derive(Serialize, Deserialize)]
struct Kept {
    version: u32,
    /// What it may vouch for beside what every home may.
    domains: Vec<String>,
    /// PKCS #8.
    key: String,
    certificate: String,
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.key.zeroize();
    }
}

/// A certificate authority with its key.
pub(super) struct Authority {
    key: KeyPair,
    /// What certificates name as their issuer. Its bytes are others than [`Self::der`]: each signature is.
    issuer: Certificate,
    der: CertificateDer<'static>,
    permitted: Permitted,
}

impl Drop for Authority {
    fn drop(&mut self) {
        self.key.zeroize();
    }
}

/// A certificate of one box, and its key.
pub(super) struct Leaf {
    pub(super) der: CertificateDer<'static>,
    pub(super) key: PrivateKeyDer<'static>,
    /// Seconds since 1970.
    pub(super) from: u64,
    pub(super) until: u64,
}

impl Authority {
    /// One that nobody has yet; it may vouch for hosts in these domains too.
    pub(super) fn make(domains: &[String]) -> Result<Self, HttpsError> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let permitted = Permitted::with(domains);
        let issuer = itself(&key, &permitted)?;
        Ok(Self {
            der: issuer.der().clone(),
            key,
            issuer,
            permitted,
        })
    }

    /// Reads [`Self::secret`].
    pub(super) fn read(secret: &[u8]) -> Result<Self, HttpsError> {
        let damaged = |_| HttpsError::Damaged("no document");
        let kept: Kept = serde_json::from_slice(secret).map_err(damaged)?;
        if kept.version != VERSION {
            return Err(HttpsError::Newer);
        }
        let no_digits = |_| HttpsError::Damaged("no hexadecimal digits");
        let key = hex::decode(&kept.key).map_err(no_digits)?;
        let key =
            KeyPair::from_pkcs8_der_and_sign_algo(&PrivatePkcs8KeyDer::from(key), &PKCS_ECDSA_P256_SHA256)?;
        let permitted = Permitted::with(&kept.domains);
        Ok(Self {
            issuer: itself(&key, &permitted)?,
            der: CertificateDer::from(hex::decode(&kept.certificate).map_err(no_digits)?),
            key,
            permitted,
        })
    }

    /// All of it, for the mesh to keep.
    pub(super) fn secret(&self) -> Zeroizing<Vec<u8>> {
        let kept = Kept {
            version: VERSION,
            domains: self.permitted.domains().to_vec(),
            key: hex::encode(self.key.serialized_der()),
            certificate: hex::encode(&self.der),
        };
        // A struct of strings and numbers always serializes.
        Zeroizing::new(serde_json::to_vec(&kept).unwrap_or_default())
    }

    /// What people see in the list of authorities that they trust.
    pub(super) fn name(&self) -> String {
        name_of(&self.key)
    }

    pub(super) fn der(&self) -> &CertificateDer<'static> {
        &self.der
    }

    pub(super) fn permitted(&self) -> &Permitted {
        &self.permitted
    }

    /// A certificate for these names, which are permitted, from `now` on.
    pub(super) fn issue(&self, names: &Names, now: u64) -> Result<Leaf, HttpsError> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let (from, until) = validity(now);
        let hosts = names
            .hosts()
            .map(|host| Ok(SanType::DnsName(Ia5String::try_from(host)?)));
        let addresses = names.addresses().map(|address| Ok(SanType::IpAddress(address)));
        let mut params = CertificateParams::default();
        be_valid(&mut params, from, until);
        params.distinguished_name = called("Warren box");
        params.subject_alt_names = hosts.chain(addresses).collect::<Result<_, rcgen::Error>>()?;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        let certificate = params.signed_by(&key, &self.issuer, &self.key)?;
        Ok(Leaf {
            der: certificate.der().clone(),
            key: PrivatePkcs8KeyDer::from(key.serialize_der()).into(),
            from,
            until,
        })
    }
}

/// From when until when a certificate that is made now is valid, in seconds since 1970.
pub(super) fn validity(now: u64) -> (u64, u64) {
    let now = now.clamp(AUTHORITY_FROM + BACKDATED, AUTHORITY_UNTIL);
    (now - BACKDATED, (now + LIFE).min(AUTHORITY_UNTIL))
}

/// The authority's own certificate.
fn itself(key: &KeyPair, permitted: &Permitted) -> Result<Certificate, HttpsError> {
    let mut params = CertificateParams::default();
    be_valid(&mut params, AUTHORITY_FROM, AUTHORITY_UNTIL);
    params.distinguished_name = called(&name_of(key));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.name_constraints = Some(permitted.constraints());
    Ok(params.self_signed(key)?)
}

/// The same in every mesh but for a few digits, which tell two of them apart: whoever listens learns no family's name.
fn name_of(key: &KeyPair) -> String {
    let digest = Sha256::digest(key.public_key_der());
    format!("Warren home {}", hex::encode_upper(&digest[..4]))
}

fn called(name: &str) -> DistinguishedName {
    let mut called = DistinguishedName::new();
    called.push(DnType::OrganizationName, "Warren");
    called.push(DnType::CommonName, name);
    called
}

/// Says when a certificate is valid, in seconds since 1970.
fn be_valid(params: &mut CertificateParams, from: u64, until: u64) {
    let epoch = date_time_ymd(1970, 1, 1);
    params.not_before = epoch + Duration::from_secs(from);
    params.not_after = epoch + Duration::from_secs(until);
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;
    use tokio_rustls::rustls::client::WebPkiServerVerifier;
    use tokio_rustls::rustls::client::danger::ServerCertVerifier;
    use tokio_rustls::rustls::crypto::aws_lc_rs::default_provider;
    use tokio_rustls::rustls::pki_types::{ServerName, UnixTime};
    use tokio_rustls::rustls::{CertificateError, Error, RootCertStore};

    use super::*;

    /// 2026-11-27.
    const NOW: u64 = 1_795_737_600;

    fn names(all: &[&str]) -> Names {
        let hosts = all.iter().map(|name| (*name).to_owned());
        Names::new(hosts, all.iter().filter_map(|name| name.parse().ok()))
    }

    /// What a client that trusts the authority makes of the certificate, when it connects to this name at that time.
    fn judged(authority: &Authority, leaf: &Leaf, name: &str, at: u64) -> Result<(), Error> {
        let mut roots = RootCertStore::empty();
        roots.add(authority.der().clone()).unwrap();
        let verifier =
            WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::new(default_provider()));
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let at = UnixTime::since_unix_epoch(Duration::from_secs(at));
        let judged = verifier
            .build()
            .unwrap()
            .verify_server_cert(&leaf.der, &[], &name, &[], at);
        judged.map(drop)
    }

    #[test]
    fn a_client_that_trusts_the_authority_believes_a_box_by_each_of_its_names_and_by_no_other() {
        let authority = Authority::make(&["s3.example.org".into()]).unwrap();
        let all = [
            "warren-anna.local",
            "*.warren-anna.local",
            "localhost",
            "s3.example.org",
            "192.168.1.20",
            "::1",
        ];
        let leaf = authority.issue(&names(&all), NOW).unwrap();
        for good in [
            "warren-anna.local",
            "photos.warren-anna.local",
            "localhost",
            "s3.example.org",
            "192.168.1.20",
            "::1",
        ] {
            assert_eq!(judged(&authority, &leaf, good, NOW), Ok(()), "{good}");
        }
        for other in ["warren-ben.local", "192.168.1.21", "example.org"] {
            let judged = judged(&authority, &leaf, other, NOW);
            assert!(
                matches!(
                    &judged,
                    Err(Error::InvalidCertificate(
                        CertificateError::NotValidForNameContext { .. }
                    ))
                ),
                "{other}: {judged:?}"
            );
        }
        let another = Authority::make(&[]).unwrap();
        assert!(judged(&another, &leaf, "localhost", NOW).is_err());
    }

    #[test]
    fn whoever_has_its_key_cannot_pretend_to_be_the_web() {
        let authority = Authority::make(&["s3.example.org".into(), "com".into()]).unwrap();
        for far in ["bank.com", "example.org", "8.8.8.8", "2001:db8::1"] {
            // Signed with the key, past all that is checked here.
            let leaf = authority.issue(&names(&["warren.local", far]), NOW).unwrap();
            for asked in [far, "warren.local"] {
                let judged = judged(&authority, &leaf, asked, NOW);
                assert!(judged.is_err(), "{far} {asked}");
            }
        }
    }

    #[test]
    fn it_reads_back_and_signs_as_before() {
        let made = Authority::make(&["s3.example.org".into()]).unwrap();
        let read = Authority::read(&made.secret()).unwrap();
        assert_eq!(
            (read.der(), read.permitted(), read.name()),
            (made.der(), made.permitted(), made.name())
        );
        let leaf = read.issue(&names(&["localhost"]), NOW).unwrap();
        assert_eq!(judged(&made, &leaf, "localhost", NOW), Ok(()));
    }

    #[test]
    fn what_is_no_authority_is_refused() {
        let made = Authority::make(&[]).unwrap().secret();
        let text = String::from_utf8(made.to_vec()).unwrap();
        let newer = text.replace("\"version\":1", "\"version\":2");
        assert!(matches!(
            Authority::read(newer.as_bytes()),
            Err(HttpsError::Newer)
        ));
        for bad in [
            String::new(),
            "{}".into(),
            text.replace("\"key\":\"30", "\"key\":\"31"),
            text.replace("\"key\":\"", "\"key\":\"x"),
        ] {
            assert!(Authority::read(bad.as_bytes()).is_err());
        }
    }

    #[test]
    fn a_certificate_is_believed_by_a_clock_that_is_a_day_behind_and_not_after_its_end() {
        let authority = Authority::make(&[]).unwrap();
        let leaf = authority.issue(&names(&["localhost"]), NOW).unwrap();
        assert_eq!(judged(&authority, &leaf, "localhost", NOW - DAY), Ok(()));
        assert_eq!(judged(&authority, &leaf, "localhost", NOW + LIFE), Ok(()));
        for wrong in [NOW - DAY - 1, NOW + LIFE + 1] {
            assert!(judged(&authority, &leaf, "localhost", wrong).is_err());
        }
    }

    proptest! {
        #[test]
        fn no_clock_makes_a_certificate_that_its_authority_does_not_cover(now: u64) {
            let (from, until) = validity(now);
            prop_assert!(AUTHORITY_FROM <= from && from < until && until <= AUTHORITY_UNTIL);
            // Apple believes none that is valid for longer.
            prop_assert!(until - from <= 398 * DAY);
        }
    }
}
