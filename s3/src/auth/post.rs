//! Verifies the signature in a form: over its policy, and with that over everything the policy requires.

use std::sync::Arc;

use storage::model::{AccessKey, AccessKeyId};
use subtle::ConstantTimeEq;

use super::chunk_signing::sign;
use super::credential::Credential;
use super::signing_key::derive;
use super::verify::Authenticator;
use crate::error::{S3Code, S3Error, S3Result};
use crate::time::parse_basic;

/// What a form says about its signature.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SignedForm<'r> {
    /// `x-amz-algorithm`.
    pub(crate) algorithm: &'r str,
    /// `x-amz-credential`.
    pub(crate) credential: &'r str,
    /// `x-amz-date`.
    pub(crate) date: &'r str,
    /// `x-amz-signature`.
    pub(crate) signature: &'r str,
    /// `policy`, in base64 as it was sent.
    pub(crate) policy: &'r str,
}

impl Authenticator {
    /// Finds out who signed a form. How long that holds, the policy says.
    ///
    /// # Errors
    /// `InvalidAccessKeyId`, `SignatureDoesNotMatch`, `InvalidArgument`, `InvalidRequest`.
    pub(crate) fn verify_form(
        &self,
        form: SignedForm<'_>,
        lookup: impl FnOnce(&AccessKeyId) -> Option<Arc<AccessKey>>,
    ) -> S3Result<Arc<AccessKey>> {
        if form.algorithm != "AWS4-HMAC-SHA256" {
            return Err(S3Error::invalid_request(
                "The authorization mechanism you have provided is not supported. Please use AWS4-HMAC-SHA256.",
            ));
        }
        let invalid = |name, value: &str, message: String| S3Error::invalid_argument(name, value, message);
        let credential = Credential::parse(form.credential).map_err(|why| {
            invalid(
                "x-amz-credential",
                form.credential,
                format!("The credential {why}."),
            )
        })?;
        if parse_basic(form.date).is_none() || !form.date.starts_with(credential.date) {
            let message = "x-amz-date is of the form yyyymmddThhmmssZ, on the day of the credential.".into();
            return Err(invalid("x-amz-date", form.date, message));
        }
        let unknown = || S3Error::new(S3Code::InvalidAccessKeyId).field("AWSAccessKeyId", credential.key_id);
        let key = credential
            .access_key_id()
            .and_then(|id| lookup(&id))
            .ok_or_else(unknown)?;
        let computed = sign(&derive(&key.secret, &credential), form.policy.as_bytes());
        if !bool::from(computed.ct_eq(form.signature.as_bytes())) {
            return Err(S3Error::new(S3Code::SignatureDoesNotMatch)
                .field("AWSAccessKeyId", credential.key_id)
                .field("StringToSign", form.policy)
                .field("SignatureProvided", form.signature));
        }
        Ok(key)
    }
}
