//! What a signature says about itself: which key, which day, region and service.

use storage::model::AccessKeyId;

/// `AKID/20130524/us-east-1/s3/aws4_request`, taken apart. The service is `s3`, the day eight digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Credential<'r> {
    /// The access key's id, as the client wrote it.
    pub key_id: &'r str,
    /// `yyyymmdd`.
    pub date: &'r str,
    /// Whatever region the client believes in: home users mistype it.
    pub region: &'r str,
    /// Everything after the access key's id: what the string to sign names.
    pub scope: &'r str,
}

impl<'r> Credential<'r> {
    /// Reads the value of `Credential=` or `X-Amz-Credential`.
    ///
    /// # Errors
    /// What is wrong with it, as the end of the sentence "the credential …".
    pub fn parse(text: &'r str) -> Result<Self, &'static str> {
        const SHAPE: &str = "is not of the form KEY-ID/yyyymmdd/REGION/s3/aws4_request";
        let (key_id, scope) = text.split_once('/').ok_or(SHAPE)?;
        let mut parts = scope.split('/');
        let (Some(date), Some(region), Some(service), Some(end), None) = (
            parts.next(),
            parts.next(),
            parts.next(),
            parts.next(),
            parts.next(),
        ) else {
            return Err(SHAPE);
        };
        if date.len() != 8 || !date.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err("has a date that is not of the form yyyymmdd");
        }
        if service != "s3" {
            return Err("is for a service other than s3");
        }
        if end != "aws4_request" || key_id.is_empty() {
            return Err(SHAPE);
        }
        Ok(Self {
            key_id,
            date,
            region,
            scope,
        })
    }

    /// The id as a key of ours could have it.
    pub(super) fn access_key_id(&self) -> Option<AccessKeyId> {
        AccessKeyId::parse(self.key_id).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_credential_names_key_day_and_any_region() {
        let credential = Credential::parse("AKIDEXAMPLE/20130524/home/s3/aws4_request").unwrap();
        assert_eq!(credential.key_id, "AKIDEXAMPLE");
        assert_eq!(credential.date, "20130524");
        assert_eq!(credential.region, "home");
        assert_eq!(credential.scope, "20130524/home/s3/aws4_request");
        for bad in [
            "",
            "AKID",
            "AKID/2013052/r/s3/aws4_request",
            "AKID/20130524/r/ec2/aws4_request",
            "AKID/20130524/r/s3/aws4",
            "AKID/20130524/r/s3/aws4_request/x",
            "/20130524/r/s3/aws4_request",
        ] {
            assert!(Credential::parse(bad).is_err(), "{bad}");
        }
    }
}
