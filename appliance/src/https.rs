//! Speaks HTTPS for a box: holds the certificate that it shows, and says when another is due.
//!
//! A page on `http://` can be read and changed by whatever is in the same network. No authority of the web gives a certificate
//! to `192.168.1.20` or to `warren-anna.local`, so the mesh has one of its own ([`authority`]), whose key every trusted box
//! has; each box issues its own certificate with it and shows that on the ports it has anyway, where the first byte of a
//! connection tells the two apart. Certificates stay in memory: a box that starts issues another.

use std::sync::{Arc, PoisonError, RwLock};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use sha2::{Digest, Sha256};
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::server::{ClientHello, ResolvesServerCert};
use tokio_rustls::rustls::sign::CertifiedKey;
use zeroize::Zeroizing;

mod authority;
mod names;

pub use authority::HttpsError;
use authority::{AUTHORITY_FROM, AUTHORITY_UNTIL, Authority};
pub use names::Names;

use crate::api::{HttpsAuthority, HttpsCertificate};

/// A certificate is replaced when so many seconds are left of it: a box that is off for a month still has one that works.
const RENEWED_BEFORE: u64 = 30 * 24 * 3600;

/// The only protocol that is spoken inside.
const ALPN: &[u8] = b"http/1.1";

/// The secret of a new authority, which nobody has yet; it may vouch for hosts in these domains beside those of every home.
///
/// # Errors
/// The system gives no random bytes.
pub fn new_authority(domains: &[String]) -> Result<Zeroizing<Vec<u8>>, HttpsError> {
    Ok(Authority::make(domains)?.secret())
}

/// What signs the certificates of a box, as the mesh keeps it.
#[derive(Clone)]
pub struct Signer {
    /// Counts the authorities that the mesh had.
    pub number: u64,
    /// Since when it is this one.
    pub since: String,
    /// What [`new_authority`] made.
    pub secret: Zeroizing<Vec<u8>>,
}

/// What vouches for a box over HTTPS.
#[derive(Clone, Debug, PartialEq)]
pub struct HttpsFacts {
    /// URLs that S3 clients use over HTTP: the same with `https://` lead to the same port.
    pub s3: Vec<String>,
    /// What clients have to trust.
    pub authority: HttpsAuthority,
    /// Its certificate in the form that browsers and phones install (DER).
    pub der: Bytes,
    /// What the box shows to clients.
    pub certificate: HttpsCertificate,
}

/// The same place over HTTPS: one port speaks both.
pub fn over_https(url: &str) -> String {
    match url.strip_prefix("http://") {
        Some(place) => format!("https://{place}"),
        None => url.to_owned(),
    }
}

/// How one box speaks HTTPS.
#[derive(Debug)]
pub struct Https {
    holder: Arc<Holder>,
    config: Arc<ServerConfig>,
}

/// The certificate that is shown to whoever connects; none before the mesh has an authority.
#[derive(Debug, Default)]
struct Holder(RwLock<Option<Arc<Held>>>);

#[derive(Debug)]
struct Held {
    /// Which authority signed it.
    number: u64,
    shown: Arc<CertifiedKey>,
    /// What it was to vouch for.
    wanted: Names,
    from: u64,
    until: u64,
    authority: HttpsAuthority,
    /// The authority's certificate, as browsers take it.
    der: Bytes,
    certificate: HttpsCertificate,
}

impl Holder {
    fn held(&self) -> Option<Arc<Held>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl ResolvesServerCert for Holder {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.held()?.shown))
    }
}

impl Https {
    /// HTTPS without a certificate: who connects is refused until [`Self::renew`] has made one.
    ///
    /// # Errors
    /// This machine cannot speak TLS.
    pub fn new() -> Result<Self, HttpsError> {
        let holder = Arc::new(Holder::default());
        let provider = Arc::new(aws_lc_rs::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(&holder) as Arc<dyn ResolvesServerCert>);
        config.alpn_protocols = vec![ALPN.to_vec()];
        Ok(Self {
            holder,
            config: Arc::new(config),
        })
    }

