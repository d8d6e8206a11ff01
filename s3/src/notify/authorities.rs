//! The certificate authorities that vouch for one receiver, in place of those that browsers trust.

use tokio_rustls::rustls::RootCertStore;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject;

/// Certificates of authorities, at least one, each of which reads.
#[derive(Clone, PartialEq, Eq)]
pub struct Authorities(Vec<CertificateDer<'static>>);

/// What is wrong with the text of authorities.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidAuthorities {
    /// There is none in it.
    #[error("it has no certificate in PEM (-----BEGIN CERTIFICATE-----)")]
    NoCertificate,
    /// What stands around a certificate is damaged.
    #[error("it is damaged PEM")]
    NotPem,
    /// One of them cannot vouch for anything.
    #[error("certificate {place} in it does not read: {why}")]
    BadCertificate {
        /// Which, counted from 1.
        place: usize,
        /// Why.
        why: String,
    },
}

impl Authorities {
    /// Reads certificates in PEM; what else stands there is left out.
    ///
    /// # Errors
    /// As [`InvalidAuthorities`] says.
    pub fn parse(pem: &[u8]) -> Result<Self, InvalidAuthorities> {
        let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
        let certificates = certificates.map_err(|_| InvalidAuthorities::NotPem)?;
        if certificates.is_empty() {
            return Err(InvalidAuthorities::NoCertificate);
        }
        for (before, certificate) in certificates.iter().enumerate() {
            let added = RootCertStore::empty().add(certificate.clone());
            added.map_err(|error| InvalidAuthorities::BadCertificate {
                place: before + 1,
                why: error.to_string(),
            })?;
        }
        Ok(Self(certificates))
    }

    pub(super) fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(self.0.iter().cloned());
        roots
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// An authority that was made for tests, and vouches for nothing anywhere.
    pub(crate) const AUTHORITY: &str = include_str!("../../tests/fixtures/authority.pem");

    #[test]
    fn authorities_are_certificates_and_at_least_one() {
        let two = format!("a comment\n{AUTHORITY}{AUTHORITY}");
        assert_eq!(Authorities::parse(two.as_bytes()).unwrap().roots().len(), 2);
        let garbled = AUTHORITY.replacen('M', "A", 1);
        let cut = AUTHORITY.replace("-----END", "");
        for (pem, why) in [
            ("", "no certificate"),
            ("hello", "no certificate"),
            (
                "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
                "no certificate",
            ),
            (&garbled, "certificate 1 in it does not read"),
            (&cut, "damaged PEM"),
        ] {
            let refused = Authorities::parse(pem.as_bytes()).err().unwrap().to_string();
            assert!(refused.contains(why), "{pem}: {refused}");
        }
    }
}
