//! The query of a request: decoded names and values in the client's order.

use super::percent::decode_query;
use crate::error::{S3Code, S3Error, S3Result};

/// Most parameters a request may have: more than any S3 call needs, and a bound on work.
const PARAMETERS_MAX: usize = 256;

/// The decoded parameters of a request, in the client's order. A name without `=` has an empty value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query {
    parameters: Vec<(String, String)>,
}

impl Query {
    /// Reads the text after `?`.
    ///
    /// # Errors
    /// `InvalidURI`: a bad percent-encoding, text that is not UTF-8, or more than 256 parameters.
    pub fn parse(raw: Option<&str>) -> S3Result<Self> {
        let mut parameters = Vec::new();
        for pair in raw.unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
            if parameters.len() == PARAMETERS_MAX {
                return Err(S3Error::with_message(
                    S3Code::InvalidURI,
                    "The query has more than 256 parameters.",
                ));
            }
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            parameters.push((decode(name)?, decode(value)?));
        }
        Ok(Self { parameters })
    }

    /// The value of the first parameter of that name: as at AWS, a repetition is ignored.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.iter()
            .find(|(known, _)| *known == name)
            .map(|(_, value)| value)
    }

    /// Whether a parameter of that name is there, with or without a value: a subresource such as `?acl`.
    pub fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// All parameters, in the client's order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.parameters
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.parameters.is_empty()
    }
}

fn decode(raw: &str) -> S3Result<String> {
    String::from_utf8(decode_query(raw)?.into_owned()).map_err(|_| S3Error::new(S3Code::InvalidURI))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(raw: &str) -> Vec<(String, String)> {
        let query = Query::parse(Some(raw)).unwrap();
        query
            .iter()
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect()
    }

    #[test]
    fn parameters_keep_their_order_and_repetitions() {
        let owned = |pairs: &[(&str, &str)]| -> Vec<_> {
            pairs
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect()
        };
        assert_eq!(
            pairs("b=2&a=1&&b=3&acl"),
            owned(&[("b", "2"), ("a", "1"), ("b", "3"), ("acl", "")])
        );
        assert_eq!(pairs("prefix=a+b%2B%26=c"), owned(&[("prefix", "a b+&=c")]));
        assert_eq!(pairs(""), []);
    }

    #[test]
    fn the_first_of_repeated_parameters_counts() {
        let query = Query::parse(Some("prefix=a&prefix=b&uploads")).unwrap();
        assert_eq!(query.get("prefix"), Some("a"));
        assert!(query.has("uploads"));
        assert!(!query.has("Uploads"));
        assert!(Query::parse(None).unwrap().is_empty());
    }

    #[test]
    fn a_query_that_cannot_be_read_is_refused() {
        for raw in ["a=%", "%ff=1", "a=%ff", &"a&".repeat(257)] {
            assert_eq!(
                Query::parse(Some(raw)).unwrap_err().code(),
                S3Code::InvalidURI,
                "{raw}"
            );
        }
    }
}