    /// How a server answers a handshake; it shows every certificate that comes later as well.
    pub fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.config)
    }

    /// Whether the certificate has to be replaced: the authority is another, the box is called otherwise, its end is near, or
    /// the clock says that it is not valid, as after a start without the right time. `now` are seconds since 1970.
    pub fn is_due(&self, number: u64, wanted: &Names, now: u64) -> bool {
        self.holder.held().is_none_or(|held| {
            // What begins with the authority cannot begin earlier, and what ends with it cannot end later.
            let is_early = now < held.from && held.from > AUTHORITY_FROM;
            let is_late = now.saturating_add(RENEWED_BEFORE) >= held.until && held.until < AUTHORITY_UNTIL;
            held.number != number || held.wanted != *wanted || is_early || is_late
        })
    }

    /// Issues a certificate to this box, which whoever connects from now on is shown.
    ///
    /// # Errors
    /// The authority does not read, or the system gives no random bytes.
    pub fn renew(&self, signer: &Signer, wanted: &Names, now: u64) -> Result<(), HttpsError> {
        let authority = Authority::read(&signer.secret)?;
        let (names, left_out) = wanted.within(authority.permitted());
        let leaf = authority.issue(&names, now)?;
        let key = aws_lc_rs::sign::any_ecdsa_type(&leaf.key)?;
        let held = Held {
            number: signer.number,
            wanted: wanted.clone(),
            from: leaf.from,
            until: leaf.until,
            authority: HttpsAuthority {
                name: authority.name(),
                number: signer.number,
                since: signer.since.clone(),
                until: moment(AUTHORITY_UNTIL),
                fingerprint: fingerprint(authority.der()),
                domains: authority.permitted().domains().to_vec(),
                pem: pem(authority.der()),
            },
            der: Bytes::copy_from_slice(authority.der()),
            certificate: HttpsCertificate {
                fingerprint: fingerprint(&leaf.der),
                names: names.shown(),
                left_out,
                from: moment(leaf.from),
                until: moment(leaf.until),
            },
            shown: Arc::new(CertifiedKey::new(vec![leaf.der], key)),
        };
        *self.holder.0.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(held));
        Ok(())
    }

    /// What vouches for the box whose S3 is at these URLs.
    pub fn facts(&self, s3: Vec<String>) -> Option<HttpsFacts> {
        let held = self.holder.held()?;
        Some(HttpsFacts {
            s3,
            authority: held.authority.clone(),
            der: held.der.clone(),
            certificate: held.certificate.clone(),
        })
    }
}

/// SHA-256 of a certificate, in pairs of digits as browsers show it.
fn fingerprint(der: &[u8]) -> String {
    let pairs = Sha256::digest(der);
    let pairs: Vec<String> = pairs.iter().map(|byte| format!("{byte:02X}")).collect();
    pairs.join(":")
}

/// A certificate as text (RFC 7468): lines of 64 letters.
fn pem(der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let mut pem = String::from("-----BEGIN CERTIFICATE-----\n");
    let mut rest = text.as_str();
    while !rest.is_empty() {
        let (line, more) = rest.split_at(rest.len().min(64));
        pem.push_str(line);
        pem.push('\n');
        rest = more;
    }
    pem + "-----END CERTIFICATE-----\n"
}

