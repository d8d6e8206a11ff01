//! What all listings share: their parameters and the elements they repeat.

use storage::model::{Bucket, BucketName, ChecksumAlgorithm};

use super::user::User;
use crate::error::{S3Error, S3Result};
use crate::gateway::Call;
use crate::uri::Query;
use crate::xml::{KeyEncoding, XmlWriter};

/// Most entries of a page.
const PAGE_MAX: usize = 1000;

/// Parameters every listing of keys takes.
#[derive(Debug)]
pub(super) struct Listing<'q> {
    pub(super) prefix: &'q str,
    pub(super) delimiter: Option<&'q str>,
    pub(super) encoding: KeyEncoding,
    pub(super) max: usize,
}

impl<'q> Listing<'q> {
    /// Reads them; `max` is the name of the parameter that bounds the page.
    ///
    /// # Errors
    /// `InvalidArgument`.
    pub(super) fn parse(query: &'q Query, max: &str) -> S3Result<Self> {
        let encoding = match query.get("encoding-type") {
            None | Some("") => KeyEncoding::Plain,
            Some("url") => KeyEncoding::Url,
            Some(other) => {
                let message = "Invalid Encoding Method specified in Request";
                return Err(S3Error::invalid_argument("encoding-type", other, message));
            }
        };
        Ok(Self {
            prefix: query.get("prefix").unwrap_or_default(),
            delimiter: given(query, "delimiter"),
            encoding,
            max: page_max(query, max)?,
        })
    }

    /// An element with a key or a part of one.
    pub(super) fn key(&self, xml: &mut XmlWriter, name: &str, value: &str) {
        xml.key(name, value, self.encoding);
    }

    /// The elements that repeat the parameters, but for the markers.
    pub(super) fn repeat(&self, xml: &mut XmlWriter, max: &str) {
        self.key(xml, "Prefix", self.prefix);
        xml.number(max, self.max as u64);
        if let Some(delimiter) = self.delimiter {
            self.key(xml, "Delimiter", delimiter);
        }
        if self.encoding == KeyEncoding::Url {
            xml.text("EncodingType", "url");
        }
    }

    /// The common prefixes.
    pub(super) fn prefixes(&self, xml: &mut XmlWriter, prefixes: &[String]) {
        for prefix in prefixes {
            xml.element("CommonPrefixes", |xml| self.key(xml, "Prefix", prefix));
        }
    }
}

/// A parameter that is there and says something.
pub(super) fn given<'q>(query: &'q Query, name: &str) -> Option<&'q str> {
    query.get(name).filter(|value| !value.is_empty())
}

/// How many entries a page may have: 1000 unless told, and never more.
///
/// # Errors
/// `InvalidArgument`: no number, or a negative one.
pub(super) fn page_max(query: &Query, name: &str) -> S3Result<usize> {
    let Some(text) = given(query, name) else {
        return Ok(PAGE_MAX);
    };
    let max = text
        .parse::<u32>()
        .ok()
        .filter(|max| *max <= i32::MAX.unsigned_abs());
    match max {
        Some(max) => Ok(PAGE_MAX.min(max as usize)),
        None => Err(S3Error::invalid_argument(
            name,
            text,
            format!("Argument {name} must be an integer between 0 and 2147483647"),
        )),
    }
}

/// Whom a listing names as owner of its objects: strangers are not told which access keys there are.
pub(super) fn owner_for(call: &Call, bucket: &Bucket) -> Option<User> {
    call.is_signed()
        .then(|| User::of(&call.gateway.store, &bucket.owner))
}

/// The name of the bucket a listing is of.
pub(super) fn bucket_name(xml: &mut XmlWriter, bucket: &BucketName) {
    xml.text("Name", bucket.as_str());
}

/// Which checksum a listed object carries.
pub(super) fn checksum_algorithm(xml: &mut XmlWriter, algorithm: Option<ChecksumAlgorithm>) {
    xml.text_if("ChecksumAlgorithm", algorithm.map(ChecksumAlgorithm::name));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::S3Code;

    fn max(query: &str) -> Result<usize, S3Code> {
        page_max(&Query::parse(Some(query)).unwrap(), "max-keys").map_err(|error| error.code())
    }

    #[test]
    fn a_page_has_at_most_a_thousand_entries() {
        assert_eq!(max(""), Ok(1000));
        assert_eq!(max("max-keys="), Ok(1000));
        assert_eq!(max("max-keys=0"), Ok(0));
        assert_eq!(max("max-keys=7"), Ok(7));
        assert_eq!(max("max-keys=2147483647"), Ok(1000));
        for bad in ["-1", "x", "2147483648", "1.5"] {
            assert_eq!(
                max(&format!("max-keys={bad}")),
                Err(S3Code::InvalidArgument),
                "{bad}"
            );
        }
    }
}