/// RFC 3339 in UTC.
fn moment(seconds: u64) -> String {
    let seconds = i64::try_from(seconds).unwrap_or(i64::MAX);
    jiff::Timestamp::from_second(seconds)
        .unwrap_or(jiff::Timestamp::MAX)
        .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: u64 = 24 * 3600;
    /// 2026-11-27.
    const NOW: u64 = 1_795_737_600;

    fn names(host: &str) -> Names {
        Names::new([host.into()], [])
    }

    fn signer(number: u64) -> Signer {
        Signer {
            number,
            since: "2026-11-27T00:00:00Z".into(),
            secret: new_authority(&[]).unwrap(),
        }
    }

    impl Https {
        fn certificate(&self) -> HttpsCertificate {
            self.facts(Vec::new()).unwrap().certificate
        }
    }

    /// A box that was issued a certificate at this time.
    fn issued(now: u64) -> Https {
        let https = Https::new().unwrap();
        assert!(https.is_due(1, &names("a.local"), now));
        https.renew(&signer(1), &names("a.local"), now).unwrap();
        https
    }

    #[test]
    fn a_certificate_is_renewed_a_month_before_its_end_and_whoever_connects_then_sees_the_new_one() {
        let https = issued(NOW);
        let config = https.config();
        let first = https.certificate();
        for (days, due) in [(0, false), (59, false), (60, true), (89, true), (4000, true)] {
            assert_eq!(
                https.is_due(1, &names("a.local"), NOW + days * DAY),
                due,
                "{days}"
            );
        }
        https
            .renew(&signer(1), &names("a.local"), NOW + 60 * DAY)
            .unwrap();
        assert!(!https.is_due(1, &names("a.local"), NOW + 60 * DAY));
        let second = https.certificate();
        assert_ne!(first.fingerprint, second.fingerprint);
        assert_eq!(
            (second.from.as_str(), second.until.as_str()),
            ("2027-01-25T00:00:00Z", "2027-04-26T00:00:00Z")
        );
        // Servers hold the one configuration that there ever is.
        assert!(Arc::ptr_eq(&config, &https.config()));
    }

    #[test]
    fn another_name_and_another_authority_need_another_certificate() {
        let https = issued(NOW);
        assert!(https.is_due(1, &names("b.local"), NOW));
        assert!(https.is_due(2, &names("a.local"), NOW));
    }

    #[test]
    fn a_box_whose_clock_jumps_gets_a_certificate_for_the_right_time() {
        // It starts in 1970, and hears the time later.
        let https = issued(7);
        assert!(!https.is_due(1, &names("a.local"), 60));
        assert_eq!(https.certificate().from, "2026-01-01T00:00:00Z");
        assert!(https.is_due(1, &names("a.local"), NOW));
        // It was ahead.
        let https = issued(NOW + 1000 * DAY);
        assert!(https.is_due(1, &names("a.local"), NOW));
        // Seconds are no jump.
        assert!(!issued(NOW).is_due(1, &names("a.local"), NOW - 60));
    }

    #[test]
    fn at_the_end_of_its_authority_a_box_does_not_renew_all_the_time() {
        let last = AUTHORITY_UNTIL - DAY;
        assert!(!issued(last).is_due(1, &names("a.local"), last + 60));
    }

    #[test]
    fn a_damaged_authority_leaves_the_certificate_that_is_there() {
        let https = issued(NOW);
        let before = https.facts(Vec::new());
        let damaged = Signer {
            secret: Zeroizing::new(b"{}".to_vec()),
            ..signer(2)
        };
        assert!(https.renew(&damaged, &names("b.local"), NOW).is_err());
        assert_eq!(https.facts(Vec::new()), before);
    }

    #[test]
    fn people_see_what_their_browsers_see() {
        let HttpsFacts {
            authority,
            certificate,
            ..
        } = issued(NOW).facts(Vec::new()).unwrap();
        for fingerprint in [&authority.fingerprint, &certificate.fingerprint] {
            let pairs: Vec<&str> = fingerprint.split(':').collect();
            assert!(pairs.len() == 32 && pairs.iter().all(|pair| pair.len() == 2));
        }
        assert!(authority.pem.lines().all(|line| line.len() <= 64));
        assert_eq!(authority.domains, ["local", "localhost"]);
        assert_eq!(
            (certificate.names, certificate.left_out),
            (vec!["a.local".to_owned()], vec![])
        );
    }
}
